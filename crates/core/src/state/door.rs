//! The state of one fleet, wherever it lies.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{Session, Snapshot, StateError, Store, ledger::Ledger, replay};
use crate::model::FleetId;

/// The state of one fleet, wherever it lies.
#[derive(Debug, Clone)]
pub struct State {
    store: Arc<dyn Store>,
    fleet: FleetId,
    run: LastRun,
}

/// The serial of the run that the journal was of when it was last seen.
#[derive(Debug, Clone)]
pub(super) struct LastRun(Arc<AtomicU64>);

impl LastRun {
    /// Nothing is known of it.
    const UNKNOWN: u64 = u64::MAX;

    pub(super) fn unknown() -> Self {
        Self(Arc::new(AtomicU64::new(Self::UNKNOWN)))
    }

    pub(super) fn is(&self, serial: Option<u64>) {
        self.0.store(serial.unwrap_or(Self::UNKNOWN), Ordering::Relaxed);
    }
}

impl State {
    /// Names the state of a fleet in a store; touches nothing.
    pub fn of(store: Arc<dyn Store>, fleet: FleetId) -> Self {
        Self { store, fleet, run: LastRun::unknown() }
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Reads the state without the lock, the journal folded in.
    pub async fn read(&self) -> Result<Snapshot, StateError> {
        match self.read_once().await {
            // A run that ended and one that began between the two reads look like an old state.
            Err(StateError::Older { .. }) => self.read_once().await,
            read => read,
        }
    }

    async fn read_once(&self) -> Result<Snapshot, StateError> {
        let place = self.store.place();
        let mut reading = self.store.open().await?;
        let known = self.ledger().read(&mut *reading).await?;
        self.run.is(known.journal.and_then(|journal| replay::serial_of(place, &journal)));
        Ok(known.snapshot)
    }

    pub(super) fn ledger(&self) -> Ledger<'_> {
        Ledger { place: self.store.place(), fleet: self.fleet }
    }

    /// Takes the lock and reads the state. `command` is what others are told runs here.
    pub async fn lock(&self, command: &str) -> Result<Session, StateError> {
        Session::take(&*self.store, self.fleet, command, self.run.clone()).await
    }

    /// Returns by how many runs a state may lag behind the hosts, as it was last read: by none where
    /// the journal of the last run is in it, by one where that journal was put aside, or is of a run
    /// that goes on.
    pub fn lag(&self, snapshot: &Snapshot) -> u64 {
        u64::from(self.run.0.load(Ordering::Relaxed) > snapshot.serial)
    }
}
