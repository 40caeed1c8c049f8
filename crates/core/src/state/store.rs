//! The local store: `.freehold/` beside the fleet.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{
    Session, Snapshot, StateError, filesystem::refuse_network_file_system, replace_file, replay,
    statefile::StateFile,
};
use crate::model::FleetId;

/// The directory `.freehold` of one fleet.
#[derive(Debug, Clone)]
pub struct LocalStore {
    directory: PathBuf,
    fleet: FleetId,
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
        let read = || {
            let (mut snapshot, _) = self.file().read()?;
            replay::fold(&self.path("journal.jsonl"), &mut snapshot)?;
            Ok(snapshot)
        };
        // A run that ended and one that began between the two reads look like an old state.
        let again =
            |error| if matches!(error, StateError::Older { .. }) { read() } else { Err(error) };
        read().or_else(again)
    }

    /// Returns by how many runs a state may lag behind the hosts: by none where the journal of the
    /// last run is in it, by one where that journal was put aside, or is of a run that goes on.
    pub fn lag(&self, snapshot: &Snapshot) -> u64 {
        let known = replay::serial_of(&self.path("journal.jsonl"));
        u64::from(known.is_none_or(|serial| serial > snapshot.serial))
    }

    /// Takes the lock and reads the state. `command` is what others are told runs here.
    pub fn lock(&self, command: &str) -> Result<Session, StateError> {
        let lock = self.take_lock(command)?;
        let (mut snapshot, mut written) = self.file().read()?;
        let recovered = replay::fold(&self.path("journal.jsonl"), &mut snapshot)?;
        // A first run's journal can only be folded in when its lineage is on disk.
        if recovered || written.is_empty() {
            written = self.file().write(&snapshot, &written)?;
        }
        Ok(Session { store: self.clone(), snapshot, recovered, written, _lock: lock })
    }

    /// Takes the lock; reads nothing.
    pub(super) fn take_lock(&self, command: &str) -> Result<File, StateError> {
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
        Ok(lock)
    }

    pub(super) fn file(&self) -> StateFile {
        StateFile::of(&self.directory, self.fleet)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::HostName,
        state::{Fact, Outcome, decisions::tests::two_vms, statefile::HISTORY},
    };

    fn store() -> (tempfile::TempDir, LocalStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::of(folder.path(), FleetId::from_bytes([7; 16]));
        (folder, store)
    }

    fn host() -> HostName {
        "rack1".parse().unwrap()
    }

    fn known() -> Fact {
        Fact::Host { host: host(), id: uuid::Uuid::from_u128(1) }
    }

    /// Leaves a run behind that was killed after its first intent.
    async fn killed_run(store: &LocalStore) {
        let session = store.lock("test").unwrap();
        session.begin().unwrap().intent(0, "write card", &[known()], &[]).await.unwrap();
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
        assert_eq!(store.file().history().len(), HISTORY);
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
    async fn runs_killed_before_their_first_intent_lock_nobody_out() {
        let (_folder, store) = store();
        for _ in 0..3 {
            drop(store.lock("test").unwrap().begin().unwrap());
        }
        killed_run(&store).await;
        let session = store.lock("test").unwrap();
        assert_eq!((session.snapshot.serial, session.snapshot.hosts.len()), (1, 1));
    }

    #[test]
    fn a_state_lags_where_the_journal_of_the_last_run_is_not_in_it() {
        let (_folder, store) = store();
        let mut session = store.lock("test").unwrap();
        let journal = session.begin().unwrap();
        assert_eq!(store.lag(&session.snapshot), 1, "the run goes on");
        session.save(session.snapshot.clone()).unwrap();
        assert_eq!(store.lag(&session.snapshot), 0);
        session.save(session.snapshot.clone()).unwrap();
        assert_eq!(store.lag(&session.snapshot), 0, "nothing was done since");
        drop(journal);
        let path = store.path("journal.jsonl");
        for damage in ["", "{}\n", "nothing of ours\n"] {
            fs::write(&path, damage).unwrap();
            assert_eq!(store.lag(&session.snapshot), 1, "{damage:?}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(store.lag(&session.snapshot), 1, "it was put aside");
    }

    #[tokio::test]
    async fn late_lines_of_a_run_that_ended_are_not_the_next_ones() {
        let (_folder, store) = store();
        let mut session = store.lock("test").unwrap();
        let ended = session.begin().unwrap();
        session.save(session.snapshot.clone()).unwrap();
        let journal = session.begin().unwrap();
        let gone = Fact::NetworkGone { host: host(), network: "back".parse().unwrap() };
        ended.outcome(0, Outcome::Done);
        ended.intent(1, "flush", &[], &[]).await.unwrap();
        journal.intent(0, "remove network", &[known()], &[gone]).await.unwrap();
        ended.outcome(0, Outcome::Done);
        ended.intent(1, "flush", &[], &[]).await.unwrap();
        drop((session, journal, ended));
        let session = store.lock("test").unwrap();
        assert!(session.recovered, "the second run was not saved");
        assert_eq!((session.snapshot.serial, session.snapshot.hosts.len()), (2, 1));
    }

    #[tokio::test]
    async fn a_killed_first_run_is_folded_in() {
        let (_folder, store) = store();
        killed_run(&store).await;
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
