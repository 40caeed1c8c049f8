//! The rows of one fleet, read and written.

use std::{fmt, io, sync::Arc};

use async_trait::async_trait;
use tokio::{runtime::Handle, sync::Mutex};
use tokio_postgres::{IsolationLevel, types::ToSql};
use uuid::Uuid;

use super::{
    DatabaseStore,
    session::{Db, Fault, answered},
};
use crate::state::{
    Contents, HISTORY, Held, NewJournal, NewState, Pen, Reading, StateError, Store,
};

/// The rows, for whoever reads them.
pub(super) struct Rows {
    pub(super) store: DatabaseStore,
    pub(super) db: Db,
    /// Whether the tables are there.
    pub(super) made: bool,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("store", &self.store).finish_non_exhaustive()
    }
}

fn number(serial: u64) -> i64 {
    i64::try_from(serial).unwrap_or(i64::MAX)
}

impl Rows {
    /// Reads all of them at one moment.
    async fn read(&mut self) -> Result<Contents, Fault> {
        let fleet = &self.store.fleet;
        let builder = self.db.client.build_transaction();
        let reading = builder.isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let reading = answered(reading.start()).await?;
        let ask = "SELECT state FROM freehold_state WHERE fleet = $1";
        let state = answered(reading.query_opt(ask, &[fleet])).await?.map(|row| row.get(0));
        let ask = "SELECT lines FROM freehold_journal WHERE fleet = $1 ORDER BY serial, n";
        let rows = answered(reading.query(ask, &[fleet])).await?;
        let pieces = rows.iter().map(|row| row.get::<_, &[u8]>(0)).collect::<Vec<_>>();
        let journal = (!pieces.is_empty()).then(|| pieces.concat());
        let ask = "SELECT serial FROM freehold_history WHERE fleet = $1 ORDER BY serial";
        let rows = answered(reading.query(ask, &[fleet])).await?;
        let serials = rows.iter().map(|row| u64::try_from(row.get::<_, i64>(0)));
        let history = serials.filter_map(Result::ok).collect();
        let ask = "SELECT note FROM freehold_moved WHERE fleet = $1";
        let moved = answered(reading.query_opt(ask, &[fleet])).await?.map(|row| row.get(0));
        answered(reading.commit()).await?;
        Ok(Contents { state, journal, history, moved })
    }

    async fn read_copy(&self, serial: u64) -> Result<Option<Vec<u8>>, Fault> {
        let ask = "SELECT state FROM freehold_history WHERE fleet = $1 AND serial = $2
                   ORDER BY written DESC LIMIT 1";
        let (fleet, serial) = (&self.store.fleet, number(serial));
        let found = answered(self.db.client.query_opt(ask, &[fleet, &serial])).await?;
        Ok(found.map(|row| row.get(0)))
    }

    async fn begin(&mut self, journal: &NewJournal<'_>) -> Result<(), Fault> {
        let fleet = self.store.fleet.clone();
        let beginning = self.db.begin().await?;
        if journal.keep_old {
            let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
            let aside = format!("{fleet}.damaged-{stamp}");
            let ask = "UPDATE freehold_journal SET fleet = $2 WHERE fleet = $1";
            answered(beginning.execute(ask, &[&fleet, &aside])).await?;
        }
        let ask = "DELETE FROM freehold_journal WHERE fleet = $1";
        answered(beginning.execute(ask, &[&fleet])).await?;
        let ask = "INSERT INTO freehold_journal (fleet, serial, n, lines) VALUES ($1, $2, 0, $3)";
        let (serial, first) = (number(journal.serial), journal.first.as_bytes());
        answered(beginning.execute(ask, &[&fleet, &serial, &first])).await?;
        answered(beginning.commit()).await
    }

    /// Adds lines to the journal of a run, if that is still the one that is there.
    async fn append(&self, (serial, n): (u64, i64), lines: &str) -> Result<(), Fault> {
        let ask = "INSERT INTO freehold_journal (fleet, serial, n, lines)
                   SELECT fleet, serial, $3, $4 FROM freehold_journal
                   WHERE fleet = $1 AND serial = $2 AND n = 0";
        let (fleet, lines, serial) = (&self.store.fleet, lines.as_bytes(), number(serial));
        let values: [&(dyn ToSql + Sync); 4] = [fleet, &serial, &n, &lines];
        if answered(self.db.client.execute(ask, &values)).await? == 1 {
            Ok(())
        } else {
            Err(Fault::Changed)
        }
    }

    async fn save(&mut self, state: &NewState<'_>) -> Result<(), Fault> {
        let (fleet, new) = (self.store.fleet.clone(), state.state);
        let serial = number(new.serial);
        let saving = self.db.begin().await?;
        let written = match state.instead_of {
            None => {
                let ask = "DELETE FROM freehold_moved WHERE fleet = $1";
                answered(saving.execute(ask, &[&fleet])).await?;
                let ask = "INSERT INTO freehold_state (fleet, lineage, serial, state)
                           VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
                let values: [&(dyn ToSql + Sync); 4] = [&fleet, &new.lineage, &serial, &new.bytes];
                answered(saving.execute(ask, &values)).await?
            }
            Some(old) => {
                let ask = "UPDATE freehold_state
                           SET lineage = $2, serial = $3, state = $4, written = now()
                           WHERE fleet = $1 AND lineage = $5 AND serial = $6";
                let (lineage, before): (&Uuid, i64) = (&old.lineage, number(old.serial));
                let values: [&(dyn ToSql + Sync); 6] =
                    [&fleet, &new.lineage, &serial, &new.bytes, lineage, &before];
                answered(saving.execute(ask, &values)).await?
            }
        };
        if written != 1 {
            return Err(Fault::Changed);
        }
        let ask = "INSERT INTO freehold_history (fleet, lineage, serial, state)
                   VALUES ($1, $2, $3, $4) ON CONFLICT (fleet, lineage, serial)
                   DO UPDATE SET state = excluded.state, written = now()";
        answered(saving.execute(ask, &[&fleet, &new.lineage, &serial, &new.bytes])).await?;
        let ask = "DELETE FROM freehold_history WHERE fleet = $1 AND serial NOT IN
                   (SELECT serial FROM freehold_history WHERE fleet = $1
                    ORDER BY serial DESC LIMIT $2)";
        let most = i64::try_from(HISTORY).unwrap_or(i64::MAX);
        answered(saving.execute(ask, &[&fleet, &most])).await?;
        answered(saving.commit()).await
    }

