//! The last look at a plan: one that would break a law is refused, wherever it comes from.
//!
//! It trusts nothing that the planner concluded: it compares the plan's own words with the state and
//! with what was seen.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Consent, Plan, Reason, VmRemoval, Work, World, trash::of_trash};
use crate::model::{Seen, VmName};

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
    /// Something that is not ours would be touched.
    #[error("vm {vm}: {what} is not this fleet's, and would be touched")]
    Foreign {
        /// The VM.
        vm: VmName,
        /// What.
        what: String,
    },
    /// Something that is not in the trash would be treated as if it were.
    #[error("volume {0} does not lie in the trash, or is not listed on the host's card")]
    NotTrash(String),
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
        for change in &self.changes {
            if let Some(removal) = change.removal() {
                broken.extend(of_removal(world, change, removal));
            }
            broken.extend(of_touch(world, change));
            broken.extend(of_trash(world, change));
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

fn of_removal(world: &World<'_>, change: &Change, removal: &VmRemoval) -> Vec<Broken> {
    let vm = &removal.vm;
    let mut broken = Vec::new();
    let record = world.snapshot.vms.get(vm);
    let foreign = |what: String| Broken::Foreign { vm: vm.clone(), what };
    let Some(record) = record.filter(|record| record.uuid == removal.uuid) else {
        return vec![foreign(format!("the domain with UUID {}", removal.uuid))];
    };
    if record.protect
        || change.vm().and_then(|vm| world.fleet.vms.get(vm)).is_some_and(|v| v.protect)
    {
        broken.push(Broken::Protected(vm.clone()));
    }
    for (volume, _) in &removal.trash {
        let Some(disk) = record.disks.iter().find(|disk| disk.volume == *volume) else {
            broken.push(foreign(format!("volume {volume}")));
            continue;
        };
        if disk.keep && !change.reasons.contains(&Reason::Unkeep(disk.name.clone())) {
            broken.push(Broken::KeptDisk { vm: vm.clone(), volume: volume.clone() });
        }
    }
    let prefix = crate::model::seed_prefix(world.fleet.id, removal.uuid);
    let destroyed = removal.discard.iter().filter(|volume| !volume.starts_with(&prefix));
    broken.extend(
        destroyed.map(|volume| Broken::Destroyed { vm: vm.clone(), volume: volume.clone() }),
    );
    broken
}

/// What is there is touched only where it bears our mark, or is given it back by name.
fn of_touch(world: &World<'_>, change: &Change) -> Option<Broken> {
    let vm = change.vm()?;
    let uuid = match (change.making(), change.removal()) {
        (_, Some(removal)) => removal.uuid,
        (Some(work), None) => work.spec.uuid,
        (None, None) => return None,
    };
    let Some(Seen::Whole(view)) = world.observed.get(&change.host) else {
        let what = format!("host {}, which was not read,", change.host);
        return Some(Broken::Foreign { vm: vm.clone(), what });
    };
    let found = view.domains.iter().find(|domain| domain.uuid == uuid)?;
    let adopted = matches!(change.work, Work::VmAdopted(_));
    let ours = found.mark.as_ref().is_some_and(|mark| mark.fleet == world.fleet.id);
    let unmarked = found.mark.is_none() && adopted;
    let what = format!("domain {} ({uuid})", found.name);
    (!ours && !unmarked).then(|| Broken::Foreign { vm: vm.clone(), what })
}
