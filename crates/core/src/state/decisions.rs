//! What was decided about VMs, once and for life.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Claim, Clash, Snapshot, wire::VmDecisionWire};
use crate::model::{DiskName, Fleet, HostName, Mac, NetworkName, VmName};

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
            let old = applied.decisions.vms.get(name);
            let buried =
                old.is_some_and(|old| old.removed && old.incarnation >= decision.incarnation);
            let away = !applied.vms.contains_key(name);
            decision.removed = away && (decision.removed || buried);
            // A fresh clone has no state that says so: then what the lock says holds.
            decision.forgotten = away && old.map_or(decision.forgotten, |old| old.forgotten);
        }
    }

    /// Returns the tombstones that nothing needs any more: VMs that were removed, are not declared,
    /// and left no disk behind.
    pub fn prunable(&self, declared: &Fleet, applied: &Snapshot) -> Vec<VmName> {
        let needed = |name: &VmName| {
            declared.vms.contains_key(name)
                || applied.vms.contains_key(name)
                || applied.kept.iter().any(|kept| kept.vm == *name)
        };
        let dead = self.vms.iter().filter(|(name, vm)| vm.removed && !needed(name));
        dead.map(|(name, _)| name.clone()).collect()
    }

    /// Returns the first thing that two VMs both claim.
    pub fn first_clash(&self) -> Option<Clash> {
        let mut claims = BTreeMap::new();
        for (name, vm) in &self.vms {
            for claim in Claim::all_of(vm) {
                if let Some(one) = claims.insert(claim.clone(), name) {
                    return Some(Clash { one: one.clone(), other: name.clone(), claim });
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
        let clash = |change: fn(&mut VmDecision, &VmDecision)| {
            let mut decisions = two_vms();
            let first = decisions.vms.values().next().unwrap().clone();
            change(decisions.vms.values_mut().last().unwrap(), &first);
            decisions.first_clash().map(|clash| clash.to_string()).unwrap_or_default()
        };
        assert_eq!(clash(|_, _| {}), "");
        for (change, word) in [
            ((|vm, first| vm.uuid = first.uuid) as fn(&mut VmDecision, &VmDecision), "UUID"),
            (|vm, first| vm.nics[0].mac = first.nics[0].mac, "MAC"),
            (|vm, first| vm.nics[0].address = first.nics[0].address, "address 10.77.0.100"),
            (|vm, first| vm.disks[0].volume.clone_from(&first.disks[0].volume), "volume"),
        ] {
            let said = clash(change);
            assert!(said.starts_with(&format!("vm web-0 and vm web-1 both have {word}")), "{said}");
        }
    }

    #[test]
    fn the_address_of_a_tombstone_may_be_anothers() {
        let mut decisions = two_vms();
        let address = decisions.vms.values().next().unwrap().nics[0].address;
        let last = decisions.vms.values_mut().last().unwrap();
        (last.nics[0].address, last.removed) = (address, true);
        assert_eq!(decisions.first_clash(), None);
    }
}
