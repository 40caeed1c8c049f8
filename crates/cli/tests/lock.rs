//! The command and `freehold.lock`: what it decides, what it refuses, what it leaves alone. No host
//! is there to be asked.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{
    fs,
    time::{Duration, Instant},
};

mod folder;

use folder::Fleet;

/// What reads lock and state.
const READERS: [&[&str]; 6] = [
    &["plan"],
    &["plan", "--lock"],
    &["apply", "--yes"],
    &["destroy", "--yes"],
    &["lock", "prune"],
    &["status"],
];

#[test]
fn an_apply_without_a_terminal_decides_nothing() {
    let fleet = Fleet::new("web 2");
    for arguments in [&["apply", "--yes"][..], &["apply", "--yes", "--locked"]] {
        fleet.run(arguments).is(
            1,
            &[
                "freehold.lock does not hold what was decided",
                "vm web-0: is not in it",
                "vm web-1: is not in it",
                "hint: run `freehold plan --lock` and commit freehold.lock",
            ],
        );
    }
    assert_eq!(fleet.lock(), "");
    fleet.run(&["plan", "--lock"]).is(
        0,
        &["decided: vm web-0 on rack1, 10.77.0.100", "decided: vm web-1 on rack2, 10.77.0.101"],
    );
    let lock = fleet.lock();
    fleet.run(&["plan", "--lock"]).is(0, &["nothing to decide"]);
    assert_eq!(fleet.lock(), lock);
    // Now it goes on, to hosts that are not there.
    fleet.run(&["apply", "--yes"]).is(3, &["rack1"]);
    assert_eq!(fleet.lock(), lock);
}

#[test]
fn a_saved_plan_without_a_terminal_decides_nothing_either() {
    let fleet = Fleet::new("web 2");
    fleet.run(&["plan", "-o", "./web.plan"]).is(3, &["saved; carry it out with"]);
    for arguments in [&["apply", "./web.plan", "--yes"][..], &["apply", "./web.plan", "--locked"]] {
        fleet.run(arguments).is(
            1,
            &[
                "freehold.lock does not hold what was decided",
                "vm web-0: is not in it",
                "hint: run `freehold plan --lock` and commit freehold.lock",
            ],
        );
        assert_eq!(fleet.lock(), "");
    }
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    fleet.run(&["apply", "./web.plan", "--yes"]).is(3, &["rack1"]);
}

#[test]
fn only_what_is_new_is_decided_and_nobody_moves() {
    let fleet = Fleet::new("web 2");
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    let tables = |text: &str| text[text.find("[vm.web-0]").unwrap()..].to_owned();
    let before = tables(&fleet.lock());
    let before = before.split("# The end").next().unwrap().trim_end();
    fleet.declare("aaa 1,web 2");
    fleet.run(&["apply", "--yes"]).is(1, &["vm aaa-0: is not in it"]);
    let ran = fleet.run(&["plan", "--lock"]);
    ran.is(0, &["decided: vm aaa-0 on rack1, 10.77.0.102"]);
    assert!(!ran.said.contains("web"), "{}", ran.said);
    assert!(tables(&fleet.lock()).contains(before), "{}", fleet.lock());
}

#[test]
fn a_lock_that_was_edited_is_refused_by_every_command_and_stays() {
    let fleet = Fleet::new("web 2");
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    let good = fleet.lock();
    let clash = good.replace("10.77.0.101", "10.77.0.100");
    let marked = good.replace("[vm.web-1]", "<<<<<<< HEAD\n[vm.web-1]");
    let twice = good.replace("[vm.web-1]", "[vm.web-0]");
    for (text, words) in [
        (clash, ["vm web-0 and vm web-1 both have address 10.77.0.100", "(lines "]),
        (marked, ["is a conflict marker of git", "hint: settle the merge"]),
        (twice, ["vm web-0 has two tables, at lines ", "plan --lock"]),
        (good.replace("format = 2", "format = 3"), ["has format 3", "hint: use the freehold"]),
        (good.replace("f7c10b8e", "a7c10b8e"), ["belongs to fleet a7c1", "hint: was `fleet.id`"]),
        (good[..good.len() / 2].to_owned(), ["freehold.lock is damaged", "git checkout"]),
        (String::new(), ["it is empty", "git checkout"]),
    ] {
        fs::write(fleet.path("freehold.lock"), &text).unwrap();
        for arguments in [&["check"][..]].into_iter().chain(READERS) {
            fleet.run(arguments).is(1, &words);
            assert_eq!(fleet.lock(), text, "{arguments:?}");
        }
    }
}

