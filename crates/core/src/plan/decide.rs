//! Decisions that are made once: host, address, MAC, UUID, volumes, host key.
//!
//! What was applied beats the lock, the lock beats a new choice. A new choice depends on nothing
//! but the fleet and what was decided before, so that a fresh clone decides the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use uuid::Uuid;

use super::{PlanProblem, known::known_decisions};
use crate::{
    model::{
        AddressRange, Fleet, HostName, Mac, Network, NetworkName, Nic, NicAddress, Vm, VmName,
        domain_uuid, nic_mac, volume_name,
    },
    state::{Decisions, DiskDecision, NicDecision, Snapshot, VmDecision},
};

/// Gives the public SSH host key of a VM's key epoch.
pub type HostKeys<'a> = &'a dyn Fn(&VmName, u32) -> String;

/// Decides everything about the fleet's VMs. `identity` is the fingerprint of the secret that
/// `keys` derive from.
pub fn decide(
    fleet: &Fleet,
    lock: &Decisions,
    snapshot: &Snapshot,
    identity: &str,
    keys: HostKeys<'_>,
) -> Result<Decisions, Vec<PlanProblem>> {
    let known = known_decisions(fleet, lock, snapshot);
    let mut chooser = Chooser::new(fleet, snapshot, lock, known);
    chooser.check_identity(identity);
    chooser.decided.identity = Some(identity.to_owned());
    // Fixed addresses first: what is handed out must not take one of them.
    for vm in fleet.vms.values() {
        chooser.take_fixed(vm);
    }
    for vm in fleet.vms.values() {
        chooser.decide_vm(vm, keys);
    }
    if chooser.problems.is_empty() {
        // State and lock are each free of these, and can still speak against each other.
        chooser.problems.extend(chooser.decided.first_clash().map(PlanProblem::Clash));
    }
    if chooser.problems.is_empty() { Ok(chooser.decided) } else { Err(chooser.problems) }
}

struct Chooser<'a> {
    fleet: &'a Fleet,
    snapshot: &'a Snapshot,
    lock: &'a Decisions,
    decided: Decisions,
    problems: Vec<PlanProblem>,
    taken: Taken,
    candidates: BTreeMap<&'a NetworkName, Candidates<'a>>,
    /// The last key epoch of those that were born under a name and bear another.
    epochs: BTreeMap<VmName, u32>,
    uuids: BTreeSet<Uuid>,
    macs: BTreeSet<Mac>,
}

/// Whose each address of each network is.
type Taken = BTreeMap<NetworkName, BTreeMap<Ipv4Addr, VmName>>;

/// The addresses of a network that were not looked at yet. What is taken stays so for the rest of
/// the decisions, so that none is looked at twice.
struct Candidates<'a> {
    free: Box<dyn Iterator<Item = Ipv4Addr> + 'a>,
    of_the_dead: Box<dyn Iterator<Item = Ipv4Addr> + 'a>,
}

impl<'a> Candidates<'a> {
    fn of(network: &'a Network) -> Self {
        let all = || {
            let addresses = network.addresses.iter().flat_map(AddressRange::addresses);
            Box::new(addresses.filter(|address| network.gateway != Some(*address)))
        };
        Self { free: all(), of_the_dead: all() }
    }
}

impl<'a> Chooser<'a> {
    fn new(
        fleet: &'a Fleet,
        snapshot: &'a Snapshot,
        lock: &'a Decisions,
        decided: Decisions,
    ) -> Self {
        let uuids = decided.vms.values().map(|vm| vm.uuid).collect();
        let macs = decided.vms.values().flat_map(|vm| vm.nics.iter().map(|nic| nic.mac)).collect();
        let mut epochs = BTreeMap::new();
        for vm in decided.vms.values() {
            if let Some(born) = &vm.born {
                let last = epochs.entry(born.clone()).or_default();
                *last = vm.key_epoch.max(*last);
            }
        }
        let (problems, taken, candidates) = (Vec::new(), Taken::new(), BTreeMap::new());
        let mut chooser = Self {
            fleet,
            snapshot,
            lock,
            decided,
            problems,
            taken,
            candidates,
            epochs,
            uuids,
            macs,
        };
        chooser.taken = chooser.claims();
        chooser
    }

    /// Returns whose each address is. One may stand in several decisions: who holds it has the last
    /// word, then who is to get it by the lock, then who comes back.
    fn claims(&self) -> Taken {
        let rank = |name: &VmName| match (self.holds(name), self.fleet.vms.contains_key(name)) {
            (false, false) => 0,
            (false, true) => 1,
            (true, false) => 3,
            (true, true) => 4,
        };
        let known = self.decided.vms.iter().map(|(name, vm)| (rank(name), name, vm));
        let of_made =
            self.lock.vms.iter().filter(|(name, _)| self.snapshot.vms.contains_key(*name));
        let mut vms: Vec<_> = known.chain(of_made.map(|(name, vm)| (2, name, vm))).collect();
        vms.sort_by_key(|(rank, ..)| *rank);
        let mut claims = Taken::new();
        for (_, name, vm) in vms {
            for nic in &vm.nics {
                if let Some(address) = nic.address {
                    let network = claims.entry(nic.network.clone()).or_default();
                    network.insert(address, name.clone());
                }
            }
        }
        claims
    }

