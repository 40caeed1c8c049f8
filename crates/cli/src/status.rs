//! `freehold status`: every VM, its host, address and state; what is pending; with `--all` whatever
//! else is on the hosts.

use std::collections::BTreeSet;

use freehold_core::{
    apply::Looked,
    model::{DomainState, HostName, Seen, VmName},
    plan::{drift, hosts_text, unmanaged},
    state::{NicDecision, Pending, VmDecision},
};
use serde_json::{Value, json};

use crate::{
    args::Status,
    drift::{FORMAT, in_json},
    failure::{Exit, exit_of, tell_errors},
    onlook::Onlooker,
    screen::{self, Screen},
};

pub(crate) async fn run(onlooker: &Onlooker, status: &Status) -> Exit {
    let looked = onlooker.look(&Screen::new()).await;
    let rows: Vec<Row> =
        names(onlooker).into_iter().map(|name| Row::of(onlooker, &looked, name)).collect();
    let pending = &onlooker.snapshot.pending;
    if status.json {
        let mut all = json!({
            "format": FORMAT,
            "vms": rows.iter().map(Row::in_json).collect::<Vec<_>>(),
            "pending": pending.iter().map(pending_json).collect::<Vec<_>>(),
        });
        if status.all {
            all["findings"] = json!(in_json(&drift(&onlooker.snapshot, &looked.observed)));
            all["unmanaged"] = json!(unmanaged(&onlooker.snapshot, &looked.observed));
        }
        screen::data(&all.to_string());
    } else {
        tell(onlooker, &looked, &rows, status.all);
    }
    tell_errors(&looked.errors);
    match exit_of(&looked.errors) {
        Exit::Done if !pending.is_empty() => Exit::Part,
        exit => exit,
    }
}

fn tell(onlooker: &Onlooker, looked: &Looked, rows: &[Row], all: bool) {
    screen::data(&table(rows));
    for pending in &onlooker.snapshot.pending {
        screen::data(&format!("pending: {}: {}", pending.plugin, pending.why.join(": ")));
        for edit in &pending.edits {
            screen::data(&format!("  {edit}"));
        }
    }
    if all {
        let findings = drift(&onlooker.snapshot, &looked.observed);
        let others = unmanaged(&onlooker.snapshot, &looked.observed);
        screen::data(&format!("\n{}", hosts_text(&findings, &others)));
    }
}

fn pending_json(pending: &Pending) -> Value {
    let edits: Vec<_> = pending.edits.iter().map(ToString::to_string).collect();
    json!({ "plugin": pending.plugin, "why": pending.why, "edits": edits })
}

/// VMs that are declared or were made; one that is to be renamed goes by its new name.
fn names(onlooker: &Onlooker) -> BTreeSet<&VmName> {
    let declared = onlooker.fleet.vms.keys();
    let renamed: BTreeSet<_> = declared.clone().map(|vm| recorded_name(onlooker, vm)).collect();
    let made = onlooker.snapshot.vms.keys().filter(|vm| !renamed.contains(vm));
    made.chain(declared).collect()
}

/// Returns the name that the state knows a declared VM by.
fn recorded_name<'a>(onlooker: &'a Onlooker, vm: &'a VmName) -> &'a VmName {
    let made = |vm: &&VmName| onlooker.snapshot.vms.contains_key(*vm);
    let before = onlooker.fleet.moved.get(vm).into_iter().flatten();
    std::iter::once(vm).chain(before).find(made).unwrap_or(vm)
}

/// What is known of one VM.
struct Row {
    name: VmName,
    /// What it is called as long as it is not renamed.
    called: Option<VmName>,
    host: Option<HostName>,
    state: State,
    declared: bool,
    addresses: Vec<String>,
}

/// What a VM does, as far as it was seen.
#[derive(Clone, Copy)]
enum State {
    Domain(DomainState),
    Missing,
    NotMade,
    Unreachable,
}

impl Row {
    fn of(onlooker: &Onlooker, looked: &Looked, name: &VmName) -> Self {
        let recorded = recorded_name(onlooker, name);
        let decision = onlooker.decided.vms.get(recorded);
        let block = onlooker.fleet.vms.get(name);
        let only = block.and_then(|vm| match vm.hosts.as_slice() {
            [host] => Some(host),
            _ => None,
        });
        let host = decision.map(|decision| &decision.host).or(only);
        let begun = onlooker.snapshot.vms.contains_key(recorded);
        Self {
            name: name.clone(),
            called: (recorded != name).then(|| recorded.clone()),
            state: State::of(looked, decision, begun),
            host: host.cloned(),
            declared: block.is_some(),
            addresses: decision.map(addresses).unwrap_or_default(),
        }
    }

    fn columns(&self) -> [String; 4] {
        let mut state = self.state.word().to_owned();
        if !self.declared {
            state += ", not declared";
        }
        if let Some(called) = &self.called {
            state += &format!(", still called {called}");
        }
        let host = self.host.as_ref().map(ToString::to_string).unwrap_or_default();
        [self.name.to_string(), host, state, self.addresses.join(" ")]
    }

    fn in_json(&self) -> Value {
        json!({
            "name": self.name,
            "called": self.called,
            "host": self.host,
            "state": self.state.word().replace(' ', "-"),
            "declared": self.declared,
            "addresses": self.addresses,
        })
    }
}

fn addresses(decision: &VmDecision) -> Vec<String> {
    let address = |nic: &NicDecision| {
        nic.address.map_or_else(|| "dhcp".to_owned(), |address| address.to_string())
    };
    decision.nics.iter().map(address).collect()
}

impl State {
    fn of(looked: &Looked, decision: Option<&VmDecision>, begun: bool) -> Self {
        // Nothing was decided about it, so nothing was made.
        let Some(decision) = decision else { return Self::NotMade };
        let Some(Seen::Whole(view)) = looked.observed.get(&decision.host) else {
            return Self::Unreachable;
        };
        let found = view.domains.iter().find(|domain| domain.uuid == decision.uuid);
        match found {
            Some(domain) => Self::Domain(domain.state),
            None if begun => Self::Missing,
            None => Self::NotMade,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Domain(DomainState::Running) => "running",
            Self::Domain(DomainState::Paused) => "paused",
            Self::Domain(DomainState::Off) => "off",
            Self::Domain(DomainState::Crashed) => "crashed",
            Self::Missing => "missing",
            Self::NotMade => "not made",
            Self::Unreachable => "host unreachable",
        }
    }
}

fn table(rows: &[Row]) -> String {
    screen::table(["VM", "HOST", "STATE", "ADDRESS"], rows.iter().map(Row::columns), &[])
}
