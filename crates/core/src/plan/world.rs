//! Everything a plan is made from.

use uuid::Uuid;

use super::{Goal, Scope};
use crate::{
    model::{Fleet, HostName, Observed, SeedDigest, Vm, VmName},
    state::{Decisions, Snapshot, VmDecision},
};

/// Everything a plan is made from.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// What is wanted.
    pub fleet: &'a Fleet,
    /// What was decided, for every VM of the fleet.
    pub decisions: &'a Decisions,
    /// What was done.
    pub snapshot: &'a Snapshot,
    /// By how many runs the state may lag behind the hosts: by one whose journal was lost.
    pub lag: u64,
    /// What was seen.
    pub observed: &'a Observed,
    /// What this run is for.
    pub goal: &'a Goal,
    /// The part of the fleet it is about.
    pub scope: &'a Scope,
    /// Gives the digest of what a VM's seed is made from.
    pub seed_digest: &'a dyn Fn(&Vm, &VmDecision) -> SeedDigest,
    /// Gives the id of a host that has none.
    pub fresh_id: &'a dyn Fn(&HostName) -> Uuid,
    /// When this is, for the names in the trash: `20261122T121314Z`.
    pub stamp: &'a str,
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("fleet", &self.fleet.name).finish_non_exhaustive()
    }
}

impl World<'_> {
    /// Says whether this run is about a VM, by any name it goes by.
    pub fn has_vm(&self, vm: &VmName) -> bool {
        let is_it = |name: &VmName| self.scope.has_vm(name) && self.goal.is_about(name);
        self.names_of(vm).any(is_it)
    }

    /// Says whether a VM is to be taken away by name, by any it goes by.
    pub(super) fn destroys(&self, vm: &VmName) -> bool {
        self.names_of(vm).any(|name| self.goal.destroys(name))
    }

    /// Says whether this run is about the whole fleet.
    pub(super) fn is_whole(&self) -> bool {
        self.scope.is_all() && matches!(self.goal, Goal::Converge | Goal::Destroy(None))
    }

    /// Returns the names of one VM: one that is not renamed yet has that of the state and that of
    /// the text, and people say either.
    fn names_of<'b>(&'b self, vm: &'b VmName) -> impl Iterator<Item = &'b VmName> {
        let wanted = self
            .fleet
            .moved
            .iter()
            .filter(move |(to, before)| before.contains(vm) && self.recorded_name(to) == vm);
        [vm, self.recorded_name(vm)].into_iter().chain(wanted.map(|(to, _)| to))
    }

    /// Returns the name that the state knows a declared VM by: an earlier one as long as it was not
    /// renamed.
    pub fn recorded_name<'b>(&'b self, vm: &'b VmName) -> &'b VmName {
        if self.snapshot.vms.contains_key(vm) {
            return vm;
        }
        let mut before = self.fleet.moved.get(vm).into_iter().flatten();
        before.find(|from| self.snapshot.vms.contains_key(*from)).unwrap_or(vm)
    }

    /// Returns the block of a VM of the state, under whatever name it is declared.
    pub(super) fn declared_as(&self, recorded: &VmName) -> Option<&Vm> {
        let is_it = |(to, before): &(&VmName, &Vec<VmName>)| {
            before.contains(recorded) && !self.snapshot.vms.contains_key(*to)
        };
        let renamed = || self.fleet.moved.iter().find(is_it).map(|(to, _)| to);
        let vms = &self.fleet.vms;
        vms.get(recorded).or_else(|| renamed().and_then(|to| vms.get(to)))
    }

    /// Says whether a VM of the state is declared, under whatever name.
    pub(super) fn is_declared(&self, recorded: &VmName) -> bool {
        self.declared_as(recorded).is_some()
    }
}
