//! The worlds that stores live in, and what can be done to them.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use freehold_core::{
    host::{self, ConnectOptions},
    model::{Accel, Connection, DaemonMode, FleetId, Host, Secret},
    state::{
        DatabaseStore, Dial, DialError, HostStore, LocalStore, SharedStore, State, Store, Wire,
    },
};
use futures::FutureExt as _;
use tempfile::TempDir;

use crate::machines::{Postgres, Sshd};

/// Where a store lives.
pub(crate) trait World: Send + Sync {
    /// Returns the store of a fleet, as whoever comes anew sees it.
    fn store(&self, fleet: FleetId) -> Arc<dyn Store>;

    /// Says whether people on several machines share it.
    fn is_shared(&self) -> bool {
        true
    }

    /// Goes away, in the middle of whatever there is.
    fn go_away(&self) {}

    fn come_back(&self) {}
}

/// One fleet in a world, and folders from which it is worked on.
pub(crate) struct Case<'a> {
    pub(crate) world: &'a dyn World,
    pub(crate) fleet: FleetId,
    folders: [TempDir; 2],
}

impl<'a> Case<'a> {
    pub(crate) fn new(world: &'a dyn World, number: u8) -> Self {
        let folders = [(), ()].map(|()| tempfile::tempdir().unwrap());
        Self { world, fleet: FleetId::from_bytes([number; 16]), folders }
    }

    /// Returns the store itself.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.world.store(self.fleet)
    }

    /// Returns the folder of one of two people.
    pub(crate) fn folder(&self, person: usize) -> LocalStore {
        LocalStore::of(self.folders[person].path(), self.fleet)
    }

    /// Returns the state as one of two people sees it, from a folder of their own.
    pub(crate) fn state(&self, person: usize) -> State {
        State::of(self.shared(person), self.fleet)
    }

    fn shared(&self, person: usize) -> Arc<dyn Store> {
        match self.world.is_shared() {
            true => Arc::new(self.sharing(person)),
            false => self.store(),
        }
    }

    pub(crate) fn sharing(&self, person: usize) -> SharedStore {
        SharedStore::new(self.store(), self.folder(person), self.fleet)
    }
}

/// A folder, which two on one machine may work in.
pub(crate) struct FolderWorld {
    folder: TempDir,
}

impl Default for FolderWorld {
    fn default() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }
}

impl World for FolderWorld {
    fn store(&self, fleet: FleetId) -> Arc<dyn Store> {
        let folder = self.folder.path().join(fleet.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        Arc::new(LocalStore::of(&folder, fleet))
    }

    fn is_shared(&self) -> bool {
        false
    }
}

/// A host with an sshd.
pub(crate) struct HostWorld {
    sshd: Sshd,
}

impl HostWorld {
    pub(crate) fn of(sshd: Sshd) -> Self {
        Self { sshd }
    }

    pub(crate) fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// Returns the store in this directory.
    pub(crate) fn at(&self, directory: &str) -> HostStore {
        HostStore::new("rack1", directory, self.dial(), Duration::from_secs(10))
    }

    fn dial(&self) -> Dial {
        let host = Host {
            name: "rack1".parse().unwrap(),
            connection: Connection::Ssh("rack1".parse().unwrap()),
            libvirt: DaemonMode::System,
            accel: Accel::Auto,
            pool: None,
            labels: BTreeMap::default(),
        };
        let options =
            ConnectOptions { ssh_config: Some(self.sshd.config()), ..ConnectOptions::default() };
        Arc::new(move |script, words| {
            let (host, options) = (host.clone(), options.clone());
            async move {
                let stream = host::shell(&host, &options, script, &words).await;
                stream.map(|stream| Box::new(stream) as Box<dyn Wire>).map_err(|error| DialError {
                    refused: false,
                    hint: None,
                    source: error.into(),
                })
            }
            .boxed()
        })
    }

    fn directory(&self, fleet: FleetId, copy: &str) -> PathBuf {
        self.sshd.directory(&format!("state-{fleet}{copy}"))
    }
}

impl World for HostWorld {
    fn store(&self, fleet: FleetId) -> Arc<dyn Store> {
        let store = |copy: &str| self.at(&self.directory(fleet, copy).display().to_string());
        Arc::new(store("").copied_to(store("-copy")))
    }

    fn go_away(&self) {
        self.sshd.go_away();
    }

    fn come_back(&self) {
        self.sshd.come_back();
    }
}

/// A `PostgreSQL` server with one database.
pub(crate) struct DatabaseWorld {
    server: Postgres,
}

impl DatabaseWorld {
    pub(crate) async fn of(server: Postgres) -> Self {
        crate::database::make(&server, "state").await;
        Self { server }
    }
}

impl World for DatabaseWorld {
    fn store(&self, fleet: FleetId) -> Arc<dyn Store> {
        let url = Secret::new(self.server.url("state"));
        Arc::new(DatabaseStore::new(&url, fleet).unwrap())
    }

    fn go_away(&self) {
        self.server.go_away();
    }

    fn come_back(&self) {
        self.server.come_back();
    }
}
