//! The tables, and which version of them is there.

use super::session::{Db, Fault, answered};
use crate::state::{Place, StateError};

/// The version of the tables made today.
const VERSION: i32 = 1;

/// Two that begin at once do not both make them; the number is nobody else's.
const MAKE: &str = "
    SELECT pg_advisory_xact_lock(7022090143);
    CREATE TABLE IF NOT EXISTS freehold_schema (version integer PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS freehold_state (
      fleet text PRIMARY KEY, lineage uuid NOT NULL, serial bigint NOT NULL,
      state bytea NOT NULL, written timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS freehold_history (
      fleet text, lineage uuid, serial bigint, state bytea NOT NULL,
      written timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (fleet, lineage, serial));
    CREATE TABLE IF NOT EXISTS freehold_journal (
      fleet text, serial bigint, n bigint, lines bytea NOT NULL, PRIMARY KEY (fleet, serial, n));
    CREATE TABLE IF NOT EXISTS freehold_holder (
      fleet text PRIMARY KEY, backend integer NOT NULL, holder text NOT NULL);
    CREATE TABLE IF NOT EXISTS freehold_moved (fleet text PRIMARY KEY, note text NOT NULL);
    INSERT INTO freehold_schema (version) VALUES (1) ON CONFLICT DO NOTHING";

/// Returns the version that is there; `None` where nothing is.
pub(super) async fn known(db: &mut Db) -> Result<Option<i32>, Fault> {
    let there = "SELECT to_regclass('freehold_schema') IS NOT NULL";
    if !answered(db.client.query_one(there, &[])).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let asked = db.client.query_one("SELECT max(version) FROM freehold_schema", &[]);
    Ok(answered(asked).await?.get(0))
}

/// Refuses the tables of a later freehold.
pub(super) fn refuse_newer(place: &Place, known: Option<i32>) -> Result<(), StateError> {
    match known {
        Some(have) if have > VERSION => Err(StateError::Newer {
            path: format!("{place}/freehold_schema").into(),
            have: u32::try_from(have).unwrap_or(u32::MAX),
            know: u32::try_from(VERSION).unwrap_or_default(),
        }),
        _ => Ok(()),
    }
}

/// Makes the tables.
pub(super) async fn make(db: &mut Db) -> Result<(), Fault> {
    let making = db.begin().await?;
    answered(making.batch_execute(MAKE)).await?;
    answered(making.commit()).await
}
