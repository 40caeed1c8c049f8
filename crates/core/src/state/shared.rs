//! A store that several people share, and what the folder remembers of it.
//!
//! The journal is written to both: nothing is begun before the shared store has the intent, and what
//! ends after the store went away is still told in the folder, from where the next run takes it.

use std::{fs, io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Contents, Held, Holder, LocalStore, NewJournal, NewState, Pen, Place, Reading, Session,
    StateError, Store, Written, bytes::bytes_of, door::LastRun, format::parse, place::Part,
    replace_file, replay,
};
use crate::model::FleetId;

/// A store that is elsewhere, used from one folder.
#[derive(Debug)]
pub struct SharedStore {
    far: Arc<dyn Store>,
    folder: LocalStore,
    fleet: FleetId,
}

/// The last state of a shared store that this folder wrote or began with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) place: String,
    lineage: Uuid,
    serial: u64,
}

const SEEN: &str = SharedStore::MEMORY;
const JOURNAL: &str = "journal.jsonl";

impl Seen {
    /// Reads what a folder remembers; one that cannot be read remembers nothing.
    pub(super) fn read(folder: &LocalStore) -> Result<Option<Self>, StateError> {
        let bytes = bytes_of(&folder.path(SEEN))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn write(
        folder: &LocalStore,
        place: &Place,
        (lineage, serial): (Uuid, u64),
    ) -> Result<(), StateError> {
        let seen = Self { place: place.to_string(), lineage, serial };
        let text = serde_json::to_string(&seen).expect("it is plain JSON");
        let path = folder.path(SEEN);
        replace_file(&path, text.as_bytes(), 0o600)
            .map_err(|source| StateError::Write { path, source })
    }
}

impl SharedStore {
    /// The file in which a folder remembers the store it uses.
    pub(super) const MEMORY: &str = "shared.json";

    /// Uses a store from a folder.
    pub fn new(far: Arc<dyn Store>, folder: LocalStore, fleet: FleetId) -> Self {
        Self { far, folder, fleet }
    }

    /// Moves the folder's own state to the store, which must be empty; returns its serial.
    pub async fn push(&self, command: &str) -> Result<u64, StateError> {
        if !self.folder.path("state.json").exists() {
            return Err(StateError::NothingToPush { place: self.far.place().to_string() });
        }
        let run = LastRun::unknown();
        let session = Session::take(&self.folder, self.fleet, command, run).await?;
        let mut far = self.far.lock(&Holder::here(command)).await?;
        let there = far.contents().await?;
        // Somebody who has no state may have looked there first.
        let has_state = there.state.is_some();
        let begun = there.state.and_then(|bytes| {
            let known = parse(&bytes, self.fleet).ok().filter(|state| state.serial == 0)?;
            Some(Written { lineage: known.lineage, serial: 0, bytes })
        });
        let is_begun = begun.is_some() && there.history.iter().all(|serial| *serial == 0);
        let is_empty = there.history.is_empty() || there.moved.is_some();
        if !is_begun && (has_state || !is_empty) {
            return Err(self.memory().two_states());
        }
        let (mut held, state) = session.into_parts();
        far.save(&NewState { state: &state, instead_of: begun.as_ref() }).await?;
        held.retire("").await?;
        Seen::write(&self.folder, self.far.place(), (state.lineage, state.serial))?;
        Ok(state.serial)
    }

    /// Moves the state from the store into the folder; returns its serial.
    pub async fn pull(&self, command: &str) -> Result<u64, StateError> {
        let run = LastRun::unknown();
        let session = Session::take(self, self.fleet, command, run).await?;
        let (mut far, state) = session.into_parts();
        let path = self.folder.path("state.json");
        replace_file(&path, &state.bytes, 0o600)
            .map_err(|source| StateError::Write { path, source })?;
        self.forget(JOURNAL)?;
        let Holder { machine, since, .. } = Holder::here(command);
        far.retire(&format!("taken to a folder on {machine}, {since}")).await?;
        self.forget(SEEN)?;
        Ok(state.serial)
    }

