//! Volumes of the state against the pool.

use super::{Drift, Subject, host::Look};
use crate::{
    model::{DomainShape, DomainView},
    state::VmRecord,
};

impl Look<'_> {
    /// Returns what is wrong with a VM's volumes; nothing where the pool was not read.
    pub(super) fn volumes_of(self, record: &VmRecord) -> Vec<Drift> {
        let Some(pool) = self.pool() else { return Vec::new() };
        let disks = record.disks.iter().filter(|disk| disk.there && !disk.old);
        let disks = disks.map(|disk| (&disk.volume, Some(disk.name.clone())));
        let seed = Some(&record.seed).filter(|seed| record.made && !seed.is_empty());
        let mut all = Vec::new();
        for (volume, disk) in disks.chain(seed.map(|seed| (seed, None))) {
            let volume = volume.clone();
            if !pool.volumes.contains_key(&volume) {
                all.push(Drift::VolumeMissing { volume, disk });
                continue;
            }
            let others = self.view.domains.iter().filter(|domain| domain.uuid != record.uuid);
            for other in others.filter(|other| self.uses(other, &volume)) {
                let domain = other.name.clone();
                all.push(Drift::VolumeShared { volume: volume.clone(), domain });
            }
            if !self.is_listed(&volume) {
                all.push(Drift::VolumeUnlisted { volume });
            }
        }
        all
    }

    /// Returns what is wrong with disks that outlived their VMs.
    pub(super) fn kept_disks(self) -> Vec<(Subject, Drift)> {
        let Some(pool) = self.pool() else { return Vec::new() };
        let mut all = Vec::new();
        for kept in self.snapshot.kept.iter().filter(|kept| kept.host == *self.host) {
            let volume = kept.volume.clone();
            let drift = if !pool.volumes.contains_key(&volume) {
                Drift::KeptDiskMissing { vm: kept.vm.clone(), disk: kept.disk.clone() }
            } else if self.is_listed(&volume) {
                continue;
            } else {
                Drift::VolumeUnlisted { volume: volume.clone() }
            };
            all.push((Subject::Volume(volume), drift));
        }
        all
    }

    /// Says whether a domain names a volume of our pool, or stands on it.
    fn uses(self, domain: &DomainView, volume: &str) -> bool {
        let path = self.path_of(volume);
        let names = |shape: &DomainShape| {
            let mut files = shape.disks.iter().chain(&shape.cdroms).chain(&shape.beneath);
            files.any(|file| Some(file) == path.as_ref())
        };
        names(&domain.defined) || domain.live.as_ref().is_some_and(names)
    }
}
