//! What a store is: where the bytes of a state lie and who may write them. What they mean it does
//! not know.

use std::{fmt, io};

use async_trait::async_trait;
use uuid::Uuid;

use super::{Holder, Place, StateError};

/// How many earlier states a store keeps.
pub const HISTORY: usize = 10;

/// A place that holds a fleet's state, its last copies and the journal of the run under way.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Returns where it is.
    fn place(&self) -> &Place;

    /// Opens it to be read, without the lock; makes nothing.
    async fn open(&self) -> Result<Box<dyn Reading>, StateError>;

    /// Takes the lock, which is held until the value is dropped or its owner dies, and makes what
    /// is not there yet. Refused at once while another holds it.
    async fn lock(&self, holder: &Holder) -> Result<Box<dyn Held>, StateError>;

    /// Returns who holds the lock, if anybody does.
    async fn holder(&self) -> Result<Option<Holder>, StateError>;

    /// Takes the lock away from whoever holds it: when this returns, they can write no more.
    async fn take_over(&self) -> Result<(), StateError>;
}

/// A store that can be read.
#[async_trait]
pub trait Reading: fmt::Debug + Send {
    /// Returns what lies there.
    async fn contents(&mut self) -> Result<Contents, StateError>;

    /// Returns the copy of the state of this serial; `None` where it cannot be had.
    async fn copy(&mut self, serial: u64) -> Result<Option<Vec<u8>>, StateError>;
}

/// A store while its lock is ours.
#[async_trait]
pub trait Held: Reading {
    /// Puts the journal of a run in the place of the last one's. The room that the end of the run
    /// needs is set aside first, where a store can run out of it.
    async fn begin(&mut self, journal: &NewJournal<'_>) -> Result<Box<dyn Pen>, StateError>;

    /// Replaces the state, so that a reader sees the old or the new one, and keeps a copy.
    async fn save(&mut self, state: &NewState<'_>) -> Result<(), StateError>;

    /// Puts all that is left of a state aside, for it is elsewhere from now on, or is made again;
    /// nothing of it is lost. `note` is what those are told who
    /// look for it here. Only a state that begins here anew takes the note away.
    async fn retire(&mut self, note: &str) -> Result<(), StateError>;
}

/// Writes the lines of one journal; it blocks, and lives on a thread of its own.
pub trait Pen: Send {
    /// Adds lines to the end. What is durable is there after a power cut when this returns. After
    /// an error the end of the journal is unknown, and nobody writes to it any more.
    fn write(&mut self, lines: &str, durable: bool) -> io::Result<()>;

    /// Takes outcomes that come after an error, to keep them where that is still possible.
    fn last_words(&mut self, _lines: &str) {}
}

/// What lies in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The state.
    pub state: Option<Vec<u8>>,
    /// The journal of the last run.
    pub journal: Option<Vec<u8>>,
    /// The serials of the copies, oldest first.
    pub history: Vec<u64>,
    /// What those are told who look for a state that is elsewhere by now.
    pub moved: Option<String>,
}

/// The journal of a run that begins.
#[derive(Debug, Clone, Copy)]
pub struct NewJournal<'a> {
    /// The serial of the run.
    pub serial: u64,
    /// Its first line: a journal comes into being with it.
    pub first: &'a str,
    /// How many bytes the state has that the run begins with.
    pub state: usize,
    /// Whether the journal that is there is damaged, so that it is to be kept aside.
    pub keep_old: bool,
}

/// A state to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewState<'a> {
    /// What it is.
    pub state: &'a Written,
    /// What must be there till then; `None` is nothing.
    pub instead_of: Option<&'a Written>,
}

/// A state as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its history.
    pub lineage: Uuid,
    /// Its serial.
    pub serial: u64,
    /// All of it, byte for byte.
    pub bytes: Vec<u8>,
}
