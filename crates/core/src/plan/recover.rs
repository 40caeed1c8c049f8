//! The state made again where it was lost: from the lock, marks and the hosts' cards.
//!
//! Equal to the lost one but for its lineage, its serial, what was pending, which VMs were waited
//! for, and zones that were made. What of ours nothing explains is left out; `drift` tells of it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    drift::volumes_listed,
    placed::{everywhere, read},
};
use crate::{
    model::{
        DiskName, DomainView, Fleet, FleetId, HostCard, HostName, HostView, Mark, NetworkName,
        Observed, PoolView, Seen, VmName, seed_prefix, seed_volume_name, short_uuid, volume_prefix,
    },
    state::{Applied, Decisions, DiskRecord, Fact, KeptDisk, Snapshot, VmDecision, VmRecord},
};

/// Returns the state that these hosts and servers are the outcome of. `published` is what servers
/// hold that bears our mark.
pub fn recover(
    fleet: &Fleet,
    lock: &Decisions,
    observed: &Observed,
    published: &[Fact],
) -> Snapshot {
    let mut snapshot = Snapshot::new(fleet.id);
    snapshot.decisions.identity.clone_from(&lock.identity);
    for (host, view) in read(observed) {
        if let Some(card) = card_of(view, fleet.id) {
            snapshot.hosts.insert(host.clone(), card.host);
            let serial = card.fleets.get(&fleet.id.to_string()).copied();
            snapshot.serial = snapshot.serial.max(serial.unwrap_or_default());
        }
    }
    snapshot.networks = networks(fleet.id, observed);
    let domains = domains(fleet.id, observed);
    for (name, decision) in &lock.vms {
        let copies = domains.get(&decision.uuid).map(Vec::as_slice).unwrap_or_default();
        let lost = Lost { fleet, name, decision, copies, observed };
        match lost.vm() {
            _ if decision.forgotten => {
                snapshot.decisions.vms.insert(name.clone(), decision.clone());
            }
            Some((name, record, decision)) => {
                snapshot.decisions.vms.insert(name.clone(), decision);
                snapshot.vms.insert(name, record);
            }
            None if decision.removed => {
                snapshot.decisions.vms.insert(name.clone(), decision.clone());
            }
            // It was decided and never made.
            None => {}
        }
    }
    snapshot.kept = kept(&snapshot, observed);
    for fact in published {
        snapshot.fold(fact);
    }
    snapshot
}

/// Returns a state with what another one, made again, has on hosts that it does not know: they were
/// not there when it was made again itself.
pub fn taken_in(state: &Snapshot, made: &Snapshot) -> Snapshot {
    let mut all = state.clone();
    let is_new = |host: &HostName| made.hosts.contains_key(host) && !state.hosts.contains_key(host);
    all.hosts.extend(made.hosts.clone().into_iter().filter(|(host, _)| is_new(host)));
    all.networks.extend(made.networks.clone().into_iter().filter(|(host, _)| is_new(host)));
    all.kept.extend(made.kept.iter().filter(|kept| is_new(&kept.host)).cloned());
    all.kept.sort();
    for (vm, record) in made.vms.iter().filter(|(_, record)| is_new(&record.host)) {
        let is_known =
            |(name, known): (&VmName, &VmRecord)| name == vm || known.uuid == record.uuid;
        if !state.vms.iter().any(is_known) {
            all.vms.insert(vm.clone(), record.clone());
            all.decisions.vms.insert(vm.clone(), made.decisions.vms[vm].clone());
        }
    }
    for (place, values) in &made.published {
        let is_there =
            all.published.keys().any(|known| known.0 == place.0 && known.1.same_place(&place.1));
        if !is_there {
            all.published.insert(place.clone(), values.clone());
        }
    }
    all.serial = all.serial.max(made.serial);
    all
}

/// Says whether a host that the state does not know has anything of this fleet that it does not know
/// either. Images and the trash are no reason to make a state again.
pub(super) fn has_unknown(view: &HostView, host: &HostName, snapshot: &Snapshot) -> bool {
    let fleet = snapshot.fleet;
    let is_ours = |mark: &Option<Mark>| mark.as_ref().is_some_and(|mark| mark.fleet == fleet);
    let vms: BTreeSet<Uuid> = snapshot.vms.values().map(|record| record.uuid).collect();
    let networks = snapshot.networks.get(host).into_iter().flat_map(BTreeMap::values);
    let networks: BTreeSet<&Uuid> = networks.collect();
    let mut domains = view.domains.iter().filter(|domain| is_ours(&domain.mark));
    let mut others = view.networks.iter().filter(|network| is_ours(&network.mark));
    let prefix = format!("{}.", fleet.short());
    let is_kept =
        |name: &String| snapshot.kept.iter().any(|kept| kept.host == *host && kept.volume == *name);
    let is_disk = |pool: &PoolView, name: &&String| {
        name.starts_with(&prefix) && pool.volumes.contains_key(*name) && !is_kept(name)
    };
    let pool = view.pool.as_ref();
    pool.is_some_and(|pool| volumes_listed(pool, fleet).iter().any(|name| is_disk(pool, &name)))
        || domains.any(|domain| !vms.contains(&domain.uuid))
        || others.any(|network| !networks.contains(&network.uuid))
}

