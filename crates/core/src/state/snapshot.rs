//! What was done: the value behind `state.json`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Decisions, Fact};
use crate::model::{DiskName, DomainShape, Edit, EditKey, FleetId, HostName, NetworkName, VmName};

/// What was done, as far as we know. It can be rebuilt from lock and hosts; it holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Which history this is; a state begun anew gets another.
    pub lineage: Uuid,
    /// Counts the writes of this history.
    pub serial: u64,
    /// Whose.
    pub fleet: FleetId,
    /// A copy of what was decided about what was made.
    pub decisions: Decisions,
    /// The id on each host's card, as we last saw or made it.
    pub hosts: BTreeMap<HostName, Uuid>,
    /// VMs that were begun and not removed.
    pub vms: BTreeMap<VmName, VmRecord>,
    /// Networks we defined.
    pub networks: BTreeMap<HostName, BTreeMap<NetworkName, Uuid>>,
    /// Disks that outlived their VM because they were to be kept.
    pub kept: Vec<KeptDisk>,
    /// What plugins published: by plugin and key, the values.
    pub published: BTreeMap<(String, EditKey), Vec<String>>,
    /// What could not be published yet.
    pub pending: Vec<Pending>,
}

/// A VM that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmRecord {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its host.
    pub host: HostName,
    /// Its incarnation.
    pub incarnation: u32,
    /// Its disks.
    pub disks: Vec<DiskRecord>,
    /// The volume of its seed.
    pub seed: String,
    /// Whether it was whole once: what is missing of its disks then is lost, not yet to be made.
    pub made: bool,
    /// Whether it was begun or started and has not been seen ready since.
    pub unready: bool,
    /// Whether it must not be taken away; stays true when the text no longer says so.
    pub protect: bool,
    /// What it was last made as, to see what others changed.
    pub applied: Option<Applied>,
    /// The removal, as its names in the trash have it (`20261122T121314Z.7`), that it is being
    /// brought back from and that is not finished.
    pub restoring: Option<String>,
}

/// What a domain was made as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// What we manage of its definition.
    pub shape: DomainShape,
    /// Whether it starts with its host.
    pub autostart: bool,
    /// Whether it runs.
    pub running: bool,
}

impl Applied {
    /// Says whether a volume of our pool is one of its disks.
    fn has(&self, volume: &str) -> bool {
        let name = |path: &String| path.rsplit('/').next() == Some(volume);
        self.shape.disks.iter().any(name)
    }
}

/// A disk of a VM that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskRecord {
    /// Its name.
    pub name: DiskName,
    /// Its volume.
    pub volume: String,
    /// Whether it outlives its VM; stays true when the text no longer says so.
    pub keep: bool,
    /// Whether it was there once: missing then is lost, not yet to be made.
    pub there: bool,
    /// Whether the volume of that name is still that of the incarnation before: it goes to the trash
    /// before this one is made.
    pub old: bool,
}

/// A disk that outlived its VM.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptDisk {
    /// The VM it belonged to.
    pub vm: VmName,
    /// Its name there.
    pub disk: DiskName,
    /// Its host.
    pub host: HostName,
    /// Its volume.
    pub volume: String,
}

/// What a plugin could not publish yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The plugin.
    pub plugin: String,
    /// Why, outermost cause first.
    pub why: Vec<String>,
    /// The edits, as far as they are known: none when the server could not even be read.
    pub edits: Vec<Edit>,
}

