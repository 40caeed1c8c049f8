//! What the bytes of a store mean: which of them are believed, and what is refused.

use super::{
    Contents, Place, Reading, Snapshot, StateError, Written,
    format::{Bad, parse},
    place::Part,
    replay,
    wire::STATE_FORMAT,
};
use crate::model::FleetId;

/// What the user can do where not even a copy is left.
const LOST: &str = "put your backup back, or make it again from lock and hosts: freehold recover";

/// Reads the state of one fleet from one store.
pub(super) struct Ledger<'a> {
    pub(super) place: &'a Place,
    pub(super) fleet: FleetId,
}

/// What was done, as a store has it.
#[derive(Debug)]
pub(super) struct Known {
    /// The journal is folded in.
    pub(super) snapshot: Snapshot,
    /// Whether that was anything.
    pub(super) recovered: bool,
    /// The state as it was written, if ever.
    pub(super) written: Option<Written>,
    /// The journal, as it is there.
    pub(super) journal: Option<Vec<u8>>,
}

impl Ledger<'_> {
    /// Reads it; a store in which nothing was ever written has a new state.
    pub(super) async fn read(&self, from: &mut dyn Reading) -> Result<Known, StateError> {
        let Contents { state, journal, history, moved } = from.contents().await?;
        if let Some(note) = moved {
            return Err(StateError::Moved { place: self.place.to_string(), note });
        }
        let (mut snapshot, written) = match state {
            None => {
                self.refuse_lost(from, &history, journal.is_some()).await?;
                (Snapshot::new(self.fleet), None)
            }
            Some(bytes) => {
                let snapshot = match parse(&bytes, self.fleet) {
                    Ok(snapshot) => snapshot,
                    Err(bad) => return Err(self.refusal(from, &history, bad).await),
                };
                self.refuse_older(from, &history, &snapshot).await?;
                let (lineage, serial) = (snapshot.lineage, snapshot.serial);
                (snapshot, Some(Written { lineage, serial, bytes }))
            }
        };
        let recovered = match &journal {
            Some(journal) => replay::fold(self.place, journal, &mut snapshot)?,
            None => false,
        };
        Ok(Known { snapshot, recovered, written, journal })
    }

    async fn refusal(&self, from: &mut dyn Reading, history: &[u64], bad: Bad) -> StateError {
        let path = self.place.part(Part::State);
        match bad {
            Bad::Newer(have) => StateError::Newer { path, have, know: STATE_FORMAT },
            Bad::Other(have) => {
                let (have, want) = (have.to_string(), self.fleet.to_string());
                StateError::OtherFleet { path, have, want }
            }
            Bad::Damaged(why) => {
                let hint = match self.newest_good_copy(from, history).await {
                    Ok(Some(copy)) => {
                        format!("put the newest good copy back: {}", self.place.mv_and_cp(copy))
                    }
                    Ok(None) => LOST.to_owned(),
                    Err(error) => return error,
                };
                StateError::Damaged { path, why, hint }
            }
        }
    }

    /// Refuses to begin anew where there was a state.
    async fn refuse_lost(
        &self,
        from: &mut dyn Reading,
        history: &[u64],
        journal: bool,
    ) -> Result<(), StateError> {
        let path = self.place.part(Part::State);
        let damaged =
            |why: String, hint: String| Err(StateError::Damaged { path: path.clone(), why, hint });
        if let Some(copy) = self.newest_good_copy(from, history).await? {
            let hint = format!("put the newest one back: {}", self.place.cp(copy));
            return damaged("it is missing, yet earlier states are there".into(), hint);
        }
        let history = (!history.is_empty()).then_some(Part::History);
        match history.or_else(|| journal.then_some(Part::Journal)) {
            None => Ok(()),
            Some(rest) => damaged(
                format!("it is missing, yet {} is there", self.place.part(rest).display()),
                LOST.to_owned(),
            ),
        }
    }

    /// Refuses an older state of this history than one that was kept. A copy that cannot be read,
    /// or is of another history, speaks against nothing.
    async fn refuse_older(
        &self,
        from: &mut dyn Reading,
        history: &[u64],
        snapshot: &Snapshot,
    ) -> Result<(), StateError> {
        for copy in history.iter().rev().take_while(|copy| **copy > snapshot.serial) {
            let Some(bytes) = from.copy(*copy).await? else { continue };
            let Ok(kept) = parse(&bytes, self.fleet) else { continue };
            if kept.lineage == snapshot.lineage && kept.serial > snapshot.serial {
                return Err(StateError::Older {
                    path: self.place.part(Part::State),
                    have: snapshot.serial,
                    serial: kept.serial,
                    hint: format!("put the newest one back: {}", self.place.mv_and_cp(*copy)),
                    newer: self.place.part(Part::Copy(*copy)),
                });
            }
        }
        Ok(())
    }

    async fn newest_good_copy(
        &self,
        from: &mut dyn Reading,
        history: &[u64],
    ) -> Result<Option<u64>, StateError> {
        for copy in history.iter().rev() {
            if let Some(bytes) = from.copy(*copy).await?
                && parse(&bytes, self.fleet).is_ok()
            {
                return Ok(Some(*copy));
            }
        }
        Ok(None)
    }
}