/// Returns a host's card where it knows this fleet.
fn card_of(view: &HostView, fleet: FleetId) -> Option<&HostCard> {
    view.card().filter(|card| card.knows(fleet))
}

fn networks(
    fleet: FleetId,
    observed: &Observed,
) -> BTreeMap<HostName, BTreeMap<NetworkName, Uuid>> {
    let mut all: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (host, view) in read(observed) {
        for network in &view.networks {
            let Some(mark) = network.mark.as_ref().filter(|mark| mark.fleet == fleet) else {
                continue;
            };
            if let Ok(name) = mark.name.parse::<NetworkName>() {
                all.entry(host.clone()).or_default().insert(name, network.uuid);
            }
        }
    }
    all
}

type Copies<'a> = Vec<(&'a HostName, &'a DomainView)>;

/// Returns the domains that bear our mark.
fn domains(fleet: FleetId, observed: &Observed) -> BTreeMap<Uuid, Copies<'_>> {
    let mut all: BTreeMap<_, Copies<'_>> = BTreeMap::new();
    for (host, domain) in everywhere(observed) {
        if domain.mark.as_ref().is_some_and(|mark| mark.fleet == fleet) {
            all.entry(domain.uuid).or_default().push((host, domain));
        }
    }
    all
}

/// A VM of the lock, and what there is of it.
struct Lost<'a> {
    fleet: &'a Fleet,
    name: &'a VmName,
    decision: &'a VmDecision,
    copies: &'a [(&'a HostName, &'a DomainView)],
    observed: &'a Observed,
}

impl Lost<'_> {
    /// Returns what the state knew of it, under the name that its mark says.
    fn vm(&self) -> Option<(VmName, VmRecord, VmDecision)> {
        match self.copy() {
            Some((host, domain)) => self.made(host, domain),
            None if self.decision.removed => None,
            None => self.begun(),
        }
    }

    /// Of several copies the last incarnation is the VM; of equal ones that in its place is.
    fn copy(&self) -> Option<(&HostName, &DomainView)> {
        let incarnation = |domain: &DomainView| domain.mark.as_ref().map(|mark| mark.incarnation);
        let rank = |(host, domain): &&(&HostName, &DomainView)| {
            (incarnation(domain), **host == self.decision.host)
        };
        self.copies.iter().max_by_key(rank).copied()
    }

    fn made(&self, host: &HostName, domain: &DomainView) -> Option<(VmName, VmRecord, VmDecision)> {
        let mark = domain.mark.as_ref()?;
        let name: VmName = mark.name.parse().ok()?;
        let mut decision = VmDecision { removed: false, ..self.decision.clone() };
        // A lock of an earlier age does not know that it was made again, perhaps on another host;
        // what was moved by hand is still where it was decided, and the plan says so.
        if mark.incarnation > decision.incarnation {
            decision.host = host.clone();
        }
        decision.incarnation = mark.incarnation;
        if decision.born.as_ref() == Some(&name) {
            decision.born = None;
        }
        let runs = domain.state.runs();
        let (shape, autostart) = (domain.defined.clone(), domain.autostart);
        let record = VmRecord {
            uuid: domain.uuid,
            host: decision.host.clone(),
            incarnation: mark.incarnation,
            disks: self.disks(host, domain, &mark.keep),
            seed: seed_volume_name(self.fleet.id, domain.uuid, mark.incarnation),
            made: true,
            unready: false,
            protect: mark.protect,
            applied: Some(Applied { shape, autostart, running: runs }),
            restoring: None,
        };
        Some((name, record, decision))
    }

    /// The disks it has: those decided in their order, then those that were about to leave it.
    fn disks(&self, host: &HostName, domain: &DomainView, keep: &[DiskName]) -> Vec<DiskRecord> {
        let shape = &domain.defined;
        let files = shape.disks.iter().chain(&shape.beneath);
        let used: Vec<&str> = files.filter_map(|file| file.rsplit('/').next()).collect();
        let mut disks = Vec::new();
        for decided in &self.decision.disks {
            if used.contains(&decided.volume.as_str()) || self.lies_on(host, &decided.volume) {
                disks.push((decided.name.clone(), decided.volume.clone()));
            }
        }
        for volume in used {
            let name = disk_of(self.fleet.id, self.decision.uuid, volume);
            if let Some(name) = name.filter(|_| disks.iter().all(|(_, known)| known != volume)) {
                disks.push((name, volume.to_owned()));
            }
        }
        let record = |(name, volume): (DiskName, String)| {
            let keep = keep.contains(&name);
            DiskRecord { name, volume, keep, there: true, old: false }
        };
        disks.into_iter().map(record).collect()
    }

    /// One that was begun and has no domain yet: its volumes are there.
    fn begun(&self) -> Option<(VmName, VmRecord, VmDecision)> {
        let (fleet, decision) = (self.fleet, self.decision);
        let view = self.view(&decision.host)?;
        let prefix = volume_prefix(fleet.id, decision.uuid);
        let listed = volumes_listed(view.pool.as_ref()?, fleet.id);
        if !listed
            .iter()
            .any(|name| name.starts_with(&prefix) && self.lies_on(&decision.host, name))
        {
            return None;
        }
        let vm = fleet.vms.get(self.name);
        let kept = |name: &DiskName| {
            let mut disks = vm.into_iter().flat_map(|vm| &vm.disks);
            disks.any(|disk| disk.name == *name && disk.keep)
        };
        let disk = |decided: &crate::state::DiskDecision| DiskRecord {
            name: decided.name.clone(),
            volume: decided.volume.clone(),
            keep: kept(&decided.name),
            there: self.lies_on(&decision.host, &decided.volume),
            old: false,
        };
        let record = VmRecord {
            uuid: decision.uuid,
            host: decision.host.clone(),
            incarnation: decision.incarnation,
            disks: decision.disks.iter().map(disk).collect(),
            seed: seed_volume_name(fleet.id, decision.uuid, decision.incarnation),
            made: false,
            unready: true,
            protect: vm.is_some_and(|vm| vm.protect),
            applied: None,
            restoring: None,
        };
        Some((self.name.clone(), record, decision.clone()))
    }

    fn view(&self, host: &HostName) -> Option<&HostView> {
        match self.observed.get(host) {
            Some(Seen::Whole(view)) => Some(view),
            _ => None,
        }
    }

    fn lies_on(&self, host: &HostName, volume: &str) -> bool {
        let pool = self.view(host).and_then(|view| view.pool.as_ref());
        pool.is_some_and(|pool| pool.volumes.contains_key(volume))
    }
}

