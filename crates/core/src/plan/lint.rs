//! The last look at a plan: one that would break a law is refused, wherever it comes from.
//!
//! It trusts nothing that the planner concluded: it compares the plan's own words with the state and
//! with what was seen.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    Change, Consent, Detached, Object, Plan, Reason, VmRemoval, VmWork, Work, World,
    images::of_images,
    removal::{is_kept, is_protected},
    trash::of_trash,
};
use crate::{
    model::{DomainView, HostName, Seen, VmName, seed_prefix, volume_prefix},
    state::{DiskRecord, VmRecord},
};

/// A law that a plan would break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A disk that is to be kept would go.
    #[error("vm {vm}: volume {volume} is to be kept, and would go to the trash")]
    KeptDisk {
        /// The VM.
        vm: VmName,
        /// The volume.
        volume: String,
    },
    /// A VM that is protected would be taken away.
    #[error("vm {0} is protected, and would be taken away")]
    Protected(VmName),
    /// A promise would be lifted that nobody was asked about.
    #[error("vm {vm}: {promise} would be lifted without a word")]
    Promise {
        /// The VM.
        vm: VmName,
        /// What was promised.
        promise: String,
    },
    /// Something that is not ours would be touched.
    #[error("{object}: {what} is not this fleet's, and would be touched")]
    Foreign {
        /// What the change is about.
        object: Object,
        /// What.
        what: String,
    },
    /// Something that is not in the trash would be treated as if it were.
    #[error("volume {0} does not lie in the trash, or is not listed on the host's card")]
    NotTrash(String),
    /// An image would go that is declared, or that is not this fleet's.
    #[error("image {0} is declared, or is not this fleet's, and would be removed")]
    Image(String),
    /// Two VMs would have one address.
    #[error("{first} and {second} would both have {address} of network {network}")]
    OneAddress {
        /// One VM.
        first: VmName,
        /// The other.
        second: VmName,
        /// The address.
        address: std::net::Ipv4Addr,
        /// Its network.
        network: crate::model::NetworkName,
    },
    /// More would vanish than was consented to.
    #[error("{wanted} VMs and networks would vanish, {allowed} may")]
    Budget {
        /// How many would.
        wanted: usize,
        /// How many may.
        allowed: usize,
    },
    /// Something other than a seed would be destroyed.
    #[error("vm {vm}: volume {volume} would be destroyed rather than moved to the trash")]
    Destroyed {
        /// The VM.
        vm: VmName,
        /// The volume.
        volume: String,
    },
}

impl Plan {
    /// Returns the laws that carrying this plan out would break; `consent` is what was agreed to.
    pub fn broken_laws(&self, world: &World<'_>, consent: &Consent) -> Vec<Broken> {
        let mut broken = Vec::new();
        let vms = world.snapshot.vms.iter();
        let vms: Recorded<'_> = vms.map(|(vm, record)| (record.uuid, (vm, record))).collect();
        for change in &self.changes {
            if let Some(removal) = change.removal() {
                let known = Known::of(world, &vms, &change.host, removal.uuid);
                broken.extend(of_removal(world, change, removal, known));
            }
            if let Some(work) = change.making() {
                let known = Known::of(world, &vms, &change.host, work.spec.uuid);
                broken.extend(of_making(world, change, work, known));
            }
            if let Work::CopyGone(removal) = &change.work {
                broken.extend(of_copy(world, change, removal));
            }
            broken.extend(of_touch(world, change));
            broken.extend(of_trash(world, change));
            broken.extend(of_images(world, change));
        }
        broken.extend(self.shared_addresses(world));
        let (wanted, allowed) =
            (self.vanishing(), consent.deletes.unwrap_or_else(|| self.budget()));
        if wanted > allowed {
            broken.push(Broken::Budget { wanted, allowed });
        }
        broken
    }

