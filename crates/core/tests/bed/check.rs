//! What must hold once a fleet has converged.

use std::collections::{BTreeMap, BTreeSet};

use freehold_core::{
    apply::Audit,
    model::{DomainState, Firmware, Fleet, HostName, VmName, nvram_name, seed_volume_name},
    plan::{Consent, Finding, Object, Withheld, drift_text, image_spec},
    state::{Decisions, Snapshot},
};

use super::{Bed, host};

/// What a converged fleet is compared with.
struct Want {
    fleet: Fleet,
    decided: Decisions,
    snapshot: Snapshot,
    /// VMs about which something that cannot be changed yet is held back.
    refused: BTreeSet<VmName>,
}

impl Bed {
    /// Checks that hosts, server, lock and state are what the text says, and nothing more.
    pub(crate) async fn check(&self, context: &str) {
        let plan = self.plan().await;
        assert!(plan.is_empty(), "{context}: still to do:\n{}", plan.text());
        assert!(plan.held.is_empty(), "{context}: held:\n{}", plan.text());
        self.check_all(context, BTreeSet::new());
        self.check_verified(context).await;
        self.check_recovered(context).await;
    }

    /// A state that is lost now can be made again.
    async fn check_recovered(&self, context: &str) {
        let (mut lost, made) = (self.snapshot(), self.recovered().await);
        // Which VMs were waited for is not to be seen, and nobody waits any more.
        lost.vms.values_mut().for_each(|record| record.unready = false);
        // A run that was killed before its end may not have said whose keys it gave.
        lost.decisions.identity =
            lost.decisions.identity.or_else(|| made.decisions.identity.clone());
        assert!(made.serial <= lost.serial, "{context}: {} of {}", made.serial, lost.serial);
        let (lineage, serial) = (lost.lineage, lost.serial);
        let (made, lost) =
            (format!("{:#?}", Snapshot { lineage, serial, ..made }), format!("{lost:#?}"));
        let only = |one: &str, other: &str| {
            let lines = one.lines().filter(|line| !other.contains(line));
            lines.collect::<Vec<_>>().join("\n")
        };
        let (more, less) = (only(&made, &lost), only(&lost, &made));
        assert!(made == lost, "{context}: made again it has\n{more}\nand lacks\n{less}");
    }

    /// What was just applied is what is there, and everywhere.
    async fn check_verified(&self, context: &str) {
        let findings = self.verified(&[]).await;
        assert_eq!(findings, [], "{context}: not verified:\n{}", drift_text(&findings));
    }

    /// Looks at everything, as `verify` of the command does.
    pub(crate) async fn verified(&self, unpinned: &[&str]) -> Vec<Finding> {
        let (fleet, lock, snapshot) = (self.fleet(), self.decided(), self.snapshot());
        let reached = self.reach(&fleet).await;
        let audit = Audit {
            fleet: &fleet,
            snapshot: &snapshot,
            lock: &lock,
            reached: &reached,
            plugins: self.plugins(),
            mute: Vec::new(),
            unpinned: unpinned.iter().map(|name| (host(name), format!("root@{name}"))).collect(),
        };
        let (findings, errors) = audit.findings().await;
        assert!(errors.is_empty(), "{errors:?}");
        findings
    }

    /// The same, less VMs of which something cannot be changed yet, or was not agreed to: they stay
    /// as they were.
    pub(crate) async fn check_but_refused(&self, consent: &Consent, context: &str) {
        let plan = self.plan().await.permitted(consent);
        assert!(plan.is_empty(), "{context}: still to do:\n{}", plan.text());
        let moved = self.fleet().moved;
        let mut refused = BTreeSet::new();
        for held in &plan.held {
            match (&held.object, &held.why) {
                (
                    Object::Vm(vm),
                    Withheld::NotYet { .. } | Withheld::Unprotect(_) | Withheld::Protected,
                ) => {
                    // It may still be called as before.
                    refused.extend(moved.get(vm).into_iter().flatten().cloned());
                    refused.insert(vm.clone());
                }
                // It carries a VM that is protected.
                (Object::Network(_), Withheld::Foreign(_)) => {}
                _ => panic!("{context}: held:\n{}", plan.text()),
            }
        }
        self.check_all(context, refused);
    }

