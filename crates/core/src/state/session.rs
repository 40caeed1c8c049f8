//! The store while a run holds its lock.

use super::{
    Held, Holder, Journal, NewJournal, NewState, Place, Snapshot, StateError, Store, Written,
    door::LastRun,
    format::bytes_of,
    ledger::{Known, Ledger},
    line::{Chain, JOURNAL_FORMAT, Line},
    place::Part,
    replay::{self, Standing},
};
use crate::model::FleetId;

/// The store while a run holds its lock; dropping it lets go.
#[derive(Debug)]
pub struct Session {
    held: Box<dyn Held>,
    place: Place,
    /// What was done, the journal of a killed run folded in.
    pub snapshot: Snapshot,
    /// Whether a run before this one did not end.
    pub recovered: bool,
    /// The state that lies there.
    written: Option<Written>,
    /// The journal that lies there, but for what this run wrote.
    journal: Option<Vec<u8>>,
    /// Whether this run has begun a journal and not saved since.
    begun: bool,
    run: LastRun,
}

impl Session {
    /// Takes the lock and reads the state. `command` is what others are told runs here.
    pub(super) async fn take(
        store: &dyn Store,
        fleet: FleetId,
        command: &str,
        run: LastRun,
    ) -> Result<Self, StateError> {
        let mut held = store.lock(&Holder::here(command)).await?;
        let place = store.place().clone();
        let known = Ledger { place: &place, fleet }.read(&mut *held).await?;
        let Known { snapshot, recovered, written, journal } = known;
        let mut session =
            Self { run, held, place, snapshot, recovered, written, journal, begun: false };
        // A first run's journal can only be folded in when its lineage is on disk.
        if recovered || session.written.is_none() {
            session.write(session.snapshot.clone()).await?;
        }
        Ok(session)
    }

    /// Begins the journal of this run; its end is [`Session::save`]. Room for that is set aside
    /// first: a run that could not tell what it did must not begin. What is there must be in the
    /// state; if it is damaged all the same, it is kept aside.
    pub async fn begin(&mut self) -> Result<Journal, StateError> {
        if self.begun {
            self.journal = self.held.contents().await?.journal;
        }
        let standing = match &self.journal {
            Some(journal) => Some(replay::standing(&self.place, journal, &self.snapshot)?),
            None => None,
        };
        let (lineage, serial) = (self.snapshot.lineage, self.snapshot.serial + 1);
        let begin = Line::Begin { format: JOURNAL_FORMAT, lineage, serial };
        let mut chain = Chain::default();
        let first = chain.seal(&begin.text());
        let journal = NewJournal {
            serial,
            first: &first,
            state: self.written.as_ref().map_or(0, |written| written.bytes.len()),
            keep_old: standing == Some(Standing::SavedAndDamaged),
        };
        let pen = self.held.begin(&journal).await?;
        self.journal = Some(first.into_bytes());
        self.begun = true;
        self.run.is(Some(serial));
        Journal::begin(pen, chain, self.place.part(Part::Journal))
    }

    /// Writes the state of a run that ended: the next serial, of whichever is further, the state that
    /// is there or this one. From then on its journal is history.
    pub async fn save(&mut self, mut snapshot: Snapshot) -> Result<(), StateError> {
        snapshot.serial = self.snapshot.serial.max(snapshot.serial) + 1;
        self.write(snapshot).await?;
        self.begun = false;
        Ok(())
    }

    /// Returns the store that is held, and what lies there.
    pub(super) fn into_parts(self) -> (Box<dyn Held>, Written) {
        let Self { held, written, snapshot, .. } = self;
        let (lineage, serial) = (snapshot.lineage, snapshot.serial);
        let there = || Written { lineage, serial, bytes: bytes_of(&snapshot) };
        (held, written.unwrap_or_else(there))
    }

    async fn write(&mut self, snapshot: Snapshot) -> Result<(), StateError> {
        let (lineage, serial) = (snapshot.lineage, snapshot.serial);
        let written = Written { lineage, serial, bytes: bytes_of(&snapshot) };
        let state = NewState { state: &written, instead_of: self.written.as_ref() };
        self.held.save(&state).await?;
        self.written = Some(written);
        self.snapshot = snapshot;
        Ok(())
    }
}
