//! `state.json` and its last copies: read with all doubt, written whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    Snapshot, StateError,
    aside::{cp, keep_aside, mv_and_cp},
    bytes::bytes_of,
    replace_file,
    wire::{BodyWire, STATE_FORMAT, StateWire},
};
use crate::model::{FleetId, hex_of};

/// How many earlier states are kept.
pub(super) const HISTORY: usize = 10;

/// The state's file in a store's directory.
#[derive(Debug, Clone)]
pub(super) struct StateFile {
    directory: PathBuf,
    fleet: FleetId,
}

/// What is wrong with the bytes of a state.
enum Bad {
    Damaged(String),
    Newer(u32),
    Other(FleetId),
}

impl StateFile {
    /// Names the file; touches nothing.
    pub(super) fn of(directory: &Path, fleet: FleetId) -> Self {
        Self { directory: directory.to_owned(), fleet }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    /// Reads it, with its bytes; a store in which nothing was ever written has a new state.
    pub(super) fn read(&self) -> Result<(Snapshot, Vec<u8>), StateError> {
        let Some(bytes) = bytes_of(&self.path())? else {
            self.refuse_lost()?;
            return Ok((Snapshot::new(self.fleet), Vec::new()));
        };
        let snapshot = self.parse(&bytes).map_err(|bad| self.refusal(bad))?;
        self.refuse_older(&snapshot)?;
        Ok((snapshot, bytes))
    }

    /// Replaces it and keeps a copy; returns its bytes. `seen` are those that were there last: if
    /// others are there now, somebody wrote them behind the lock, and they are kept aside.
    pub(super) fn write(&self, snapshot: &Snapshot, seen: &[u8]) -> Result<Vec<u8>, StateError> {
        let body = BodyWire::from(snapshot);
        let wire = StateWire { format: STATE_FORMAT, checksum: checksum_of(&body), body };
        let mut text = serde_json::to_vec_pretty(&wire).expect("a state is plain JSON");
        text.push(b'\n');
        let path = self.path();
        let write = |source| StateError::Write { path: path.clone(), source };
        if fs::read(&path).is_ok_and(|there| there != seen) {
            keep_aside(&path).map_err(write)?;
        }
        // First what counts: a copy without it would say that the state was lost.
        replace_file(&path, &text, 0o600).map_err(write)?;
        if let Err(error) = self.keep_copy(snapshot.serial, &text) {
            tracing::warn!("no copy of the state is kept in history: {error}");
        }
        self.trim_history();
        Ok(text)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Snapshot, Bad> {
        if bytes.is_empty() {
            return Err(Bad::Damaged("it is empty".into()));
        }
        let damaged = |error: serde_json::Error| Bad::Damaged(error.to_string());
        let wire = serde_json::from_slice::<StateWire>(bytes);
        let format = if let Ok(wire) = &wire {
            u64::from(wire.format)
        } else {
            // What this version cannot read may be a later one's.
            let value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
            value["format"].as_u64().unwrap_or(0)
        };
        if format > u64::from(STATE_FORMAT) {
            return Err(Bad::Newer(u32::try_from(format).unwrap_or(u32::MAX)));
        }
        if format == 0 {
            return Err(Bad::Damaged("it names no format".into()));
        }
        let wire = wire.map_err(damaged)?;
        if wire.checksum != checksum_of(&wire.body) {
            return Err(Bad::Damaged("its checksum does not match".into()));
        }
        let snapshot = Snapshot::from(wire.body);
        if snapshot.fleet == self.fleet { Ok(snapshot) } else { Err(Bad::Other(snapshot.fleet)) }
    }

    fn refusal(&self, bad: Bad) -> StateError {
        let path = self.path();
        match bad {
            Bad::Newer(have) => StateError::Newer { path, have, know: STATE_FORMAT },
            Bad::Other(have) => {
                let (have, want) = (have.to_string(), self.fleet.to_string());
                StateError::OtherFleet { path, have, want }
            }
            Bad::Damaged(why) => {
                let hint = match self.newest_good_copy() {
                    Some(copy) => {
                        format!("put the newest good copy back: {}", mv_and_cp(&path, &copy))
                    }
                    None => "put your backup back, or make it again from lock and hosts: freehold \
                             recover"
                        .into(),
                };
                StateError::Damaged { path, why, hint }
            }
        }
    }

    /// Refuses to begin anew where there was a state.
    fn refuse_lost(&self) -> Result<(), StateError> {
        let path = self.path();
        let damaged =
            |why: String, hint: String| Err(StateError::Damaged { path: path.clone(), why, hint });
        if let Some(copy) = self.newest_good_copy() {
            let hint = format!("put the newest one back: {}", cp(&copy, &path));
            return damaged("it is missing, yet earlier states are there".into(), hint);
        }
        let history = (!self.history().is_empty()).then(|| self.directory.join("history"));
        let journal = Some(self.directory.join("journal.jsonl")).filter(|path| path.exists());
        match history.or(journal) {
            None => Ok(()),
            Some(rest) => damaged(
                format!("it is missing, yet {} is there", rest.display()),
                "put your backup back, or make it again from lock and hosts: freehold recover"
                    .into(),
            ),
        }
    }

    /// Refuses an older state of this history than one that was kept. A copy that cannot be read,
    /// or is of another history, speaks against nothing.
    fn refuse_older(&self, snapshot: &Snapshot) -> Result<(), StateError> {
        let is_newer = |copy: &PathBuf| serial_of(copy).is_some_and(|kept| kept > snapshot.serial);
        for copy in self.history().into_iter().rev().take_while(is_newer) {
            let Ok(bytes) = fs::read(&copy) else { continue };
            let Ok(kept) = self.parse(&bytes) else { continue };
            if kept.lineage == snapshot.lineage && kept.serial > snapshot.serial {
                return Err(StateError::Older {
                    path: self.path(),
                    have: snapshot.serial,
                    serial: kept.serial,
                    hint: format!("put the newest one back: {}", mv_and_cp(&self.path(), &copy)),
                    newer: copy,
                });
            }
        }
        Ok(())
    }

    fn keep_copy(&self, serial: u64, text: &[u8]) -> io::Result<()> {
        let history = self.directory.join("history");
        fs::create_dir_all(&history)?;
        replace_file(&history.join(format!("state-{serial:08}.json")), text, 0o600)
    }

    /// Returns the copies, oldest first.
    pub(super) fn history(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.join("history")).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| serial_of(path).is_some());
        paths.sort();
        paths
    }

    fn newest_good_copy(&self) -> Option<PathBuf> {
        let good = |copy: &PathBuf| fs::read(copy).is_ok_and(|bytes| self.parse(&bytes).is_ok());
        self.history().into_iter().rev().find(good)
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

/// Returns the serial that a copy's name tells: `state-00000007.json`.
fn serial_of(copy: &Path) -> Option<u64> {
    copy.file_name()?.to_str()?.strip_prefix("state-")?.strip_suffix(".json")?.parse().ok()
}

fn checksum_of(body: &BodyWire) -> String {
    let text = serde_json::to_vec(body).expect("a state is plain JSON");
    hex_of(&Sha256::digest(&text))
}
