//! What must hold once a fleet has converged.

use std::collections::{BTreeMap, BTreeSet};

use freehold_core::{
    model::{DomainState, Firmware, nvram_name, seed_volume_name},
    plan::image_spec,
};

use super::Bed;

impl Bed {
    /// Checks that hosts, server, lock and state are what the text says, and nothing more.
    pub(crate) async fn check(&self, context: &str) {
        let plan = self.plan().await;
        assert!(plan.is_empty(), "{context}: still to do:\n{}", plan.text());
        assert!(plan.held.is_empty(), "{context}: held:\n{}", plan.text());
        self.check_domains(context);
        self.check_volumes(context);
        self.check_records(context);
        self.check_state(context);
    }

    fn check_domains(&self, context: &str) {
        let (fleet, decided) = (self.fleet(), self.decided());
        let mut found = BTreeMap::new();
        for (host, simulated) in &self.hosts {
            for (uuid, domain) in &simulated.world().domains {
                let macs: Vec<_> = domain.spec.nics.iter().map(|nic| nic.mac).collect();
                let seen = (host.clone(), *uuid, macs, domain.spec.mark.incarnation);
                let before = found.insert(domain.spec.name.clone(), seen);
                assert_eq!(before, None, "{context}: {} is there twice", domain.spec.name);
                assert_eq!(domain.state, DomainState::Running, "{context}: {}", domain.spec.name);
                assert!(domain.marked, "{context}: {} has no mark", domain.spec.name);
            }
        }
        let wanted: BTreeMap<_, _> = fleet
            .vms
            .keys()
            .map(|vm| {
                let decision = &decided.vms[vm];
                let macs: Vec<_> = decision.nics.iter().map(|nic| nic.mac).collect();
                let (host, uuid) = (decision.host.clone(), decision.uuid);
                (vm.to_string(), (host, uuid, macs, decision.incarnation))
            })
            .collect();
        assert_eq!(found, wanted, "{context}: domains are those of the lock");
    }

    fn check_volumes(&self, context: &str) {
        let (fleet, decided, snapshot) = (self.fleet(), self.decided(), self.snapshot());
        let images: BTreeSet<_> =
            fleet.images.values().map(|i| image_spec(fleet.id, i).volume).collect();
        for (host, simulated) in &self.hosts {
            let mut wanted: BTreeSet<String> = BTreeSet::new();
            for (name, block) in &fleet.vms {
                let vm = &decided.vms[name];
                if vm.host != *host {
                    continue;
                }
                if block.firmware == Firmware::Uefi {
                    wanted.insert(nvram_name(fleet.id, vm.uuid));
                }
                wanted.extend(vm.disks.iter().map(|disk| disk.volume.clone()));
                wanted.insert(seed_volume_name(fleet.id, vm.uuid, vm.incarnation));
            }
            let kept = snapshot.kept.iter().filter(|kept| kept.host == *host);
            wanted.extend(kept.map(|kept| kept.volume.clone()));
            let world = simulated.world();
            let there: BTreeSet<_> = world
                .volumes
                .keys()
                .filter(|name| !name.starts_with("trash.") && !images.contains(*name))
                .cloned()
                .collect();
            assert_eq!(there, wanted, "{context}: volumes on {host}");
            let index = world
                .card
                .as_ref()
                .and_then(|card| card.volumes.get(&fleet.id.to_string()).cloned());
            let index = index.unwrap_or_default();
            for name in world.volumes.keys() {
                assert!(index.contains(name), "{context}: {name} is not in the index of {host}");
            }
        }
    }

    fn check_records(&self, context: &str) {
        let (fleet, decided) = (self.fleet(), self.decided());
        let wanted: BTreeMap<_, _> = fleet
            .vms
            .values()
            .filter_map(|vm| {
                let addresses = vm.nics.iter().zip(&decided.vms[&vm.name].nics);
                let addresses: Vec<_> = addresses
                    .filter(|(nic, _)| fleet.networks[&nic.network].kind.is_reachable())
                    .filter_map(|(_, nic)| nic.address.map(|address| address.to_string()))
                    .collect();
                let name = format!("{}.example.org", vm.name);
                (!addresses.is_empty()).then_some((name, addresses))
            })
            .collect();
        let records: BTreeMap<_, _> = self
            .server
            .records()
            .into_iter()
            .filter(|(_, record)| record.vm.is_some())
            .map(|(name, record)| (name, record.values))
            .collect();
        assert_eq!(records, wanted, "{context}: records");
        let published: BTreeSet<_> = self.snapshot().published.into_values().collect();
        let served: BTreeSet<_> = records.into_values().collect();
        assert_eq!(published, served, "{context}: the state knows what was published");
    }

    fn check_state(&self, context: &str) {
        let (fleet, decided, snapshot) = (self.fleet(), self.decided(), self.snapshot());
        assert_eq!(snapshot.pending, [], "{context}");
        let made: Vec<_> = snapshot.vms.keys().collect();
        assert_eq!(made, fleet.vms.keys().collect::<Vec<_>>(), "{context}: VMs of the state");
        for vm in fleet.vms.keys() {
            assert_eq!(snapshot.decisions.vms[vm], decided.vms[vm], "{context}: {vm}");
        }
        for (host, id) in &snapshot.hosts {
            let world = self.hosts[host].world();
            let card = world.card.as_ref().map(|card| card.host);
            // A host that was claimed and never written to may have no card.
            assert!(card.is_none_or(|card| card == *id), "{context}: card of {host}");
        }
    }
}
