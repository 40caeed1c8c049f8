//! Whose a file of our pool or a domain is, as far as names, cards, marks and the state tell.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Owner, host::Look};
use crate::model::{DomainView, VmName, nvram_name, volume_prefix};

/// How names in the trash and names of images begin.
const TRASH: &str = "trash.";
const IMAGE: &str = "image.";

/// Whose something is.
pub(super) enum Belongs {
    /// The state knows it, or it explains itself: an image, the trash, an overlay on a disk of ours.
    Ours,
    /// It is ours and the state does not know it.
    Orphan,
    /// It is not this fleet's business.
    Other(Owner),
}

impl Look<'_> {
    /// Returns the volumes that the state knows on this host.
    pub(super) fn known_volumes(self) -> BTreeSet<String> {
        let (fleet, host) = (self.snapshot.fleet, self.host);
        let here = self.snapshot.vms.values().filter(|record| record.host == *host);
        let mut known: BTreeSet<String> = BTreeSet::new();
        for record in here {
            known.extend(record.disks.iter().map(|disk| disk.volume.clone()));
            known.extend([record.seed.clone(), nvram_name(fleet, record.uuid)]);
        }
        let kept = self.snapshot.kept.iter().filter(|kept| kept.host == *host);
        known.extend(kept.map(|kept| kept.volume.clone()));
        known
    }

    /// Says whose a file of our pool is.
    pub(super) fn volume_owner(self, name: &str, known: &BTreeSet<String>) -> Belongs {
        let prefix = format!("{}.", self.snapshot.fleet.short());
        let listed = self.is_listed(name);
        let other = self.listed_by_another(name);
        let is_named = name.starts_with(&prefix) && other.is_none();
        let is_trash = name.starts_with(TRASH);
        // Trash keeps the name it had, after what says when it got there.
        let was_ours = is_trash && name.contains(&format!(".{prefix}"));
        if known.contains(name) || self.lies_over(name, known) || self.is_disk_of_ours(name) {
            return Belongs::Ours;
        }
        if is_trash || name.starts_with(IMAGE) {
            let ours = listed || (was_ours && other.is_none());
            return if ours { Belongs::Ours } else { Belongs::Other(Owner::of(other)) };
        }
        if !listed && !is_named {
            return Belongs::Other(Owner::of(other));
        }
        match self.forgotten(|uuid| name.starts_with(&volume_prefix(self.snapshot.fleet, uuid))) {
            Some(vm) => Belongs::Other(Owner::Forgotten { vm }),
            None => Belongs::Orphan,
        }
    }

    /// Says whether a VM of ours has a file as its disk, whatever that stands on.
    fn is_disk_of_ours(self, name: &str) -> bool {
        let Some(path) = self.path_of(name) else { return false };
        let uses = |domain: &&DomainView| {
            let mut shapes = std::iter::once(&domain.defined).chain(&domain.live);
            shapes.any(|shape| shape.disks.contains(&path))
        };
        // Few domains use a file: whose they are is asked last.
        self.view.domains.iter().filter(uses).any(|domain| {
            let mut records = self.snapshot.vms.values();
            records.any(|it| it.uuid == domain.uuid && it.host == *self.host)
        })
    }

    /// Says whose a domain is.
    pub(super) fn domain_owner(self, domain: &DomainView) -> Belongs {
        let mut records = self.snapshot.vms.values();
        if records.any(|record| record.uuid == domain.uuid && record.host == *self.host) {
            return Belongs::Ours;
        }
        if let Some(vm) = self.forgotten(|uuid| uuid == domain.uuid) {
            return Belongs::Other(Owner::Forgotten { vm });
        }
        match &domain.mark {
            Some(mark) if mark.fleet == self.snapshot.fleet => Belongs::Orphan,
            mark => Belongs::Other(Owner::of(mark.as_ref().map(|mark| mark.fleet.to_string()))),
        }
    }

    /// Returns the VM that is no longer managed, and lives on, to which something belongs.
    fn forgotten(self, is_its: impl Fn(Uuid) -> bool) -> Option<VmName> {
        let mut decided =
            self.snapshot.decisions.vms.iter().filter(|(vm, decision)| {
                decision.forgotten && !self.snapshot.vms.contains_key(*vm)
            });
        decided.find(|(_, decision)| is_its(decision.uuid)).map(|(vm, _)| vm.clone())
    }

    fn listed_by_another(self, volume: &str) -> Option<String> {
        let card = self.pool().and_then(|pool| pool.card.as_ref())?;
        let ours = self.snapshot.fleet.to_string();
        let mut others = card.volumes.iter().filter(|(fleet, _)| **fleet != ours);
        let lists = |names: &[String]| names.iter().any(|name| name == volume);
        others.find(|(_, names)| lists(names)).map(|(fleet, _)| fleet.clone())
    }
}
