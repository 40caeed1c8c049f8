//! What must hold over all hosts at once: one owner, one place, one address.

use std::{collections::BTreeMap, net::Ipv4Addr};

use freehold_core::{
    host::simulated::{SimulatedHost, World},
    model::{Mac, NetworkName, VmName},
    state::{Snapshot, VmDecision},
};
use uuid::Uuid;

use super::Witness;

/// Notes who has what, and says who else has it.
fn claim<'a, K: Ord + Copy + std::fmt::Debug>(
    owners: &mut BTreeMap<K, &'a str>,
    what: K,
    owner: &'a str,
) -> Result<(), String> {
    match owners.insert(what, owner) {
        None => Ok(()),
        Some(other) => Err(format!("{other} and {owner} both have {what:?}")),
    }
}

/// Returns the last incarnation there is of each domain: an earlier one is an old copy, on a host
/// that was given up.
fn last_incarnations<'a>(worlds: impl Iterator<Item = &'a World>) -> BTreeMap<Uuid, u32> {
    let mut last: BTreeMap<Uuid, u32> = BTreeMap::new();
    for domain in worlds.flat_map(|world| world.domains.values()) {
        let known = last.entry(domain.spec.uuid).or_default();
        *known = domain.spec.mark.incarnation.max(*known);
    }
    last
}

impl Witness {
    /// Every name, UUID, MAC, address and volume of ours belongs to one domain at most.
    pub(super) fn one_owner(&self) -> Result<(), String> {
        let worlds: Vec<_> = self.hosts.values().map(SimulatedHost::world).collect();
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        let mut uuids: BTreeMap<Uuid, &str> = BTreeMap::new();
        let mut macs: BTreeMap<Mac, &str> = BTreeMap::new();
        let last = last_incarnations(worlds.iter().map(|world| &**world));
        for world in &worlds {
            let mut volumes: BTreeMap<&str, &str> = BTreeMap::new();
            for (uuid, domain) in &world.domains {
                let (spec, owner) = (&domain.spec, domain.spec.name.as_str());
                if spec.mark.fleet != self.fleet || spec.mark.incarnation < last[uuid] {
                    continue;
                }
                claim(&mut names, &spec.mark.name, owner)?;
                claim(&mut uuids, *uuid, owner)?;
                for nic in &spec.nics {
                    claim(&mut macs, nic.mac, owner)?;
                }
                let disks = spec.disks.iter().map(|disk| &disk.volume);
                for volume in disks.chain(&spec.seed).chain(&spec.nvram) {
                    claim(&mut volumes, volume, owner)?;
                }
            }
        }
        Ok(())
    }

    /// Every address that was decided belongs to one domain at most.
    pub(super) fn one_address(&self, claims: &Snapshot) -> Result<(), String> {
        let decided: BTreeMap<Uuid, (&VmName, &VmDecision)> =
            claims.decisions.vms.iter().map(|(vm, it)| (it.uuid, (vm, it))).collect();
        let mut addresses: BTreeMap<(&NetworkName, Ipv4Addr), &str> = BTreeMap::new();
        let worlds: Vec<_> = self.hosts.values().map(SimulatedHost::world).collect();
        let last = last_incarnations(worlds.iter().map(|world| &**world));
        for world in &worlds {
            let living = world.domains.values();
            for domain in living.filter(|one| one.spec.mark.incarnation == last[&one.spec.uuid]) {
                let Some((vm, decision)) = decided.get(&domain.spec.uuid) else { continue };
                for nic in &decision.nics {
                    if let Some(address) = nic.address {
                        claim(&mut addresses, (&nic.network, address), vm.as_str())?;
                    }
                }
            }
        }
        Ok(())
    }
}