    /// Gives all rows another name, that of no fleet.
    async fn retire(&mut self, note: &str) -> Result<(), Fault> {
        let fleet = self.store.fleet.clone();
        let going = self.db.begin().await?;
        let ask = "INSERT INTO freehold_moved (fleet, note) VALUES ($1, $2)
                   ON CONFLICT (fleet) DO UPDATE SET note = excluded.note";
        answered(going.execute(ask, &[&fleet, &note])).await?;
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S.%6fZ");
        let aside = format!("{fleet}.moved-{stamp}");
        for table in ["freehold_journal", "freehold_history", "freehold_state"] {
            let ask = format!("UPDATE {table} SET fleet = $2 WHERE fleet = $1");
            answered(going.execute(&ask, &[&fleet, &aside])).await?;
        }
        answered(going.commit()).await
    }
}

#[async_trait]
impl Reading for Rows {
    async fn contents(&mut self) -> Result<Contents, StateError> {
        if !self.made {
            return Ok(Contents::default());
        }
        let read = self.read().await;
        read.map_err(|fault| self.store.error("read", fault))
    }

    async fn copy(&mut self, serial: u64) -> Result<Option<Vec<u8>>, StateError> {
        let read = self.read_copy(serial).await;
        read.map_err(|fault| self.store.error("read", fault))
    }
}

/// The rows while the lock is ours.
#[derive(Debug)]
pub(super) struct RowsHeld {
    /// Shared with the pen of the journal.
    rows: Arc<Mutex<Rows>>,
    store: DatabaseStore,
}

impl RowsHeld {
    pub(super) fn of(rows: Rows) -> Self {
        let store = rows.store.clone();
        Self { rows: Arc::new(Mutex::new(rows)), store }
    }
}

/// Says why a session that had the lock was lost: whether another run has it, or the server is away.
async fn lost(store: &DatabaseStore, fault: Fault) -> StateError {
    let closed = matches!(&fault, Fault::Db(error) if error.is_closed() || is_shutdown(error));
    if !closed {
        return store.error("write", fault);
    }
    let place = store.place().to_string();
    match store.holder().await {
        Ok(Some(holder)) => StateError::Superseded { place, why: format!("{holder} has it") },
        Ok(None) => StateError::Superseded { place, why: "its session was ended there".into() },
        Err(_) => store.error("write", fault),
    }
}

fn is_shutdown(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&tokio_postgres::error::SqlState::ADMIN_SHUTDOWN)
}

#[async_trait]
impl Reading for RowsHeld {
    async fn contents(&mut self) -> Result<Contents, StateError> {
        self.rows.lock().await.contents().await
    }

    async fn copy(&mut self, serial: u64) -> Result<Option<Vec<u8>>, StateError> {
        self.rows.lock().await.copy(serial).await
    }
}

#[async_trait]
impl Held for RowsHeld {
    async fn begin(&mut self, journal: &NewJournal<'_>) -> Result<Box<dyn Pen>, StateError> {
        let begun = self.rows.lock().await.begin(journal).await;
        if let Err(fault) = begun {
            return Err(lost(&self.store, fault).await);
        }
        let (rows, runtime) = (Arc::clone(&self.rows), Handle::current());
        Ok(Box::new(RowsPen {
            rows,
            runtime,
            store: self.store.clone(),
            serial: journal.serial,
            n: 0,
        }))
    }

    async fn save(&mut self, state: &NewState<'_>) -> Result<(), StateError> {
        let saved = self.rows.lock().await.save(state).await;
        match saved {
            Ok(()) => Ok(()),
            Err(fault) => Err(lost(&self.store, fault).await),
        }
    }

    async fn retire(&mut self, note: &str) -> Result<(), StateError> {
        let gone = self.rows.lock().await.retire(note).await;
        gone.map_err(|fault| self.store.error("write", fault))
    }
}

/// Adds to the journal of one run.
struct RowsPen {
    rows: Arc<Mutex<Rows>>,
    runtime: Handle,
    store: DatabaseStore,
    serial: u64,
    n: i64,
}

impl Pen for RowsPen {
    fn write(&mut self, lines: &str, _durable: bool) -> io::Result<()> {
        self.n += 1;
        let (place, store) = ((self.serial, self.n), &self.store);
        let written = self.runtime.block_on(async {
            let added = self.rows.lock().await.append(place, lines).await;
            match added {
                Ok(()) => Ok(()),
                Err(fault) => Err(lost(store, fault).await),
            }
        });
        written.map_err(io::Error::other)
    }
}