#[test]
fn a_damaged_state_or_journal_stays_as_it_is() {
    let fleet = Fleet::new("web 1");
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    for (file, text, words) in [
        (".freehold/state.json", "", ["state.json is damaged: it is empty", "mv "]),
        (".freehold/state.json", "{\"format\": 7}", ["has format 7", "hint: use the freehold"]),
        (".freehold/journal.jsonl", "", ["journal.jsonl is damaged: it is empty", "mv "]),
        (".freehold/journal.jsonl", "{}\n", ["journal.jsonl is damaged: line 1", "mv "]),
    ] {
        let path = fleet.path(file);
        let good = fs::read(&path).ok();
        fs::write(&path, text).unwrap();
        for arguments in READERS {
            fleet.run(arguments).is(1, &words);
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "{arguments:?}");
        }
        match good {
            Some(good) => fs::write(&path, good).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    fleet.run(&["plan", "--lock"]).is(0, &["nothing to decide"]);
}

#[test]
fn prune_forgets_tombstones_and_dry_run_does_not() {
    let fleet = Fleet::new("web 2");
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    fleet.run(&["lock", "prune"]).is(0, &["nothing to forget"]);
    let (head, tail) = {
        let lock = fleet.lock();
        let at = lock.find("[vm.web-1]\n").unwrap() + "[vm.web-1]\n".len();
        (lock[..at].to_owned(), lock[at..].to_owned())
    };
    fs::write(fleet.path("freehold.lock"), format!("{head}removed = true\n{tail}")).unwrap();
    fleet.run(&["lock", "prune"]).is(0, &["nothing to forget"]);
    fleet.declare("web 1");
    let before = fleet.lock();
    fleet.run(&["lock", "prune", "--dry-run"]).is(0, &["would forget: vm web-1 on rack2"]);
    assert_eq!(fleet.lock(), before);
    fleet.run(&["lock", "prune"]).is(0, &["forgot: vm web-1 on rack2, 10.77.0.101"]);
    assert!(fleet.lock().contains("[vm.web-0]") && !fleet.lock().contains("web-1"));
    fleet.run(&["lock", "prune"]).is(0, &["nothing to forget"]);
}

#[test]
fn another_secret_is_refused_with_both_fingerprints() {
    let fleet = Fleet::new("web 1");
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    let (lock, key) = (fleet.lock(), ".freehold/identity.key");
    let stranger = Fleet::new("web 1");
    fs::copy(stranger.path(key), fleet.path(key)).unwrap();
    for arguments in [&["plan"][..], &["plan", "--lock"], &["apply", "--yes"]] {
        fleet.run(arguments).is(
            1,
            &["the identity secret is SHA256:", "freehold.lock was made with SHA256:", "hint: put"],
        );
        assert_eq!(fleet.lock(), lock);
    }
}

#[test]
fn another_run_is_waited_for_as_long_as_it_was_told() {
    use rustix::fs::{FlockOperation, flock};
    let fleet = Fleet::new("web 2");
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    let lock = fs::File::open(fleet.path(".freehold/apply.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let begun = Instant::now();
    let hint = "hint: run this again when it has ended; with --lock-timeout 5m it is waited for";
    fleet.run(&["lock", "prune"]).is(4, &["locked by another run", hint]);
    fleet.run(&["lock", "prune", "--lock-timeout", "2s"]).is(4, &["waiting for another run", hint]);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(1));
            flock(&lock, FlockOperation::Unlock).unwrap();
        });
        fleet.run(&["lock", "prune", "--lock-timeout", "30s"]).is(0, &["waiting for another run"]);
    });
}