    /// Says whether an address is a VM's, rather than one the lock alone says it is to get.
    fn has(&self, vm: &VmName, network: &NetworkName, address: Ipv4Addr) -> bool {
        let nics = self.decided.vms.get(vm).map(|vm| vm.nics.as_slice()).unwrap_or_default();
        nics.iter().any(|nic| nic.network == *network && nic.address == Some(address))
    }

    fn owner(&self, network: &NetworkName, address: Ipv4Addr) -> Option<&VmName> {
        self.taken.get(network)?.get(&address)
    }

    /// Says whether a VM has what was decided about it: it was made, or is declared and was not
    /// removed since.
    fn holds(&self, vm: &VmName) -> bool {
        let removed = self.decided.vms.get(vm).is_some_and(|decision| decision.removed);
        let forgotten = self.decided.vms.get(vm).is_some_and(|decision| decision.forgotten);
        let made = self.snapshot.vms.contains_key(vm) || self.earlier_name_made(vm);
        made || forgotten || (self.fleet.vms.contains_key(vm) && !removed)
    }

    fn earlier_name_made(&self, vm: &VmName) -> bool {
        let before = self.fleet.moved.get(vm);
        before.into_iter().flatten().any(|from| self.snapshot.vms.contains_key(from))
    }

    /// Gives an address to a VM; who had it and is not declared is a tombstone from now on.
    fn take(&mut self, network: &NetworkName, address: Ipv4Addr, vm: &VmName) {
        let before = self.taken.entry(network.clone()).or_default().insert(address, vm.clone());
        let dead = before.filter(|before| !self.fleet.vms.contains_key(before));
        if let Some(decision) = dead.and_then(|dead| self.decided.vms.get_mut(&dead)) {
            decision.removed = true;
        }
    }

    fn check_identity(&mut self, have: &str) {
        if let Some(want) = self.decided.identity.as_deref().filter(|want| *want != have) {
            let (have, want) = (have.to_owned(), want.to_owned());
            self.problems.push(PlanProblem::Identity { have, want });
        }
    }

    fn take_fixed(&mut self, vm: &Vm) {
        for nic in &vm.nics {
            let NicAddress::Fixed(address) = nic.address else { continue };
            match self.owner(&nic.network, address) {
                Some(other)
                    if *other != vm.name
                        && self.holds(other)
                        && self.has(other, &nic.network, address) =>
                {
                    self.problems.push(PlanProblem::AddressTaken {
                        vm: vm.name.clone(),
                        address,
                        network: nic.network.clone(),
                        other: other.clone(),
                    });
                }
                _ => self.take(&nic.network, address, &vm.name),
            }
        }
    }

    fn decide_vm(&mut self, vm: &Vm, keys: HostKeys<'_>) {
        let old = self.decided.vms.get(&vm.name).cloned();
        let uuid = match &old {
            Some(old) => old.uuid,
            None => self.fresh_uuid(&vm.name),
        };
        let host = match &old {
            Some(old) if !old.removed || vm.hosts.contains(&old.host) => old.host.clone(),
            _ => spread_host(vm).clone(),
        };
        let key_epoch =
            old.as_ref().map_or_else(|| self.fresh_epoch(&vm.name), |old| old.key_epoch);
        let decision = VmDecision {
            uuid,
            host,
            incarnation: old.as_ref().map_or(1, |old| old.incarnation + u32::from(old.removed)),
            key_epoch,
            host_key: self.made_with(vm, key_epoch).unwrap_or_else(|| {
                keys(old.as_ref().map_or(&vm.name, |old| old.root_name(&vm.name)), key_epoch)
            }),
            nics: self.decide_nics(vm, old.as_ref()),
            disks: decide_disks(self.fleet, vm, uuid, old.as_ref()),
            removed: false,
            forgotten: old.as_ref().is_some_and(|old| old.forgotten)
                && !self.snapshot.vms.contains_key(&vm.name),
            born: old.as_ref().and_then(|old| old.born.clone()),
        };
        self.decided.vms.insert(vm.name.clone(), decision);
    }

    /// Returns the host key that a VM was made with: the state noted what derives from this identity.
    fn made_with(&self, vm: &Vm, epoch: u32) -> Option<String> {
        self.snapshot.vms.get(&vm.name)?;
        let made = self.snapshot.decisions.vms.get(&vm.name);
        made.filter(|made| made.key_epoch == epoch).map(|made| made.host_key.clone())
    }

