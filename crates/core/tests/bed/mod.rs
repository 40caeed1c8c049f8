//! A fleet in a test: its text, its store, simulated hosts and a name server in memory, put
//! together as the command puts them together.

#![allow(dead_code, unused_imports, reason = "every test binary uses its part of the bed")]

mod check;
mod fate;
mod hands;
mod host;
mod peace;
mod run;
mod saved;
mod server;
mod strangers;
mod texts;
mod witness;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use freehold_core::{
    config::{self, Inputs},
    host::simulated::SimulatedHost,
    model::{Fleet, HostName, VmName},
    plan::Consent,
    plugins::Plugin,
    seed::Identity,
    state::{Decisions, LocalStore, LockFile, Snapshot},
};

pub(crate) use fate::{Fate, Trick};
pub(crate) use hands::{Hand, Hands};
pub(crate) use run::{Ask, Exit, Ran};
pub(crate) use server::Server;
pub(crate) use texts::{Data, Text, VmText};
pub(crate) use witness::Witness;

/// A fleet with everything it is applied to.
pub(crate) struct Bed {
    folder: tempfile::TempDir,
    pub(crate) hosts: BTreeMap<HostName, SimulatedHost>,
    pub(crate) server: Arc<Server>,
    pub(crate) fate: Arc<Fate>,
    /// Looks at every changing call.
    pub(crate) witness: Arc<Witness>,
    /// Changes things by hand.
    pub(crate) hands: Arc<Hands>,
    /// What the text says; read once.
    fleet: Mutex<Fleet>,
    runs: AtomicU32,
}

/// Everything is agreed to.
pub(crate) fn all() -> Consent {
    Consent { all: true, deletes: Some(usize::MAX), ..Consent::default() }
}

pub(crate) fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

pub(crate) fn vm(name: &str) -> VmName {
    name.parse().unwrap()
}

/// A folder in memory where there is one: these tests sync much.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}

/// Reads the fleet of a folder.
pub(crate) fn load(folder: &Path) -> Fleet {
    let inputs = Inputs { variables: BTreeMap::new(), environment: Arc::new(|_: &str| None) };
    config::load(folder, &inputs).unwrap_or_else(|problems| panic!("{}", problems.render()))
}

/// Returns a host that is as another one, and changes on its own.
fn copy_of(host: &SimulatedHost) -> SimulatedHost {
    let copy = SimulatedHost::new(freehold_core::host::Host::name(host).clone(), &[]);
    let (from, mut to) = (host.world(), copy.world());
    to.kvm = from.kvm;
    to.pool = from.pool;
    to.pool_path.clone_from(&from.pool_path);
    to.volumes.clone_from(&from.volumes);
    to.contents.clone_from(&from.contents);
    to.card.clone_from(&from.card);
    to.free = from.free;
    to.full = from.full;
    to.domains.clone_from(&from.domains);
    to.networks.clone_from(&from.networks);
    to.bridges.clone_from(&from.bridges);
    to.files.clone_from(&from.files);
    to.sources.clone_from(&from.sources);
    to.answers.clone_from(&from.answers);
    to.down = from.down;
    drop((from, to));
    copy
}

/// Files of the folder that make a copy of it the same fleet.
const FILES: [&str; 6] = [
    "fleet.hcl",
    "base.qcow2",
    "freehold.lock",
    ".freehold/identity.key",
    ".freehold/state.json",
    ".freehold/journal.jsonl",
];

impl Bed {
    /// Lays out a fleet; its hosts have the bridge `br0`.
    pub(crate) fn new(text: &Text) -> Self {
        let folder = folder();
        std::fs::write(folder.path().join("base.qcow2"), b"image").unwrap();
        let store = folder.path().join(LocalStore::DIRECTORY);
        std::fs::create_dir(&store).unwrap();
        Identity::generate().unwrap().save(&store.join(Identity::FILE)).unwrap();
        std::fs::write(folder.path().join("fleet.hcl"), text.to_string()).unwrap();
        let fleet = load(folder.path());
        let hosts = fleet.hosts.keys().cloned();
        let hosts = hosts.map(|name| (name.clone(), SimulatedHost::new(name, &["br0"])));
        let hosts = hosts.collect();
        let fate = Arc::new(Fate::default());
        let server = Arc::new(Server::new("dns main", Arc::clone(&fate)));
        Self::of(folder, hosts, server, fate, fleet)
    }

    /// Lays out a fleet among other people's domains, networks, volumes, files and records.
    pub(crate) fn among_strangers(text: &Text) -> Self {
        let bed = Self::new(text);
        for (number, (name, host)) in bed.hosts.iter().enumerate() {
            strangers::settle(&mut host.world(), number);
            bed.witness.remember(name);
        }
        bed.server.put_foreign("post.example.org", "192.0.2.1");
        bed
    }

