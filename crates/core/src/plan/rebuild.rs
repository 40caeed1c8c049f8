//! A host that is gone for good: what its VMs need to be made again, on a machine that takes its
//! name or on another one. Names, addresses, MACs, UUIDs and host keys stay; incarnations are raised.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::{
    model::{DiskName, Fleet, HostName, HostView, VmName, volume_prefix},
    state::{Decisions, KeptDisk, Snapshot, VmDecision, VmRecord},
};

/// A host that is given up, and the one that takes its place.
pub struct Burnt<'a> {
    /// What is wanted.
    pub fleet: &'a Fleet,
    /// What was decided.
    pub lock: &'a Decisions,
    /// What was done.
    pub snapshot: &'a Snapshot,
    /// The host.
    pub host: &'a HostName,
    /// Where its VMs are made again: the same name is another machine.
    pub to: &'a HostName,
    /// That one, as it was seen.
    pub view: &'a HostView,
    /// Says whether the data of a VM's kept disks is given up, where it is lost.
    pub given_up: &'a dyn Fn(&VmName) -> bool,
}

impl std::fmt::Debug for Burnt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Burnt")
            .field("host", self.host)
            .field("to", self.to)
            .finish_non_exhaustive()
    }
}

/// What becomes of state and lock; carried out, the next plan makes the VMs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilding {
    /// The state, which knows them no more.
    pub state: Snapshot,
    /// The lock, which says where they are made.
    pub lock: Decisions,
    /// VMs that are made again.
    pub vms: BTreeSet<VmName>,
    /// Kept disks without which their VMs are not made: nobody gave up their data.
    pub lost: Vec<LostDisk>,
    /// Kept disks whose files lie in the new pool: they are attached.
    pub found: Vec<KeptDisk>,
    /// What went with the host and is not declared any more: VMs, and disks that had outlived theirs.
    pub gone: Vec<String>,
}

/// A kept disk that went with its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostDisk {
    /// Its VM.
    pub vm: VmName,
    /// Its name.
    pub disk: DiskName,
    /// The file that it would be again.
    pub volume: String,
}

/// A VM that cannot be made on the new host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unplaced {
    /// Its block lets it live on these alone.
    NotAllowed(VmName, Vec<HostName>),
    /// A domain with its UUID is there, which is not it.
    Taken(VmName),
}

/// Returns what becomes of state and lock. Fails with the VMs that may not live on the new host.
pub fn rebuild(burnt: &Burnt<'_>) -> Result<Rebuilding, Vec<Unplaced>> {
    let mut all = Rebuilding {
        state: burnt.snapshot.clone(),
        lock: burnt.lock.clone(),
        vms: BTreeSet::new(),
        lost: Vec::new(),
        found: Vec::new(),
        gone: Vec::new(),
    };
    // Where no block names it, nobody waits for it to come back.
    if burnt.is_another_machine() || !burnt.fleet.hosts.contains_key(burnt.host) {
        burnt.forget_the_machine(&mut all);
    }
    let mut unplaced = Vec::new();
    for (name, decision, record) in burnt.vms() {
        let vm = &burnt.fleet.vms[&name];
        if !vm.hosts.contains(burnt.to) {
            unplaced.push(Unplaced::NotAllowed(name, vm.hosts.clone()));
            continue;
        }
        if burnt.view.domains.iter().any(|domain| domain.uuid == decision.uuid) {
            unplaced.push(Unplaced::Taken(name));
            continue;
        }
        let (found, lost) = burnt.kept_disks(&name, &decision, record);
        if !lost.is_empty() && !(burnt.given_up)(&name) {
            all.lost.extend(lost);
            continue;
        }
        burnt.move_vm(&mut all, &name, decision, record);
        all.state.kept.retain(|kept| kept.vm != name || kept.host != *burnt.to);
        all.state.kept.extend(found.iter().cloned());
        all.found.extend(found);
        all.vms.insert(name);
    }
    all.state.kept.sort();
    all.state.kept.dedup();
    if unplaced.is_empty() { Ok(all) } else { Err(unplaced) }
}

type Mortal<'a> = (VmName, VmDecision, Option<(&'a VmName, &'a VmRecord)>);

