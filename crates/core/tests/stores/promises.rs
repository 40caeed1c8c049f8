//! What every store promises. Each is asked with a fleet of its own.

use freehold_core::{
    model::{HostName, NetworkName},
    state::{
        Anew, Fact, HISTORY, Holder, NewJournal, NewState, Outcome, Session, Snapshot, StateError,
        StoreTrouble, Written,
    },
};
use futures::{FutureExt as _, future::BoxFuture};
use uuid::Uuid;

use crate::world::Case;

type Promise = for<'a> fn(&'a Case<'a>) -> BoxFuture<'a, ()>;

pub(crate) const PROMISES: [(&str, Promise); 12] = [
    ("reads back what was saved, and keeps ten", |case| reads_back(case).boxed()),
    ("only what follows the last state is written", |case| compares_and_swaps(case).boxed()),
    ("one at a time, and the other is named", |case| one_at_a_time(case).boxed()),
    ("two at once: one wins", |case| two_at_once(case).boxed()),
    ("a killed run is folded in", |case| folds_in(case).boxed()),
    ("late lines of a run that ended are nobody's", |case| late_lines(case).boxed()),
    ("an older state is noticed", |case| older_state(case).boxed()),
    ("who was superseded writes no more", |case| superseded(case).boxed()),
    ("gone at the beginning: refused", |case| gone_at_the_beginning(case).boxed()),
    ("gone in the middle: told next time", |case| gone_in_the_middle(case).boxed()),
    ("what is damaged is kept, and made again", |case| made_again(case).boxed()),
    ("moves here and back", |case| moves(case).boxed()),
];

fn known(host: &str) -> Fact {
    Fact::Host { host: host.parse().unwrap(), id: Uuid::from_u128(1) }
}

fn network(name: &str) -> Fact {
    let (host, network): (HostName, NetworkName) = ("a".parse().unwrap(), name.parse().unwrap());
    Fact::Network { host, network, uuid: Uuid::from_u128(2) }
}

async fn save(session: &mut Session) -> Result<(), StateError> {
    session.save(session.snapshot.clone()).await
}

fn is_away<T: std::fmt::Debug>(result: Result<T, StateError>) {
    match result {
        Err(StateError::Store { trouble: StoreTrouble::Away, hint: Some(_), .. }) => {}
        other => panic!("{other:?}"),
    }
}

async fn reads_back(case: &Case<'_>) {
    let mut session = case.state(0).lock("test").await.unwrap();
    for number in 0..12 {
        let mut snapshot = session.snapshot.clone();
        snapshot.fold(&known(&format!("rack{number}")));
        session.save(snapshot).await.unwrap();
    }
    let read = case.state(1).read().await.unwrap();
    assert_eq!((read.serial, read.hosts.len()), (12, 12));
    assert_eq!(read, session.snapshot);
    let contents = case.store().open().await.unwrap().contents().await.unwrap();
    assert_eq!(contents.history.len(), HISTORY);
    assert_eq!(contents.history.last(), Some(&12));
}

async fn compares_and_swaps(case: &Case<'_>) {
    let store = case.store();
    let mut held = store.lock(&Holder::here("test")).await.unwrap();
    let state = |lineage: u128, serial: u64| Written {
        lineage: Uuid::from_u128(lineage),
        serial,
        bytes: format!("{lineage} {serial}").into_bytes(),
    };
    let first = state(1, 1);
    held.save(&NewState { state: &first, instead_of: None }).await.unwrap();
    if case.world.is_shared() {
        let (next, other) = (state(1, 2), state(2, 1));
        for instead_of in [None, Some(&next), Some(&other)] {
            let error = held.save(&NewState { state: &next, instead_of }).await.unwrap_err();
            assert!(matches!(error, StateError::Superseded { .. }), "{error}");
        }
    }
    let second = state(1, 2);
    held.save(&NewState { state: &second, instead_of: Some(&first) }).await.unwrap();
    assert_eq!(held.contents().await.unwrap().state, Some(second.bytes));
    assert_eq!(held.copy(1).await.unwrap(), Some(first.bytes));
    assert_eq!(held.copy(7).await.unwrap(), None);
}