    fn forget(&self, file: &str) -> Result<(), StateError> {
        let path = self.folder.path(file);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Write { path, source })
            }
            _ => Ok(()),
        }
    }

    fn memory(&self) -> Memory {
        Memory { folder: self.folder.clone(), place: self.far.place().clone(), fleet: self.fleet }
    }
}

#[async_trait]
impl Store for SharedStore {
    fn place(&self) -> &Place {
        self.far.place()
    }

    async fn open(&self) -> Result<Box<dyn Reading>, StateError> {
        let far = self.far.open().await?;
        Ok(Box::new(SharedReading { far, memory: self.memory() }))
    }

    async fn lock(&self, holder: &Holder) -> Result<Box<dyn Held>, StateError> {
        // Two runs of one folder would write one journal here.
        let here = self.folder.take(holder)?;
        let far = self.far.lock(holder).await?;
        Ok(Box::new(SharedHeld { far, memory: self.memory(), _here: Box::new(here) }))
    }

    async fn holder(&self) -> Result<Option<Holder>, StateError> {
        self.far.holder().await
    }

    async fn take_over(&self) -> Result<(), StateError> {
        self.far.take_over().await
    }
}

/// What the folder knows, held against what the store says.
#[derive(Debug)]
struct Memory {
    folder: LocalStore,
    place: Place,
    fleet: FleetId,
}

impl Memory {
    /// Refuses a store that is not the one that was used last, or older than it was; a run, which
    /// has the lock, also remembers it.
    fn judge(&self, mut there: Contents, run: bool) -> Result<Contents, StateError> {
        if there.moved.is_some() {
            return Ok(there);
        }
        let state = there.state.as_deref().map(|bytes| parse(bytes, self.fleet));
        // What is damaged is told of by who reads it all.
        let state = match state {
            Some(Err(_)) => return Ok(there),
            Some(Ok(state)) => Some((state.lineage, state.serial)),
            None => None,
        };
        self.refuse_own_state(state)?;
        self.refuse_rolled_back(state)?;
        if let Some(state) = state.filter(|_| run) {
            Seen::write(&self.folder, &self.place, state)?;
        }
        let mirror = bytes_of(&self.folder.path(JOURNAL))?;
        // The store's journal is the beginning of ours if it is of the same run. A store that is
        // the copy of another has none.
        let next = state.map(|(lineage, serial)| (lineage, serial + 1));
        let is_next =
            |journal: &[u8]| next.is_some() && replay::run_of(&self.place, journal) == next;
        let longer = |mirror: &Vec<u8>| match &there.journal {
            // One that is torn or empty is damaged, and no beginning of anything.
            Some(journal) if !journal.contains(&b'\n') => false,
            Some(journal) => mirror.starts_with(journal) || (is_next(mirror) && !is_next(journal)),
            None => is_next(mirror),
        };
        if let Some(mirror) = mirror.filter(longer) {
            there.journal = Some(mirror);
        }
        Ok(there)
    }

    fn refuse_own_state(&self, there: Option<(Uuid, u64)>) -> Result<(), StateError> {
        let path = self.folder.path("state.json");
        let Some(bytes) = bytes_of(&path)? else { return Ok(()) };
        let Ok(own) = parse(&bytes, self.fleet) else {
            if there.is_some() {
                return Ok(());
            }
            let why = "it cannot be read, and the shared store is empty".to_owned();
            let hint = "take the `state` block out and run `freehold plan`: it says what mends it; \
                        then `freehold state push`";
            return Err(StateError::Damaged { path, why, hint: hint.to_owned() });
        };
        match there {
            _ if own.serial == 0 => Ok(()),
            // Somebody without a state looked there: it knows of nothing.
            None | Some((_, 0)) => {
                let place = self.place.to_string();
                Err(StateError::NotPushed { place, path, serial: own.serial })
            }
            Some((lineage, serial)) if lineage == own.lineage && serial >= own.serial => Ok(()),
            Some(_) => Err(self.two_states()),
        }
    }

    fn two_states(&self) -> StateError {
        let path = self.folder.path("state.json");
        let hint = format!(
            "if the shared one is right, keep the folder's aside: {}",
            Place::Local(self.folder.path("")).mv(Part::State)
        );
        StateError::TwoStates { place: self.place.to_string(), path, hint }
    }