impl<'a> Burnt<'a> {
    /// Returns the declared VMs that were on the host, or were to be, with what the state knows.
    fn vms(&self) -> Vec<Mortal<'a>> {
        let (fleet, snapshot) = (self.fleet, self.snapshot);
        let mut all: Vec<Mortal<'a>> = Vec::new();
        for (recorded, record) in snapshot.vms.iter().filter(|(_, vm)| vm.host == *self.host) {
            let declared = self.declared_as(recorded);
            let locked = self.lock.vms.values().find(|locked| locked.uuid == record.uuid);
            let decision = locked.or_else(|| snapshot.decisions.vms.get(recorded));
            if let Some((name, decision)) = declared.zip(decision).filter(|_| !self.has(record)) {
                all.push((name, decision.clone(), Some((recorded, record))));
            }
        }
        let known: BTreeSet<Uuid> = snapshot.vms.values().map(|record| record.uuid).collect();
        for (name, decision) in &self.lock.vms {
            let is_its = decision.host == *self.host && !known.contains(&decision.uuid);
            let mut kept = snapshot.kept.iter();
            // One that was removed and is declared again waits for the disk it left there.
            let left = kept.any(|kept| kept.vm == *name && kept.host == *self.host);
            let lives =
                (!decision.removed || left) && !decision.forgotten && fleet.vms.contains_key(name);
            if is_its && lives {
                all.push((name.clone(), decision.clone(), None));
            }
        }
        all
    }

    fn declared_as(&self, recorded: &VmName) -> Option<VmName> {
        if self.fleet.vms.contains_key(recorded) {
            return Some(recorded.clone());
        }
        let mut renamed = self.fleet.moved.iter().filter(|(_, before)| before.contains(recorded));
        renamed.next().map(|(to, _)| to.clone()).filter(|to| self.fleet.vms.contains_key(to))
    }

    /// Says whether the new host has a VM already: on the same name, of a machine that we know, it
    /// was made again before.
    fn has(&self, record: &VmRecord) -> bool {
        let is_it = |uuid: Uuid| uuid == record.uuid;
        if self.host != self.to {
            return false;
        }
        let keep =
            |volume: &str| record.disks.iter().any(|disk| disk.keep && disk.volume == volume);
        let prefix = volume_prefix(self.fleet.id, record.uuid);
        let lies = |name: &String| name.starts_with(&prefix) && !keep(name);
        let pool = self.view.pool.as_ref();
        self.view.domains.iter().any(|domain| is_it(domain.uuid))
            || pool.is_some_and(|pool| pool.volumes.keys().any(lies))
    }

    /// Sorts the disks that are to outlive their VM: those whose files are there again, and the rest.
    fn kept_disks(
        &self,
        name: &VmName,
        decision: &VmDecision,
        record: Option<(&VmName, &VmRecord)>,
    ) -> (Vec<KeptDisk>, Vec<LostDisk>) {
        let declared = &self.fleet.vms[name].disks;
        let recorded = record.into_iter().flat_map(|(_, record)| &record.disks);
        let recorded: Vec<_> = recorded.filter(|disk| disk.keep).map(|disk| &disk.name).collect();
        let (mut found, mut lost) = (Vec::new(), Vec::new());
        for decided in &decision.disks {
            let disk = &decided.name;
            let keep = declared.iter().any(|it| it.name == *disk && it.keep);
            let stays = declared.iter().any(|it| it.name == *disk);
            if !stays || !(keep || recorded.contains(&disk)) {
                continue;
            }
            let (vm, disk, volume) = (name.clone(), disk.clone(), decided.volume.clone());
            let pool = self.view.pool.as_ref();
            if pool.is_some_and(|pool| pool.volumes.contains_key(&volume)) {
                found.push(KeptDisk { vm, disk, host: self.to.clone(), volume });
            } else {
                lost.push(LostDisk { vm, disk, volume });
            }
        }
        (found, lost)
    }

    /// The VM is nowhere, and is to be made in its new place.
    fn move_vm(
        &self,
        all: &mut Rebuilding,
        name: &VmName,
        decision: VmDecision,
        record: Option<(&VmName, &VmRecord)>,
    ) {
        let before = record.map_or(decision.incarnation, |(_, record)| record.incarnation);
        if let Some((recorded, _)) = record {
            all.state.vms.remove(recorded);
            all.state.decisions.vms.remove(recorded);
        }
        let born = decision.born.clone();
        all.lock.vms.retain(|_, locked| locked.uuid != decision.uuid);
        let born = match record {
            Some((recorded, _)) if recorded != name => born.or_else(|| Some(recorded.clone())),
            _ => born,
        };
        let (host, incarnation) = (self.to.clone(), before + 1);
        let decision =
            VmDecision { host, incarnation, removed: false, forgotten: false, born, ..decision };
        // The state knows by it which of two copies is the old one.
        all.state.decisions.vms.insert(name.clone(), decision.clone());
        all.lock.vms.insert(name.clone(), decision);
    }

    /// Says whether the name is another machine's now: it shows neither the card that we know nor a VM
    /// that the state places there.
    fn is_another_machine(&self) -> bool {
        let known = self.snapshot.hosts.get(self.host);
        let is_its = |record: &&VmRecord| record.host == *self.host;
        let has =
            |record: &VmRecord| self.view.domains.iter().any(|domain| domain.uuid == record.uuid);
        self.host == self.to
            && self.view.card().is_none_or(|card| known != Some(&card.host))
            && !self.snapshot.vms.values().filter(is_its).any(has)
    }

    /// What was on the old machine is nowhere any more.
    fn forget_the_machine(&self, all: &mut Rebuilding) {
        all.state.hosts.remove(self.host);
        all.state.networks.remove(self.host);
        let (gone, stay) = all.state.kept.drain(..).partition(|kept| kept.host == *self.host);
        all.state.kept = stay;
        let gone: Vec<KeptDisk> = gone;
        all.gone
            .extend(gone.iter().map(|kept| format!("kept disk {} of vm {}", kept.disk, kept.vm)));
        let dead: Vec<VmName> = self
            .snapshot
            .vms
            .iter()
            .filter(|(vm, record)| record.host == *self.host && self.declared_as(vm).is_none())
            .map(|(vm, _)| vm.clone())
            .collect();
        for vm in dead {
            all.state.vms.remove(&vm);
            let of_state = all.state.decisions.vms.get_mut(&vm);
            for decision in of_state.into_iter().chain(all.lock.vms.get_mut(&vm)) {
                decision.removed = true;
            }
            all.gone.push(format!("vm {vm}, which is no longer declared"));
        }
    }
}
