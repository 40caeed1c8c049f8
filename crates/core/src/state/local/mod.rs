//! The local store: `.freehold/` beside the fleet.

mod filesystem;
mod held;
mod reserve;

#[cfg(test)]
mod tests;

use std::{
    fs,
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use futures::FutureExt as _;
use rustix::fs::{FlockOperation, flock};

use self::{
    filesystem::refuse_network_file_system,
    held::{LocalFiles, LocalHeld},
};
use super::{
    Held, Holder, Place, Reading, Session, Snapshot, StateError, Store, door::LastRun,
    ledger::Ledger, replace_file, replay, shared::Seen,
};
use crate::model::FleetId;

/// The directory `.freehold` of one fleet.
#[derive(Debug, Clone)]
pub struct LocalStore {
    directory: PathBuf,
    place: Place,
    fleet: FleetId,
}

impl LocalStore {
    /// The directory's name, beside the fleet.
    pub const DIRECTORY: &str = ".freehold";

    /// Names the store of the fleet in this folder; touches nothing.
    pub fn of(folder: &Path, fleet: FleetId) -> Self {
        let directory = folder.join(Self::DIRECTORY);
        Self { place: Place::Local(directory.clone()), directory, fleet }
    }

    /// Makes the directory in this folder, for its owner alone, and returns it.
    pub fn make(folder: &Path) -> Result<PathBuf, StateError> {
        refuse_network_file_system(folder)?;
        let directory = folder.join(Self::DIRECTORY);
        make_directory(&directory)?;
        Ok(directory)
    }

    /// Returns a file of the store.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// Reads the state without the lock, the journal folded in.
    pub fn read(&self) -> Result<Snapshot, StateError> {
        self.refuse_elsewhere()?;
        let read = || {
            let ledger = Ledger { place: &self.place, fleet: self.fleet };
            Ok(at_once(ledger.read(&mut self.files()))?.snapshot)
        };
        // A run that ended and one that began between the two reads look like an old state.
        let again =
            |error| if matches!(error, StateError::Older { .. }) { read() } else { Err(error) };
        read().or_else(again)
    }

    /// Returns by how many runs a state may lag behind the hosts: by none where the journal of the
    /// last run is in it, by one where that journal was put aside, or is of a run that goes on.
    pub fn lag(&self, snapshot: &Snapshot) -> u64 {
        let mut first = Vec::new();
        let file = File::open(self.path("journal.jsonl"));
        let read = file.and_then(|file| BufReader::new(file).read_until(b'\n', &mut first));
        let known = read.ok().and_then(|_| replay::serial_of(&self.place, &first));
        u64::from(known.is_none_or(|serial| serial > snapshot.serial))
    }

    /// Takes the lock and reads the state. `command` is what others are told runs here.
    pub fn lock(&self, command: &str) -> Result<Session, StateError> {
        at_once(Session::take(self, self.fleet, command, LastRun::unknown()))
    }

    pub(super) fn files(&self) -> LocalFiles {
        LocalFiles { directory: self.directory.clone() }
    }

    pub(super) fn take(&self, holder: &Holder) -> Result<LocalHeld, StateError> {
        let write = |path: &Path, source| StateError::Write { path: path.to_owned(), source };
        make_directory(&self.directory)?;
        refuse_network_file_system(&self.directory)?;
        let path = self.path("apply.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| write(&path, source))?;
        match flock_soon(&lock) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StateError::Locked { holder: self.holder() });
            }
            Err(error) => return Err(write(&path, error.into())),
        }
        let path = self.path("apply.json");
        replace_file(&path, holder.text().as_bytes(), 0o600)
            .map_err(|source| write(&path, source))?;
        Ok(LocalHeld { files: self.files(), _lock: lock })
    }

    /// Returns who holds the lock, as far as that was said.
    fn named_holder(&self) -> Holder {
        let text = fs::read(self.path("apply.json")).unwrap_or_default();
        Holder::parse(&text).unwrap_or_else(Holder::unnamed)
    }

    /// Refuses a folder whose state is in a shared store.
    fn refuse_elsewhere(&self) -> Result<(), StateError> {
        if self.path("state.json").exists() {
            return Ok(());
        }
        match Seen::read(self)? {
            None => Ok(()),
            Some(seen) => Err(StateError::Elsewhere { place: seen.place }),
        }
    }

    /// Names who holds the lock. Its name comes a moment after its lock: till then the file names
    /// nobody, or whoever had the lock before.
    fn holder(&self) -> String {
        const TRIES: u32 = 20;
        for _ in 0..TRIES {
            let text = fs::read(self.path("apply.json")).unwrap_or_default();
            if let Some(holder) = Holder::parse(&text).filter(Holder::lives) {
                return holder.to_string();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        "another run".to_owned()
    }
}

#[async_trait]
impl Store for LocalStore {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn open(&self) -> Result<Box<dyn Reading>, StateError> {
        self.refuse_elsewhere()?;
        Ok(Box::new(self.files()))
    }

    async fn lock(&self, holder: &Holder) -> Result<Box<dyn Held>, StateError> {
        self.refuse_elsewhere()?;
        Ok(Box::new(self.take(holder)?))
    }

    async fn holder(&self) -> Result<Option<Holder>, StateError> {
        let path = self.path("apply.lock");
        let Ok(lock) = File::open(&path) else { return Ok(None) };
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Some(self.named_holder())),
            Err(error) => Err(StateError::Read { path, source: error.into() }),
        }
    }

    /// The kernel takes it away from a process that ends, and nothing else can.
    async fn take_over(&self) -> Result<(), StateError> {
        match Store::holder(self).await? {
            None => Ok(()),
            Some(holder) => Err(StateError::Locked { holder: holder.to_string() }),
        }
    }
}

/// Returns what comes of work on files of this machine: nothing in it is waited for.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("local files are there at once")
}

fn make_directory(directory: &Path) -> Result<(), StateError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| StateError::Write { path: directory.to_owned(), source })
}

/// Takes the lock; a child process between fork and exec holds it for a moment after its parent.
fn flock_soon(lock: &File) -> rustix::io::Result<()> {
    for _ in 0..20 {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(10)),
            settled => return settled,
        }
    }
    flock(lock, FlockOperation::NonBlockingLockExclusive)
}
