//! Old copies: what a host that was given up still has of VMs that were made again elsewhere.
//!
//! A lower incarnation than the state's proves which of two domains is the old one. It goes before
//! volumes are made on its host, all of it to the trash: kept disks too, since the VM has others by
//! now. Of a copy whose removal was cut off, what is left goes the same way.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    Action, Object, Reason, VmRemoval, Withheld, Work,
    draft::HostDraft,
    drift::volumes_listed,
    recover::disk_of,
    removal::{removal_of, trash_name},
};
use crate::{
    model::{DomainView, HostName, Impact, VmName, seed_volume_name, short_uuid},
    state::{DiskRecord, VmRecord},
};

/// What this host has of a VM that lives elsewhere.
struct Copy {
    vm: VmName,
    /// Its name as the mark has it.
    marked: VmName,
    uuid: Uuid,
    incarnation: u32,
    lives_on: HostName,
    /// Its volumes here.
    disks: Vec<String>,
}

impl HostDraft<'_> {
    /// Takes away what other hosts have in a later incarnation.
    pub(super) fn remove_copies(&mut self) {
        for copy in self.copies() {
            let object = Object::Copy(copy.vm.clone());
            match self.copy_removal(&copy) {
                Err(why) => self.hold(object, why),
                Ok(removal) => {
                    let made = self.world.snapshot.vms.get(&copy.vm).is_some_and(|vm| vm.made);
                    let (incarnation, lives_on) = (copy.incarnation, copy.lives_on);
                    let why = Reason::OldCopy { incarnation, lives_on, made };
                    let work = Work::CopyGone(Box::new(removal));
                    self.change(object, Action::Remove, Impact::DataLoss, why, work);
                }
            }
        }
    }

    /// Returns the copies that this run is about.
    fn copies(&self) -> Vec<Copy> {
        let (fleet, here) = (self.world.fleet.id, &self.host.name);
        let own: BTreeSet<Uuid> =
            self.placed.made(here).iter().map(|(_, record)| record.uuid).collect();
        let marks: BTreeMap<Uuid, &DomainView> =
            self.view.domains.iter().map(|domain| (domain.uuid, domain)).collect();
        let volumes = self.volumes_by_vm();
        let mut copies = Vec::new();
        for (vm, decision) in &self.world.snapshot.decisions.vms {
            let elsewhere = decision.host != *here && !own.contains(&decision.uuid);
            if !elsewhere || decision.removed || decision.forgotten || !self.world.has_vm(vm) {
                continue;
            }
            let domain = marks.get(&decision.uuid).copied();
            let mark = domain.and_then(|domain| domain.mark.as_ref());
            let mark = mark.filter(|mark| mark.fleet == fleet);
            let disks = volumes.get(&short_uuid(decision.uuid)).cloned().unwrap_or_default();
            let (marked, incarnation) = match (domain, mark) {
                (Some(_), Some(mark)) => (mark.name.parse().ok(), mark.incarnation),
                (Some(_), None) => continue,
                // What a run that was killed left of it.
                (None, _) if disks.is_empty() => continue,
                (None, _) => (None, decision.incarnation.saturating_sub(1)),
            };
            if incarnation < decision.incarnation && decision.incarnation > 1 {
                copies.push(Copy {
                    vm: vm.clone(),
                    marked: marked.unwrap_or_else(|| vm.clone()),
                    uuid: decision.uuid,
                    incarnation,
                    lives_on: decision.host.clone(),
                    disks,
                });
            }
        }
        copies
    }

    /// Returns the volumes on this host's list that lie here and are not kept, by the digits of their
    /// VMs.
    fn volumes_by_vm(&self) -> BTreeMap<String, Vec<String>> {
        let (fleet, here) = (self.world.fleet.id, &self.host.name);
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let Some(pool) = &self.view.pool else { return all };
        let kept = self.world.snapshot.kept.iter().filter(|kept| kept.host == *here);
        let kept: BTreeSet<&String> = kept.map(|kept| &kept.volume).collect();
        let prefix = format!("{}.", fleet.short());
        for name in volumes_listed(pool, fleet) {
            let rest = name.strip_prefix(&prefix).filter(|_| pool.volumes.contains_key(name));
            if let Some(rest) = rest.filter(|_| !kept.contains(name)) {
                let digits = rest.split('.').next().unwrap_or_default();
                all.entry(digits.to_owned()).or_default().push(name.clone());
            }
        }
        all
    }

    fn copy_removal(&self, copy: &Copy) -> Result<VmRemoval, Withheld> {
        let fleet = self.world.fleet.id;
        let disk = |volume: &String| {
            let name = disk_of(fleet, copy.uuid, volume)?;
            Some(DiskRecord { name, volume: volume.clone(), keep: false, there: true, old: false })
        };
        let record = VmRecord {
            uuid: copy.uuid,
            host: self.host.name.clone(),
            incarnation: copy.incarnation,
            disks: copy.disks.iter().filter_map(disk).collect(),
            seed: seed_volume_name(fleet, copy.uuid, copy.incarnation),
            made: true,
            unready: false,
            protect: false,
            applied: None,
            restoring: None,
        };
        let mut removal = removal_of(self.world, &copy.marked, &record, self.view)?;
        for volume in std::mem::take(&mut removal.kept) {
            let name = trash_name(self.world, &volume);
            removal.trash.push((volume, name));
        }
        removal.vm.clone_from(&copy.vm);
        Ok(removal)
    }
}
