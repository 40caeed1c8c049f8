//! What only a host can be: frozen, full, without the directory, lost while another has the copy.

use std::{process::Command, sync::Arc, time::Duration};

use freehold_core::{
    model::FleetId,
    state::{
        Dial, Holder, HostStore, LocalStore, NewJournal, NewState, SharedStore, State, StateError,
        Store, StoreTrouble, Wire, Written,
    },
};
use futures::FutureExt as _;
use uuid::Uuid;

use crate::{
    database::{noise, told},
    machines::{Sshd, eventually},
    world::HostWorld,
};

fn fleet() -> FleetId {
    FleetId::from_bytes([9; 16])
}

#[tokio::test]
async fn a_frozen_host_is_not_waited_for() {
    let (ours, _theirs) = tokio::io::duplex(1 << 16);
    let ours = std::sync::Mutex::new(Some(ours));
    let dial: Dial = Arc::new(move |_, _| {
        let wire = ours.lock().unwrap().take().unwrap();
        async move { Ok(Box::new(wire) as Box<dyn Wire>) }.boxed()
    });
    let store = HostStore::new("rack1", "/srv/state", dial, Duration::from_secs(1));
    let error = store.open().await.unwrap_err();
    told(&error, StoreTrouble::Away, "no answer within 1 s", "freehold doctor rack1");
    assert_eq!(error.to_string(), "cannot read the state in rack1:/srv/state");
}

/// Says whether a disk could be made otherwise.
fn remounts(how: &str, disk: &std::path::Path) -> bool {
    let mut mount = Command::new("mount");
    let options = format!("remount,{how}");
    mount.args(["-o", &options]).arg(disk).output().is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_leaves_the_last_state() {
    let Some(sshd) = Sshd::start() else { return };
    let world = HostWorld::of(sshd);
    let small = world.sshd().directory("small");
    std::fs::create_dir(&small).unwrap();
    let store = world.at(&small.join("away/state").display().to_string());
    let error = store.open().await.unwrap_err();
    told(&error, StoreTrouble::Refused, "there is no directory", "is its disk mounted?");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=1m", "freehold-test"]).arg(&small);
    if !mount.output().is_ok_and(|output| output.status.success()) {
        eprintln!("not tested: mounting a small disk needs root");
        return;
    }
    let store = world.at(&small.join("state").display().to_string());
    let mut held = store.lock(&Holder::here("test")).await.unwrap();
    let written =
        |serial: u64, bytes: Vec<u8>| Written { lineage: Uuid::from_u128(1), serial, bytes };
    let (first, large) = (written(1, b"first".to_vec()), written(2, noise(2 << 20)));
    held.save(&NewState { state: &first, instead_of: None }).await.unwrap();
    let error = held.save(&NewState { state: &large, instead_of: Some(&first) }).await.unwrap_err();
    told(&error, StoreTrouble::Full, "no space is left", "make room");
    assert_eq!(held.contents().await.unwrap().state, Some(b"first".to_vec()));
    let line = String::from_utf8(vec![b'x'; 2 << 20]).unwrap();
    let journal = NewJournal { serial: 2, first: "first\n", state: 0, keep_old: false };
    let mut pen = held.begin(&journal).await.unwrap();
    let full = tokio::task::spawn_blocking(move || pen.write(&line, true)).await.unwrap();
    assert!(full.unwrap_err().to_string().contains("cannot write the state"));
    // Somebody makes room.
    assert!(remounts("size=8m", &small));
    held.begin(&journal).await.unwrap();
    let second = written(2, b"second".to_vec());
    held.save(&NewState { state: &second, instead_of: Some(&first) }).await.unwrap();
    drop(held);
    eventually("nothing is open there", || remounts("ro", &small));
    store.open().await.unwrap().contents().await.unwrap();
    let error = store.lock(&Holder::here("test")).await.unwrap_err();
    told(&error, StoreTrouble::Refused, "Read-only file system", "tells whose it is");
    drop(Command::new("umount").arg("-l").arg(&small).status());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_host_is_lost_the_copy_goes_on_and_an_old_copy_does_not() {
    let Some(sshd) = Sshd::start() else { return };
    let world = HostWorld::of(sshd);
    let at = |name: &str| world.at(&world.sshd().directory(name).display().to_string());
    let folder = tempfile::tempdir().unwrap();
    let state = |store: HostStore| {
        let folder = LocalStore::of(folder.path(), fleet());
        State::of(Arc::new(SharedStore::new(Arc::new(store), folder, fleet())), fleet())
    };
    let both = || at("one").copied_to(at("other"));
    let mut session = state(both()).lock("test").await.unwrap();
    session.save(session.snapshot.clone()).await.unwrap();
    drop(session);
    assert_eq!(state(at("other")).read().await.unwrap().serial, 1);
    // The copy cannot be written: that stops nobody.
    std::fs::rename(world.sshd().directory("other"), world.sshd().directory("old")).unwrap();
    std::fs::write(world.sshd().directory("other"), "").unwrap();
    let mut session = state(both()).lock("test").await.unwrap();
    session.save(session.snapshot.clone()).await.unwrap();
    drop(session);
    let error = state(at("old")).read().await.unwrap_err();
    assert!(matches!(error, StateError::Older { have: 1, serial: 2, .. }), "{error}");
    world.sshd().go_away();
    let error = state(both()).read().await.unwrap_err();
    let advice = error.hint().unwrap();
    assert!(advice.contains("/other: write `host = host.rack1`"), "{advice}");
}