    /// Checks that nothing of ours is left but what is kept and what lies in the trash.
    pub(crate) fn check_destroyed(&self) {
        let (fleet, snapshot) = (self.fleet(), self.snapshot());
        assert!(snapshot.vms.is_empty(), "{:?}", snapshot.vms);
        let images: BTreeSet<_> =
            fleet.images.values().map(|i| image_spec(&fleet, i).volume).collect();
        for (host, simulated) in &self.hosts {
            let world = simulated.world();
            let mut domains = world.domains.values();
            assert!(domains.all(|domain| domain.spec.mark.fleet != fleet.id), "on {host}");
            let mut networks = world.networks.values();
            assert!(networks.all(|(network, _)| network.mark.fleet != fleet.id), "on {host}");
            let kept = snapshot.kept.iter().filter(|kept| kept.host == *host);
            let kept: BTreeSet<_> = kept.map(|kept| kept.volume.clone()).collect();
            let left = world.volumes.keys().filter(|name| {
                let ours = !self.witness.is_strangers(host, name) && !images.contains(*name);
                ours && !name.starts_with("trash.")
            });
            let left: BTreeSet<_> = left.cloned().collect();
            assert_eq!(left, kept, "volumes on {host}");
        }
        let mut records = self.server.records().into_values();
        assert!(records.all(|record| record.vm.is_none()), "records of ours are left");
    }

    fn check_all(&self, context: &str, refused: BTreeSet<VmName>) {
        let (fleet, decided, snapshot) = (self.fleet(), self.decided(), self.snapshot());
        let want = Want { fleet, decided, snapshot, refused };
        self.check_domains(context, &want);
        for host in self.hosts.keys() {
            self.check_volumes(context, host, &want);
        }
        self.check_records(context, &want);
        self.check_state(context, &want);
    }

    fn check_domains(&self, context: &str, want: &Want) {
        let Want { fleet, decided, refused, .. } = want;
        let mut found = BTreeMap::new();
        for (host, simulated) in &self.hosts {
            for (uuid, domain) in &simulated.world().domains {
                if domain.spec.mark.fleet != fleet.id {
                    continue;
                }
                let name: VmName = domain.spec.name.parse().unwrap();
                let macs: Vec<_> = domain.spec.nics.iter().map(|nic| nic.mac).collect();
                let seen = (host.clone(), *uuid, macs, domain.spec.mark.incarnation);
                let before = found.insert(name.clone(), seen);
                assert_eq!(before, None, "{context}: {name} is there twice");
                assert!(domain.marked, "{context}: {name} has no mark");
                let Some(vm) = fleet.vms.get(&name).filter(|_| !refused.contains(&name)) else {
                    continue;
                };
                let state = if vm.running { DomainState::Running } else { DomainState::Off };
                assert_eq!(domain.state, state, "{context}: {name}");
                assert_eq!(domain.autostart, vm.autostart, "{context}: {name}");
                assert_eq!(domain.spec.memory, vm.memory, "{context}: {name}");
            }
        }
        let wanted = fleet.vms.keys().map(|vm| {
            let decision = &decided.vms[vm];
            let macs: Vec<_> = decision.nics.iter().map(|nic| nic.mac).collect();
            let (host, uuid) = (decision.host.clone(), decision.uuid);
            (vm.clone(), (host, uuid, macs, decision.incarnation))
        });
        let mut wanted: BTreeMap<_, _> = wanted.collect();
        wanted.retain(|vm, _| !refused.contains(vm));
        found.retain(|vm, _| !refused.contains(vm));
        assert_eq!(found, wanted, "{context}: domains are those of the lock");
    }

