//! One host's trash while something is brought back from it.

use uuid::Uuid;

use super::{
    super::{Withheld, World, proof},
    TrashEntry, TrashItem, TrashKey, Unrestorable, trash_on,
};
use crate::model::{HostName, HostView, PoolView};

/// One host's trash, and what stands around it.
pub(super) struct Bin<'a> {
    pub(super) world: &'a World<'a>,
    pub(super) host: &'a HostName,
    pub(super) view: &'a HostView,
    pub(super) pool: &'a PoolView,
    pub(super) entries: Vec<TrashEntry>,
}

impl<'a> Bin<'a> {
    /// Looks at a host; `None` where it has no pool of ours.
    pub(super) fn at(world: &'a World<'a>, host: &'a HostName, view: &'a HostView) -> Option<Self> {
        let pool = view.pool.as_ref()?;
        Some(Self { world, host, view, pool, entries: trash_on(world, host, view) })
    }

    pub(super) fn entry(&self, key: &TrashKey) -> Option<&TrashEntry> {
        self.entries.iter().find(|entry| entry.key == *key)
    }

    /// Returns everything that one removal put away. One that was killed put the rest away under a
    /// later name, without a definition: that was away already.
    pub(super) fn pieces(&self, key: &TrashKey) -> impl Iterator<Item = &TrashItem> {
        let since = self.entries.iter().filter(|entry| entry.key.vm == key.vm && entry.key >= *key);
        let same = |entry: &&TrashEntry| entry.key == *key || entry.definition().is_none();
        since.take_while(same).flat_map(|entry| &entry.holds)
    }

    /// Returns the last entry of the same VM before this one that has a definition.
    pub(super) fn earlier_definition(&self, key: &TrashKey) -> Option<&TrashEntry> {
        let is_it = |entry: &&TrashEntry| {
            entry.key.vm == key.vm && entry.key < *key && entry.definition().is_some()
        };
        self.entries.iter().rfind(is_it)
    }

    /// Returns the name in the trash of a volume that comes back; `None` where it is in the pool.
    /// `known` says whether it may be there.
    pub(super) fn place(
        &self,
        key: &TrashKey,
        volume: &str,
        owner: Uuid,
        known: bool,
    ) -> Result<Option<String>, Withheld> {
        let item = self.pieces(key).find(|item| item.volume == volume);
        let there = proof::volume(self.world, self.view, volume, Some(owner))?;
        match (item, there) {
            (Some(_), true) => {
                Err(Withheld::NotRestored(Unrestorable::VolumeThere(volume.to_owned())))
            }
            (None, true) if known => Ok(None),
            (None, true) => Err(Withheld::NotInState(format!("volume {volume}"))),
            (None, false) => Err(Withheld::DiskMissing(volume.to_owned())),
            (Some(item), false) => {
                self.movable(item)?;
                Ok(Some(item.name.clone()))
            }
        }
    }

    /// Proves a volume in the trash, and that what it stands on is there.
    pub(super) fn movable(&self, item: &TrashItem) -> Result<(), Withheld> {
        proof::volume(self.world, self.view, &item.name, None)?;
        let ours = format!("{}/", self.pool.path);
        let backing = self.pool.volumes.get(&item.name).and_then(|seen| seen.backing.as_deref());
        let base = backing.and_then(|path| path.strip_prefix(&ours));
        match base.filter(|base| !self.pool.volumes.contains_key(*base)) {
            Some(base) => Err(Withheld::NotRestored(Unrestorable::BaseMissing(base.to_owned()))),
            None => Ok(()),
        }
    }
}
