//! The order of work: networks and pools, images, volumes, seed, domain, start, ready, then what
//! plugins add; on removal what plugins take away, then the VM.

use std::collections::BTreeMap;

use super::{Act, Change, Object, Plan, Step, VmRemoval, VmWork, Work, World, wanted::vm_record};
use crate::{
    model::{Edit, HostCard, HostName, NetworkName, NicSource, Ours, VmName},
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

struct Order<'a> {
    world: &'a World<'a>,
    plan: &'a Plan,
    steps: Vec<Step>,
    edits: Edits,
}

/// What the changes on one host stand on.
struct Ground<'a> {
    host: &'a HostName,
    /// The card, or the pool: what must be there before any volume.
    base: Vec<usize>,
    networks: BTreeMap<String, usize>,
    images: BTreeMap<String, usize>,
    /// Steps that write files past libvirt.
    written: Vec<usize>,
}

impl Order<'_> {
    fn push(&mut self, step: Step) -> usize {
        self.steps.push(step);
        self.steps.len() - 1
    }

    fn on(&mut self, host: &HostName, act: Act, needs: &[usize]) -> usize {
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
                Work::VmGone(removal) => removed.push(self.remove_vm(removal, &mut ground)),
                _ => {}
            }
        }
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
        self.steps[step].claims = vec![Fact::Host { host: host.clone(), id }];
        ground.base = vec![step];
    }

    fn card_with(&self, host: &HostName, added: Vec<String>) -> HostCard {
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
        let ours = Ours { uuid, fleet: self.plan.fleet, name: network.to_string() };
        let act = Act::RemoveNetwork { network: ours };
        let step = self.on(host, act, removed);
        let (host, network) = (host.clone(), network.clone());
        self.steps[step].settles = vec![Fact::NetworkGone { host, network }];
    }

    fn make_vm(&mut self, work: &VmWork, ground: &mut Ground<'_>, fleet_wide: &[usize]) {
        let mut claims = self.vm_claims(&work.vm);
        let whole = Fact::VmMade { vm: work.vm.clone(), made: true };
        if !work.define {
            claims.push(whole.clone());
        }
        let act = |order: &mut Self, act: Act, needs: &[usize]| {
            let step = order.on(ground.host, act, needs);
            order.steps[step].vm = Some(work.vm.clone());
            order.steps[step].claims.clone_from(&claims);
            step
        };
        let first = self.steps.len();
        let mut parts = ground.base.clone();
        // The root disk comes first: nothing else is made of a VM whose image is refused.
        let mut root = Vec::new();
        for volume in &work.volumes {
            let image = volume.backing.as_ref().and_then(|image| ground.images.get(image));
            let needs: Vec<_> = ground.base.iter().chain(&root).chain(image).copied().collect();
            let step = act(self, Act::CreateVolume(volume.clone()), &needs);
            if volume.backing.is_some() {
                root = vec![step];
            }
            parts.push(step);
        }
        if let Some(volume) = work.spec.seed.clone().filter(|_| work.seed) {
            let needs = [ground.base.clone(), root].concat();
            let seed = act(self, Act::WriteSeed { volume }, &needs);
            ground.written.push(seed);
            parts.push(seed);
        }
        for nic in &work.spec.nics {
            if let NicSource::Network(name) = &nic.source {
                parts.extend(ground.networks.get(name));
            }
        }
        if work.define {
            let define = act(self, Act::DefineDomain(Box::new(work.spec.clone())), &parts);
            self.steps[define].settles = vec![whole];
            parts = vec![define];
        }
        let domain = work.spec.ours();
        if let Some(autostart) = work.autostart {
            parts =
                vec![act(self, Act::SetAutostart { domain: domain.clone(), autostart }, &parts)];
        }
        if work.stop {
            let taken_away = self.publish(Some(&work.vm), &[], &[]);
            let stop = act(self, Act::StopDomain { domain }, &parts);
            self.steps[stop].after = taken_away;
            return;
        }
        if work.start {
            parts = vec![act(self, Act::StartDomain { domain }, &parts)];
        }
        let ready = work.wait.clone().map(|wait| act(self, Act::AwaitReady(wait), &parts));
        if let Some(ready) = ready {
            self.steps[ready].settles = vec![Fact::VmReady { vm: work.vm.clone() }];
        }
        if self.steps.len() == first {
            // Nothing but the record changes.
            act(self, Act::Note, &parts);
        }
        // Published once it is ready or its deadline passed.
        let mut ended: Vec<_> = ready.into_iter().collect();
        ended.extend(fleet_wide);
        self.publish(Some(&work.vm), &parts, &ended);
    }

    fn vm_claims(&self, vm: &VmName) -> Vec<Fact> {
        let world = self.world;
        let (Some(wanted), Some(decision)) = (world.fleet.vms.get(vm), world.decisions.vms.get(vm))
        else {
            return Vec::new();
        };
        let work = self.plan.changes.iter().find_map(|change| match &change.work {
            Work::Vm(work) if work.vm == *vm => Some(work),
            _ => None,
        });
        let claim = |work: &VmWork| Fact::Vm {
            vm: vm.clone(),
            record: vm_record(wanted, decision, work),
            decision: decision.clone(),
        };
        work.map(|work| claim(work)).into_iter().collect()
    }

    fn remove_vm(&mut self, removal: &VmRemoval, ground: &mut Ground<'_>) -> usize {
        let taken_away = self.publish(Some(&removal.vm), &[], &[]);
        let (uuid, name) = (removal.uuid, removal.vm.to_string());
        let domain = Ours { uuid, fleet: self.plan.fleet, name };
        let act = |order: &mut Self, act: Act, needs: &[usize]| {
            let step = order.on(ground.host, act, needs);
            order.steps[step].vm = Some(removal.vm.clone());
            order.steps[step].claims = vec![Fact::VmMade { vm: removal.vm.clone(), made: false }];
            step
        };
        let mut gone = ground.base.clone();
        if removal.defined {
            let stop = act(self, Act::StopDomain { domain: domain.clone() }, &gone);
            // A server that is down does not keep a VM.
            self.steps[stop].after.clone_from(&taken_away);
            let xml = removal.xml.clone();
            gone = vec![act(self, Act::UndefineDomain { domain, xml }, &[stop])];
        }
        let mut last = gone.clone();
        for (from, to) in removal.trash.iter().chain(&removal.nvram) {
            let trash = Act::TrashVolume { from: from.clone(), to: to.clone() };
            last.push(act(self, trash, &gone));
        }
        for name in &removal.discard {
            last.push(act(self, Act::DiscardVolume { name: name.clone() }, &gone));
        }
        ground.written.extend(&last);
        let forget = act(self, Act::Forget, &last);
        self.steps[forget].after = taken_away;
        self.steps[forget].settles =
            vec![Fact::VmGone { vm: removal.vm.clone(), kept: Some(removal.kept.clone()) }];
        forget
    }

    /// Adds the steps that publish what is about a VM, or about the whole fleet.
    fn publish(&mut self, vm: Option<&VmName>, needs: &[usize], after: &[usize]) -> Vec<usize> {
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

fn volumes_added(change: &Change) -> Vec<String> {
    match &change.work {
        Work::Image(spec) => vec![spec.volume.clone()],
        Work::Vm(work) => {
            let seed = work.spec.seed.clone().filter(|_| work.seed);
            let nvram = work.spec.nvram.clone().filter(|_| work.define || work.start);
            work.volumes.iter().map(|volume| volume.name.clone()).chain(seed).chain(nvram).collect()
        }
        Work::VmGone(removal) => {
            let xml = removal.defined.then(|| removal.xml.clone());
            let moved = removal.trash.iter().chain(&removal.nvram);
            moved.flat_map(|(from, to)| [from.clone(), to.clone()]).chain(xml).collect()
        }
        Work::Pool | Work::Network(_) | Work::NetworkGone { .. } => Vec::new(),
    }
}
