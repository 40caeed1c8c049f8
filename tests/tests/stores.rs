//! Two people with a clone each, and the state on a host that they share: rack2, where the login is
//! no root and the state lies in the pool beside the disks.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use acceptance::{
    bed::{Bed, Place, binary, eventually},
    lab::Lab,
};
use common::{CleanUp, Text, all_domains, lab, small, vm};

const STATE: &str = "state \"ssh\" {\n  host = host.rack2\n  copy = host.rack1\n}\n";

/// Another person's clone of a fleet.
fn clone_of(bed: &Bed, lab: &Lab) -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join(".freehold");
    fs::create_dir(&secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).unwrap();
    for file in ["fleet.hcl", "freehold.lock", ".freehold/identity.key"] {
        fs::copy(bed.path().join(file), folder.path().join(file)).unwrap();
    }
    Bed::at(lab, Place::Temporary(folder))
}

fn start(bed: &Bed) -> Child {
    Command::new(binary())
        .args(["apply", "--yes"])
        .current_dir(bed.path())
        .env("HOME", bed.path())
        .env("FREEHOLD_SSH_CONFIG", bed.lab().ssh_config())
        .env("PDNS_API_KEY", bed.lab().powerdns().api_key().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn end(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    (output.status.code().unwrap(), said)
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

fn in_the_store(lab: &Lab, command: &str) -> String {
    let short = &small::id("shared")[..8];
    let directory = format!("/var/lib/libvirt/freehold/.freehold-state-{short}");
    lab.ssh("rack2", &format!("cd {directory} && {command}")).unwrap().text().to_owned()
}

#[test]
fn of_two_applies_one_wins_and_one_that_slept_writes_nothing() {
    let lab = lab();
    let text = |count: u8| {
        let more = format!("count = {count}\nrunning = false");
        let vms = vm(&lab, "shared", "[host.rack1, host.rack2]", &more);
        STATE.to_owned() + &Text { name: "shared", tens: 18, vms }.whole(&lab)
    };
    let bed = Bed::new(&lab, &text(2)).unwrap();
    let _clean = CleanUp(&bed);
    bed.decide().unwrap();
    let other = clone_of(&bed, &lab);

    let (one, two) = (start(&bed), start(&other));
    let (one, two) = (end(one), end(two));
    let (won, lost) = if one.0 == 0 { (one, two) } else { (two, one) };
    assert_eq!((won.0, lost.0), (0, 4), "{}\n{}", won.1, lost.1);
    assert!(lost.1.contains("locked by `freehold apply` (process "), "{}", lost.1);
    assert_eq!(all_domains(&lab, "shared"), ["shared-0", "shared-1"]);
    for bed in [&bed, &other] {
        let plan = bed.expect(0, &["plan"]).unwrap().stdout;
        assert!(plan.contains("nothing to do: 2 unchanged"), "{plan}");
    }
    assert_eq!(in_the_store(&lab, "stat -c %a .").trim(), "700");

    bed.write("fleet.hcl", &text(4)).unwrap();
    bed.decide().unwrap();
    for file in ["fleet.hcl", "freehold.lock"] {
        other.write(file, &bed.read(file).unwrap()).unwrap();
    }
    let sleeper = start(&bed);
    eventually("it has begun", Duration::from_secs(30), || {
        Ok(in_the_store(&lab, "grep -c intent journal.jsonl; true").trim() != "0")
    })
    .unwrap();
    signal(&sleeper, "-STOP");
    let unlocked = other.expect(0, &["unlock", "--yes"]).unwrap();
    assert!(unlocked.stdout.contains("unlocked"), "{unlocked}");
    other.expect(0, &["apply", "--yes"]).unwrap();
    let state = in_the_store(&lab, "sha256sum state.json");
    signal(&sleeper, "-CONT");
    let (exit, said) = end(sleeper);
    assert_eq!(exit, 4, "{said}");
    assert!(said.contains("no longer holds the lock"), "{said}");
    assert_eq!(in_the_store(&lab, "sha256sum state.json"), state);
    let plan = bed.expect(0, &["plan"]).unwrap().stdout;
    assert!(plan.contains("nothing to do: 4 unchanged"), "{plan}");
    let copy = format!(
        "sha256sum /var/lib/libvirt/freehold/.freehold-state-{}/state.json",
        &small::id("shared")[..8]
    );
    let copy = lab.ssh("rack1", &copy).unwrap().text().to_owned();
    assert_eq!(copy.split(' ').next(), state.split(' ').next(), "rack1 has it, too");
}