    fn refuse_rolled_back(&self, there: Option<(Uuid, u64)>) -> Result<(), StateError> {
        let Some(seen) = Seen::read(&self.folder)? else { return Ok(()) };
        let newer = self.folder.path(SEEN);
        // Another place is another history, or the copy of this one.
        let have = match there {
            Some((lineage, serial)) if lineage == seen.lineage => serial,
            // Of a history of which nothing was written nothing can be lost.
            Some((lineage, _)) if seen.place == self.place.to_string() && seen.serial > 0 => {
                return Err(StateError::OtherHistory {
                    path: newer.clone(),
                    have: seen.lineage.to_string(),
                    want: lineage.to_string(),
                    hint: forget_hint(&newer),
                });
            }
            None if seen.place == self.place.to_string() && seen.serial > 0 => 0,
            _ => return Ok(()),
        };
        if have >= seen.serial {
            return Ok(());
        }
        Err(StateError::Older {
            path: self.place.part(Part::State),
            have,
            serial: seen.serial,
            hint: forget_hint(&newer),
            newer,
        })
    }
}

fn forget_hint(seen: &std::path::Path) -> String {
    format!(
        "put the store's last state back, from its history or your backup; or, to go on from what \
         is there now: {}",
        super::aside::mv(seen)
    )
}

#[derive(Debug)]
struct SharedReading {
    far: Box<dyn Reading>,
    memory: Memory,
}

#[async_trait]
impl Reading for SharedReading {
    async fn contents(&mut self) -> Result<Contents, StateError> {
        self.memory.judge(self.far.contents().await?, false)
    }

    async fn copy(&mut self, serial: u64) -> Result<Option<Vec<u8>>, StateError> {
        self.far.copy(serial).await
    }
}

#[derive(Debug)]
struct SharedHeld {
    far: Box<dyn Held>,
    memory: Memory,
    /// The folder's own lock.
    _here: Box<dyn Held>,
}

#[async_trait]
impl Reading for SharedHeld {
    async fn contents(&mut self) -> Result<Contents, StateError> {
        self.memory.judge(self.far.contents().await?, true)
    }

    async fn copy(&mut self, serial: u64) -> Result<Option<Vec<u8>>, StateError> {
        self.far.copy(serial).await
    }
}

#[async_trait]
impl Held for SharedHeld {
    async fn begin(&mut self, journal: &NewJournal<'_>) -> Result<Box<dyn Pen>, StateError> {
        let far = self.far.begin(journal).await?;
        let path = self.memory.folder.path(JOURNAL);
        let write = |source| StateError::Write { path: path.clone(), source };
        replace_file(&path, journal.first.as_bytes(), 0o600).map_err(write)?;
        let here = fs::OpenOptions::new().append(true).open(&path).map_err(write)?;
        Ok(Box::new(BothPens { far, here: Mirror { path, file: Some(here) } }))
    }

    async fn save(&mut self, state: &NewState<'_>) -> Result<(), StateError> {
        self.far.save(state).await?;
        let state = (state.state.lineage, state.state.serial);
        Seen::write(&self.memory.folder, &self.memory.place, state)
    }

    async fn retire(&mut self, note: &str) -> Result<(), StateError> {
        self.far.retire(note).await
    }
}

/// Writes to the folder first, so that the store's journal is always the beginning of this one.
struct BothPens {
    far: Box<dyn Pen>,
    here: Mirror,
}

impl Pen for BothPens {
    fn write(&mut self, lines: &str, durable: bool) -> io::Result<()> {
        self.here.write(lines);
        self.far.write(lines, durable)
    }

    fn last_words(&mut self, lines: &str) {
        self.here.write(lines);
    }
}

/// The folder's copy of the journal. It is worth nothing as long as the store is there, so that it
/// cannot be written stops nobody.
struct Mirror {
    path: PathBuf,
    file: Option<fs::File>,
}

impl Mirror {
    fn write(&mut self, lines: &str) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = io::Write::write_all(file, lines.as_bytes()) {
            tracing::warn!("{} is not written: {error}", self.path.display());
            self.file = None;
        }
    }
}
