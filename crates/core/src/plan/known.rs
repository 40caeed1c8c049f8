//! What was decided before: the lock, what was applied, and the names VMs had.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    model::{Fleet, VmName},
    state::{Decisions, Snapshot, VmDecision},
};

/// Returns the lock's decisions, overruled by what was applied; what is to be renamed goes by its new name.
pub fn known_decisions(fleet: &Fleet, lock: &Decisions, snapshot: &Snapshot) -> Decisions {
    let mut known = lock.clone();
    known.identity = lock.identity.clone().or_else(|| snapshot.decisions.identity.clone());
    let renamed = lock.vms.iter().filter(|(_, locked)| locked.born.is_some());
    let renamed: BTreeMap<Uuid, &VmName> = renamed.map(|(name, vm)| (vm.uuid, name)).collect();
    for (name, applied) in &snapshot.decisions.vms {
        let is_gone = !snapshot.vms.contains_key(name);
        let to = renamed.get(&applied.uuid).filter(|to| **to != name);
        if let Some(to) = to.filter(|_| is_gone)
            && let Some(decision) = known.vms.get_mut(*to)
        {
            // It was taken away before it was renamed: what the lock has is the same VM.
            decision.removed |= applied.removed;
            decision.forgotten |= applied.forgotten;
            decision.incarnation = decision.incarnation.max(applied.incarnation);
            continue;
        }
        // What the lock has under the next name was not done: the name that was applied holds.
        let undone = to.and_then(|to| known.vms.remove(*to));
        match undone.as_ref().or_else(|| lock.vms.get(name)) {
            Some(locked) if !is_gone => {
                known.vms.insert(name.clone(), with_later(applied.clone(), locked));
            }
            Some(_) => {}
            None => {
                known.vms.insert(name.clone(), applied.clone());
            }
        }
    }
    known.bury(snapshot);
    rename(fleet, snapshot, &mut known);
    known
}

/// Adds what the lock holds beyond what was applied: interfaces and disks decided since.
fn with_later(mut applied: VmDecision, locked: &VmDecision) -> VmDecision {
    let mut made: Vec<_> = applied.nics.iter().map(|nic| nic.network.clone()).collect();
    for nic in &locked.nics {
        match made.iter().position(|network| *network == nic.network) {
            Some(found) => drop(made.remove(found)),
            None => applied.nics.push(nic.clone()),
        }
    }
    for disk in &locked.disks {
        if applied.disks.iter().all(|made| made.name != disk.name) {
            applied.disks.push(disk.clone());
        }
    }
    applied
}

/// Gives renamed VMs what was decided under their earlier names. What was applied under one of them
/// beats what the lock says of the new one: a run may have ended in between.
fn rename(fleet: &Fleet, snapshot: &Snapshot, known: &mut Decisions) {
    for (to, before) in &fleet.moved {
        if snapshot.vms.contains_key(to) {
            continue;
        }
        let applied = before.iter().find(|from| snapshot.vms.contains_key(*from));
        let decided = |from: &&VmName| !known.vms.contains_key(to) && known.vms.contains_key(*from);
        let Some(from) = applied.or_else(|| before.iter().find(decided)) else { continue };
        if let Some(mut decision) = known.vms.remove(from) {
            decision.born.get_or_insert_with(|| from.clone());
            known.vms.insert(to.clone(), decision);
        }
    }
}
