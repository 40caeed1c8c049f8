//! The store in a `PostgreSQL` database: several fleets in one, each apart from the others.
//!
//! The lock is one of the session's (`pg_try_advisory_lock`), and every write goes over that session:
//! who ends it at the server ends its writing, too.

mod address;
mod held;
mod schema;
mod session;
mod trouble;

use std::fmt;

use async_trait::async_trait;

use self::{
    address::Address,
    held::{Rows, RowsHeld},
    session::Db,
    trouble::error,
};
use super::{Held, Holder, Place, Reading, StateError, Store};
use crate::model::{FleetId, Secret};

/// A fleet's rows in a database.
#[derive(Clone)]
pub struct DatabaseStore {
    address: Address,
    place: Place,
    fleet: String,
}

impl fmt::Debug for DatabaseStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseStore").field("place", &self.place).finish_non_exhaustive()
    }
}

impl DatabaseStore {
    /// Names the rows of a fleet in the database of this URL; asks nobody.
    ///
    /// # Errors
    ///
    /// The URL is none, or asks for what is not done.
    pub fn new(url: &Secret<String>, fleet: FleetId) -> Result<Self, StateError> {
        let (address, fleet) = (Address::parse(url)?, fleet.to_string());
        let place = Place::Database { shown: address.shown.clone(), fleet: fleet.clone() };
        Ok(Self { address, place, fleet })
    }

    async fn connect(&self, act: &'static str) -> Result<Db, StateError> {
        let db = Db::connect(&self.address).await;
        db.map_err(|fault| error(&self.place, &self.address, act, fault))
    }

    fn error(&self, act: &'static str, fault: session::Fault) -> StateError {
        error(&self.place, &self.address, act, fault)
    }
}

#[async_trait]
impl Store for DatabaseStore {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn open(&self) -> Result<Box<dyn Reading>, StateError> {
        let mut db = self.connect("read").await?;
        let known = schema::known(&mut db).await.map_err(|fault| self.error("read", fault))?;
        schema::refuse_newer(&self.place, known)?;
        Ok(Box::new(Rows { store: self.clone(), db, made: known.is_some() }))
    }

    async fn lock(&self, holder: &Holder) -> Result<Box<dyn Held>, StateError> {
        let mut db = self.connect("lock").await?;
        let lock = |fault| self.error("lock", fault);
        let known = schema::known(&mut db).await.map_err(lock)?;
        schema::refuse_newer(&self.place, known)?;
        if known.is_none() {
            schema::make(&mut db).await.map_err(lock)?;
        }
        if !db.try_lock(&self.fleet, holder).await.map_err(lock)? {
            let other = db.holder(&self.fleet).await.map_err(lock)?;
            let other = other.map_or_else(Holder::unnamed, |(_, holder)| holder);
            return Err(StateError::Locked { holder: other.to_string() });
        }
        Ok(Box::new(RowsHeld::of(Rows { store: self.clone(), db, made: true })))
    }

    async fn holder(&self) -> Result<Option<Holder>, StateError> {
        let mut db = self.connect("read").await?;
        let read = |fault| self.error("read", fault);
        if schema::known(&mut db).await.map_err(read)?.is_none() {
            return Ok(None);
        }
        Ok(db.holder(&self.fleet).await.map_err(read)?.map(|(_, holder)| holder))
    }

    async fn take_over(&self) -> Result<(), StateError> {
        let db = self.connect("unlock").await?;
        db.end_holder(&self.fleet).await.map_err(|fault| self.error("unlock", fault))
    }
}
