//! The local store: `.freehold/` beside the fleet.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock, statfs};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Journal, Snapshot, StateError, journal, replace_file,
    wire::{BodyWire, FORMAT, StateWire},
};
use crate::model::{FleetId, hex_of};

/// How many earlier states are kept.
const HISTORY: usize = 10;

/// The directory `.freehold` of one fleet.
#[derive(Debug, Clone)]
pub struct LocalStore {
    directory: PathBuf,
    fleet: FleetId,
}

/// The store while a run holds its lock; dropping it lets go.
#[derive(Debug)]
pub struct Session {
    store: LocalStore,
    /// What was done, the journal of a killed run folded in.
    pub snapshot: Snapshot,
    /// Whether a run before this one did not end.
    pub recovered: bool,
    _lock: File,
}

/// Who holds the lock, for those who wait.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    machine: String,
    command: String,
    since: String,
}

impl Holder {
    /// Says whether its process is there; of another machine's one cannot know.
    fn lives(&self) -> bool {
        let here = rustix::system::uname().nodename().to_string_lossy() == self.machine;
        !here || Path::new(&format!("/proc/{}", self.pid)).exists()
    }
}

impl LocalStore {
    /// The directory's name, beside the fleet.
    pub const DIRECTORY: &str = ".freehold";

    /// Names the store of the fleet in this folder; touches nothing.
    pub fn of(folder: &Path, fleet: FleetId) -> Self {
        Self { directory: folder.join(Self::DIRECTORY), fleet }
    }

    /// Makes the directory in this folder, for its owner alone, and returns it.
    pub fn make(folder: &Path) -> Result<PathBuf, StateError> {
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
        let mut snapshot = self.read_state()?;
        journal::fold(&self.path("journal.jsonl"), &mut snapshot)?;
        Ok(snapshot)
    }

    /// Takes the lock and reads the state. `command` is what others are told runs here.
    pub fn lock(&self, command: &str) -> Result<Session, StateError> {
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
        self.write_holder(command)?;
        let mut snapshot = self.read_state()?;
        let recovered = journal::fold(&self.path("journal.jsonl"), &mut snapshot)?;
        // A first run's journal can only be folded in when its lineage is on disk.
        if recovered || !self.path("state.json").exists() {
            self.write_state(&snapshot)?;
        }
        Ok(Session { store: self.clone(), snapshot, recovered, _lock: lock })
    }

    fn write_holder(&self, command: &str) -> Result<(), StateError> {
        let path = self.path("apply.json");
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let since = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
        let holder =
            Holder { pid: std::process::id(), machine, command: command.to_owned(), since };
        let text = serde_json::to_string(&holder).expect("a holder is plain JSON");
        replace_file(&path, text.as_bytes(), 0o600)
            .map_err(|source| StateError::Write { path, source })
    }

