//! A state put in the place of one that was lost or is damaged. What is left of that one is kept
//! aside.

use std::{fs::File, path::PathBuf};

use super::{LocalStore, Snapshot, StateError, aside::keep_aside};

/// The store while its state is made again; dropping it lets go of the lock.
#[derive(Debug)]
pub struct Anew {
    store: LocalStore,
    _lock: File,
    /// Why the state cannot be read; `None` where there is none.
    pub lost: Option<StateError>,
}

impl LocalStore {
    /// Takes the lock of a store whose state was lost or is damaged. One that can be read and knows
    /// of anything is refused: the state is there.
    pub fn lock_anew(&self, command: &str) -> Result<Anew, StateError> {
        let lock = self.take_lock(command)?;
        let lost = match self.read() {
            Ok(snapshot) if snapshot.serial == 0 => None,
            Ok(snapshot) => {
                return Err(StateError::There {
                    path: self.path("state.json"),
                    serial: snapshot.serial,
                });
            }
            Err(
                error @ (StateError::Damaged { .. }
                | StateError::OtherHistory { .. }
                | StateError::Older { .. }),
            ) => Some(error),
            Err(error) => return Err(error),
        };
        Ok(Anew { store: self.clone(), _lock: lock, lost })
    }
}

impl Anew {
    /// Writes the state, with the serial that follows its own; returns where what was left of the
    /// lost one is now.
    pub fn write(self, mut snapshot: Snapshot) -> Result<Vec<PathBuf>, StateError> {
        let mut aside = Vec::new();
        // The state's own file comes last: as long as it is damaged or missing beside the others,
        // nobody takes this for a beginning.
        for name in ["journal.jsonl", "history", "state.json"] {
            let path = self.store.path(name);
            if path.exists() {
                let kept = keep_aside(&path);
                aside.push(kept.map_err(|source| StateError::Write { path, source })?);
            }
        }
        snapshot.serial += 1;
        self.store.file().write(&snapshot, &[])?;
        Ok(aside)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::FleetId;

    fn fleet() -> FleetId {
        FleetId::from_bytes([7; 16])
    }

    fn applied(store: &LocalStore) -> Snapshot {
        let mut session = store.lock("test").unwrap();
        session.begin().unwrap();
        session.save(session.snapshot.clone()).unwrap();
        session.snapshot.clone()
    }

    #[test]
    fn a_state_that_is_there_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::of(folder.path(), fleet());
        applied(&store);
        let refused = store.lock_anew("test").unwrap_err();
        assert!(matches!(refused, StateError::There { serial: 1, .. }), "{refused}");
        let session = store.lock("test").unwrap();
        let refused = store.lock_anew("test").unwrap_err();
        assert!(matches!(refused, StateError::Locked { .. }), "{refused}");
        drop(session);
    }

    #[test]
    fn what_is_left_of_a_lost_state_is_kept() {
        for left in ["state.json", "journal.jsonl", "history"] {
            let folder = tempfile::tempdir().unwrap();
            let store = LocalStore::of(folder.path(), fleet());
            applied(&store);
            for name in ["state.json", "journal.jsonl", "history"].iter().filter(|n| **n != left) {
                let path = store.path(name);
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                    .unwrap();
            }
            if left == "state.json" {
                fs::write(store.path(left), "{").unwrap();
            }
            let anew = store.lock_anew("test").unwrap();
            assert!(anew.lost.is_some(), "{left}");
            let snapshot = Snapshot { serial: 41, ..Snapshot::new(fleet()) };
            let aside = anew.write(snapshot.clone()).unwrap();
            let names: Vec<_> = aside.iter().map(|path| path.display().to_string()).collect();
            assert!(
                names.len() == 1 && names[0].contains(&format!("{left}.damaged-")),
                "{names:?}"
            );
            assert_eq!(store.read().unwrap(), Snapshot { serial: 42, ..snapshot });
            store.lock("test").unwrap();
        }
    }

    #[test]
    fn in_a_fresh_clone_there_is_nothing_to_keep() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::of(folder.path(), fleet());
        // A run looked, and did nothing.
        drop(store.lock("test").unwrap());
        let anew = store.lock_anew("test").unwrap();
        assert!(anew.lost.is_none());
        anew.write(Snapshot::new(fleet())).unwrap();
        assert_eq!(store.read().unwrap().serial, 1);
    }
}
