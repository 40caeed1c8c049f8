//! A state put in the place of one that was lost or is damaged. What is left of that one is kept
//! aside.

use super::{
    Held, Holder, NewState, SharedStore, Snapshot, State, StateError, Written, format::bytes_of,
    ledger::Known,
};

/// The store while its state is made again; dropping it lets go of the lock.
#[derive(Debug)]
pub struct Anew {
    held: Box<dyn Held>,
    /// Why the state cannot be read; `None` where there is none.
    pub lost: Option<StateError>,
}

impl State {
    /// Takes the lock of a store whose state was lost or is damaged. One that can be read and knows
    /// of anything is refused: the state is there.
    pub async fn lock_anew(&self, command: &str) -> Result<Anew, StateError> {
        let mut held = self.store().lock(&Holder::here(command)).await?;
        let lost = match self.ledger().read(&mut *held).await {
            // A run that only looked, or published what is nobody's, knows of nothing that was made.
            Ok(Known { snapshot, .. }) if snapshot.hosts.is_empty() && snapshot.vms.is_empty() => {
                None
            }
            Ok(known) => {
                let (path, serial) = (self.store().place().state(), known.snapshot.serial);
                return Err(StateError::There { path, serial });
            }
            Err(error) if is_lost(&error) => Some(error),
            Err(error) => return Err(error),
        };
        Ok(Anew { held, lost })
    }
}

/// What is told to whoever looks between the two steps of [`Anew::write`].
const NOTE: &str = "it is being made again: freehold recover";

/// Says whether a state that cannot be read is lost. What a folder remembers of a shared one speaks
/// against the folder as well: somebody else may have made that state again.
fn is_lost(error: &StateError) -> bool {
    let remembered = |path: &std::path::Path| path.ends_with(SharedStore::MEMORY);
    match error {
        StateError::Damaged { .. } => true,
        StateError::Moved { note, .. } => note == NOTE,
        StateError::OtherHistory { path, .. } => !remembered(path),
        StateError::Older { newer, .. } => !remembered(newer),
        _ => false,
    }
}

impl Anew {
    /// Writes the state, with the serial that follows its own; what was left of the lost one is put
    /// aside.
    pub async fn write(mut self, mut snapshot: Snapshot) -> Result<(), StateError> {
        self.held.retire(NOTE).await?;
        snapshot.serial += 1;
        let (lineage, serial) = (snapshot.lineage, snapshot.serial);
        let state = Written { lineage, serial, bytes: bytes_of(&snapshot) };
        self.held.save(&NewState { state: &state, instead_of: None }).await
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::Arc};

    use super::*;
    use crate::{model::FleetId, state::LocalStore};

    fn fleet() -> FleetId {
        FleetId::from_bytes([7; 16])
    }

    fn store(folder: &Path) -> (LocalStore, State) {
        let store = LocalStore::of(folder, fleet());
        (store.clone(), State::of(Arc::new(store), fleet()))
    }

    async fn applied(state: &State) {
        let mut session = state.lock("test").await.unwrap();
        session.begin().await.unwrap();
        let mut snapshot = session.snapshot.clone();
        snapshot.hosts.insert("rack1".parse().unwrap(), uuid::Uuid::from_u128(1));
        session.save(snapshot).await.unwrap();
    }

    #[tokio::test]
    async fn a_state_that_is_there_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let (store, state) = store(folder.path());
        applied(&state).await;
        let refused = state.lock_anew("test").await.unwrap_err();
        assert!(matches!(refused, StateError::There { serial: 1, .. }), "{refused}");
        let session = store.lock("test").unwrap();
        let refused = state.lock_anew("test").await.unwrap_err();
        assert!(matches!(refused, StateError::Locked { .. }), "{refused}");
        drop(session);
    }

    #[tokio::test]
    async fn what_is_left_of_a_lost_state_is_kept() {
        for left in ["state.json", "journal.jsonl", "history"] {
            let folder = tempfile::tempdir().unwrap();
            let (store, state) = store(folder.path());
            applied(&state).await;
            for name in ["state.json", "journal.jsonl", "history"].iter().filter(|n| **n != left) {
                let path = store.path(name);
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                    .unwrap();
            }
            if left == "state.json" {
                fs::write(store.path(left), "{").unwrap();
            }
            let anew = state.lock_anew("test").await.unwrap();
            assert!(anew.lost.is_some(), "{left}");
            let snapshot = Snapshot { serial: 41, ..Snapshot::new(fleet()) };
            anew.write(snapshot.clone()).await.unwrap();
            let kept = fs::read_dir(folder.path().join(".freehold")).unwrap();
            let kept = kept.map(|entry| entry.unwrap().path());
            let kept = kept.filter(|path| path.to_string_lossy().contains("moved-"));
            let names: Vec<_> = kept.map(|path| path.join(left).exists()).collect();
            assert_eq!(names, [true], "{left}");
            assert_eq!(store.read().unwrap(), Snapshot { serial: 42, ..snapshot });
            store.lock("test").unwrap();
        }
    }

    #[tokio::test]
    async fn in_a_fresh_clone_there_is_nothing_to_keep() {
        let folder = tempfile::tempdir().unwrap();
        let (store, state) = store(folder.path());
        // A run looked, and did nothing.
        drop(store.lock("test").unwrap());
        let anew = state.lock_anew("test").await.unwrap();
        assert!(anew.lost.is_none());
        anew.write(Snapshot::new(fleet())).await.unwrap();
        assert_eq!(store.read().unwrap().serial, 1);
    }
}