impl Snapshot {
    /// Returns the state of a fleet of which nothing was made.
    pub fn new(fleet: FleetId) -> Self {
        Self {
            lineage: Uuid::new_v4(),
            serial: 0,
            fleet,
            decisions: Decisions::default(),
            hosts: BTreeMap::new(),
            vms: BTreeMap::new(),
            networks: BTreeMap::new(),
            kept: Vec::new(),
            published: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    /// Takes in one fact of the journal. Facts may be taken in twice.
    pub fn fold(&mut self, fact: &Fact) {
        match fact {
            Fact::Host { host, id } => {
                self.hosts.insert(host.clone(), *id);
            }
            Fact::Network { host, network, uuid } => {
                self.networks.entry(host.clone()).or_default().insert(network.clone(), *uuid);
            }
            Fact::NetworkGone { host, network } => {
                if let Some(networks) = self.networks.get_mut(host) {
                    networks.remove(network);
                    if networks.is_empty() {
                        self.networks.remove(host);
                    }
                }
            }
            Fact::Vm { vm, record, decision } => self.begin_vm(vm, record, decision),
            Fact::VmMade { vm, made } => {
                if let Some(record) = self.vms.get_mut(vm) {
                    record.made = *made;
                    // What is being taken apart may be in the trash; kept disks stay.
                    for disk in &mut record.disks {
                        disk.there = *made || (disk.there && disk.keep);
                    }
                }
            }
            Fact::VmReady { vm } => {
                if let Some(record) = self.vms.get_mut(vm) {
                    record.unready = false;
                }
            }
            Fact::VmAs { vm, protect, keep, applied } => {
                if let Some(record) = self.vms.get_mut(vm) {
                    record.made = true;
                    record.protect = *protect;
                    record.applied = Some(*applied.clone());
                    record.restoring = None;
                    // What it does not have is not there, and what was promised of it holds.
                    for disk in record.disks.iter_mut().filter(|disk| applied.has(&disk.volume)) {
                        disk.there = true;
                        disk.keep = keep.contains(&disk.name);
                        disk.old = false;
                    }
                }
            }
            Fact::DiskAway { vm, volume } => {
                let disks = self.vms.get_mut(vm).into_iter().flat_map(|record| &mut record.disks);
                for disk in disks.filter(|disk| disk.volume == *volume) {
                    disk.old = false;
                }
            }
            Fact::VmRenamed { from, to } => self.rename_vm(from, to),
            Fact::DiskGone { vm, volume, kept } => self.end_disk(vm, volume, *kept),
            Fact::DiskKept { vm, disk, host, volume } => {
                let (vm, disk) = (vm.clone(), disk.clone());
                let (host, volume) = (host.clone(), volume.clone());
                self.kept.push(KeptDisk { vm, disk, host, volume });
                self.kept.sort();
                self.kept.dedup();
            }
            Fact::VmForgotten { vm } => self.forget_vm(vm),
            Fact::VmGone { vm, kept } => self.end_vm(vm, kept.as_deref()),
            Fact::Published { plugin, key, values } => {
                let same =
                    |place: &(String, EditKey)| place.0 == *plugin && place.1.same_place(key);
                self.published.retain(|place, _| !same(place));
                if !values.is_empty() {
                    self.published.insert((plugin.clone(), key.clone()), values.clone());
                }
            }
        }
    }

    fn begin_vm(&mut self, vm: &VmName, record: &VmRecord, decision: &super::VmDecision) {
        let mut record = record.clone();
        if let Some(old) = self.vms.get(vm) {
            let same = old.incarnation == record.incarnation;
            record.made |= old.made && same;
            record.protect |= old.protect;
            record.applied = record.applied.or_else(|| old.applied.clone());
            for disk in &mut record.disks {
                let old = old.disks.iter().find(|old| old.volume == disk.volume);
                disk.keep |= old.is_some_and(|old| old.keep);
                // What is made again begins without its disks, but for those that were kept.
                disk.there |= old.is_some_and(|old| old.there && (same || old.keep));
                disk.old = old.is_some_and(|old| old.old || (!same && old.there && !old.keep));
            }
            // A disk that is no longer wanted is ours until it is away.
            let wanted: BTreeSet<String> =
                record.disks.iter().map(|disk| disk.volume.clone()).collect();
            let leaving = old.disks.iter().filter(|disk| !wanted.contains(&disk.volume));
            record.disks.extend(leaving.cloned());
        }
        let is_its = |kept: &KeptDisk| {
            kept.host == record.host && record.disks.iter().any(|disk| disk.volume == kept.volume)
        };
        self.kept.retain(|kept| !is_its(kept));
        self.vms.insert(vm.clone(), record);
        if decision.born.is_some() {
            // One that was taken away before it was renamed left a tombstone under its old name.
            let vms = &mut self.decisions.vms;
            vms.retain(|_, old| old.uuid != decision.uuid || !old.removed);
        }
        let decision = super::VmDecision { forgotten: false, ..decision.clone() };
        self.decisions.vms.insert(vm.clone(), decision);
    }

    fn rename_vm(&mut self, from: &VmName, to: &VmName) {
        if let Some(record) = self.vms.remove(from) {
            self.vms.insert(to.clone(), record);
        }
        if let Some(mut decision) = self.decisions.vms.remove(from) {
            decision.born.get_or_insert_with(|| from.clone());
            self.decisions.vms.insert(to.clone(), decision);
        }
        for kept in self.kept.iter_mut().filter(|kept| kept.vm == *from) {
            kept.vm = to.clone();
        }
    }

    fn end_disk(&mut self, vm: &VmName, volume: &str, kept: bool) {
        let Some(record) = self.vms.get_mut(vm) else { return };
        let Some(at) = record.disks.iter().position(|disk| disk.volume == volume) else { return };
        let disk = record.disks.remove(at);
        if kept {
            let (vm, host) = (vm.clone(), record.host.clone());
            self.kept.push(KeptDisk { vm, disk: disk.name, host, volume: disk.volume });
            self.kept.sort();
        }
    }

    /// A VM that is no longer managed keeps what was decided about it: it still has its address. What
    /// was published about it is still ours, and goes with the next run. One that was removed does
    /// not live on, whoever forgets the disks it left.
    fn forget_vm(&mut self, vm: &VmName) {
        let lived = self.vms.remove(vm).is_some();
        self.kept.retain(|kept| kept.vm != *vm);
        if let Some(decision) = self.decisions.vms.get_mut(vm) {
            decision.forgotten |= lived;
        }
    }

    fn end_vm(&mut self, vm: &VmName, kept: Option<&[String]>) {
        let Some(record) = self.vms.remove(vm) else { return };
        let stays = |disk: &DiskRecord| match kept {
            Some(kept) => kept.contains(&disk.volume),
            None => disk.keep,
        };
        for disk in record.disks.into_iter().filter(stays) {
            let (vm, host) = (vm.clone(), record.host.clone());
            self.kept.push(KeptDisk { vm, disk: disk.name, host, volume: disk.volume });
        }
        self.kept.sort();
        self.kept.dedup();
        if let Some(decision) = self.decisions.vms.get_mut(vm) {
            decision.removed = true;
        }
    }
}
