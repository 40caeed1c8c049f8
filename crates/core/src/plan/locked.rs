//! How what is decided stands to `freehold.lock`: what the lock does not hold yet, and where what
//! was applied overrules it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    model::{Fleet, VmName},
    state::{Decisions, Snapshot, VmDecision},
};

/// A VM with choices that `freehold.lock` does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// The VM.
    pub vm: VmName,
    /// What differs; nothing where the lock has nothing about it.
    pub choices: Vec<Choice>,
}

/// A choice on which two decisions about a VM differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What it is about: `host`, `address of nic lan`.
    pub what: String,
    /// What holds; `none` where there is none.
    pub have: String,
    /// What the lock says.
    pub locked: String,
}

/// A choice where what was applied differs from the lock, and stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The VM.
    pub vm: VmName,
    /// What it is about; `None` where the lock has nothing about the VM.
    pub choice: Option<Choice>,
}

/// Returns the fleet's VMs of which the lock does not say what was decided. Its counters are no
/// choices: what is removed, and how often a VM was made, a run may note by itself.
pub fn undecided(lock: &Decisions, decided: &Decisions, fleet: &Fleet) -> Vec<Undecided> {
    let open = |name: &VmName| {
        let now = decided.vms.get(name)?;
        let choices = match lock.vms.get(name) {
            None => Vec::new(),
            Some(locked) => {
                let choices = differences(now, locked);
                if choices.is_empty() {
                    return None;
                }
                choices
            }
        };
        Some(Undecided { vm: name.clone(), choices })
    };
    fleet.vms.keys().filter_map(open).collect()
}

/// Returns where what is decided now differs from what a plan was made with; `None` where it does
/// not. Counters are no choices, but one that is further tells that somebody made it again.
pub(super) fn overtaken(vm: &VmName, planned: &VmDecision, now: &VmDecision) -> Option<Undecided> {
    let mut choices = differences(planned, now);
    if now.incarnation > planned.incarnation {
        let [have, locked] = [planned, now].map(|vm| vm.incarnation.to_string());
        choices.push(Choice { what: "incarnation".to_owned(), have, locked });
    }
    (!choices.is_empty()).then(|| Undecided { vm: vm.clone(), choices })
}

/// Returns where what was applied differs from the lock and is what holds.
pub fn disagreements(
    lock: &Decisions,
    applied: &Snapshot,
    decided: &Decisions,
) -> Vec<Disagreement> {
    let mut found = Vec::new();
    for vm in applied.vms.keys() {
        let (Some(made), Some(now)) = (applied.decisions.vms.get(vm), decided.vms.get(vm)) else {
            continue;
        };
        let Some(locked) = lock.vms.get(vm) else {
            found.push(Disagreement { vm: vm.clone(), choice: None });
            continue;
        };
        // What the text overrules is no disagreement, and a change of its own.
        let overruled = differences(now, made);
        let holds = |choice: &Choice| !overruled.iter().any(|other| other.what == choice.what);
        let choices = differences(made, locked).into_iter().filter(holds);
        // What only the lock has was decided since, and holds where the text wants it.
        let choices = choices.filter(|choice| choice.have != NONE);
        found.extend(choices.map(|choice| Disagreement { vm: vm.clone(), choice: Some(choice) }));
    }
    found
}

const NONE: &str = "none";

/// Returns on what two decisions about a VM differ, but for counters.
fn differences(have: &VmDecision, locked: &VmDecision) -> Vec<Choice> {
    if have == locked {
        return Vec::new();
    }
    let (have, locked) = (choices_of(have), choices_of(locked));
    let names: BTreeSet<_> = have.keys().chain(locked.keys()).collect();
    let none = || NONE.to_owned();
    let choice = |what: &String| Choice {
        what: what.clone(),
        have: have.get(what).cloned().unwrap_or_else(none),
        locked: locked.get(what).cloned().unwrap_or_else(none),
    };
    names.into_iter().map(choice).filter(|choice| choice.have != choice.locked).collect()
}

/// Returns every choice of a decision in words, by what it is about.
fn choices_of(vm: &VmDecision) -> BTreeMap<String, String> {
    let mut choices = BTreeMap::from([
        ("host".to_owned(), vm.host.to_string()),
        ("UUID".to_owned(), vm.uuid.to_string()),
        ("key epoch".to_owned(), vm.key_epoch.to_string()),
        ("host key".to_owned(), vm.host_key.clone()),
    ]);
    for (index, nic) in vm.nics.iter().enumerate() {
        let name = if index == 0 { String::new() } else { format!(" of nic {}", index + 1) };
        let address = nic.address.map_or_else(|| "by DHCP".to_owned(), |ip| ip.to_string());
        choices.insert(format!("network{name}"), nic.network.to_string());
        choices.insert(format!("MAC{name}"), nic.mac.to_string());
        choices.insert(format!("address{name}"), address);
    }
    for disk in &vm.disks {
        choices.insert(format!("volume of disk {}", disk.name), disk.volume.clone());
    }
    choices
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vm {}: ", self.vm)?;
        if self.choices.is_empty() {
            return f.write_str("is not in it");
        }
        let words: Vec<_> = self.choices.iter().map(ToString::to_string).collect();
        f.write_str(&words.join("; "))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, have, locked } = self;
        write!(f, "{what} {have}, it says {locked}")
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vm {}: ", self.vm)?;
        match &self.choice {
            None => f.write_str("was applied, freehold.lock does not have it: it stays as it is"),
            Some(Choice { what, have, locked }) => write!(
                f,
                "{what} {have} was applied, freehold.lock says {locked}: the applied one stays"
            ),
        }
    }
}
