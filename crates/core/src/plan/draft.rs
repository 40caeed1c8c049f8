//! Compares the wanted fleet with every host that was read.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    Action, Change, Goal, Held, Object, Reason, TrashSpace, VmWork, Withheld, Work, World,
    adopt::adoption,
    image_spec,
    removal::removal_of,
    settled::settled,
    trash::{trash_on, unfinished_restore},
    vm::{Look, Verdict, needed_image, vm_verdict},
};
use crate::{
    model::{Host, HostCard, HostName, HostView, ImageName, Impact, NetworkName, Seen, VmName},
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
    let hosts = world.fleet.hosts.values().filter(|host| world.scope.has_host(&host.name));
    for host in hosts {
        match world.observed.get(&host.name) {
            Some(Seen::Whole(view)) => HostDraft { world, host, view, draft: &mut draft }.compare(),
            Some(Seen::Unreachable(why)) => hold_host(world, &host.name, why, &mut draft),
            None => hold_host(world, &host.name, "it was not asked", &mut draft),
        }
    }
    let made = world.snapshot.vms.values().map(|record| &record.host);
    let declared = world.fleet.vms.keys().map(|vm| &world.decisions.vms[vm].host);
    let hosts: BTreeSet<_> = made.chain(declared).collect();
    let gone =
        |host: &&&HostName| !world.fleet.hosts.contains_key(**host) && world.scope.has_host(host);
    for host in hosts.iter().filter(gone) {
        hold_host(world, host, "it is no longer declared", &mut draft);
    }
    let place = |change: &Change| (change.host.clone(), change.object.clone());
    draft.changes.sort_by_key(place);
    draft
}

/// Holds back what would have been looked at on a host that was not read.
fn hold_host(world: &World<'_>, host: &HostName, why: &str, draft: &mut Draft) {
    let declared = world
        .fleet
        .vms
        .keys()
        .filter(|vm| world.goal.is_to_make() && world.decisions.vms[*vm].host == *host);
    let made = world.snapshot.vms.iter().filter(|(vm, record)| {
        let meant = world.goal.is_to_make() || world.goal.destroys(vm);
        record.host == *host && meant && (!world.is_declared(vm) || !world.goal.is_to_make())
    });
    let vms: BTreeSet<_> = declared.chain(made.map(|(vm, _)| vm)).collect();
    let vms = vms.into_iter().filter(|vm| world.has_vm(vm));
    let vms: Vec<_> = vms.collect();
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
    pub(super) host: &'a Host,
    pub(super) view: &'a HostView,
    pub(super) draft: &'a mut Draft,
}

