//! The files of the local store.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

use super::reserve::Reserve;
use crate::state::{
    Contents, HISTORY, Held, NewJournal, NewState, Pen, Reading, StateError, aside::keep_aside,
    bytes::bytes_of, replace_file,
};

/// The files, for whoever reads them.
#[derive(Debug, Clone)]
pub(in crate::state) struct LocalFiles {
    pub(super) directory: PathBuf,
}

/// The files while the lock is ours.
#[derive(Debug)]
pub(in crate::state) struct LocalHeld {
    pub(super) files: LocalFiles,
    pub(super) _lock: File,
}

/// The room a journal has from its beginning; what it needs past that must be found on the way.
const ROOM: u64 = 1 << 20;

impl LocalFiles {
    fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    fn copy_path(&self, serial: u64) -> PathBuf {
        self.path("history").join(format!("state-{serial:08}.json"))
    }

    /// Returns the serials of the copies, oldest first.
    pub(super) fn history(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.path("history")).into_iter().flatten().flatten();
        let mut serials: Vec<_> = entries.filter_map(|entry| serial_of(&entry.path())).collect();
        serials.sort_unstable();
        serials
    }

    fn keep_copy(&self, serial: u64, text: &[u8]) -> io::Result<()> {
        fs::create_dir_all(self.path("history"))?;
        replace_file(&self.copy_path(serial), text, 0o600)
    }

    fn trim_history(&self) {
        let serials = self.history();
        let surplus = serials.len().saturating_sub(HISTORY);
        for path in serials[..surplus].iter().map(|serial| self.copy_path(*serial)) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
        }
    }

    fn reserve(&self) -> Reserve {
        Reserve::at(self.path("reserve"))
    }
}

/// Returns the serial that a copy's name tells: `state-00000007.json`.
fn serial_of(copy: &Path) -> Option<u64> {
    let digits = copy.file_name()?.to_str()?.strip_prefix("state-")?.strip_suffix(".json")?;
    // Any other spelling of a number is no name of ours.
    digits.parse().ok().filter(|serial| digits == format!("{serial:08}"))
}

#[async_trait]
impl Reading for LocalFiles {
    async fn contents(&mut self) -> Result<Contents, StateError> {
        // In this order: a run that ends in between has its journal in the state.
        let state = bytes_of(&self.path("state.json"))?;
        let journal = bytes_of(&self.path("journal.jsonl"))?;
        Ok(Contents { state, journal, history: self.history(), moved: None })
    }

    async fn copy(&mut self, serial: u64) -> Result<Option<Vec<u8>>, StateError> {
        Ok(fs::read(self.copy_path(serial)).ok())
    }
}

#[async_trait]
impl Reading for LocalHeld {
    async fn contents(&mut self) -> Result<Contents, StateError> {
        self.files.contents().await
    }

    async fn copy(&mut self, serial: u64) -> Result<Option<Vec<u8>>, StateError> {
        self.files.copy(serial).await
    }
}

#[async_trait]
impl Held for LocalHeld {
    async fn begin(&mut self, journal: &NewJournal<'_>) -> Result<Box<dyn Pen>, StateError> {
        self.files.reserve().fill(journal.state)?;
        let path = self.files.path("journal.jsonl");
        let write = |source| StateError::Write { path: path.clone(), source };
        if journal.keep_old {
            keep_aside(&path).map_err(write)?;
        }
        // The first line comes with the file: one that is empty or torn there is not ours.
        replace_file(&path, journal.first.as_bytes(), 0o600).map_err(write)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(write)?;
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, ROOM) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Box::new(file)),
            Err(error) => Err(StateError::NoRoom { path, bytes: ROOM, source: error.into() }),
        }
    }

    /// If another state is there than the one that was last, somebody wrote it behind the lock, and
    /// it is kept aside.
    async fn save(&mut self, state: &NewState<'_>) -> Result<(), StateError> {
        let files = &self.files;
        files.reserve().give_back();
        let path = files.path("state.json");
        let write = |source| StateError::Write { path: path.clone(), source };
        let seen = state.instead_of.map_or(&[][..], |seen| &seen.bytes);
        if fs::read(&path).is_ok_and(|there| there != seen) {
            keep_aside(&path).map_err(write)?;
        }
        // First what counts: a copy without it would say that the state was lost.
        replace_file(&path, &state.state.bytes, 0o600).map_err(write)?;
        if let Err(error) = files.keep_copy(state.state.serial, &state.state.bytes) {
            tracing::warn!("no copy of the state is kept in history: {error}");
        }
        files.trim_history();
        Ok(())
    }

    /// Nobody else looks here, so there is nobody to be told.
    async fn retire(&mut self, _note: &str) -> Result<(), StateError> {
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let place = self.files.path(&format!("moved-{stamp}"));
        let write = |source| StateError::Write { path: place.clone(), source };
        fs::create_dir_all(&place).map_err(write)?;
        // The state goes last: whoever is interrupted has it still.
        for file in ["journal.jsonl", "history", "state.json"] {
            match fs::rename(self.files.path(file), place.join(file)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                moved => moved.map_err(write)?,
            }
        }
        Ok(())
    }
}

impl Pen for File {
    fn write(&mut self, lines: &str, durable: bool) -> io::Result<()> {
        self.write_all(lines.as_bytes())?;
        if durable { self.sync_data() } else { Ok(()) }
    }
}