async fn one_at_a_time(case: &Case<'_>) {
    let session = case.state(0).lock("freehold apply").await.unwrap();
    let error = case.state(1).lock("freehold apply").await.unwrap_err();
    assert!(matches!(error, StateError::Locked { .. }), "{error}");
    let (told, here) = (error.to_string(), format!("process {}", std::process::id()));
    assert!(told.contains("`freehold apply`") && told.contains(&here), "{told}");
    let holder = case.store().holder().await.unwrap().unwrap();
    assert_eq!((holder.pid, holder.command.as_str()), (std::process::id(), "freehold apply"));
    case.state(1).read().await.unwrap();
    drop(session);
    let begun = std::time::Instant::now();
    while let Err(error) = case.state(1).lock("test").await {
        assert!(begun.elapsed().as_secs() < 5, "{error}");
    }
}

async fn two_at_once(case: &Case<'_>) {
    let (one, other) = (case.state(0), case.state(1));
    let (one, other) = tokio::join!(one.lock("one"), other.lock("other"));
    match (one, other) {
        (Ok(_), Err(StateError::Locked { .. })) | (Err(StateError::Locked { .. }), Ok(_)) => {}
        other => panic!("{other:?}"),
    }
}

async fn folds_in(case: &Case<'_>) {
    let mut session = case.state(0).lock("test").await.unwrap();
    let journal = session.begin().await.unwrap();
    journal.intent(0, "define", &[known("a")], &[network("lan")]).await.unwrap();
    journal.outcome(0, Outcome::Done);
    journal.intent(1, "define", &[known("b")], &[network("wan")]).await.unwrap();
    drop((session, journal));
    // From another folder, so from the store alone.
    let read = case.state(1).read().await.unwrap();
    assert_eq!((read.hosts.len(), read.networks[&"a".parse().unwrap()].len()), (2, 1));
    let session = again(case, 1).await;
    assert!(session.recovered);
    assert_eq!((session.snapshot.serial, session.snapshot.hosts.len()), (1, 2));
    drop(session);
    assert!(!again(case, 0).await.recovered);
}

/// Takes the lock as soon as whoever had it is gone.
async fn again(case: &Case<'_>, person: usize) -> Session {
    let begun = std::time::Instant::now();
    loop {
        match case.state(person).lock("again").await {
            Err(StateError::Locked { .. }) if begun.elapsed().as_secs() < 10 => {}
            taken => return taken.unwrap(),
        }
    }
}

async fn late_lines(case: &Case<'_>) {
    let mut session = case.state(0).lock("test").await.unwrap();
    let ended = session.begin().await.unwrap();
    save(&mut session).await.unwrap();
    let journal = session.begin().await.unwrap();
    if case.world.is_shared() {
        // Only the folder's own file would take them, and nobody reads that one.
        drop(ended);
    } else {
        ended.outcome(0, Outcome::Done);
        ended.intent(1, "flush", &[known("late")], &[]).await.unwrap();
    }
    journal.intent(0, "define", &[known("a")], &[]).await.unwrap();
    drop((session, journal));
    let session = again(case, 0).await;
    assert!(session.recovered, "the second run was not saved");
    assert_eq!((session.snapshot.serial, session.snapshot.hosts.len()), (2, 1));
}

async fn older_state(case: &Case<'_>) {
    let mut session = case.state(0).lock("test").await.unwrap();
    for _ in 0..3 {
        save(&mut session).await.unwrap();
    }
    drop(session);
    drop(again(case, 0).await);
    let mut held = case.store().lock(&Holder::here("somebody")).await.unwrap();
    let there = held.contents().await.unwrap().state.unwrap();
    let old = held.copy(1).await.unwrap().unwrap();
    let lineage = case.state(1).read().await.unwrap().lineage;
    let (old, there) =
        (Written { lineage, serial: 1, bytes: old }, Written { lineage, serial: 3, bytes: there });
    held.save(&NewState { state: &old, instead_of: Some(&there) }).await.unwrap();
    drop(held);
    let error = case.state(1).read().await.unwrap_err();
    assert!(matches!(error, StateError::Older { have: 1, serial: 3, .. }), "{error}");
    assert!(error.hint().unwrap().contains("state"), "{error}");
}

