//! The store while a run holds its lock.

use std::fs::File;

use super::{Journal, LocalStore, Snapshot, StateError, reserve::Reserve};

/// The store while a run holds its lock; dropping it lets go.
#[derive(Debug)]
pub struct Session {
    pub(super) store: LocalStore,
    /// What was done, the journal of a killed run folded in.
    pub snapshot: Snapshot,
    /// Whether a run before this one did not end.
    pub recovered: bool,
    /// What `state.json` says, byte for byte.
    pub(super) written: Vec<u8>,
    pub(super) _lock: File,
}

impl Session {
    /// Begins the journal of this run; its end is [`Session::save`]. Room for that is set aside
    /// first: a run that could not tell what it did must not begin.
    pub fn begin(&self) -> Result<Journal, StateError> {
        self.reserve().fill(self.written.len())?;
        Journal::begin(&self.store.path("journal.jsonl"), &self.snapshot)
    }

    /// Writes the state of a run that ended: the next serial. From then on its journal is history.
    pub fn save(&mut self, mut snapshot: Snapshot) -> Result<(), StateError> {
        snapshot.serial = self.snapshot.serial + 1;
        self.reserve().give_back();
        self.written = self.store.file().write(&snapshot, &self.written)?;
        self.snapshot = snapshot;
        Ok(())
    }

    fn reserve(&self) -> Reserve {
        Reserve::at(self.store.path("reserve"))
    }
}
