//! Whose VMs are whose: grouped once, so that a host's part of a plan costs what the host has.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use crate::{
    model::{HostName, Vm, VmName},
    state::VmRecord,
};

/// The VMs of each host.
#[derive(Default)]
pub(super) struct Placed<'a> {
    declared: BTreeMap<&'a HostName, Vec<&'a Vm>>,
    made: BTreeMap<&'a HostName, Vec<(&'a VmName, &'a VmRecord)>>,
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
            false => world.goal.destroys(vm),
        };
        let made = self.made(host).iter().map(|(vm, _)| *vm).filter(|vm| goes(vm));
        declared.chain(made).filter(|vm| world.has_vm(vm)).collect()
    }
}
