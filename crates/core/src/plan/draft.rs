//! Compares the wanted fleet with every host that was read.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    Action, Change, Goal, Held, Object, Reason, TrashSpace, VmWork, Withheld, Work, World,
    adopt::adoption,
    image_spec,
    placed::Placed,
    recover::has_unknown,
    removal::{is_protected, removal_of},
    settled::settled,
    trash::{may_come, trash_on, unfinished_restore},
    vm::{Look, Verdict, needs_image, vm_verdict},
};
use crate::{
    model::{
        Host, HostCard, HostName, HostView, ImageName, Impact, NetworkName, Seen, VmName,
        nvram_name,
    },
    state::{Fact, VmRecord},
};

/// Changes on hosts, before plugins were asked.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Changes, by host and object.
    pub changes: Vec<Change>,
    /// What is held back.
    pub held: Vec<Held>,
    /// Cards of the hosts that were read.
    pub cards: BTreeMap<HostName, HostCard>,
    /// VMs that are as they shall be.
    pub unchanged: usize,
    /// What the trash takes on hosts that have any.
    pub trash: BTreeMap<HostName, TrashSpace>,
    /// What the state learns of them.
    pub present: Vec<Fact>,
}

/// Compares everything; makes all choices that are left.
pub fn draft(world: &World<'_>) -> Draft {
    let mut draft = Draft::default();
    let placed = Placed::of(world);
    let hosts = world.fleet.hosts.values().filter(|host| world.scope.has_host(&host.name));
    for host in hosts {
        match world.observed.get(&host.name) {
            Some(Seen::Whole(view)) => {
                let first = draft.changes.len();
                HostDraft { world, placed: &placed, host, view, first, draft: &mut draft }
                    .compare();
            }
            Some(Seen::Unreachable(why)) => hold_host(world, &placed, &host.name, why, &mut draft),
            None => hold_host(world, &placed, &host.name, "it was not asked", &mut draft),
        }
    }
    let gone =
        |host: &&HostName| !world.fleet.hosts.contains_key(*host) && world.scope.has_host(host);
    for host in placed.hosts().into_iter().filter(gone) {
        hold_host(world, &placed, host, "it is no longer declared", &mut draft);
    }
    draft.changes.sort_by(|one, other| (&one.host, &one.object).cmp(&(&other.host, &other.object)));
    draft
}

/// Holds back what would have been looked at on a host that was not read.
fn hold_host(
    world: &World<'_>,
    placed: &Placed<'_>,
    host: &HostName,
    why: &str,
    draft: &mut Draft,
) {
    let vms = placed.concerned(world, host);
    if vms.is_empty() && !world.is_whole() {
        return;
    }
    let mut hold = |object| {
        let why = Withheld::Unreachable(why.to_owned());
        draft.held.push(Held { host: Some(host.clone()), object, why });
    };
    hold(Object::Host(host.clone()));
    for vm in vms {
        hold(Object::Vm(vm.clone()));
    }
}

/// One host's part of the draft.
pub(super) struct HostDraft<'a> {
    pub(super) world: &'a World<'a>,
    pub(super) placed: &'a Placed<'a>,
    pub(super) host: &'a Host,
    pub(super) view: &'a HostView,
    /// How many changes the draft had before this host.
    first: usize,
    pub(super) draft: &'a mut Draft,
}