    /// Names who holds the lock. Its name comes a moment after its lock: till then the file names
    /// nobody, or whoever had the lock before.
    fn holder(&self) -> String {
        const TRIES: u32 = 20;
        for _ in 0..TRIES {
            let text = fs::read(self.path("apply.json")).unwrap_or_default();
            if let Ok(holder) = serde_json::from_slice::<Holder>(&text)
                && holder.lives()
            {
                let Holder { pid, machine, command, since } = holder;
                return format!("`{command}` (process {pid} on {machine}, since {since})");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        "another run".to_owned()
    }

    fn read_state(&self) -> Result<Snapshot, StateError> {
        let path = self.path("state.json");
        match fs::read(&path) {
            Ok(bytes) => self.parse_state(&path, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.newest_history() {
                None => Ok(Snapshot::new(self.fleet)),
                Some(kept) => Err(StateError::Damaged {
                    path,
                    why: "it is missing, yet earlier states are there".into(),
                    hint: format!("put the newest one back: cp {} state.json", kept.display()),
                }),
            },
            Err(source) => Err(StateError::Read { path, source }),
        }
    }

    fn parse_state(&self, path: &Path, bytes: &[u8]) -> Result<Snapshot, StateError> {
        let damaged = |why: String| StateError::Damaged {
            path: path.to_owned(),
            why,
            hint: match self.newest_history() {
                Some(kept) => format!("an earlier state is in {}", kept.display()),
                None => "restore it from a backup".into(),
            },
        };
        if bytes.is_empty() {
            return Err(damaged("it is empty".into()));
        }
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let have = value["format"].as_u64().unwrap_or(0);
        if have > u64::from(FORMAT) {
            let have = u32::try_from(have).unwrap_or(u32::MAX);
            return Err(StateError::Newer { path: path.to_owned(), have, know: FORMAT });
        }
        let wire: StateWire =
            serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        if wire.checksum != checksum_of(&wire.body) {
            return Err(damaged("its checksum does not match".into()));
        }
        let snapshot = Snapshot::from(wire.body);
        if snapshot.fleet != self.fleet {
            let (have, want) = (snapshot.fleet.to_string(), self.fleet.to_string());
            return Err(StateError::OtherFleet { path: path.to_owned(), have, want });
        }
        Ok(snapshot)
    }

    fn write_state(&self, snapshot: &Snapshot) -> Result<(), StateError> {
        let body = BodyWire::from(snapshot);
        let wire = StateWire { format: FORMAT, checksum: checksum_of(&body), body };
        let mut text = serde_json::to_vec_pretty(&wire).expect("a state is plain JSON");
        text.push(b'\n');
        // First what counts: a copy without it would say that the state was lost.
        let path = self.path("state.json");
        replace_file(&path, &text, 0o600)
            .map_err(|source| StateError::Write { path: path.clone(), source })?;
        if let Err(error) = self.keep_copy(snapshot.serial, &text) {
            tracing::warn!("no copy of the state is kept in history: {error}");
        }
        self.trim_history();
        Ok(())
    }

    fn keep_copy(&self, serial: u64, text: &[u8]) -> io::Result<()> {
        let history = self.path("history");
        fs::create_dir_all(&history)?;
        replace_file(&history.join(format!("state-{serial:08}.json")), text, 0o600)
    }

    fn history(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("history")).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths
    }

    fn newest_history(&self) -> Option<PathBuf> {
        self.history().pop()
    }

    fn trim_history(&self) {
        let paths = self.history();
        let surplus = paths.len().saturating_sub(HISTORY);
        for path in &paths[..surplus] {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
        }
    }
}

impl Session {
    /// Begins the journal of this run; its end is [`Session::save`].
    pub fn begin(&self) -> Result<Journal, StateError> {
        let path = self.store.path("journal.jsonl");
        Journal::begin(&path, self.snapshot.lineage, self.snapshot.serial + 1)
    }

    /// Writes the state of a run that ended: the next serial. From then on its journal is history.
    pub fn save(&mut self, mut snapshot: Snapshot) -> Result<(), StateError> {
        snapshot.serial = self.snapshot.serial + 1;
        self.store.write_state(&snapshot)?;
        self.snapshot = snapshot;
        Ok(())
    }
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

fn checksum_of(body: &BodyWire) -> String {
    let text = serde_json::to_vec(body).expect("a state is plain JSON");
    hex_of(&Sha256::digest(&text))
}

/// flock is not to be believed where another machine may hold the file (`statfs(2)` magics).
fn refuse_network_file_system(directory: &Path) -> Result<(), StateError> {
    let read = |source: io::Error| StateError::Read { path: directory.to_owned(), source };
    let magic = statfs(directory).map_err(|error| read(error.into()))?.f_type;
    let kind = match magic {
        0x6969 => "NFS",
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => "SMB",
        0x0102_1997 => "9p",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        _ => return Ok(()),
    };
    Err(StateError::NetworkFileSystem { path: directory.to_owned(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::decisions::tests::two_vms;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::of(folder.path(), FleetId::from_bytes([7; 16]));
        (folder, store)
    }

    #[test]
    fn reads_back_what_it_saved_and_keeps_ten() {
        let (_folder, store) = store();
        let mut session = store.lock("test").unwrap();
        for _ in 0..12 {
            let mut snapshot = session.snapshot.clone();
            snapshot.decisions = two_vms();
            session.save(snapshot).unwrap();
        }
        assert_eq!(store.read().unwrap(), session.snapshot);
        assert_eq!(session.snapshot.serial, 12);
        assert_eq!(store.history().len(), HISTORY);
    }

    #[test]
    fn one_run_at_a_time_and_the_other_is_named() {
        let (_folder, store) = store();
        let session = store.lock("freehold apply").unwrap();
        let error = store.lock("freehold apply").unwrap_err().to_string();
        assert!(error.contains("freehold apply") && error.contains("process"), "{error}");
        drop(session);
        store.lock("freehold apply").unwrap();
    }

    #[tokio::test]
    async fn a_killed_first_run_is_folded_in() {
        let (_folder, store) = store();
        let host = "rack1".parse().unwrap();
        let fact = super::super::Fact::Host { host, id: uuid::Uuid::from_u128(1) };
        let session = store.lock("test").unwrap();
        session.begin().unwrap().intent(0, "write card", &[fact], &[]).await.unwrap();
        drop(session);
        let session = store.lock("test").unwrap();
        assert!(session.recovered);
        assert_eq!((session.snapshot.serial, session.snapshot.hosts.len()), (1, 1));
        drop(session);
        assert!(!store.lock("test").unwrap().recovered);
    }

    #[test]
    fn the_state_is_written_before_its_copy() {
        let (_folder, store) = store();
        // Nothing can be written into the history, as if the run had ended right before it.
        fs::create_dir(store.path("")).unwrap();
        fs::write(store.path("history"), "").unwrap();
        let session = store.lock("test").unwrap();
        assert_eq!(store.read().unwrap(), session.snapshot);
        drop(session);
        fs::remove_file(store.path("history")).unwrap();
        assert!(!store.lock("test").unwrap().recovered);
    }

    #[test]
    fn damage_is_never_taken_for_emptiness() {
        let (folder, store) = store();
        let mut session = store.lock("test").unwrap();
        session.save(session.snapshot.clone()).unwrap();
        let path = store.path("state.json");
        let good = fs::read_to_string(&path).unwrap();
        let newer = good.replace("\"format\": 1", "\"format\": 9");
        let other = good.replace("\"serial\": 1", "\"serial\": 5");
        for (text, fragment) in
            [("", "empty"), ("{", "damaged"), (&newer, "format 9"), (&other, "checksum")]
        {
            fs::write(&path, text).unwrap();
            let error = store.read().unwrap_err().to_string();
            assert!(error.contains(fragment), "{fragment}: {error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(store.read().unwrap_err().to_string().contains("missing"));
        fs::write(&path, good).unwrap();
        let stranger = LocalStore::of(folder.path(), FleetId::from_bytes([8; 16]));
        assert!(matches!(stranger.read(), Err(StateError::OtherFleet { .. })));
    }
}
