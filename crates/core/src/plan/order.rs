//! The order of work: networks and pools, images, volumes, seed, domain, start, ready, then what
//! plugins add; on removal what plugins take away, then the VM.

use std::collections::BTreeMap;

use super::{Act, Change, Detached, Object, Plan, Step, VmRemoval, VmWork, Work, World};
use crate::{
    model::{Edit, HostCard, HostName, NetworkName, Ours, Seen, VmName},
    state::Fact,
};

impl Plan {
    /// Returns the steps, each after those it needs.
    pub fn steps(&self, world: &World<'_>) -> Vec<Step> {
        let mut order = Order { world, plan: self, steps: Vec::new(), edits: Edits::of(self) };
        let fleet_wide = order.publish(None, &[], &[]);
        let mut hosts: BTreeMap<&HostName, Vec<&Change>> = BTreeMap::new();
        for change in &self.changes {
            hosts.entry(&change.host).or_default().push(change);
        }
        for (host, changes) in hosts {
            order.host(host, &changes, &fleet_wide);
        }
        order.rest(&fleet_wide);
        order.steps
    }
}

/// Edits by VM and plugin, in the plugins' order.
struct Edits(BTreeMap<Option<VmName>, BTreeMap<String, Vec<Edit>>>);

impl Edits {
    fn of(plan: &Plan) -> Self {
        let mut edits: BTreeMap<_, BTreeMap<_, Vec<_>>> = BTreeMap::new();
        for edit in &plan.edits {
            let plugins = edits.entry(edit.vm.clone()).or_default();
            plugins.entry(edit.plugin.clone()).or_default().push(edit.clone());
        }
        Self(edits)
    }
}

pub(super) struct Order<'a> {
    pub(super) world: &'a World<'a>,
    pub(super) plan: &'a Plan,
    pub(super) steps: Vec<Step>,
    edits: Edits,
}

/// What the changes on one host stand on.
pub(super) struct Ground<'a> {
    pub(super) host: &'a HostName,
    /// The card, or the pool: what must be there before any volume.
    pub(super) base: Vec<usize>,
    pub(super) networks: BTreeMap<String, usize>,
    pub(super) images: BTreeMap<String, usize>,
    /// Steps that write files past libvirt.
    pub(super) written: Vec<usize>,
}

