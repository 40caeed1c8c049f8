//! Images brought ahead of time, and those nobody needs any more.
//!
//! An image goes only when this fleet does not declare it, this fleet's list on the host's card has it,
//! and nothing that was seen stands on it; the host looks once more, at every chain of every pool, right
//! before it removes the file.

use std::collections::BTreeSet;

use super::{
    Action, Broken, Change, Object, Reason, Work, World, draft::HostDraft, image_spec, proof,
    wanted::image_volume,
};
use crate::model::{FleetId, HostCard, HostName, HostView, ImageName, Impact, Seen, Size};

/// How names of images begin.
const PREFIX: &str = "image.";

/// An image in a host's pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Where.
    pub host: HostName,
    /// Its file.
    pub volume: String,
    /// What the fleet's text calls it; several names may mean one file.
    pub names: Vec<ImageName>,
    /// Its size as a guest sees it.
    pub size: Size,
    /// What it takes of the pool's file system.
    pub used: Size,
    /// Domains that name it, and volumes in the pool that stand on it, the trash included.
    pub users: Vec<String>,
    /// Whether this fleet brought it.
    pub ours: bool,
    /// Whether other fleets brought it.
    pub others: bool,
}

/// Returns the images of all hosts that were read, by host.
pub fn images(world: &World<'_>) -> Vec<StoredImage> {
    let whole = world.observed.iter().filter_map(|(host, seen)| match seen {
        Seen::Whole(view) => Some((host, view)),
        Seen::Unreachable(_) => None,
    });
    whole.flat_map(|(host, view)| images_on(world, host, view)).collect()
}

fn images_on(world: &World<'_>, host: &HostName, view: &HostView) -> Vec<StoredImage> {
    let Some(pool) = &view.pool else { return Vec::new() };
    let files = pool.volumes.iter().filter(|(name, _)| name.starts_with(PREFIX));
    let image = |(volume, seen): (&String, &crate::model::VolumeView)| {
        let path = format!("{}/{volume}", pool.path);
        let over = pool.volumes.iter().filter(|(_, over)| over.backing.as_ref() == Some(&path));
        let domains = view.domains.iter().filter(|domain| {
            let shapes = std::iter::once(&domain.defined).chain(&domain.live);
            let mut files = shapes.flat_map(|shape| shape.disks.iter().chain(&shape.cdroms));
            files.any(|file| *file == path)
        });
        let (ours, others) = listed(pool.card.as_ref(), world.fleet.id, volume);
        StoredImage {
            host: host.clone(),
            volume: volume.clone(),
            names: names_of(world, volume),
            size: seen.capacity,
            used: seen.used,
            users: over
                .map(|(name, _)| name.clone())
                .chain(domains.map(|domain| format!("domain {}", domain.name)))
                .collect(),
            ours,
            others,
        }
    };
    files.map(image).collect()
}

/// Says whether this fleet's list on a card has a file, and whether another's has.
fn listed(card: Option<&HostCard>, fleet: FleetId, volume: &str) -> (bool, bool) {
    let (fleet, mut ours, mut others) = (fleet.to_string(), false, false);
    for (id, volumes) in card.into_iter().flat_map(|card| &card.volumes) {
        let has = volumes.iter().any(|listed| listed == volume);
        *(if *id == fleet { &mut ours } else { &mut others }) |= has;
    }
    (ours, others)
}

fn names_of(world: &World<'_>, volume: &str) -> Vec<ImageName> {
    let images = world.fleet.images.values();
    let same = images.filter(|image| image_volume(image) == volume);
    same.map(|image| image.name.clone()).collect()
}

impl HostDraft<'_> {
    /// Brings these images, where they are not.
    pub(super) fn pull(&mut self, names: &BTreeSet<ImageName>) {
        let pool = self.view.pool.as_ref();
        let lacks = |name: &&ImageName| {
            let volume = image_volume(&self.world.fleet.images[*name]);
            !pool.is_some_and(|pool| pool.volumes.contains_key(&volume))
        };
        let missing: Vec<_> = names.iter().filter(lacks).cloned().collect();
        if pool.is_none() && !missing.is_empty() {
            self.change(Object::Pool, Action::Create, Impact::Live, Reason::New, Work::Pool);
        }
        let mut brought = BTreeSet::new();
        for name in missing {
            let spec = image_spec(self.world.fleet, &self.world.fleet.images[&name]);
            // Two names of one file.
            if brought.insert(spec.volume.clone()) {
                let (object, work) = (Object::Image(name), Work::Image(spec));
                self.change(object, Action::Create, Impact::Live, Reason::Asked, work);
            }
        }
    }

    /// Removes images that nobody needs.
    pub(super) fn prune(&mut self) {
        for image in images_on(self.world, &self.host.name, self.view) {
            if !image.ours || !image.names.is_empty() {
                continue;
            }
            // In use is no trouble: it goes when it is not.
            let unused = proof::volume(self.world, self.view, &image.volume, None) == Ok(true);
            if unused || image.others {
                let object = Object::Stored(image.volume.clone());
                // Of one that another fleet brought too, this one only forgets.
                let (volume, remove) = (image.volume, unused && !image.others);
                let work = Work::ImageGone { volume, remove, used: image.used };
                self.change(object, Action::Remove, Impact::Live, Reason::NotDeclared, work);
            }
        }
    }
}

/// Returns the law that removing an image would break.
pub(super) fn of_images(world: &World<'_>, change: &Change) -> Option<Broken> {
    let Work::ImageGone { volume, .. } = &change.work else { return None };
    let Some(Seen::Whole(view)) = world.observed.get(&change.host) else {
        return Some(Broken::Image(volume.clone()));
    };
    let card = view.pool.as_ref().and_then(|pool| pool.card.as_ref());
    let (ours, others) = listed(card, world.fleet.id, volume);
    let removes = matches!(change.work, Work::ImageGone { remove: true, .. });
    let fine = volume.starts_with(PREFIX)
        && ours
        && !(removes && others)
        && names_of(world, volume).is_empty();
    (!fine).then(|| Broken::Image(volume.clone()))
}
