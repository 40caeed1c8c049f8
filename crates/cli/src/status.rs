//! `freehold status`: every VM, its host, address and state; what is pending.

use std::collections::BTreeSet;

use freehold_core::{
    model::{DomainState, Seen, VmName},
    plan::{Goal, Scope},
    state::VmDecision,
};

use crate::{
    args::Args,
    context::{Context, Prepared},
    failure::{Exit, Failure, exit_of},
    plan::tell_unreached,
    screen::{self, Screen},
};

pub(crate) async fn run(args: &Args) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let snapshot = context.store.read()?;
    let prepared =
        Prepared::gather(&context, snapshot, (Goal::Converge, Scope::default()), &Screen::new())
            .await?;
    let names: BTreeSet<&VmName> =
        prepared.snapshot.vms.keys().chain(context.fleet.vms.keys()).collect();
    let mut rows = vec![["VM", "HOST", "STATE", "ADDRESS"].map(str::to_owned)];
    for name in names {
        let decision = prepared.decisions.vms.get(name);
        rows.push(match decision {
            Some(decision) => row(&prepared, name, decision),
            None => [name.to_string(), String::new(), "unknown".into(), String::new()],
        });
    }
    screen::data(&table(&rows));
    for pending in &prepared.snapshot.pending {
        screen::data(&format!("pending: {}: {}", pending.plugin, pending.why.join(": ")));
        for edit in &pending.edits {
            screen::data(&format!("  {edit}"));
        }
    }
    tell_unreached(&prepared);
    let exit = exit_of(&prepared.reached.errors);
    let pending = !prepared.snapshot.pending.is_empty();
    Ok(if pending && exit == Exit::Done { Exit::Part } else { exit })
}

fn row(prepared: &Prepared<'_>, name: &VmName, decision: &VmDecision) -> [String; 4] {
    let addresses: Vec<_> = decision
        .nics
        .iter()
        .map(|nic| nic.address.map_or_else(|| "dhcp".to_owned(), |address| address.to_string()))
        .collect();
    let state = state_word(prepared, name, decision);
    [name.to_string(), decision.host.to_string(), state, addresses.join(" ")]
}

fn state_word(prepared: &Prepared<'_>, name: &VmName, decision: &VmDecision) -> String {
    let declared = prepared.context.fleet.vms.contains_key(name);
    let begun = prepared.snapshot.vms.contains_key(name);
    let word = match prepared.reached.observed.get(&decision.host) {
        Some(Seen::Whole(view)) => {
            let found = view.domains.iter().find(|domain| domain.uuid == decision.uuid);
            match found.map(|domain| domain.state) {
                Some(DomainState::Running) => "running",
                Some(DomainState::Paused) => "paused",
                Some(DomainState::Off) => "off",
                Some(DomainState::Crashed) => "crashed",
                None if begun => "missing",
                None => "not made",
            }
        }
        Some(Seen::Unreachable(_)) | None => "host unreachable",
    };
    if declared { word.to_owned() } else { format!("{word}, not declared") }
}

/// Aligns columns; readable without colour and at 80 columns.
fn table(rows: &[[String; 4]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    let line = |row: &[String; 4]| {
        let [a, b, c, d] = row;
        format!("{a:first$}  {b:second$}  {c:third$}  {d}").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