    fn check_volumes(&self, context: &str, host: &HostName, want: &Want) {
        let Want { fleet, snapshot, .. } = want;
        let images: BTreeSet<_> =
            fleet.images.values().map(|i| image_spec(fleet, i).volume).collect();
        let (mut wanted, either) = wanted_volumes(host, want);
        let kept = snapshot.kept.iter().filter(|kept| kept.host == *host);
        wanted.extend(kept.map(|kept| kept.volume.clone()));
        wanted.retain(|name| !either.contains(name));
        let world = self.hosts[host].world();
        let ours: Vec<_> =
            world.volumes.keys().filter(|name| !self.witness.is_strangers(host, name)).collect();
        let there = ours.iter().copied().filter(|name| {
            !name.starts_with("trash.") && !images.contains(*name) && !either.contains(*name)
        });
        let there: BTreeSet<_> = there.cloned().collect();
        assert_eq!(there, wanted, "{context}: volumes on {host}");
        let index =
            world.card.as_ref().and_then(|card| card.volumes.get(&fleet.id.to_string()).cloned());
        let index = index.unwrap_or_default();
        for name in ours {
            assert!(index.contains(name), "{context}: {name} is not in the index of {host}");
        }
    }

    fn check_records(&self, context: &str, want: &Want) {
        let Want { fleet, decided, snapshot, refused } = want;
        let wanted: BTreeMap<_, _> = fleet
            .vms
            .values()
            .filter(|vm| vm.running && !refused.contains(&vm.name))
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
        let mut records = self.server.records();
        records.retain(|_, record| record.vm.is_some());
        let published: BTreeSet<_> = snapshot.published.values().collect();
        let served: BTreeSet<_> = records.values().map(|record| &record.values).collect();
        assert_eq!(published, served, "{context}: the state knows what was published");
        records.retain(|_, record| record.vm.as_ref().is_some_and(|vm| !refused.contains(vm)));
        let records: BTreeMap<_, _> =
            records.into_iter().map(|(name, record)| (name, record.values)).collect();
        assert_eq!(records, wanted, "{context}: records");
    }

    fn check_state(&self, context: &str, want: &Want) {
        let Want { fleet, decided, snapshot, refused } = want;
        assert_eq!(snapshot.pending, [], "{context}");
        let settled = |vm: &&VmName| !refused.contains(*vm);
        let made: Vec<_> = snapshot.vms.keys().filter(settled).collect();
        let wanted: Vec<_> = fleet.vms.keys().filter(settled).collect();
        assert_eq!(made, wanted, "{context}: VMs of the state");
        for vm in wanted {
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

/// Returns the volumes of VMs that must be on a host, and those that may be there.
fn wanted_volumes(host: &HostName, want: &Want) -> (BTreeSet<String>, BTreeSet<String>) {
    let Want { fleet, decided, snapshot, refused } = want;
    let (mut wanted, mut either) = (BTreeSet::new(), BTreeSet::new());
    let strays = snapshot
        .vms
        .iter()
        .filter(|(name, _)| refused.contains(*name) && !fleet.vms.contains_key(*name));
    for (_, record) in strays.filter(|(_, record)| record.host == *host) {
        either.extend(record.disks.iter().map(|disk| disk.volume.clone()));
        either.extend([record.seed.clone(), nvram_name(fleet.id, record.uuid)]);
    }
    for (name, block) in &fleet.vms {
        let vm = &decided.vms[name];
        if vm.host != *host {
            continue;
        }
        let mut volumes: BTreeSet<_> = vm.disks.iter().map(|it| it.volume.clone()).collect();
        volumes.insert(seed_volume_name(fleet.id, vm.uuid, vm.incarnation));
        if refused.contains(name) {
            let record = snapshot.vms.get(name);
            volumes.extend(record.iter().flat_map(|it| &it.disks).map(|it| it.volume.clone()));
            either.append(&mut volumes);
        }
        wanted.append(&mut volumes);
        // libvirt makes it when the VM starts for the first time.
        let sure = block.firmware == Firmware::Uefi && block.running && !refused.contains(name);
        let nvram = if sure { &mut wanted } else { &mut either };
        nvram.insert(nvram_name(fleet.id, vm.uuid));
    }
    (wanted, either)
}