async fn superseded(case: &Case<'_>) {
    let mut session = case.state(0).lock("the sleeper").await.unwrap();
    let journal = session.begin().await.unwrap();
    journal.intent(0, "define", &[known("a")], &[]).await.unwrap();
    if !case.world.is_shared() {
        let error = case.store().take_over().await.unwrap_err();
        assert!(matches!(error, StateError::Locked { .. }), "a process of this machine is ended");
        return;
    }
    case.store().take_over().await.unwrap();
    assert_eq!(case.store().holder().await.unwrap(), None);
    let mut other = case.state(1).lock("the other").await.unwrap();
    assert_eq!(other.snapshot.hosts.len(), 1, "its intent is known");
    save(&mut other).await.unwrap();
    let refused = journal.intent(1, "define", &[known("b")], &[]).await;
    assert!(refused.is_err(), "it may not begin anything more");
    let error = save(&mut session).await.unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, StateError::Superseded { .. }), "{told}");
    save(&mut other).await.unwrap();
    assert_eq!(case.state(1).read().await.unwrap(), other.snapshot);
    case.store().take_over().await.unwrap();
    case.store().take_over().await.unwrap();
}

async fn made_again(case: &Case<'_>) {
    let mut session = case.state(0).lock("test").await.unwrap();
    drop(session.begin().await.unwrap());
    let mut snapshot = session.snapshot.clone();
    snapshot.fold(&known("a"));
    session.save(snapshot).await.unwrap();
    drop(session);
    let refused = locked(case, 0).await.unwrap_err();
    assert!(matches!(refused, StateError::There { serial: 1, .. }), "{refused}");
    let before = case.state(1).read().await.unwrap();
    let mut held = case.store().lock(&Holder::here("somebody")).await.unwrap();
    let there = held.contents().await.unwrap().state.unwrap();
    let seen = Written { lineage: before.lineage, serial: 1, bytes: there };
    let damaged = Written { bytes: b"{".to_vec(), ..seen.clone() };
    held.save(&NewState { state: &damaged, instead_of: Some(&seen) }).await.unwrap();
    drop(held);
    let anew = locked(case, 0).await.unwrap();
    assert!(matches!(anew.lost, Some(StateError::Damaged { .. })), "{:?}", anew.lost);
    anew.write(Snapshot { serial: 7, ..Snapshot::new(case.fleet) }).await.unwrap();
    assert_eq!(again(case, 1).await.snapshot.serial, 8);
    if !case.world.is_shared() {
        return;
    }
    // Cut between the two steps of it, it is begun once more.
    let mut held = case.store().lock(&Holder::here("somebody")).await.unwrap();
    held.retire("it is being made again: freehold recover").await.unwrap();
    drop(held);
    let anew = locked(case, 0).await.unwrap();
    assert!(matches!(anew.lost, Some(StateError::Moved { .. })), "{:?}", anew.lost);
    let known = Snapshot { serial: 8, hosts: again_known(), ..Snapshot::new(case.fleet) };
    anew.write(known).await.unwrap();
    // Who knew the one before does not take the new one for lost.
    let refused = locked(case, 1).await.unwrap_err();
    assert!(matches!(refused, StateError::OtherHistory { .. }), "{refused}");
}

fn again_known() -> std::collections::BTreeMap<HostName, Uuid> {
    [("a".parse().unwrap(), Uuid::from_u128(1))].into()
}

/// Takes the lock to make the state again, as soon as whoever had it is gone.
async fn locked(case: &Case<'_>, person: usize) -> Result<Anew, StateError> {
    let begun = std::time::Instant::now();
    loop {
        match case.state(person).lock_anew("recover").await {
            Err(StateError::Locked { .. }) if begun.elapsed().as_secs() < 10 => {}
            taken => return taken,
        }
    }
}

async fn gone_at_the_beginning(case: &Case<'_>) {
    if !case.world.is_shared() {
        return;
    }
    drop(case.state(0).lock("test").await.unwrap());
    case.world.go_away();
    is_away(case.state(0).read().await);
    is_away(case.state(0).lock("test").await);
    case.world.come_back();
    drop(again(case, 0).await);
}