    fn shared_addresses(&self, world: &World<'_>) -> Vec<Broken> {
        let removed: BTreeSet<&VmName> = self
            .changes
            .iter()
            .filter(|change| matches!(change.work, Work::VmGone(_)))
            .filter_map(Change::vm)
            .collect();
        let renamed = self.changes.iter().filter_map(Change::making);
        let renamed: BTreeSet<&VmName> = renamed.filter_map(|work| work.renamed.as_ref()).collect();
        let made: BTreeMap<_, _> = self.changes.iter().filter_map(Change::decided).collect();
        let stays =
            world.snapshot.vms.keys().filter(|vm| {
                !removed.contains(vm) && !renamed.contains(vm) && !made.contains_key(*vm)
            });
        let there = stays.filter_map(|vm| Some((vm, world.snapshot.decisions.vms.get(vm)?)));
        let mut holders = BTreeMap::new();
        let mut broken = Vec::new();
        for (vm, decision) in there.chain(made.iter().map(|(vm, decision)| (*vm, *decision))) {
            for nic in &decision.nics {
                let Some(address) = nic.address else { continue };
                let other: Option<&VmName> = holders.insert((&nic.network, address), vm);
                if let Some(first) = other.filter(|other| *other != vm) {
                    let (first, second) = (first.clone(), vm.clone());
                    let network = nic.network.clone();
                    broken.push(Broken::OneAddress { first, second, address, network });
                }
            }
        }
        broken
    }
}

/// What the state knows, by UUID: a change may be about a VM's next name.
type Recorded<'a> = BTreeMap<Uuid, (&'a VmName, &'a VmRecord)>;

/// What the state and the host say of the VM that a change touches.
struct Known<'a> {
    name: &'a VmName,
    record: &'a VmRecord,
    found: Option<&'a DomainView>,
}

impl<'a> Known<'a> {
    fn of(world: &World<'a>, vms: &Recorded<'a>, host: &HostName, uuid: Uuid) -> Option<Self> {
        let (name, record) = *vms.get(&uuid)?;
        let found = match world.observed.get(host) {
            Some(Seen::Whole(view)) => view.domains.iter().find(|domain| domain.uuid == uuid),
            _ => None,
        };
        Some(Self { name, record, found })
    }

    /// Says what is wrong with putting a volume of its into the trash.
    fn loses(&self, world: &World<'_>, change: &Change, volume: &str) -> Option<Broken> {
        let disk = self.record.disks.iter().find(|disk| disk.volume == volume);
        let Some(disk) = disk else { return Some(foreign(change, format!("volume {volume}"))) };
        let agreed = change.reasons.contains(&Reason::Unkeep(disk.name.clone()));
        (is_kept(world, self.name, self.found, disk) && !agreed)
            .then(|| Broken::KeptDisk { vm: self.name.clone(), volume: volume.to_owned() })
    }
}

fn foreign(change: &Change, what: String) -> Broken {
    Broken::Foreign { object: change.object.clone(), what }
}

fn of_removal(
    world: &World<'_>,
    change: &Change,
    removal: &VmRemoval,
    known: Option<Known<'_>>,
) -> Vec<Broken> {
    let Some(known) = known else {
        return vec![foreign(change, format!("the domain with UUID {}", removal.uuid))];
    };
    let mut broken = Vec::new();
    if is_protected(world, known.name, known.record, known.found) {
        broken.push(Broken::Protected(removal.vm.clone()));
    }
    let trashed = removal.trash.iter();
    broken.extend(trashed.filter_map(|(volume, _)| known.loses(world, change, volume)));
    broken.extend(destroyed(world, removal));
    broken
}

/// An old copy is one that the state knows in a later incarnation on another host; what is destroyed
/// of it is its seed.
fn of_copy(world: &World<'_>, change: &Change, removal: &VmRemoval) -> Vec<Broken> {
    let decided = world.snapshot.decisions.vms.values();
    let mut living = decided.filter(|decision| decision.uuid == removal.uuid);
    let found = match world.observed.get(&change.host) {
        Some(Seen::Whole(view)) => view.domains.iter().find(|one| one.uuid == removal.uuid),
        _ => None,
    };
    let mark = found.and_then(|found| found.mark.as_ref());
    let is_old = living.any(|it| {
        let marked = match (found, mark) {
            (None, _) => Some(it.incarnation.saturating_sub(1)),
            (Some(_), mark) => {
                mark.filter(|mark| mark.fleet == world.fleet.id).map(|mark| mark.incarnation)
            }
        };
        it.host != change.host && marked.is_some_and(|marked| marked < it.incarnation)
    });
    let mut broken = Vec::new();
    if !is_old {
        broken.push(foreign(change, format!("the domain with UUID {}", removal.uuid)));
    }
    let own = volume_prefix(world.fleet.id, removal.uuid);
    let strange = removal.trash.iter().filter(|(volume, _)| !volume.starts_with(&own));
    broken.extend(strange.map(|(volume, _)| foreign(change, format!("volume {volume}"))));
    broken.extend(destroyed(world, removal));
    broken
}

