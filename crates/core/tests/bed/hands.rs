//! Somebody who changes things by hand while freehold works, and puts them back later.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, Weak},
};

use freehold_core::{
    host::simulated::{SimulatedHost, WorldDomain},
    model::{FleetId, HostName, VolumeView},
};
use uuid::Uuid;

use super::{Server, strangers, witness::Witness};

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hand {
    /// Takes the mark off a domain.
    DropMark,
    /// Turns a domain off (`virsh destroy`).
    TurnOff,
    /// Turns a domain off and undefines it.
    Undefine,
    /// Undefines a domain that runs, or not.
    UndefineLive,
    /// Adds a device to a domain.
    AddDevice,
    /// Removes a volume of a VM.
    DeleteVolume,
    /// Makes a domain under a name that is wanted and not there.
    TakeName,
    /// Writes another value at a name of ours.
    ChangeRecord,
    /// Saves a domain's run to disk (`virsh managedsave`).
    Save,
    /// Starts a host anew.
    Reboot,
}

impl Hand {
    pub(crate) const ALL: [Self; 10] = [
        Self::DropMark,
        Self::TurnOff,
        Self::Undefine,
        Self::UndefineLive,
        Self::AddDevice,
        Self::DeleteVolume,
        Self::TakeName,
        Self::ChangeRecord,
        Self::Save,
        Self::Reboot,
    ];
}

/// How a thing done is put back.
enum Undo {
    Mark(HostName, Uuid),
    Volume(HostName, String, VolumeView),
    Stranger(HostName, Uuid),
    Record(String),
    Save(HostName, Uuid),
    Definition(HostName, Uuid),
}

/// Somebody's hands on all hosts and on the server.
pub(crate) struct Hands {
    fleet: FleetId,
    hosts: BTreeMap<HostName, SimulatedHost>,
    server: Weak<Server>,
    witness: Arc<Witness>,
    /// Names of declared VMs, and where the first of their hosts is.
    wanted: Mutex<Vec<(String, HostName)>>,
    undo: Mutex<Vec<Undo>>,
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hands").finish_non_exhaustive()
    }
}

impl Hands {
    pub(super) fn new(
        fleet: FleetId,
        hosts: BTreeMap<HostName, SimulatedHost>,
        server: Weak<Server>,
        witness: Arc<Witness>,
    ) -> Self {
        let (wanted, undo) = Default::default();
        Self { fleet, hosts, server, witness, wanted, undo }
    }

    pub(super) fn want(&self, names: Vec<(String, HostName)>) {
        *self.wanted.lock().unwrap() = names;
    }

    /// Says whether anything was done that is not put back yet.
    pub(crate) fn meddled(&self) -> bool {
        !self.undo.lock().unwrap().is_empty()
    }

    /// Says whether a domain is saved to disk: libvirt refuses each time what the plan wants of it.
    pub(crate) fn stand_in_the_way(&self) -> bool {
        self.undo.lock().unwrap().iter().any(|undo| matches!(undo, Undo::Save(..)))
    }

    /// Does something to one of our objects, if there is one to do it to.
    pub(crate) fn act(&self, hand: Hand, which: u8) {
        let which = usize::from(which);
        let undo = match hand {
            Hand::TakeName => self.take_name(which),
            Hand::ChangeRecord => self.change_record(which),
            Hand::Reboot => {
                let host = self.hosts.values().nth(which % self.hosts.len());
                host.unwrap().world().reboot();
                None
            }
            hand => self.on_domain(hand, which),
        };
        self.undo.lock().unwrap().extend(undo);
    }

    fn on_domain(&self, hand: Hand, which: usize) -> Option<Undo> {
        let ours = self.hosts.iter().flat_map(|(name, host)| {
            let world = host.world();
            let ours = world.domains.values().filter(|domain| self.is_ours(domain));
            let uuids: Vec<_> = ours.map(|domain| (name.clone(), domain.spec.uuid)).collect();
            uuids
        });
        let ours: Vec<_> = ours.collect();
        let (name, uuid) = ours.get(which % ours.len().max(1))?.clone();
        let mut world = self.hosts[&name].world();
        match hand {
            Hand::DropMark => world.somebody_drops_mark(uuid).then_some(Undo::Mark(name, uuid)),
            Hand::Save => world.somebody_saves(uuid).then_some(Undo::Save(name, uuid)),
            Hand::DeleteVolume => {
                let disks = &world.domains.get(&uuid)?.spec.disks;
                let volume = disks.get(which % disks.len().max(1))?.volume.clone();
                let view = world.volumes.get(&volume)?.clone();
                world.somebody_deletes_volume(&volume);
                Some(Undo::Volume(name, volume, view))
            }
            Hand::Undefine => {
                world.somebody_destroys(uuid);
                world.somebody_undefines(uuid);
                None
            }
            Hand::UndefineLive => {
                world.somebody_undefines(uuid).then_some(Undo::Definition(name, uuid))
            }
            Hand::AddDevice => {
                world.somebody_adds(uuid, "<watchdog/>");
                None
            }
            _ => {
                world.somebody_destroys(uuid);
                None
            }
        }
    }

    fn is_ours(&self, domain: &WorldDomain) -> bool {
        domain.marked && domain.spec.mark.fleet == self.fleet
    }

    fn take_name(&self, which: usize) -> Option<Undo> {
        let wanted = self.wanted.lock().unwrap();
        let (name, host) = wanted.get(which % wanted.len().max(1))?;
        let mut world = self.hosts[host].world();
        if world.domains.values().any(|domain| domain.spec.name == *name) {
            return None;
        }
        let stranger = strangers::domain(name, 0x7a_0000 + which as u128);
        let uuid = stranger.spec.uuid;
        if world.domains.contains_key(&uuid) {
            return None;
        }
        world.domains.insert(uuid, stranger);
        drop(world);
        self.witness.remember(host);
        Some(Undo::Stranger(host.clone(), uuid))
    }

    fn change_record(&self, which: usize) -> Option<Undo> {
        let server = self.server.upgrade()?;
        let ours = server.records().into_iter().filter(|(_, record)| record.vm.is_some());
        let names: Vec<_> = ours.map(|(name, _)| name).collect();
        let name = names.get(which % names.len().max(1))?.clone();
        server.put_foreign(&name, "192.0.2.77");
        Some(Undo::Record(name))
    }

    /// Puts back what was done, where somebody still wants it; `wanted` says of a volume.
    pub(crate) fn put_back(&self, wanted: impl Fn(&str) -> bool) {
        for undo in std::mem::take(&mut *self.undo.lock().unwrap()) {
            match undo {
                Undo::Mark(host, uuid) => {
                    if let Some(domain) = self.hosts[&host].world().domains.get_mut(&uuid) {
                        domain.marked = true;
                    }
                }
                Undo::Save(host, uuid) => {
                    if let Some(domain) = self.hosts[&host].world().domains.get_mut(&uuid) {
                        (domain.saved, domain.saved_run) = (false, None);
                    }
                }
                Undo::Definition(host, uuid) => {
                    if let Some(domain) = self.hosts[&host].world().domains.get_mut(&uuid) {
                        domain.persistent = true;
                    }
                }
                Undo::Volume(host, name, view) => {
                    if wanted(&name) {
                        self.hosts[&host].world().volumes.entry(name).or_insert(view);
                    }
                }
                Undo::Stranger(host, uuid) => {
                    self.hosts[&host].world().domains.remove(&uuid);
                    self.witness.remember(&host);
                }
                Undo::Record(name) => {
                    if let Some(server) = self.server.upgrade() {
                        server.remove(&name);
                    }
                }
            }
        }
    }
}
