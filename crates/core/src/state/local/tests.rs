//! The local store, as every run uses it.

use super::*;
use crate::{
    model::HostName,
    state::{Fact, HISTORY, Outcome, decisions::tests::two_vms},
};

fn store() -> (tempfile::TempDir, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::of(folder.path(), FleetId::from_bytes([7; 16]));
    (folder, store)
}

fn host() -> HostName {
    "rack1".parse().unwrap()
}

fn known() -> Fact {
    Fact::Host { host: host(), id: uuid::Uuid::from_u128(1) }
}

/// Leaves a run behind that was killed after its first intent.
async fn killed_run(store: &LocalStore) {
    let mut session = store.lock("test").unwrap();
    session.begin().await.unwrap().intent(0, "write card", &[known()], &[]).await.unwrap();
}

#[test]
fn reads_back_what_it_saved_and_keeps_ten() {
    let (_folder, store) = store();
    let mut session = store.lock("test").unwrap();
    for _ in 0..12 {
        let mut snapshot = session.snapshot.clone();
        snapshot.decisions = two_vms();
        at_once(session.save(snapshot)).unwrap();
    }
    assert_eq!(store.read().unwrap(), session.snapshot);
    assert_eq!(session.snapshot.serial, 12);
    assert_eq!(store.files().history().len(), HISTORY);
}

#[test]
fn one_run_at_a_time_and_the_other_is_named() {
    let (_folder, store) = store();
    let session = store.lock("freehold apply").unwrap();
    let error = store.lock("freehold apply").unwrap_err().to_string();
    assert!(error.contains("freehold apply") && error.contains("process"), "{error}");
    drop(session);
    store.lock("freehold apply").unwrap();
}

#[tokio::test]
async fn runs_killed_before_their_first_intent_lock_nobody_out() {
    let (_folder, store) = store();
    for _ in 0..3 {
        drop(store.lock("test").unwrap().begin().await.unwrap());
    }
    killed_run(&store).await;
    let session = store.lock("test").unwrap();
    assert_eq!((session.snapshot.serial, session.snapshot.hosts.len()), (1, 1));
}

#[test]
fn a_state_lags_where_the_journal_of_the_last_run_is_not_in_it() {
    let (_folder, store) = store();
    let mut session = store.lock("test").unwrap();
    let journal = at_once(session.begin()).unwrap();
    assert_eq!(store.lag(&session.snapshot), 1, "the run goes on");
    at_once(session.save(session.snapshot.clone())).unwrap();
    assert_eq!(store.lag(&session.snapshot), 0);
    at_once(session.save(session.snapshot.clone())).unwrap();
    assert_eq!(store.lag(&session.snapshot), 0, "nothing was done since");
    drop(journal);
    let path = store.path("journal.jsonl");
    for damage in ["", "{}\n", "nothing of ours\n"] {
        fs::write(&path, damage).unwrap();
        assert_eq!(store.lag(&session.snapshot), 1, "{damage:?}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(store.lag(&session.snapshot), 1, "it was put aside");
}

#[tokio::test]
async fn late_lines_of_a_run_that_ended_are_not_the_next_ones() {
    let (_folder, store) = store();
    let mut session = store.lock("test").unwrap();
    let ended = session.begin().await.unwrap();
    session.save(session.snapshot.clone()).await.unwrap();
    let journal = session.begin().await.unwrap();
    let gone = Fact::NetworkGone { host: host(), network: "back".parse().unwrap() };
    ended.outcome(0, Outcome::Done);
    ended.intent(1, "flush", &[], &[]).await.unwrap();
    journal.intent(0, "remove network", &[known()], &[gone]).await.unwrap();
    ended.outcome(0, Outcome::Done);
    ended.intent(1, "flush", &[], &[]).await.unwrap();
    drop((session, journal, ended));
    let session = store.lock("test").unwrap();
    assert!(session.recovered, "the second run was not saved");
    assert_eq!((session.snapshot.serial, session.snapshot.hosts.len()), (2, 1));
}

#[tokio::test]
async fn a_killed_first_run_is_folded_in() {
    let (_folder, store) = store();
    killed_run(&store).await;
    let session = store.lock("test").unwrap();
    assert!(session.recovered);
    assert_eq!((session.snapshot.serial, session.snapshot.hosts.len()), (1, 1));
    drop(session);
    assert!(!store.lock("test").unwrap().recovered);
}

#[test]
fn the_state_is_written_before_its_copy() {
    let (_folder, store) = store();
    // Nothing can be written into the history, as if the run had ended right before it.
    fs::create_dir(store.path("")).unwrap();
    fs::write(store.path("history"), "").unwrap();
    let session = store.lock("test").unwrap();
    assert_eq!(store.read().unwrap(), session.snapshot);
    drop(session);
    fs::remove_file(store.path("history")).unwrap();
    assert!(!store.lock("test").unwrap().recovered);
}

#[test]
fn damage_is_never_taken_for_emptiness() {
    let (folder, store) = store();
    let mut session = store.lock("test").unwrap();
    at_once(session.save(session.snapshot.clone())).unwrap();
    let path = store.path("state.json");
    let good = fs::read_to_string(&path).unwrap();
    let newer = good.replace("\"format\": 1", "\"format\": 9");
    let other = good.replace("\"serial\": 1", "\"serial\": 5");
    for (text, fragment) in
        [("", "empty"), ("{", "damaged"), (&newer, "format 9"), (&other, "checksum")]
    {
        fs::write(&path, text).unwrap();
        let error = store.read().unwrap_err().to_string();
        assert!(error.contains(fragment), "{fragment}: {error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(store.read().unwrap_err().to_string().contains("missing"));
    fs::write(&path, good).unwrap();
    let stranger = LocalStore::of(folder.path(), FleetId::from_bytes([8; 16]));
    assert!(matches!(stranger.read(), Err(StateError::OtherFleet { .. })));
}
