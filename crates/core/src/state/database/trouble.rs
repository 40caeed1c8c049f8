//! What a database says, in words that help; never what it was told.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

use super::{address::Address, session::Fault};
use crate::state::{Place, StateError, StoreTrouble};

/// Makes of a fault what the user is told.
pub(super) fn error(
    place: &Place,
    address: &Address,
    act: &'static str,
    fault: Fault,
) -> StateError {
    let place = place.to_string();
    let store = |trouble, why: String, hint: Option<String>| StateError::Store {
        place: place.clone(),
        act,
        trouble,
        hint,
        source: why.into(),
    };
    match fault {
        Fault::Changed => {
            let why = "somebody else wrote there meanwhile".into();
            StateError::Superseded { place, why }
        }
        Fault::Late(limit) => {
            let why = format!("no answer within {} s", limit.as_secs());
            store(StoreTrouble::Away, why, Some(REACH.to_owned()))
        }
        Fault::Stays(why) => store(StoreTrouble::Refused, why, None),
        Fault::Db(error) => {
            if let Some(db) = error.as_db_error() {
                let (trouble, hint) = advice(db.code(), address);
                return store(trouble, db.message().to_owned(), Some(hint));
            }
            let source = error.source().map(|source| format!(": {source}"));
            let why = format!("{error}{}", source.unwrap_or_default());
            let refused = why.contains("certificate") || why.contains("password missing");
            let trouble = if refused { StoreTrouble::Refused } else { StoreTrouble::Away };
            store(trouble, why, Some(REACH.to_owned()))
        }
    }
}

const REACH: &str = "is the server up, and reached from here? `psql` with the same URL tells";

fn advice(code: &SqlState, address: &Address) -> (StoreTrouble, String) {
    let user = address.config.get_user().unwrap_or("USER");
    let database = address.config.get_dbname().unwrap_or(user);
    match code.code() {
        "28P01" | "28000" => {
            (StoreTrouble::Refused, "is the login in the `url` of the `state` block right?".into())
        }
        "3D000" => (StoreTrouble::Refused, format!("CREATE DATABASE {database} OWNER {user};")),
        "42501" | "3F000" => (
            StoreTrouble::Refused,
            format!("let {user} own the database: ALTER DATABASE {database} OWNER TO {user};"),
        ),
        "25006" => (
            StoreTrouble::Refused,
            "it takes no writes: is it a standby? let the `url` lead to the primary".into(),
        ),
        "53100" => (StoreTrouble::Full, "make room on the disk of the server".into()),
        "53300" => (StoreTrouble::Away, "raise `max_connections`, or wait".into()),
        "57014" | "55P03" => {
            (StoreTrouble::Away, "the server is slow, or somebody has the tables locked".into())
        }
        _ => (StoreTrouble::Away, REACH.to_owned()),
    }
}
