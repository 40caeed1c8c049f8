//! Two people with a clone each, and the state on a host: here this machine, in a directory of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

mod folder;

use folder::Fleet;

/// A fleet that has made a VM, with its state in the folder, and has its targets to publish yet.
fn made() -> Fleet {
    let fleet = Fleet::new("web 1");
    fleet.run(&["plan", "--lock"]).is(0, &["decided: vm web-0"]);
    fleet.has_made_web();
    fleet
}

/// Declares VMs, and where the state is.
fn share(fleet: &Fleet, vms: &str, directory: &Path) {
    fleet.declare(vms);
    let text = fs::read_to_string(fleet.path("fleet.hcl")).unwrap();
    let state = format!(
        "host \"store\" {{\n  connection = \"local\"\n}}\nstate \"ssh\" {{\n  host = host.store\n  \
         path = \"{}\"\n}}\n",
        directory.join("state").display()
    );
    let text =
        text.replace("  nic \"lan\"", "  metrics \"node\" {\n    port = 9100\n  }\n  nic \"lan\"");
    let targets = "prometheus \"main\" {\n  path = \"targets.json\"\n}\n";
    fs::write(fleet.path("fleet.hcl"), text + &state + targets).unwrap();
}

/// Another person's clone: the text, the lock and the secret, and no state.
fn clone_of(fleet: &Fleet) -> Fleet {
    let clone = Fleet::new("");
    for file in ["fleet.hcl", "freehold.lock", ".freehold/identity.key"] {
        drop(fs::copy(fleet.path(file), clone.path(file)));
    }
    clone
}

/// Starts a run that waits for a host which says nothing, with the lock taken.
fn waiting_run(fleet: &Fleet) -> Child {
    let config = fleet.path("ssh_config");
    fs::write(&config, "Host 127.0.0.1\n  ProxyCommand sleep 12\n").unwrap();
    Command::new(env!("CARGO_BIN_EXE_freehold"))
        .args(["apply", "--yes", "--ssh-config"])
        .arg(&config)
        .current_dir(fleet.path(""))
        .env("HOME", fleet.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

fn serial(directory: &Path) -> u64 {
    let text = fs::read_to_string(directory.join("state/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    state["body"]["serial"].as_u64().unwrap()
}

#[test]
fn the_state_moves_to_the_store_and_back_and_is_never_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let fleet = made();
    fleet.run(&["state", "push"]).is(1, &["the text names no other store"]);
    share(&fleet, "web 1", directory.path());
    fleet.run(&["status"]).is(1, &["is empty, yet", "has serial 1", "`freehold state push`"]);
    fleet.run(&["plan", "--lock"]).is(1, &["`freehold state push`"]);
    fleet.run(&["state", "push"]).is(0, &["moved the state (serial 1) to store:"]);
    fleet.run(&["state", "push"]).is(1, &["has no state of its own"]);
    let other = clone_of(&fleet);
    other.run(&["plan", "--lock"]).is(0, &[]);
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    assert!(directory.path().join("state/state.json").exists());
    assert!(fleet.path(".freehold/identity.key").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(directory.path().join("state")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700, "nobody else reads it");
    fleet.run(&["state", "pull"]).is(0, &["into this folder", "next: take the `state` block"]);
    other.run(&["plan", "--lock"]).is(1, &["the state is no longer in", "taken to a folder"]);
    fleet.declare("web 1");
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    // Without the block, and without a state of its own, a clone that used the store says so.
    other.declare("web 1");
    other.run(&["plan", "--lock"]).is(1, &["this folder used the state in store:"]);
}

#[test]
fn a_store_that_is_gone_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let fleet = Fleet::new("");
    share(&fleet, "web 1", &directory.path().join("nowhere"));
    fleet.run(&["plan", "--lock"]).is(1, &["cannot lock the state", "there is no directory"]);
    fleet.run(&["status"]).is(1, &["cannot read the state", "`freehold host add`"]);
    let text = fs::read_to_string(fleet.path("fleet.hcl")).unwrap();
    let away = text.replace("host = host.store", "host = host.rack1\n  copy = host.rack2");
    fs::write(fleet.path("fleet.hcl"), away).unwrap();
    fleet.run(&["plan", "--lock"]).is(3, &["cannot lock the state in rack1:", "host = host.rack2"]);
}

#[test]
fn one_clone_waits_and_one_that_was_superseded_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let fleet = made();
    share(&fleet, "web 1", directory.path());
    fleet.run(&["state", "push"]).is(0, &[]);
    fleet.run(&["unlock"]).is(0, &["nobody holds the lock"]);
    let other = clone_of(&fleet);

    let sleeper = waiting_run(&fleet);
    eventually("it has the lock", || {
        other.run(&["unlock"]).said.contains("is held by `freehold apply`")
    });
    let held = other.run(&["plan", "--lock"]);
    held.is(4, &[&format!("process {}", sleeper.id()), "--lock-timeout"]);
    other.run(&["unlock"]).is(5, &["is held by `freehold apply`", "hint: --yes"]);
    signal(&sleeper, "-STOP");
    other.run(&["unlock", "--yes"]).is(0, &["unlocked"]);
    other.run(&["plan", "--lock"]).is(0, &[]);
    let before = (serial(directory.path()), fs::read(directory.path().join("state/state.json")));
    signal(&sleeper, "-CONT");
    let ended = sleeper.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(4), "{said}");
    assert!(said.contains("no longer holds the lock"), "{said}");
    assert!(said.contains("another run took it over"), "{said}");
    let state = fs::read(directory.path().join("state/state.json"));
    assert_eq!((serial(directory.path()), state.unwrap()), (before.0, before.1.unwrap()));
    assert!(!fleet.path("targets.json").exists(), "it began nothing");
}