/// What of a removal is no seed, and would be destroyed.
fn destroyed(world: &World<'_>, removal: &VmRemoval) -> Vec<Broken> {
    let prefix = seed_prefix(world.fleet.id, removal.uuid);
    let destroyed = removal.discard.iter().filter(|volume| !volume.starts_with(&prefix));
    let broken = destroyed
        .map(|volume| Broken::Destroyed { vm: removal.vm.clone(), volume: volume.clone() });
    broken.collect()
}

/// What is made or changed keeps what was promised of it.
fn of_making(
    world: &World<'_>,
    change: &Change,
    work: &VmWork,
    known: Option<Known<'_>>,
) -> Vec<Broken> {
    let trashed = work.detach.iter().filter(|(_, end)| matches!(end, Detached::Trashed(_)));
    let Some(known) = known else {
        let volumes = trashed.map(|(volume, _)| foreign(change, format!("volume {volume}")));
        return volumes.collect();
    };
    let mut broken: Vec<_> =
        trashed.filter_map(|(volume, _)| known.loses(world, change, volume)).collect();
    let marked = known.found.and_then(|found| found.mark.as_ref());
    let mut lifted = Vec::new();
    let protected = known.record.protect || marked.is_some_and(|mark| mark.protect);
    if protected && !work.spec.mark.protect && !change.reasons.contains(&Reason::Unprotect) {
        lifted.push("its protection".to_owned());
    }
    let stays = |disk: &&DiskRecord| work.decision.disks.iter().any(|one| one.name == disk.name);
    for disk in known.record.disks.iter().filter(stays) {
        let kept = disk.keep || marked.is_some_and(|mark| mark.keep.contains(&disk.name));
        let agreed = change.reasons.contains(&Reason::Unkeep(disk.name.clone()));
        if kept && !work.spec.mark.keep.contains(&disk.name) && !agreed {
            lifted.push(format!("to keep disk {}", disk.name));
        }
    }
    let vm = &work.vm;
    broken.extend(lifted.into_iter().map(|promise| Broken::Promise { vm: vm.clone(), promise }));
    broken
}

/// What is there is touched only where it bears our mark, or is given it back by name.
fn of_touch(world: &World<'_>, change: &Change) -> Option<Broken> {
    let uuid = match (change.making(), change.removal(), &change.work) {
        (_, Some(removal), _) => removal.uuid,
        (Some(work), None, _) => work.spec.uuid,
        (None, None, Work::NetworkGone { uuid, .. }) => *uuid,
        (None, None, _) => return None,
    };
    let Some(Seen::Whole(view)) = world.observed.get(&change.host) else {
        return Some(foreign(change, format!("host {}, which was not read,", change.host)));
    };
    if let Some(found) = view.networks.iter().find(|network| network.uuid == uuid) {
        let ours = found.mark.as_ref().is_some_and(|mark| mark.fleet == world.fleet.id);
        return (!ours).then(|| foreign(change, format!("network {} ({uuid})", found.name)));
    }
    let found = view.domains.iter().find(|domain| domain.uuid == uuid)?;
    let adopted = matches!(change.work, Work::VmAdopted(_)) && found.mark.is_none();
    let ours = found.mark.as_ref().is_some_and(|mark| mark.fleet == world.fleet.id);
    (!ours && !adopted).then(|| foreign(change, format!("domain {} ({uuid})", found.name)))
}
