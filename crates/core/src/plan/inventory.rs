//! The fleet as outsiders shall see it once a draft is carried out.

use std::collections::BTreeSet;

use super::{Change, Draft, World};
use crate::{
    model::{DomainState, Inventory, InventoryVm, Seen, Vm, VmName, VmState},
    state::VmDecision,
};

impl Draft {
    /// Returns the inventory that plugins propose edits for: declared VMs that are there or will
    /// be, whether or not their host answers, and are not stopped on purpose.
    pub fn inventory(&self, world: &World<'_>) -> Inventory {
        let mut inventory = Inventory::empty(world.fleet, world.snapshot.serial);
        let changed: BTreeSet<&VmName> = self.changes.iter().filter_map(Change::vm).collect();
        let will_be_there = |vm: &VmName| {
            let begun = world.snapshot.vms.contains_key(world.recorded_name(vm));
            !world.destroys(vm) && (begun || changed.contains(vm))
        };
        for vm in world.fleet.vms.values() {
            if will_be_there(&vm.name)
                && vm.running
                && let Some(decision) = world.decisions.vms.get(&vm.name)
            {
                inventory.vms.insert(vm.name.clone(), inventory_vm(world, vm, decision));
            }
        }
        inventory
    }
}

fn inventory_vm(world: &World<'_>, vm: &Vm, decision: &VmDecision) -> InventoryVm {
    // By network: the text may have another one in between by now.
    let mut decided: Vec<_> = decision.nics.iter().collect();
    let addresses = vm.nics.iter().filter_map(|wanted| {
        let at = decided.iter().position(|nic| nic.network == wanted.network)?;
        let reachable = world.fleet.networks[&wanted.network].kind.is_reachable();
        let address = decided.remove(at).address;
        address.filter(|_| wanted.publish.unwrap_or(reachable))
    });
    InventoryVm {
        name: vm.name.clone(),
        uuid: decision.uuid,
        host: decision.host.clone(),
        image: vm.image.clone(),
        cpus: vm.cpus,
        memory: vm.memory,
        addresses: addresses.collect(),
        dns: vm.dns.clone(),
        exporters: vm.metrics.clone(),
        groups: vm.groups.clone(),
        labels: vm.labels.clone(),
        host_key: decision.host_key.clone(),
        state: vm_state(world, decision),
    }
}

/// Apply starts what does not run, so what was read of a host counts as running; a crash does not
/// take a target away either.
fn vm_state(world: &World<'_>, decision: &VmDecision) -> VmState {
    match world.observed.get(&decision.host) {
        Some(Seen::Whole(view)) => {
            let found = view.domains.iter().find(|domain| domain.uuid == decision.uuid);
            match found.map(|domain| domain.state) {
                Some(DomainState::Crashed) => VmState::Stopped,
                _ => VmState::Running,
            }
        }
        Some(Seen::Unreachable(_)) | None => VmState::Unknown,
    }
}
