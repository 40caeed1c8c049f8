use std::{fs, process::Command};

use super::*;
use crate::state::decisions::tests::two_vms;

fn fleet() -> FleetId {
    FleetId::from_bytes([7; 16])
}

fn lock() -> (tempfile::TempDir, LockFile) {
    let folder = tempfile::tempdir().unwrap();
    let lock = LockFile::of(folder.path(), fleet());
    (folder, lock)
}

/// Writes a text as the lock; returns what reading it says, hint and all.
fn refused(lock: &LockFile, text: &str) -> String {
    fs::write(&lock.path, text).unwrap();
    let error = lock.read().unwrap_err();
    assert!(error.to_string().contains("freehold.lock"), "{error}");
    // Nor does writing take it away.
    assert!(lock.write(&two_vms()).is_err());
    assert_eq!(fs::read_to_string(&lock.path).unwrap(), text);
    format!("{error}; {}", error.hint().unwrap())
}

fn written(decisions: &Decisions) -> String {
    let (_folder, lock) = lock();
    lock.write(decisions).unwrap();
    fs::read_to_string(&lock.path).unwrap()
}

#[test]
fn reads_back_what_it_wrote() {
    let (_folder, lock) = lock();
    assert_eq!(lock.read().unwrap(), Decisions::default());
    lock.write(&two_vms()).unwrap();
    assert_eq!(lock.read().unwrap(), two_vms());
    lock.write(&Decisions::default()).unwrap();
    assert_eq!(lock.read().unwrap(), Decisions::default());
}

#[test]
fn refuses_what_hands_and_disks_leave() {
    let (_folder, lock) = lock();
    let good = written(&two_vms());
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    for (text, words) in [
        (String::new(), ["it is empty", "git checkout"]),
        ("format = 9\n".into(), ["format 9", "use the freehold that wrote it"]),
        ("format = 1\nsurprise = 1\n".into(), ["surprise", "git checkout"]),
        (with("format = 2\n", ""), ["names no format", "git checkout"]),
        (with("format = 2", "format = 0"), ["names no format", "git checkout"]),
        (with("fleet = \"0707", "fleet = \"0807"), ["belongs to fleet 0807", "fleet.id"]),
        (with("fleet = ", "# "), ["whose it is", "git checkout"]),
        (with("SHA256:x", "MD5:x"), ["fingerprint", "git checkout"]),
        (with("ssh-ed25519 AAAA", "ssh-rsa AAAA"), ["vm web-0: `host_key`", "git checkout"]),
        (with("key_epoch = 1", "key_epoch = 0"), ["vm web-0: `incarnation`", "git checkout"]),
        (with("root.0", "../root.0"), ["vm web-0: `", "git checkout"]),
        (with(LAST, ""), ["cut short", "git checkout"]),
    ] {
        let said = refused(&lock, &text);
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    }
}

#[test]
fn a_mac_of_a_maker_is_refused() {
    let text = written(&two_vms());
    let mac = two_vms().vms.values().next().unwrap().nics[0].mac.to_string();
    let (_folder, lock) = lock();
    let said = refused(&lock, &text.replace(&mac, &format!("00{}", &mac[2..])));
    assert!(said.contains("vm web-0: mac 00:"), "{said}");
}

#[test]
fn names_the_lines_of_a_clash() {
    let (_folder, lock) = lock();
    let mut decisions = two_vms();
    let address = decisions.vms.values().next().unwrap().nics[0].address;
    decisions.vms.values_mut().last().unwrap().nics[0].address = address;
    let text = lock.content(&decisions);
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains("10.77.0.100"));
    let lines: Vec<_> = lines.map(|(index, _)| index + 1).collect();
    let said = refused(&lock, &text);
    let place = format!("(lines {} and {})", lines[0], lines[1]);
    for word in ["vm web-0 and vm web-1", "10.77.0.100 of network lan", &place, "plan --lock"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn every_kind_of_conflict_marker_is_named_with_its_line() {
    let (_folder, lock) = lock();
    for marker in ["<<<<<<< HEAD", "||||||| 5f1c2d", "=======", ">>>>>>> branch"] {
        let said = refused(&lock, &format!("format = 1\n\n{marker}\n"));
        assert!(said.contains("line 3 is a conflict marker"), "{said}");
        assert!(said.contains(&marker[..7]) && said.contains("[vm] tables"), "{said}");
    }
}

/// Returns what git makes of two branches that each wrote their lock, from a common one.
fn merged(base: &str, ours: &str, theirs: &str, how: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, text) in [("base", base), ("ours", ours), ("theirs", theirs)] {
        fs::write(path(name), text).unwrap();
    }
    let merge = Command::new("git")
        .args(["merge-file", "-p", how])
        .args([path("ours"), path("base"), path("theirs")])
        .output()
        .unwrap();
    String::from_utf8(merge.stdout).unwrap()
}

#[test]
fn what_git_makes_of_two_branches_is_told_apart() {
    let both = two_vms();
    let only = |name: &str| {
        let mut decisions = both.clone();
        decisions.vms.retain(|vm, _| vm.as_str() == name);
        written(&decisions)
    };
    let (none, first, second) = (written(&Decisions::default()), only("web-0"), only("web-1"));
    let (_folder, lock) = lock();
    for how in ["--diff3", "-q"] {
        let said = refused(&lock, &merged(&none, &first, &second, how));
        assert!(said.contains("is a conflict marker of git"), "{said}");
    }
    // Both sides decided about the same VM, in another way.
    let other = first.replace("rack1", "rack2").replace("\"web-0\"", "");
    let text = merged(&none, &first, &other, "--union");
    let said = refused(&lock, &text);
    assert!(said.contains("git checkout"), "{said}");
    let twice = format!("{first}{}", &second.replace("web-1", "web-0"));
    let tables = twice[twice.find("[vm").unwrap()..].to_owned();
    let said = refused(&lock, &format!("format = 1\n{tables}"));
    for word in ["vm web-0 has two tables, at lines 2 and", "plan --lock"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn a_lock_that_nobody_could_read_again_is_not_written() {
    let (_folder, lock) = lock();
    lock.write(&two_vms()).unwrap();
    let mut clash = two_vms();
    let address = clash.vms.values().next().unwrap().nics[0].address;
    clash.vms.values_mut().for_each(|vm| vm.nics[0].address = address);
    let error = lock.write(&clash).unwrap_err();
    assert!(error.to_string().contains("vm web-0 and vm web-1 both have address"), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(lock.read().unwrap(), two_vms());
}
