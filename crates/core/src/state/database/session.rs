//! One session at the database; what is asked of it has an end.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Address;
use crate::state::Holder;

/// Connecting and logging in.
const CONNECT: Duration = Duration::from_secs(15);
/// How long the server takes for one thing at most; then it says so itself.
const STATEMENT: &str = "30s";
/// After this long it does not answer at all.
const ANSWER: Duration = Duration::from_secs(35);

/// Why something asked came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server, or the way there.
    Db(tokio_postgres::Error),
    /// No answer.
    Late(Duration),
    /// What is there is not what was seen last.
    Changed,
    /// The lock's owner may not be ended, or does not end.
    Stays(String),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Db(error)
    }
}

/// A session; it ends with the value, and its lock with it.
pub(super) struct Db {
    pub(super) client: Client,
}

/// Waits for an answer.
pub(super) async fn answered<T>(
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Fault> {
    timeout(ANSWER, asked).await.map_err(|_| Fault::Late(ANSWER))?.map_err(Fault::Db)
}

/// The number of a fleet's lock.
fn key(fleet: &str) -> i64 {
    let digest = Sha256::digest(format!("freehold state {fleet}"));
    i64::from_be_bytes(digest[..8].try_into().expect("it has 32 bytes"))
}

/// Who has the lock `$1`, and what they said of themselves.
const HOLDER: &str = "
    SELECT l.pid, h.holder FROM pg_locks l LEFT JOIN freehold_holder h
      ON h.fleet = $2 AND h.backend = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.classid::bigint = (($1::bigint >> 32) & 4294967295)
      AND l.objid::bigint = ($1::bigint & 4294967295)";

impl Db {
    pub(super) async fn connect(address: &Address) -> Result<Self, Fault> {
        let mut config = address.config.clone();
        config
            .application_name("freehold")
            .connect_timeout(CONNECT)
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(ANSWER);
        let connecting = async {
            match &address.tls {
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    tokio::spawn(async move { drop(connection.await) });
                    Ok(client)
                }
                Some(tls) => {
                    let tls = MakeRustlsConnect::new(tls.clone());
                    let (client, connection) = config.connect(tls).await?;
                    tokio::spawn(async move { drop(connection.await) });
                    Ok(client)
                }
            }
        };
        let client: Result<Client, tokio_postgres::Error> =
            timeout(CONNECT, connecting).await.map_err(|_| Fault::Late(CONNECT))?;
        let client = client?;
        // A line that is in the journal must be there after a power cut.
        let manners = format!(
            "SET statement_timeout = '{STATEMENT}'; SET lock_timeout = '10s'; \
             SET idle_in_transaction_session_timeout = '60s'; SET synchronous_commit = on"
        );
        answered(client.batch_execute(&manners)).await?;
        Ok(Self { client })
    }

    /// Takes the lock of a fleet, if nobody has it.
    pub(super) async fn try_lock(&self, fleet: &str, holder: &Holder) -> Result<bool, Fault> {
        let (ask, key) = ("SELECT pg_try_advisory_lock($1)", key(fleet));
        if !answered(self.client.query_one(ask, &[&key])).await?.get::<_, bool>(0) {
            return Ok(false);
        }
        let text = holder.text();
        let tell = "INSERT INTO freehold_holder (fleet, backend, holder)
                    VALUES ($1, pg_backend_pid(), $2) ON CONFLICT (fleet) DO UPDATE
                    SET backend = excluded.backend, holder = excluded.holder";
        answered(self.client.execute(tell, &[&fleet, &text])).await?;
        Ok(true)
    }

    /// Returns who has the lock of a fleet, and their session's number. Their name comes a moment
    /// after their lock.
    pub(super) async fn holder(&self, fleet: &str) -> Result<Option<(i32, Holder)>, Fault> {
        let (key, mut found) = (key(fleet), None);
        for _ in 0..5 {
            let row = answered(self.client.query_opt(HOLDER, &[&key, &fleet])).await?;
            let Some(row) = row else { return Ok(None) };
            let text: Option<String> = row.get(1);
            let named = text.and_then(|text| Holder::parse(text.as_bytes()));
            let known = named.is_some();
            found = Some((row.get(0), named.unwrap_or_else(Holder::unnamed)));
            if known {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(found)
    }

    /// Ends the session that has the lock of a fleet, and waits until it is ended.
    pub(super) async fn end_holder(&self, fleet: &str) -> Result<(), Fault> {
        let key = key(fleet);
        let find = async || answered(self.client.query_opt(HOLDER, &[&key, &fleet])).await;
        let Some(row) = find().await? else { return Ok(()) };
        let pid: i32 = row.get(0);
        answered(self.client.query_one("SELECT pg_terminate_backend($1)", &[&pid])).await?;
        for _ in 0..50 {
            match find().await? {
                Some(row) if row.get::<_, i32>(0) == pid => {}
                _ => return Ok(()),
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(Fault::Stays(format!("its session there ({pid}) does not end")))
    }

    /// Begins a transaction.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_>, Fault> {
        answered(self.client.transaction()).await
    }
}