    fn of(
        folder: tempfile::TempDir,
        hosts: BTreeMap<HostName, SimulatedHost>,
        server: Arc<Server>,
        fate: Arc<Fate>,
        fleet: Fleet,
    ) -> Self {
        let store = LocalStore::of(folder.path(), fleet.id);
        let witness = Arc::new(Witness::new(fleet.id, store, hosts.clone()));
        let (known, weak) = (hosts.clone(), Arc::downgrade(&server));
        let hands = Arc::new(Hands::new(fleet.id, known, weak, Arc::clone(&witness)));
        fate.attend(Arc::clone(&witness), Arc::clone(&hands));
        let (fleet, runs) = (Mutex::new(fleet), AtomicU32::new(0));
        let bed = Self { folder, hosts, server, fate, witness, hands, fleet, runs };
        bed.want();
        bed
    }

    /// Returns a fleet in the same place, with a life of its own from here on.
    pub(crate) fn fork(&self) -> Self {
        let hosts = self.hosts.iter().map(|(name, host)| (name.clone(), copy_of(host))).collect();
        let fate = Arc::new(Fate::default());
        let server = Arc::new(self.server.copy(Arc::clone(&fate)));
        self.copy(hosts, server, fate)
    }

    /// Returns a copy of the folder that meets the same hosts and the same server.
    pub(crate) fn rival(&self) -> Self {
        let fate = Arc::new(Fate::default());
        let server = Arc::new(self.server.shared(Arc::clone(&fate)));
        let rival = self.copy(self.hosts.clone(), server, fate);
        rival.runs.fetch_add(1000, Ordering::Relaxed);
        rival
    }

    fn copy(
        &self,
        hosts: BTreeMap<HostName, SimulatedHost>,
        server: Arc<Server>,
        fate: Arc<Fate>,
    ) -> Self {
        let folder = folder();
        std::fs::create_dir(folder.path().join(LocalStore::DIRECTORY)).unwrap();
        for file in FILES {
            let copied = std::fs::copy(self.path(file), folder.path().join(file));
            assert!(copied.is_ok() || !self.path(file).exists(), "{file} is not copied");
        }
        let copy = Self::of(folder, hosts, server, fate, self.fleet());
        for name in copy.hosts.keys() {
            copy.witness.remember(name);
        }
        copy.runs.store(self.runs.load(Ordering::Relaxed), Ordering::Relaxed);
        copy
    }

    fn want(&self) {
        let fleet = self.fleet();
        let names = fleet.vms.values().map(|vm| (vm.name.to_string(), vm.hosts[0].clone()));
        self.hands.want(names.collect());
    }

    /// Replaces the text.
    pub(crate) fn write(&self, text: &Text) {
        std::fs::write(self.path("fleet.hcl"), text.to_string()).unwrap();
        *self.fleet.lock().unwrap() = load(self.folder.path());
        self.want();
    }

    pub(crate) fn path(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn fleet(&self) -> Fleet {
        self.fleet.lock().unwrap().clone()
    }

    pub(crate) fn store(&self) -> LocalStore {
        LocalStore::of(self.folder.path(), self.fleet().id)
    }

    pub(crate) fn lock(&self) -> LockFile {
        LockFile::of(self.folder.path(), self.fleet().id)
    }

    pub(crate) fn decided(&self) -> Decisions {
        self.lock().read().unwrap()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.store().read().unwrap()
    }

    /// Loses the state, but for the identity secret.
    pub(crate) fn lose_state(&self) {
        let identity = self.store().path(Identity::FILE);
        let secret = Identity::load(&identity).unwrap();
        std::fs::remove_dir_all(identity.parent().unwrap()).unwrap();
        std::fs::create_dir(identity.parent().unwrap()).unwrap();
        secret.save(&identity).unwrap();
        self.witness.state_is_lost();
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::load(&self.store().path(Identity::FILE)).unwrap()
    }

    /// Ends all trouble: hosts and server are reachable, nothing is going to fail.
    pub(crate) fn heal(&self) {
        self.fate.clear();
        self.hosts.values().for_each(SimulatedHost::heal);
        self.recover();
    }

    /// Whatever was away or full is back; what is going to fail still does.
    pub(crate) fn recover(&self) {
        self.fate.recover();
        for host in self.hosts.values() {
            host.set_down(false);
            host.world().full = false;
        }
        self.server.set_down(false);
    }

    fn plugins(&self) -> Vec<Arc<dyn Plugin>> {
        vec![Arc::clone(&self.server) as Arc<dyn Plugin>]
    }
}
