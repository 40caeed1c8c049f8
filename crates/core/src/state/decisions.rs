//! What was decided about VMs, once and for life.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Snapshot, wire::VmDecisionWire};
use crate::model::{DiskName, HostName, Mac, NetworkName, VmName};

/// Everything that was decided: the value behind `freehold.lock`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decisions {
    /// Fingerprint of the identity secret that guests' host keys derive from.
    pub identity: Option<String>,
    /// By VM.
    pub vms: BTreeMap<VmName, VmDecision>,
}

/// What was decided about one VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "VmDecisionWire", into = "VmDecisionWire")]
pub struct VmDecision {
    /// Its UUID.
    pub uuid: Uuid,
    /// The host it lives on.
    pub host: HostName,
    /// Raised when it is made again.
    pub incarnation: u32,
    /// Raised only when its keys are rotated.
    pub key_epoch: u32,
    /// Its public SSH host key, `ssh-ed25519 AAAA…`.
    pub host_key: String,
    /// Its interfaces, in order.
    pub nics: Vec<NicDecision>,
    /// Its disks, in order.
    pub disks: Vec<DiskDecision>,
    /// Whether it was removed: a tombstone, so that a VM of that name gets the same again.
    pub removed: bool,
    /// Whether it is no longer managed: it may live on, so its address stays taken.
    pub forgotten: bool,
    /// What it was called when its keys and MACs were derived, where it was renamed since.
    pub born: Option<VmName>,
}

impl VmDecision {
    /// Returns the name its keys and MACs derive from; `name` is what it is called.
    pub fn root_name<'a>(&'a self, name: &'a VmName) -> &'a VmName {
        self.born.as_ref().unwrap_or(name)
    }
}

/// What was decided about an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicDecision {
    /// The network.
    pub network: NetworkName,
    /// Its MAC address.
    pub mac: Mac,
    /// Its address, unless a DHCP server gives one.
    pub address: Option<Ipv4Addr>,
}

/// What was decided about a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskDecision {
    /// Its name in the VM.
    pub name: DiskName,
    /// Its volume.
    pub volume: String,
}

impl Decisions {
    /// Makes tombstones of the VMs that a state says were removed. A VM that was decided anew
    /// since is none.
    pub fn bury(&mut self, applied: &Snapshot) {
        for (name, decision) in &mut self.vms {
            let buried = applied
                .decisions
                .vms
                .get(name)
                .is_some_and(|old| old.removed && old.incarnation >= decision.incarnation);
            let away = !applied.vms.contains_key(name);
            decision.removed = away && (decision.removed || buried);
            let forgotten = applied.decisions.vms.get(name).is_some_and(|old| old.forgotten);
            decision.forgotten = away && forgotten;
        }
    }

    /// Returns what two VMs both claim, in words: a UUID, a MAC, or an address of a network.
    /// A tombstone's address may be another's by now.
    pub fn first_clash(&self) -> Option<String> {
        let mut claims: BTreeMap<String, &VmName> = BTreeMap::new();
        for (name, vm) in &self.vms {
            let uuid = std::iter::once(format!("UUID {}", vm.uuid));
            let macs = vm.nics.iter().map(|nic| format!("MAC {}", nic.mac));
            let living = vm.nics.iter().filter(|_| !vm.removed);
            let addresses = living.filter_map(|nic| {
                nic.address.map(|address| format!("address {address} of network {}", nic.network))
            });
            for claim in uuid.chain(macs).chain(addresses) {
                if let Some(other) = claims.insert(claim.clone(), name) {
                    return Some(format!("{other} and {name} both have {claim}"));
                }
            }
        }
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{FleetId, domain_uuid, nic_mac, volume_name};

    /// Two VMs that were decided.
    pub(in crate::state) fn two_vms() -> Decisions {
        let fleet = FleetId::from_bytes([7; 16]);
        let decide = |n: u8| {
            let name: VmName = format!("web-{n}").parse().unwrap();
            let uuid = domain_uuid(fleet, &name, 0);
            let root: DiskName = "root".parse().unwrap();
            let decision = VmDecision {
                uuid,
                host: "rack1".parse().unwrap(),
                incarnation: 1,
                key_epoch: 1,
                host_key: "ssh-ed25519 AAAA".into(),
                nics: vec![NicDecision {
                    network: "lan".parse().unwrap(),
                    mac: nic_mac(fleet, &name, 0, 0),
                    address: Some(Ipv4Addr::new(10, 77, 0, 100 + n)),
                }],
                disks: vec![DiskDecision {
                    volume: volume_name(fleet, uuid, &root, 0),
                    name: root,
                }],
                removed: false,
                forgotten: false,
                born: None,
            };
            (name, decision)
        };
        let vms = [decide(0), decide(1)].into();
        Decisions { identity: Some("SHA256:x".into()), vms }
    }

    #[test]
    fn names_both_claimants() {
        let mut decisions = two_vms();
        assert_eq!(decisions.first_clash(), None);
        let uuid = decisions.vms.values().next().unwrap().uuid;
        decisions.vms.values_mut().last().unwrap().uuid = uuid;
        assert!(decisions.first_clash().unwrap().starts_with("web-0 and web-1 both have UUID"));
    }
}
