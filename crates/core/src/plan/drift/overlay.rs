//! Overlays that somebody's external snapshots put on disks of ours.

use std::collections::BTreeSet;

use super::{Drift, host::Look};
use crate::{
    model::{DomainShape, DomainView},
    state::VmRecord,
};

/// How long a chain of files may be before it is taken for a circle.
const LONGEST: usize = 200;

/// A volume that is covered, and by what.
pub(super) struct Cover {
    volume: String,
    path: String,
    overlay: Option<String>,
}

impl Look<'_> {
    /// Returns the covered ones among a VM's disks.
    pub(super) fn covers(self, record: &VmRecord, found: &DomainView) -> Vec<Cover> {
        let mut covers: Vec<Cover> = Vec::new();
        for disk in &record.disks {
            let Some(path) = self.path_of(&disk.volume) else { continue };
            let top = self.top_over(&path);
            let shapes = std::iter::once(&found.defined).chain(&found.live);
            let hidden = shapes
                .into_iter()
                .find(|shape| shape.beneath.contains(&top) && !shape.disks.contains(&top));
            if top == path && hidden.is_none() {
                continue;
            }
            let overlay = match hidden {
                Some(shape) => self.outside(record, shape, &path, &covers),
                None => Some(top),
            };
            covers.push(Cover { volume: disk.volume.clone(), path, overlay });
        }
        covers
    }

    pub(super) fn external_snapshot(self, cover: Cover) -> Drift {
        let overlay = cover.overlay.map(|overlay| self.short(&overlay));
        Drift::ExternalSnapshot { volume: cover.volume, overlay }
    }

    /// Returns the file of our pool that lies on top of another; the file itself where none does.
    pub(super) fn top_over(self, path: &str) -> String {
        let mut top = path.to_owned();
        for _ in 0..LONGEST {
            let Some(pool) = self.pool() else { break };
            let mut files = pool.volumes.iter();
            let over = files.find(|(_, view)| view.backing.as_deref() == Some(&top));
            let Some((name, _)) = over else { break };
            top = format!("{}/{name}", pool.path);
        }
        top
    }

    /// Says whether a file of our pool lies, however far up, on one of these.
    pub(super) fn lies_over(self, volume: &str, below: &BTreeSet<String>) -> bool {
        let Some(pool) = self.pool() else { return false };
        let mut name = volume.to_owned();
        for _ in 0..LONGEST {
            let Some(backing) = pool.volumes.get(&name).and_then(|view| view.backing.clone())
            else {
                return false;
            };
            name = self.short(&backing);
            if below.contains(&name) {
                return true;
            }
        }
        false
    }

    /// Returns the disk outside our pool that stands where a volume of ours stood, as far as that
    /// can be told: in its place among the disks, or the only one that is not expected.
    fn outside(
        self,
        record: &VmRecord,
        shape: &DomainShape,
        path: &str,
        covers: &[Cover],
    ) -> Option<String> {
        let expected: BTreeSet<String> =
            record.disks.iter().filter_map(|disk| self.path_of(&disk.volume)).collect();
        let taken = |file: &&String| {
            expected.contains(*file)
                || covers.iter().any(|cover| cover.overlay.as_ref() == Some(file))
        };
        let made = record.applied.as_ref().map(|applied| &applied.shape.disks);
        let place = made.filter(|made| made.len() == shape.disks.len());
        let place = place.and_then(|made| made.iter().position(|file| file == path));
        let there = place.and_then(|place| shape.disks.get(place)).filter(|file| !taken(file));
        there.or_else(|| shape.disks.iter().find(|file| !taken(file))).cloned()
    }
}

/// Returns a shape as it would be without the overlays, which are told apart.
pub(super) fn bare(shape: &DomainShape, covers: &[Cover]) -> DomainShape {
    let mut shape = shape.clone();
    for cover in covers {
        let at = shape.disks.iter().position(|disk| Some(disk) == cover.overlay.as_ref());
        match at {
            Some(at) => shape.disks[at].clone_from(&cover.path),
            None if cover.overlay.is_none() => shape.disks.push(cover.path.clone()),
            None => {}
        }
    }
    shape
}