impl HostDraft<'_> {
    fn compare(mut self) {
        if let Some(why) = self.stranger() {
            self.hold(Object::Host(self.host.name.clone()), why.clone());
            for vm in self.placed.concerned(self.world, &self.host.name) {
                let why = Withheld::Needs(Object::Host(self.host.name.clone()));
                self.hold(Object::Vm(vm.clone()), why);
            }
            return;
        }
        let card = self.card();
        self.draft.cards.insert(self.host.name.clone(), card);
        let trash = trash_on(self.world, &self.host.name, self.view);
        if let Some(space) = TrashSpace::of(&trash, self.world.fleet.retain) {
            self.draft.trash.insert(self.host.name.clone(), space);
        }
        match self.world.goal {
            Goal::Restore(restore) => return self.restore(restore),
            Goal::Empty(entries) => return self.empty(entries),
            Goal::Pull(images) => return self.pull(images),
            Goal::Prune => return self.prune(),
            _ => {}
        }
        if matches!(self.world.goal, Goal::Converge | Goal::Destroy(_)) {
            self.remove_copies();
        }
        if self.world.goal.is_to_make() {
            let held_networks = self.compare_networks();
            self.compare_vms(&held_networks);
        }
        self.remove_vms();
        self.remove_networks();
    }

    /// The changes on this host so far.
    pub(super) fn changes(&self) -> &[Change] {
        &self.draft.changes[self.first..]
    }

    /// A host where we had made objects must show the card we know.
    fn stranger(&self) -> Option<Withheld> {
        let pool = self.view.pool.as_ref();
        if let Some(pool) = pool.filter(|pool| !pool.active) {
            return Some(Withheld::PoolInactive(pool.path.clone()));
        }
        let known = self.world.snapshot.hosts.get(&self.host.name);
        let card = pool.and_then(|pool| pool.card.as_ref());
        if let Some(other) = card.and_then(|card| self.same_machine(card)) {
            return Some(Withheld::SameMachine(other.clone()));
        }
        let Some(known) = known else {
            // Taken for a new one, what it has would be made again beside it. One VM at a time is
            // taken in by name.
            let adopts = matches!(self.world.goal, Goal::Adopt { .. });
            let (snapshot, here) = (self.world.snapshot, &self.host.name);
            let lost = !adopts && has_unknown(self.view, here, snapshot);
            return lost.then_some(Withheld::StateLost);
        };
        // The card is claimed before it is written: a host without one and without anything of
        // ours is one where the run ended in between.
        let begun = self.had_objects();
        match card {
            Some(card) if card.host == *known => self.old_state(card),
            Some(card) => {
                Some(Withheld::Stranger(format!("its card says {}, we know {known}", card.host)))
            }
            None if begun => Some(Withheld::Stranger("its pool has no card of ours".into())),
            None => None,
        }
    }

    /// Two hosts that show one card would each write their own list of volumes over the other's. The
    /// one that we know by it goes on, if it is one.
    fn same_machine(&self, card: &HostCard) -> Option<&HostName> {
        let other = self.placed.same_card(&self.host.name, card)?;
        let knows = |host| self.world.snapshot.hosts.get(host) == Some(&card.host);
        (!knows(&self.host.name) || knows(other)).then_some(other)
    }

    /// A state that lags behind the card is an old copy: the journal of a run is on the disk before
    /// any card is written, and is folded in before anything is planned. Where that journal was put
    /// aside the state lags by one run; what that run made is not in the state and stays.
    fn old_state(&self, card: &HostCard) -> Option<Withheld> {
        let state = self.world.snapshot.serial;
        let card = *card.fleets.get(&self.world.fleet.id.to_string())?;
        (card > state + self.world.lag).then_some(Withheld::OldState { card, state })
    }

    /// Says whether the state knows of anything that was made here once there was a card: VMs, kept
    /// disks, and networks that are gone (one that is there is the same host's).
    fn had_objects(&self) -> bool {
        let (snapshot, here) = (self.world.snapshot, &self.host.name);
        let is_gone = |uuid: &Uuid| !self.view.networks.iter().any(|view| view.uuid == *uuid);
        !self.placed.made(here).is_empty()
            || snapshot.kept.iter().any(|kept| kept.host == *here)
            || snapshot.networks.get(here).is_some_and(|known| known.values().any(is_gone))
    }

    /// Returns the host's card less the volumes that are gone, or a new one. What the state claims is
    /// not gone, nor what may come into the trash: it may be on its way yet.
    fn card(&self) -> HostCard {
        let pool = self.view.pool.as_ref();
        let known = self.world.snapshot.hosts.get(&self.host.name).copied();
        let mut card = pool.and_then(|pool| pool.card.clone()).unwrap_or_else(|| HostCard {
            format: HostCard::FORMAT,
            host: known.unwrap_or_else(|| (self.world.fresh_id)(&self.host.name)),
            libvirt: self.host.libvirt,
            fleets: BTreeMap::new(),
            volumes: BTreeMap::new(),
        });
        let there = |name: &String| pool.is_some_and(|pool| pool.volumes.contains_key(name));
        if let Some(ours) = card.volumes.get_mut(&self.world.fleet.id.to_string()) {
            let claimed = self.claimed();
            let comes = |name: &str| may_come(self.world, &self.host.name, self.view, name);
            ours.retain(|name| there(name) || claimed.contains(name) || comes(name));
        }
        card
    }

    /// Returns the names of all files that the state says are on this host, or may come to be.
    fn claimed(&self) -> BTreeSet<String> {
        let (fleet, snapshot) = (self.world.fleet.id, self.world.snapshot);
        let of_vm = |record: &VmRecord| {
            let disks = record.disks.iter().map(|disk| disk.volume.clone());
            disks.chain([record.seed.clone(), nvram_name(fleet, record.uuid)]).collect::<Vec<_>>()
        };
        let of_vms = self.placed.made(&self.host.name).iter().flat_map(|(_, record)| of_vm(record));
        let kept = snapshot.kept.iter().filter(|kept| kept.host == self.host.name);
        of_vms.chain(kept.map(|kept| kept.volume.clone())).collect()
    }

    pub(super) fn hold(&mut self, object: Object, why: Withheld) {
        self.draft.held.push(Held { host: Some(self.host.name.clone()), object, why });
    }

    pub(super) fn change(
        &mut self,
        object: Object,
        action: Action,
        impact: Impact,
        why: Reason,
        work: Work,
    ) {
        let (host, reasons) = (self.host.name.clone(), vec![why]);
        self.draft.changes.push(Change { host, object, action, impact, reasons, work });
    }

    fn compare_vms(&mut self, held_networks: &BTreeSet<NetworkName>) {
        let mut images: BTreeSet<ImageName> = BTreeSet::new();
        for vm in self.placed.declared(&self.host.name) {
            if !self.world.has_vm(&vm.name) {
                continue;
            }
            let decision = &self.world.decisions.vms[&vm.name];
            let object = Object::Vm(vm.name.clone());
            let look = Look::at(self.world, vm, decision, self.view);
            match self.verdict(&look) {
                Verdict::Same => {
                    self.draft.unchanged += 1;
                    self.draft.present.extend(settled(&look));
                }
                Verdict::Held(why) => self.hold(object, why),
                Verdict::Change(change) => {
                    let lacking = vm.nics.iter().find(|nic| held_networks.contains(&nic.network));
                    if let Some(nic) = lacking {
                        let network = Object::Network(nic.network.clone());
                        self.hold(object, Withheld::Needs(network));
                        continue;
                    }
                    if let Work::Vm(work) | Work::VmAnew(_, work) = &change.work
                        && needs_image(work)
                    {
                        images.insert(vm.image.clone());
                    }
                    self.draft.changes.push(*change);
                }
            }
        }
        self.bring(&images);
    }

    fn verdict(&self, look: &Look<'_>) -> Verdict {
        if let Some(why) = self.elsewhere(look.decision.uuid) {
            return Verdict::Held(why);
        }
        let half_back = look.record.is_some_and(|record| record.restoring.is_some());
        match self.world.goal {
            _ if half_back => unfinished_restore(look),
            Goal::Adopt { vms, mark } if vms.contains(&look.vm.name) => adoption(look, *mark),
            _ => vm_verdict(look),
        }
    }

    /// Makes the pool and brings images, where changes need them.
    fn bring(&mut self, images: &BTreeSet<ImageName>) {
        let writes = |change: &Change| match &change.work {
            Work::Vm(work) | Work::VmAnew(_, work) => needs_pool(work),
            _ => false,
        };
        let needs_pool = self.changes().iter().any(writes);
        if self.view.pool.is_none() && needs_pool {
            self.change(Object::Pool, Action::Create, Impact::Live, Reason::New, Work::Pool);
        }
        for name in images {
            let spec = image_spec(self.world.fleet, &self.world.fleet.images[name]);
            let pool = self.view.pool.as_ref();
            if !pool.is_some_and(|pool| pool.volumes.contains_key(&spec.volume)) {
                let object = Object::Image(name.clone());
                let work = Work::Image(spec);
                self.change(object, Action::Create, Impact::Live, Reason::New, work);
            }
        }
    }

    fn remove_vms(&mut self) {
        let world = self.world;
        for &(vm, record) in self.placed.made(&self.host.name) {
            let reason = match (world.destroys(vm), world.goal) {
                (true, _) => Reason::Asked,
                (false, Goal::Converge) if !world.is_declared(vm) => Reason::NotDeclared,
                _ => continue,
            };
            if !world.has_vm(vm) {
                continue;
            }
            let object = Object::Vm(vm.clone());
            let removal = match self.elsewhere(record.uuid) {
                Some(why) => Err(why),
                None => self
                    .unprotected(vm, record)
                    .and_then(|()| removal_of(world, vm, record, self.view)),
            };
            match removal {
                Err(why) => self.hold(object, why),
                Ok(removal) => {
                    let work = Work::VmGone(Box::new(removal));
                    self.change(object, Action::Remove, Impact::DataLoss, reason, work);
                }
            }
        }
    }
}

impl HostDraft<'_> {
    /// A VM that does not run here and is on another host would be there twice, or live on after it
    /// was removed.
    fn elsewhere(&self, uuid: Uuid) -> Option<Withheld> {
        let (host, domain) = self.placed.elsewhere(&self.host.name, uuid)?;
        let here = self.view.domains.iter().find(|here| here.uuid == uuid);
        let runs = here.is_some_and(|here| here.state.runs());
        let (domain, host) = (domain.name.clone(), host.clone());
        (!runs).then_some(Withheld::Elsewhere { domain, host })
    }

    /// A VM whose block, state or mark says so is not taken away, whoever asks.
    fn unprotected(&self, vm: &VmName, record: &VmRecord) -> Result<(), Withheld> {
        let found = self.view.domains.iter().find(|domain| domain.uuid == record.uuid);
        match is_protected(self.world, vm, record, found) {
            true => Err(Withheld::Protected),
            false => Ok(()),
        }
    }
}

fn needs_pool(work: &VmWork) -> bool {
    work.seed || work.define || !work.volumes.is_empty()
}
