//! Whose VMs are whose, and who is where: grouped once, so that a host's part of a plan costs what
//! the host has.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::World;
use crate::{
    model::{DomainView, HostCard, HostName, HostView, Observed, Seen, Vm, VmName},
    state::VmRecord,
};

/// The VMs of each host.
#[derive(Default)]
pub(super) struct Placed<'a> {
    declared: BTreeMap<&'a HostName, Vec<&'a Vm>>,
    made: BTreeMap<&'a HostName, Vec<(&'a VmName, &'a VmRecord)>>,
    /// Domains that were seen, on whatever host.
    domains: BTreeMap<Uuid, Vec<(&'a HostName, &'a DomainView)>>,
    /// Hosts of the fleet by the id on their cards.
    cards: BTreeMap<Uuid, Vec<&'a HostName>>,
}

/// Returns every host that was read.
pub(super) fn read(observed: &Observed) -> impl Iterator<Item = (&HostName, &HostView)> {
    observed.iter().filter_map(|(host, seen)| match seen {
        Seen::Whole(view) => Some((host, &**view)),
        Seen::Unreachable(_) => None,
    })
}

/// Returns all domains that were seen, and where.
pub(super) fn everywhere(observed: &Observed) -> impl Iterator<Item = (&HostName, &DomainView)> {
    read(observed).flat_map(|(host, view)| view.domains.iter().map(move |domain| (host, domain)))
}

impl<'a> Placed<'a> {
    pub(super) fn of(world: &World<'a>) -> Self {
        let mut placed = Self::default();
        for vm in world.fleet.vms.values() {
            let host = &world.decisions.vms[&vm.name].host;
            placed.declared.entry(host).or_default().push(vm);
        }
        for (vm, record) in &world.snapshot.vms {
            placed.made.entry(&record.host).or_default().push((vm, record));
        }
        for (host, domain) in everywhere(world.observed) {
            placed.domains.entry(domain.uuid).or_default().push((host, domain));
        }
        let declared = |host: &HostName| world.fleet.hosts.contains_key(host);
        for (host, view) in read(world.observed).filter(|(host, _)| declared(host)) {
            if let Some(card) = view.card() {
                placed.cards.entry(card.host).or_default().push(host);
            }
        }
        placed
    }

    /// Returns every host that is decided for a VM or has one, declared or not.
    pub(super) fn hosts(&self) -> BTreeSet<&'a HostName> {
        self.declared.keys().chain(self.made.keys()).copied().collect()
    }

    /// Returns the declared VMs whose place is a host.
    pub(super) fn declared(&self, host: &HostName) -> &[&'a Vm] {
        self.declared.get(host).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns a domain with a VM's UUID on any machine but this host.
    pub(super) fn elsewhere(
        &self,
        host: &HostName,
        uuid: Uuid,
    ) -> Option<(&'a HostName, &'a DomainView)> {
        let all = self.domains.get(&uuid)?;
        // Another block of this machine shows the same domain.
        let twins = |hosts: &&Vec<&HostName>| hosts.contains(&host);
        let twins = self.cards.values().find(twins).map(Vec::as_slice).unwrap_or_default();
        let is_here = |other: &HostName| other == host || twins.contains(&other);
        all.iter().find(|(other, _)| !is_here(other)).copied()
    }

    /// Returns another host that shows the same card.
    pub(super) fn same_card(&self, host: &HostName, card: &HostCard) -> Option<&'a HostName> {
        self.cards.get(&card.host)?.iter().find(|other| **other != host).copied()
    }

    /// Returns what the state says was made on a host.
    pub(super) fn made(&self, host: &HostName) -> &[(&'a VmName, &'a VmRecord)] {
        self.made.get(host).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the VMs on a host that this run would look at: those it is to have, and those that
    /// are to go.
    pub(super) fn concerned(&self, world: &World<'_>, host: &HostName) -> BTreeSet<&'a VmName> {
        let makes = world.goal.is_to_make();
        let declared = self.declared(host).iter().filter(|_| makes).map(|vm| &vm.name);
        let goes = |vm: &VmName| match makes {
            true => !world.is_declared(vm),
            false => world.destroys(vm),
        };
        let made = self.made(host).iter().map(|(vm, _)| *vm).filter(|vm| goes(vm));
        declared.chain(made).filter(|vm| world.has_vm(vm)).collect()
    }
}