    /// A VM that was renamed still has the keys of its first name: a new one of that name begins
    /// with the next.
    fn fresh_epoch(&self, vm: &VmName) -> u32 {
        self.epochs.get(vm).map_or(1, |last| last + 1)
    }

    fn decide_nics(&mut self, vm: &Vm, old: Option<&VmDecision>) -> Vec<NicDecision> {
        let mut unused: Vec<_> = old.map(|old| old.nics.clone()).unwrap_or_default();
        let mut nics = Vec::new();
        for (index, nic) in vm.nics.iter().enumerate() {
            let before = unused
                .iter()
                .position(|before| before.network == nic.network)
                .map(|found| unused.remove(found));
            let mac = match &before {
                Some(before) => before.mac,
                None => self.fresh_mac(&vm.name, index),
            };
            let locked = self.lock.vms.get(&vm.name).and_then(|locked| locked.nics.get(index));
            let locked = locked.filter(|locked| locked.network == nic.network);
            let before = [before.as_ref(), locked].map(|nic| nic.and_then(|nic| nic.address));
            let address = self.decide_address(vm, nic, before);
            nics.push(NicDecision { network: nic.network.clone(), mac, address });
        }
        nics
    }

    /// Decides an address; of `before` the first that still fits stays.
    fn decide_address(
        &mut self,
        vm: &Vm,
        nic: &Nic,
        before: [Option<Ipv4Addr>; 2],
    ) -> Option<Ipv4Addr> {
        match nic.address {
            NicAddress::Dhcp => return None,
            NicAddress::Fixed(address) => return Some(address),
            NicAddress::Planned => {}
        }
        let fleet = self.fleet;
        let network = &fleet.networks[&nic.network];
        let fits =
            |address: &Ipv4Addr| network.subnet.is_some_and(|subnet| subnet.contains(address));
        let own = |address: &Ipv4Addr| self.owner(&nic.network, *address) == Some(&vm.name);
        let stays = before.into_iter().flatten().find(|old| fits(old) && own(old));
        if stays.is_some() {
            return stays;
        }
        let chosen = self.next_address(network);
        match chosen {
            Some(address) => self.take(&nic.network, address, &vm.name),
            None => self
                .problems
                .push(PlanProblem::NoAddress { network: nic.network.clone(), vm: vm.name.clone() }),
        }
        chosen
    }

    /// Returns the first address that nobody has, else the first one of somebody who is gone.
    fn next_address(&mut self, network: &'a Network) -> Option<Ipv4Addr> {
        let mut candidates =
            self.candidates.remove(&network.name).unwrap_or_else(|| Candidates::of(network));
        let owner = |address: &Ipv4Addr| self.owner(&network.name, *address);
        let is_dead = |vm: &VmName| !self.fleet.vms.contains_key(vm) && !self.holds(vm);
        let free = candidates.free.find(|address| owner(address).is_none());
        let next =
            free.or_else(|| candidates.of_the_dead.find(|one| owner(one).is_some_and(is_dead)));
        self.candidates.insert(&network.name, candidates);
        next
    }

    fn fresh_uuid(&mut self, vm: &VmName) -> Uuid {
        let tries = (0..).map(|count| domain_uuid(self.fleet.id, vm, count));
        let uuid = tries.into_iter().find(|uuid| !self.uuids.contains(uuid));
        let uuid = uuid.expect("there are more UUIDs than VMs");
        self.uuids.insert(uuid);
        uuid
    }

    fn fresh_mac(&mut self, vm: &VmName, index: usize) -> Mac {
        let tries = (0..).map(|count| nic_mac(self.fleet.id, vm, index, count));
        let mac = tries.into_iter().find(|mac| !self.macs.contains(mac));
        let mac = mac.expect("there are more MACs than interfaces");
        self.macs.insert(mac);
        mac
    }
}

/// Spreads a block's VMs over its hosts by their index, so that adding one moves no other.
pub(super) fn spread_host(vm: &Vm) -> &HostName {
    &vm.hosts[vm.index % vm.hosts.len()]
}

fn decide_disks(fleet: &Fleet, vm: &Vm, uuid: Uuid, old: Option<&VmDecision>) -> Vec<DiskDecision> {
    let before = |disk: &crate::model::Disk| {
        let disks = old.map(|old| old.disks.as_slice()).unwrap_or_default();
        disks.iter().find(|before| before.name == disk.name).map(|before| before.volume.clone())
    };
    let decide = |disk: &crate::model::Disk| DiskDecision {
        name: disk.name.clone(),
        volume: before(disk).unwrap_or_else(|| volume_name(fleet.id, uuid, &disk.name, 0)),
    };
    vm.disks.iter().map(decide).collect()
}