impl Order<'_> {
    pub(super) fn push(&mut self, step: Step) -> usize {
        self.steps.push(step);
        self.steps.len() - 1
    }

    pub(super) fn on(&mut self, host: &HostName, act: Act, needs: &[usize]) -> usize {
        let step = Step {
            host: Some(host.clone()),
            vm: None,
            act,
            needs: needs.to_vec(),
            after: Vec::new(),
            claims: Vec::new(),
            settles: Vec::new(),
        };
        self.push(step)
    }

    fn host(&mut self, host: &HostName, changes: &[&Change], fleet_wide: &[usize]) {
        let mut ground = Ground {
            host,
            base: Vec::new(),
            networks: BTreeMap::new(),
            images: BTreeMap::new(),
            written: Vec::new(),
        };
        self.base(changes, &mut ground);
        for change in changes {
            if let Work::CopyGone(removal) = &change.work {
                let gone = self.remove_copy(removal, &mut ground);
                ground.base.extend(gone);
            }
        }
        for change in changes {
            match &change.work {
                Work::Network(spec) => self.network(spec, &mut ground),
                Work::Image(spec) => {
                    let base = ground.base.clone();
                    let step = self.on(host, Act::StoreImage(spec.clone()), &base);
                    ground.images.insert(spec.volume.clone(), step);
                    ground.written.push(step);
                }
                _ => {}
            }
        }
        let mut removed = Vec::new();
        for change in changes {
            match &change.work {
                Work::Vm(work) => self.make_vm(work, &mut ground, fleet_wide),
                Work::VmAnew(removal, work) => {
                    self.make_again(removal, work, &mut ground, fleet_wide);
                }
                Work::VmAdopted(work) => self.adopt_vm(work, &ground, fleet_wide),
                Work::VmGone(removal) => removed.push(self.remove_vm(removal, &mut ground)),
                Work::VmRestored(work) => self.restore_vm(work, &mut ground),
                Work::DiskRestored(work) => self.restore_disk(work, &mut ground),
                _ => {}
            }
        }
        self.empty_trash(changes, &mut ground);
        for change in changes {
            if let (Work::NetworkGone { uuid, .. }, Object::Network(network)) =
                (&change.work, &change.object)
            {
                self.remove_network(network, *uuid, host, &removed);
            }
        }
        if !ground.written.is_empty() {
            let refresh = self.on(host, Act::RefreshPool, &[]);
            self.steps[refresh].after = ground.written;
        }
    }

    /// Makes the pool and writes the card that names every volume these changes add.
    fn base(&mut self, changes: &[&Change], ground: &mut Ground<'_>) {
        let host = ground.host;
        let pool = changes.iter().any(|change| change.work == Work::Pool);
        let pool: Vec<_> = pool.then(|| self.on(host, Act::CreatePool, &[])).into_iter().collect();
        let added: Vec<String> = changes.iter().flat_map(|change| volumes_added(change)).collect();
        if added.is_empty() {
            ground.base = pool;
            return;
        }
        let card = self.card_with(host, added);
        let id = card.host;
        let step = self.on(host, Act::WriteCard { fleet: self.plan.fleet, card }, &pool);
        let fact = vec![Fact::Host { host: host.clone(), id }];
        // A card that a lost state wrote may tell of later runs than ours. It is known once it tells of
        // this one: known before, it would show this state to be an old copy.
        if self.meets_a_later_card(host) {
            self.steps[step].settles = fact;
        } else {
            self.steps[step].claims = fact;
        }
        ground.base = vec![step];
    }

    /// Says whether a host that the state does not know has a card that knows later runs.
    fn meets_a_later_card(&self, host: &HostName) -> bool {
        let Some(Seen::Whole(view)) = self.world.observed.get(host) else { return false };
        let run = view.card().and_then(|card| card.fleets.get(&self.plan.fleet.to_string()));
        let later = run.is_some_and(|run| *run > self.plan.serial);
        later && !self.world.snapshot.hosts.contains_key(host)
    }

    pub(super) fn card_with(&self, host: &HostName, added: Vec<String>) -> HostCard {
        let mut card = self.plan.cards[host].clone();
        let fleet = self.plan.fleet.to_string();
        card.fleets.insert(fleet.clone(), self.plan.serial + 1);
        let volumes = card.volumes.entry(fleet).or_default();
        volumes.extend(added);
        volumes.sort();
        volumes.dedup();
        card
    }

    fn network(&mut self, spec: &crate::model::NetworkSpec, ground: &mut Ground<'_>) {
        // After the card: a network of the state without one tells that the host is another.
        let base = ground.base.clone();
        let step = self.on(ground.host, Act::DefineNetwork(spec.clone()), &base);
        if let Ok(network) = spec.name.parse() {
            let host = ground.host.clone();
            self.steps[step].claims = vec![Fact::Network { host, network, uuid: spec.uuid }];
        }
        ground.networks.insert(spec.name.clone(), step);
    }

    fn remove_network(
        &mut self,
        network: &NetworkName,
        uuid: uuid::Uuid,
        host: &HostName,
        removed: &[usize],
    ) {
        let ours = Ours { uuid, fleet: self.plan.fleet, name: network.to_string(), seen: None };
        let act = Act::RemoveNetwork { network: ours };
        let step = self.on(host, act, removed);
        let (host, network) = (host.clone(), network.clone());
        self.steps[step].settles = vec![Fact::NetworkGone { host, network }];
    }

    /// Adds the steps that publish what is about a VM, or about the whole fleet.
    pub(super) fn publish(
        &mut self,
        vm: Option<&VmName>,
        needs: &[usize],
        after: &[usize],
    ) -> Vec<usize> {
        let plugins = self.edits.0.remove(&vm.cloned()).unwrap_or_default();
        let mut steps = Vec::new();
        for (plugin, edits) in plugins {
            let fact = |edit: &Edit| Fact::Published {
                plugin: plugin.clone(),
                key: edit.key.clone(),
                values: edit.new.clone(),
            };
            // Until it is done, the old values may be there as well as the new ones.
            let claim = |edit: &Edit| Fact::Published {
                plugin: plugin.clone(),
                key: edit.key.clone(),
                values: either(&edit.old, &edit.new),
            };
            let adds = edits.iter().filter(|edit| !edit.new.is_empty());
            let claims = adds.map(claim).collect();
            let settles = edits.iter().map(fact).collect();
            steps.push(self.push(Step {
                host: None,
                vm: vm.cloned(),
                act: Act::Publish { plugin, edits },
                needs: needs.to_vec(),
                after: after.to_vec(),
                claims,
                settles,
            }));
        }
        steps
    }

    /// Edits about VMs that hosts need no change for.
    fn rest(&mut self, fleet_wide: &[usize]) {
        let vms: Vec<_> = self.edits.0.keys().cloned().collect();
        for vm in vms {
            self.publish(vm.as_ref(), &[], fleet_wide);
        }
    }
}

