//! Commands that only look: without a host, without the identity secret, without a trace.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// Two hosts at a port where nobody listens.
const FLEET: &str = r#"
fleet "home" {
  id = "f7c10b8e5a2d4c93b6e1f04a7d825c39"
}
host "rack1" {
  ssh = "root@127.0.0.1:1"
}
host "rack2" {
  ssh = "root@127.0.0.1:1"
}
network "lan" {
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  addresses = "10.77.0.100-10.77.0.199"
}
image "base" {
  source = "base.qcow2"
  sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}
vm "web" {
  host   = host.rack1
  image  = image.base
  cpus   = 1
  memory = "256MiB"
  disk "root" {
    size = "1GiB"
  }
  nic "lan" {}
}
"#;

fn freehold(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freehold"));
    command.arg("-C").arg(folder).args(["--ssh-config", "/dev/null"]).args(arguments);
    command.env_clear().env("HOME", folder).output().unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn hosts_that_are_down_are_told_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fleet.hcl"), FLEET).unwrap();
    fs::write(folder.path().join("base.qcow2"), "").unwrap();
    let lines = ["VM", "web  rack1  not made", "host rack2", "host-unreachable: "];
    for (arguments, words) in [
        (&["drift"][..], &["host rack1", "host-unreachable: ", "2 findings on 2 hosts"][..]),
        (&["drift", "--json"], &[r#"{"findings":[{"code":"host-unreachable""#, r#""format":1"#]),
        (&["status"], &lines[..2]),
        (&["status", "--all"], &lines),
        (&["status", "--json"], &[r#""state":"not-made""#, r#""pending":[]"#]),
        (&["status", "--all", "--json"], &[r#""unmanaged":{}"#, r#""findings":[{"#]),
    ] {
        let output = freehold(folder.path(), arguments);
        let said = String::from_utf8(output.stdout).unwrap();
        let trouble = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {said}\n{trouble}");
        for word in words {
            assert!(said.contains(word), "{arguments:?}: {word}: {said}");
        }
        assert!(trouble.contains("error: ") && trouble.contains("rack2"), "{trouble}");
        assert!(!said.contains('\u{1b}'), "plain into a pipe: {said}");
    }
    assert_eq!(files(folder.path()), ["base.qcow2", "fleet.hcl"]);
}

#[test]
fn a_fleet_with_a_mistake_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fleet.hcl"), FLEET.replace("ssh =", "shs =")).unwrap();
    assert_eq!(freehold(folder.path(), &["drift"]).status.code(), Some(1));
}