impl HostDraft<'_> {
    fn compare(mut self) {
        if let Some(why) = self.stranger() {
            self.hold(Object::Host(self.host.name.clone()), why.clone());
            let (names, host) = (self.vms_here(), self.host.name.clone());
            for vm in names {
                let why = Withheld::Needs(Object::Host(host.clone()));
                self.hold(Object::Vm(vm), why);
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
            _ => {}
        }
        if self.world.goal.is_to_make() {
            let held_networks = self.compare_networks();
            self.compare_vms(&held_networks);
        }
        self.remove_vms();
        self.remove_networks();
    }

    /// VMs that are declared or were made here.
    fn vms_here(&self) -> Vec<VmName> {
        let world = self.world;
        let declared = world.fleet.vms.keys().filter(|vm| {
            world.goal.is_to_make() && world.decisions.vms[*vm].host == self.host.name
        });
        let made = world.snapshot.vms.iter().filter(|(vm, record)| {
            record.host == self.host.name
                && (world.goal.is_to_make() && !world.is_declared(vm) || world.goal.destroys(vm))
        });
        let names: BTreeSet<_> = declared.chain(made.map(|(vm, _)| vm)).cloned().collect();
        names.into_iter().filter(|vm| world.has_vm(vm)).collect()
    }

    /// A host where we had made objects must show the card we know.
    fn stranger(&self) -> Option<Withheld> {
        let pool = self.view.pool.as_ref();
        if let Some(pool) = pool.filter(|pool| !pool.active) {
            return Some(Withheld::PoolInactive(pool.path.clone()));
        }
        let known = self.world.snapshot.hosts.get(&self.host.name)?;
        let card = pool.and_then(|pool| pool.card.as_ref());
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

    /// A state that lags behind the card by more than one run is an old copy. By one run it may lag
    /// when that run's journal was lost; what that run made is not in the state and stays.
    fn old_state(&self, card: &HostCard) -> Option<Withheld> {
        let state = self.world.snapshot.serial;
        let card = *card.fleets.get(&self.world.fleet.id.to_string())?;
        (card > state + 1).then_some(Withheld::OldState { card, state })
    }

    /// Says whether the state knows of anything that was made here once there was a card: VMs, kept
    /// disks, and networks that are gone (one that is there is the same host's).
    fn had_objects(&self) -> bool {
        let (snapshot, here) = (self.world.snapshot, &self.host.name);
        let is_gone = |uuid: &Uuid| !self.view.networks.iter().any(|view| view.uuid == *uuid);
        snapshot.vms.values().any(|vm| vm.host == *here)
            || snapshot.kept.iter().any(|kept| kept.host == *here)
            || snapshot.networks.get(here).is_some_and(|known| known.values().any(is_gone))
    }

    /// Returns the host's card less the volumes that are gone, or a new one.
    fn card(&self) -> HostCard {
        let pool = self.view.pool.as_ref();
        let known = self.world.snapshot.hosts.get(&self.host.name).copied();
        let mut card = pool.and_then(|pool| pool.card.clone()).unwrap_or_else(|| HostCard {
            format: HostCard::FORMAT,
            host: known.unwrap_or_else(|| (self.world.fresh_id)(&self.host.name)),
            fleets: BTreeMap::new(),
            volumes: BTreeMap::new(),
        });
        let there = |name: &String| pool.is_some_and(|pool| pool.volumes.contains_key(name));
        if let Some(ours) = card.volumes.get_mut(&self.world.fleet.id.to_string()) {
            ours.retain(there);
        }
        card
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
        for vm in self.world.fleet.vms.values() {
            let decision = &self.world.decisions.vms[&vm.name];
            if decision.host != self.host.name || !self.world.has_vm(&vm.name) {
                continue;
            }
            let object = Object::Vm(vm.name.clone());
            let look = Look::at(self.world, vm, decision, self.view);
            let half_back = look.record.is_some_and(|record| record.restoring.is_some());
            let verdict = match self.world.goal {
                _ if half_back => unfinished_restore(&look),
                Goal::Adopt { vms, mark } if vms.contains(&vm.name) => adoption(&look, *mark),
                _ => vm_verdict(&look),
            };
            match verdict {
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
                        && needed_image(self.world, work).is_some()
                    {
                        images.insert(vm.image.clone());
                    }
                    self.draft.changes.push(*change);
                }
            }
        }
        self.bring(&images);
    }

    /// Makes the pool and brings images, where changes need them.
    fn bring(&mut self, images: &BTreeSet<ImageName>) {
        let mine = |change: &&Change| change.host == self.host.name;
        let writes = |change: &&Change| match &change.work {
            Work::Vm(work) | Work::VmAnew(_, work) => needs_pool(work),
            _ => false,
        };
        let needs_pool = self.draft.changes.iter().filter(mine).any(|change| writes(&change));
        if self.view.pool.is_none() && needs_pool {
            self.change(Object::Pool, Action::Create, Impact::Live, Reason::New, Work::Pool);
        }
        for name in images {
            let spec = image_spec(self.world.fleet.id, &self.world.fleet.images[name]);
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
        let mine: Vec<(&VmName, &VmRecord)> =
            world.snapshot.vms.iter().filter(|(_, record)| record.host == self.host.name).collect();
        for (vm, record) in mine {
            let reason = match (world.goal.destroys(vm), world.goal) {
                (true, _) => Reason::Asked,
                (false, Goal::Converge) if !world.is_declared(vm) => Reason::NotDeclared,
                _ => continue,
            };
            if !world.has_vm(vm) {
                continue;
            }
            let object = Object::Vm(vm.clone());
            match self
                .unprotected(vm, record)
                .and_then(|()| removal_of(world, vm, record, self.view))
            {
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
    /// A VM whose block, state or mark says so is not taken away, whoever asks.
    fn unprotected(&self, vm: &VmName, record: &VmRecord) -> Result<(), Withheld> {
        let declared = self.world.fleet.vms.get(vm).is_some_and(|vm| vm.protect);
        let found = self.view.domains.iter().find(|domain| domain.uuid == record.uuid);
        let marked = found.and_then(|found| found.mark.as_ref()).is_some_and(|mark| mark.protect);
        if declared || marked || record.protect { Err(Withheld::Protected) } else { Ok(()) }
    }
}

fn needs_pool(work: &VmWork) -> bool {
    work.seed || work.define || !work.volumes.is_empty()
}