fn either(old: &[String], new: &[String]) -> Vec<String> {
    old.iter().chain(new.iter().filter(|value| !old.contains(value))).cloned().collect()
}

/// Returns the volumes that a change makes or names anew: the card lists them before they are there.
fn volumes_added(change: &Change) -> Vec<String> {
    let mut added = Vec::new();
    if let Work::Image(spec) = &change.work {
        added.push(spec.volume.clone());
    }
    added.extend(volumes_back(change));
    if let Some(work) = change.making() {
        added.extend(volumes_made(work, matches!(change.work, Work::VmAdopted(_))));
    }
    if let Work::CopyGone(removal) = &change.work {
        added.extend(volumes_away(removal));
    }
    added.extend(change.removal().into_iter().flat_map(volumes_away));
    added
}

/// Returns the names of what goes to the trash, before and after: a kill may leave it under either.
fn volumes_away(removal: &VmRemoval) -> Vec<String> {
    let xml = removal.seen.iter().map(|_| removal.xml.clone());
    let moved = removal.trash.iter().chain(&removal.nvram);
    xml.chain(moved.flat_map(|(from, to)| [from.clone(), to.clone()])).collect()
}

/// Returns both names of what comes back from the trash: a kill may leave it under either.
fn volumes_back(change: &Change) -> Vec<String> {
    match &change.work {
        Work::VmRestored(work) => {
            let moved = work.moves.iter().flat_map(|(from, to)| [from.clone(), to.clone()]);
            let seed = Some(work.seed.clone()).filter(|_| work.write_seed);
            let xml = work.xml.as_ref().map(|xml| xml.volume.clone());
            moved.chain(seed).chain(xml).collect()
        }
        Work::DiskRestored(work) => vec![work.from.clone(), work.to.clone()],
        _ => Vec::new(),
    }
}

fn volumes_made(work: &VmWork, adopted: bool) -> Vec<String> {
    if adopted {
        let disks = work.decision.disks.iter().map(|disk| disk.volume.clone());
        return disks.chain(work.spec.seed.clone()).chain(work.spec.nvram.clone()).collect();
    }
    let seed = work.spec.seed.clone().filter(|_| work.seed);
    let nvram = work.spec.nvram.clone().filter(|_| work.define || work.start);
    let trash = work.detach.iter().filter_map(|(_, end)| match end {
        Detached::Trashed(to) => Some(to.clone()),
        Detached::Kept | Detached::Gone => None,
    });
    let made = work.volumes.iter().map(|volume| volume.name.clone());
    made.chain(seed).chain(nvram).chain(trash).collect()
}