/// The store goes away while one step runs. It ends, nothing else begins, and what was done is known
/// in the folder where it was done.
async fn gone_in_the_middle(case: &Case<'_>) {
    if !case.world.is_shared() {
        return;
    }
    let mut session = case.state(0).lock("test").await.unwrap();
    let journal = session.begin().await.unwrap();
    journal.intent(0, "define", &[known("a")], &[network("lan")]).await.unwrap();
    case.world.go_away();
    assert!(journal.intent(1, "define", &[known("b")], &[]).await.is_err());
    journal.outcome(0, Outcome::Done);
    assert!(journal.intent(2, "define", &[known("c")], &[]).await.is_err());
    let mut done = session.snapshot.clone();
    done.fold(&network("lan"));
    let error = session.save(done).await.unwrap_err();
    assert!(matches!(error, StateError::Store { .. } | StateError::Superseded { .. }), "{error}");
    drop((session, journal));
    case.world.come_back();
    // Elsewhere only the intent is known; here what came of it, too.
    let elsewhere = case.state(1).read().await.unwrap();
    assert_eq!((elsewhere.hosts.len(), elsewhere.networks.len()), (1, 0));
    let session = again(case, 0).await;
    assert!(session.recovered);
    assert_eq!(session.snapshot.networks.len(), 1);
    assert!(!session.snapshot.hosts.contains_key(&"c".parse::<HostName>().unwrap()));
    drop(session);
    assert_eq!(case.state(1).read().await.unwrap().networks.len(), 1);
}

/// Returns why the lock is not to be had, once whoever had it is gone.
async fn again_refused(case: &Case<'_>, person: usize) -> StateError {
    loop {
        match case.state(person).lock("test").await.unwrap_err() {
            StateError::Locked { .. } => {}
            error => return error,
        }
    }
}

async fn moves(case: &Case<'_>) {
    if !case.world.is_shared() {
        return;
    }
    let folder = case.folder(0);
    let mut session = folder.lock("test").unwrap();
    let mut snapshot = session.snapshot.clone();
    snapshot.fold(&known("a"));
    session.save(snapshot).await.unwrap();
    drop(session);
    let error = case.state(0).lock("test").await.unwrap_err();
    assert!(matches!(error, StateError::NotPushed { serial: 1, .. }), "{error}");
    // Somebody with a fresh clone looks there first.
    drop(again(case, 1).await);
    let error = again_refused(case, 0).await;
    assert!(matches!(error, StateError::NotPushed { serial: 1, .. }), "{error}");
    assert_eq!(error.hint().unwrap(), "move it there: `freehold state push`");
    let pushed = loop {
        match case.sharing(0).push("push").await {
            Err(StateError::Locked { .. }) => {}
            pushed => break pushed.unwrap(),
        }
    };
    assert_eq!(pushed, 1);
    assert_eq!(case.state(1).read().await.unwrap().hosts.len(), 1);
    let error = folder.lock("test").unwrap_err();
    assert!(matches!(error, StateError::Elsewhere { .. }), "{error}");
    let mut session = again(case, 1).await;
    save(&mut session).await.unwrap();
    drop(session);
    drop(again(case, 0).await);
    assert_eq!(case.sharing(0).pull("pull").await.unwrap(), 2);
    assert_eq!(folder.read().unwrap().hosts.len(), 1);
    let error = case.state(1).read().await.unwrap_err();
    assert!(matches!(error, StateError::Moved { .. }), "{error}");
    assert_eq!(case.sharing(0).push("push").await.unwrap(), 2);
    assert_eq!(again(case, 1).await.snapshot.serial, 2);
    let mut held = loop {
        match case.store().lock(&Holder::here("test")).await {
            Err(StateError::Locked { .. }) => {}
            taken => break taken.unwrap(),
        }
    };
    let first = "{\"sum\":\"nonsense\"}\n";
    let journal = NewJournal { serial: 3, first, state: 0, keep_old: true };
    held.begin(&journal).await.unwrap();
}