/// Returns the disk of a VM that a volume's name says it is.
pub(super) fn disk_of(fleet: FleetId, vm: Uuid, volume: &str) -> Option<DiskName> {
    if volume.starts_with(&seed_prefix(fleet, vm)) {
        return None;
    }
    let (disk, number) = volume.strip_prefix(&volume_prefix(fleet, vm))?.rsplit_once('.')?;
    number.parse::<u32>().ok()?;
    disk.parse().ok()
}

/// Returns the names of files that domains of ours use, old copies and migrated ones too.
fn used_by_ours(view: &HostView, fleet: FleetId) -> BTreeSet<&str> {
    let ours = view
        .domains
        .iter()
        .filter(|domain| domain.mark.as_ref().is_some_and(|mark| mark.fleet == fleet));
    let shapes = ours.flat_map(|domain| std::iter::once(&domain.defined).chain(&domain.live));
    let files = shapes.flat_map(|shape| shape.disks.iter().chain(&shape.beneath));
    files.filter_map(|file| file.rsplit('/').next()).collect()
}

/// Returns the disks that lie in a pool and belong to a VM that does not have them any more. What
/// is not known to be anything else is kept.
fn kept(snapshot: &Snapshot, observed: &Observed) -> Vec<KeptDisk> {
    let fleet = snapshot.fleet;
    let decided = snapshot.decisions.vms.iter().filter(|(_, decision)| !decision.forgotten);
    let by_digits: BTreeMap<_, _> =
        decided.map(|(vm, decision)| (short_uuid(decision.uuid), (vm, decision.uuid))).collect();
    let has = |host: &HostName, vm: &VmName, volume: &str| {
        let record = snapshot.vms.get(vm).filter(|record| record.host == *host);
        record.is_some_and(|record| record.disks.iter().any(|disk| disk.volume == volume))
    };
    let mut kept = Vec::new();
    for (host, view) in read(observed) {
        let Some(pool) = &view.pool else { continue };
        let used = used_by_ours(view, fleet);
        for volume in
            volumes_listed(pool, fleet).iter().filter(|name| !used.contains(name.as_str()))
        {
            let digits = volume.split('.').nth(1).unwrap_or_default();
            let Some((vm, uuid)) = by_digits.get(digits) else { continue };
            let there = pool.volumes.contains_key(volume);
            if let Some(disk) = disk_of(fleet, *uuid, volume).filter(|_| there)
                && !has(host, vm, volume)
            {
                let (vm, host, volume) = ((*vm).clone(), host.clone(), volume.clone());
                kept.push(KeptDisk { vm, disk, host, volume });
            }
        }
    }
    kept.sort();
    kept.dedup();
    kept
}
