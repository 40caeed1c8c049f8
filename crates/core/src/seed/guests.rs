//! The seeds and keys of a fleet's guests, from what was decided about them.

use super::{Identity, Seed, SeedAddress, SeedNic, SeedSpec, digest, seed};
use crate::{
    model::{Fleet, FleetId, Network, NetworkKind, SeedDigest, Vm, VmName},
    state::{NicDecision, VmDecision},
};

/// Makes the seeds and keys of one fleet's guests.
#[derive(Debug)]
pub struct Guests {
    identity: Identity,
    fleet: FleetId,
}

impl Guests {
    /// Takes the identity secret of a fleet.
    pub fn new(identity: Identity, fleet: FleetId) -> Self {
        Self { identity, fleet }
    }

    /// Returns the public host key of a VM's key epoch, `ssh-ed25519 AAAA…`.
    pub fn host_key(&self, vm: &VmName, epoch: u32) -> String {
        self.identity.host_key(self.fleet, vm, epoch).public()
    }

    /// Returns the digest of what a VM's seed says.
    pub fn seed_digest(&self, fleet: &Fleet, vm: &Vm, decision: &VmDecision) -> SeedDigest {
        digest(&self.spec(fleet, vm, decision))
    }

    /// Returns a VM's seed.
    pub fn seed(&self, fleet: &Fleet, vm: &Vm, decision: &VmDecision) -> Seed {
        seed(&self.spec(fleet, vm, decision)).expect("a seed in memory has room for its files")
    }

    fn spec(&self, fleet: &Fleet, vm: &Vm, decision: &VmDecision) -> SeedSpec {
        let nic = |nic: &NicDecision| SeedNic {
            mac: nic.mac,
            address: seed_address(&fleet.networks[&nic.network], nic),
        };
        let root = decision.root_name(&vm.name);
        SeedSpec {
            uuid: decision.uuid,
            incarnation: decision.incarnation,
            name: vm.name.clone(),
            nics: decision.nics.iter().map(nic).collect(),
            cloud_init: vm.cloud_init.clone(),
            host_key: self.identity.host_key(self.fleet, root, decision.key_epoch),
        }
    }
}

fn seed_address(network: &Network, nic: &NicDecision) -> SeedAddress {
    let (Some(address), Some(subnet)) = (nic.address, network.subnet) else {
        return SeedAddress::Dhcp;
    };
    // Behind NAT the host is the router, and its dnsmasq the name server.
    let nat = network.kind == NetworkKind::Nat;
    let gateway = network.gateway.or_else(|| nat.then(|| subnet.hosts().next()).flatten());
    let mut dns = network.dns.clone();
    if let Some(router) = gateway.filter(|_| nat && dns.is_empty()) {
        dns.push(router.into());
    }
    SeedAddress::Static { address, prefix: subnet.prefix_len(), gateway, dns }
}
