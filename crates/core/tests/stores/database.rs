//! What only a database can be: wrong, closed, full, slow, shared with others.

use freehold_core::{
    model::{FleetId, Secret},
    state::{DatabaseStore, Holder, NewState, State, StateError, Store, StoreTrouble, Written},
};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::machines::{PASSWORD, Postgres};

async fn client(server: &Postgres, database: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url(database), NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

/// Makes a database.
pub(crate) async fn make(server: &Postgres, database: &str) {
    let text = format!("CREATE DATABASE {database}");
    client(server, "postgres").await.batch_execute(&text).await.unwrap();
}

fn fleet(number: u8) -> FleetId {
    FleetId::from_bytes([number; 16])
}

fn store(url: String, number: u8) -> DatabaseStore {
    DatabaseStore::new(&Secret::new(url), fleet(number)).unwrap()
}

/// Checks what is told, and that the password is not.
pub(crate) fn told(error: &StateError, trouble: StoreTrouble, why: &str, hint: &str) {
    let mut words = vec![error.to_string(), format!("{error:?}")];
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        words.push(inner.to_string());
        source = inner.source();
    }
    let (all, advice) = (words.join("\n"), error.hint().unwrap_or_default());
    assert!(
        matches!(error, StateError::Store { trouble: is, .. } if *is == trouble),
        "{trouble:?}: {all}"
    );
    assert!(all.contains(why) && advice.contains(hint), "{why:?} {hint:?}: {all}\n{advice}");
    assert!(!all.contains(PASSWORD) && !advice.contains(PASSWORD), "{all}\n{advice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trouble_has_its_own_words() {
    let Some(server) = Postgres::start() else { return };
    make(&server, "state").await;
    let refused = async |url: String| store(url, 1).open().await.unwrap_err();
    let wrong = server.url("state").replace(PASSWORD, "poison");
    told(&refused(wrong).await, StoreTrouble::Refused, "password authentication", "login");
    let none = refused(server.url("nowhere")).await;
    told(&none, StoreTrouble::Refused, "does not exist", "CREATE DATABASE nowhere OWNER owner;");
    let nobody = server.url("state").replace(&server.port().to_string(), "1");
    told(&refused(nobody).await, StoreTrouble::Away, "Connection refused", "psql");
    let tls = format!("{}?sslmode=require", server.url("state"));
    told(&refused(tls).await, StoreTrouble::Away, "TLS", "psql");

    let here = Holder::here("test");
    drop(store(server.url("state"), 1).lock(&here).await.unwrap());
    let admin = client(&server, "state").await;
    let closed = "ALTER DATABASE state SET default_transaction_read_only = on";
    admin.batch_execute(closed).await.unwrap();
    let error = store(server.url("state"), 1).lock(&here).await.unwrap_err();
    told(&error, StoreTrouble::Refused, "read-only", "primary");
    store(server.url("state"), 1).open().await.unwrap();
    let open = "ALTER DATABASE state RESET default_transaction_read_only";
    admin.batch_execute(&format!("SET default_transaction_read_only = off; {open}")).await.unwrap();

    admin.batch_execute("BEGIN; LOCK TABLE freehold_state").await.unwrap();
    let error = store(server.url("state"), 1).open().await.unwrap().contents().await.unwrap_err();
    told(&error, StoreTrouble::Away, "lock timeout", "slow");
    admin.batch_execute("ROLLBACK").await.unwrap();

    let role = "CREATE ROLE guest LOGIN PASSWORD 'guest'";
    admin.batch_execute(role).await.unwrap();
    let guest = server.url("state").replace(&format!("owner:{PASSWORD}"), "guest:guest");
    let error = store(guest, 1).lock(&here).await.unwrap_err();
    told(&error, StoreTrouble::Refused, "permission denied", "OWNER TO guest");

    admin.batch_execute("INSERT INTO freehold_schema VALUES (2)").await.unwrap();
    let error = store(server.url("state"), 1).open().await.unwrap_err();
    assert!(matches!(error, StateError::Newer { have: 2, know: 1, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fleets_share_a_database_and_see_nothing_of_one_another() {
    let Some(server) = Postgres::start() else { return };
    make(&server, "state").await;
    let state = |number| {
        let store = std::sync::Arc::new(store(server.url("state"), number));
        State::of(store as std::sync::Arc<dyn Store>, fleet(number))
    };
    let (one, other) = (state(1), state(2));
    let (one, other) = tokio::join!(one.lock("one"), other.lock("other"));
    let (mut one, other) = (one.unwrap(), other.unwrap());
    one.save(one.snapshot.clone()).await.unwrap();
    assert_ne!(one.snapshot.lineage, other.snapshot.lineage);
    assert_eq!(state(1).read().await.unwrap().serial, 1);
    assert_eq!(state(2).read().await.unwrap().serial, 0);
    // A row that holds what another fleet wrote is believed by nobody.
    let admin = client(&server, "state").await;
    let mix =
        "UPDATE freehold_state SET state = (SELECT state FROM freehold_state WHERE fleet = $1)
               WHERE fleet = $2";
    admin.execute(mix, &[&fleet(1).to_string(), &fleet(2).to_string()]).await.unwrap();
    let error = state(2).read().await.unwrap_err();
    assert!(matches!(error, StateError::OtherFleet { .. }), "{error}");
}

/// Returns bytes that cannot be made fewer.
pub(crate) fn noise(length: u64) -> Vec<u8> {
    let mixed = |n: u64| {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes()
    };
    (0..length / 8).flat_map(mixed).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_leaves_the_last_state() {
    let Some(server) = Postgres::start() else { return };
    let Some(small) = server.small_disk("12m") else { return };
    let admin = client(&server, "postgres").await;
    let space = format!("CREATE TABLESPACE small LOCATION '{}'", small.display());
    admin.batch_execute(&space).await.unwrap();
    make(&server, "state").await;
    let there = "ALTER DATABASE state SET default_tablespace = small";
    admin.batch_execute(there).await.unwrap();
    let store = store(server.url("state"), 1);
    let mut held = store.lock(&Holder::here("test")).await.unwrap();
    let lineage = Uuid::from_u128(1);
    let first = Written { lineage, serial: 1, bytes: b"first".to_vec() };
    held.save(&NewState { state: &first, instead_of: None }).await.unwrap();
    let large = Written { lineage, serial: 2, bytes: noise(12 << 20) };
    let error = held.save(&NewState { state: &large, instead_of: Some(&first) }).await.unwrap_err();
    told(&error, StoreTrouble::Full, "No space left", "disk of the server");
    assert_eq!(held.contents().await.unwrap().state, Some(b"first".to_vec()));
    let second = Written { lineage, serial: 2, bytes: b"second".to_vec() };
    held.save(&NewState { state: &second, instead_of: Some(&first) }).await.unwrap();
    drop(held);
    server.go_away();
    drop(std::process::Command::new("umount").arg("-l").arg(&small).status());
}
