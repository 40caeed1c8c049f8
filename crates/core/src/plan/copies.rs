//! Old copies: what a host that was given up still has of VMs that were made again elsewhere.
//!
//! A lower incarnation than the state's proves which of two is the old one. It goes before anything
//! else on its host, all of it to the trash: kept disks too, since the VM has others by now.

use super::{
    Action, Change, Object, Reason, VmRemoval, Withheld, Work,
    draft::HostDraft,
    recover::disk_of,
    removal::{removal_of, trash_name},
};
use crate::{
    model::{DiskName, DomainView, Impact, VmName, seed_volume_name},
    state::{DiskRecord, VmDecision, VmRecord},
};

impl HostDraft<'_> {
    /// Takes away what other hosts have in a later incarnation.
    pub(super) fn remove_copies(&mut self) {
        let view = self.view;
        for domain in &view.domains {
            let Some((vm, incarnation, lives_on)) = self.copied(domain) else { continue };
            if !self.world.has_vm(&vm) {
                continue;
            }
            match self.copy_removal(&vm, incarnation, domain) {
                Err(why) => self.hold(Object::Vm(vm), why),
                Ok(removal) => {
                    let reasons = vec![Reason::OldCopy { incarnation, lives_on }];
                    self.draft.changes.push(Change {
                        host: self.host.name.clone(),
                        object: Object::Vm(vm),
                        action: Action::Remove,
                        impact: Impact::DataLoss,
                        reasons,
                        work: Work::CopyGone(Box::new(removal)),
                    });
                }
            }
        }
    }

    /// Returns the VM that a domain is an old copy of, which incarnation it is, and where that one
    /// lives.
    fn copied(&self, domain: &DomainView) -> Option<(VmName, u32, crate::model::HostName)> {
        let mark = domain.mark.as_ref().filter(|mark| mark.fleet == self.world.fleet.id)?;
        let vms = &self.world.snapshot.decisions.vms;
        let by_name = mark.name.parse::<VmName>().ok().and_then(|name| vms.get_key_value(&name));
        let is_it = |(_, decision): &(&VmName, &VmDecision)| decision.uuid == domain.uuid;
        // It may have been renamed since.
        let (vm, decision) = by_name.filter(is_it).or_else(|| vms.iter().find(is_it))?;
        let made = self.placed.made(&self.host.name);
        let is_its = made.iter().any(|(_, record)| record.uuid == domain.uuid);
        let is_old = decision.host != self.host.name && mark.incarnation < decision.incarnation;
        (is_old && !is_its).then(|| (vm.clone(), mark.incarnation, decision.host.clone()))
    }

    fn copy_removal(
        &self,
        vm: &VmName,
        incarnation: u32,
        domain: &DomainView,
    ) -> Result<VmRemoval, Withheld> {
        let (fleet, pool) = (self.world.fleet.id, self.view.pool.as_ref());
        let path = pool.map(|pool| format!("{}/", pool.path)).unwrap_or_default();
        let files = domain.defined.disks.iter().filter_map(|file| file.strip_prefix(&path));
        let disk = |volume: &str| {
            let name: DiskName = disk_of(fleet, domain.uuid, volume)?;
            let volume = volume.to_owned();
            Some(DiskRecord { name, volume, keep: false, there: true, old: false })
        };
        let record = VmRecord {
            uuid: domain.uuid,
            host: self.host.name.clone(),
            incarnation,
            disks: files.filter_map(disk).collect(),
            seed: seed_volume_name(fleet, domain.uuid, incarnation),
            made: true,
            unready: false,
            protect: false,
            applied: None,
            restoring: None,
        };
        let marked: VmName = domain
            .mark
            .as_ref()
            .and_then(|mark| mark.name.parse().ok())
            .unwrap_or_else(|| vm.clone());
        let mut removal = removal_of(self.world, &marked, &record, self.view)?;
        let kept = std::mem::take(&mut removal.kept);
        let trashed = kept.into_iter().map(|volume| {
            let name = trash_name(self.world, &volume);
            (volume, name)
        });
        removal.trash.extend(trashed);
        removal.vm = vm.clone();
        Ok(removal)
    }
}
