//! Words on the command line that mean nothing, and output that does not arrive: both are said.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{
    fs::{self, File},
    process::{Command, Stdio},
};

const FLEET: &str = r#"
fleet "home" {
  id = "f7c10b8e5a2d4c93b6e1f04a7d825c39"
}
host "rack1" {
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
  count  = 2
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

/// A fleet whose host answers nobody.
fn fleet() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("base.qcow2"), b"image").unwrap();
    fs::write(folder.path().join("fleet.hcl"), FLEET).unwrap();
    for arguments in [&["init"][..], &["plan", "--lock"]] {
        assert_eq!(run(&folder, arguments, Stdio::piped()).0, 0);
    }
    folder
}

fn run(folder: &tempfile::TempDir, arguments: &[&str], stdout: Stdio) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freehold"));
    command.arg("-C").arg(folder.path()).args(["--ssh-config", "/dev/null"]).args(arguments);
    command.env_clear().env("HOME", folder.path()).current_dir(folder.path());
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn();
    let output = child.unwrap().wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn consent_for_what_is_not_there_is_refused_by_name() {
    let folder = fleet();
    for (words, exit, said) in [
        (&["--allow", "live"][..], 2, "live needs no consent"),
        (&["--allow", "restart=nosuch"], 1, "no vm is named nosuch"),
        (&["--unprotect", "nosuch"], 1, "no vm is named nosuch"),
        // A block stands for its VMs; the host that is down is what is left.
        (&["--allow", "restart=web", "--unprotect", "web-1"], 3, "rack1"),
    ] {
        let (code, text) = run(&folder, &[&["apply", "--yes"], words].concat(), Stdio::piped());
        assert_eq!(code, exit, "{words:?}: {text}");
        assert!(text.contains(said), "{words:?}: {text}");
    }
}

#[test]
fn a_saved_plan_says_how_it_is_applied_and_takes_no_other_part() {
    let folder = fleet();
    let (code, text) = run(&folder, &["plan", "-o", "change"], Stdio::piped());
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("freehold apply ./change\n"), "{text}");
    let apply = ["apply", "./change", "--yes", "--host", "rack1"];
    let (code, text) = run(&folder, &apply, Stdio::piped());
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("a saved plan takes no --host"), "{text}");
}

#[test]
fn output_that_does_not_arrive_is_an_error_and_a_closed_pipe_is_none() {
    let folder = fleet();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (code, text) = run(&folder, &["plan", "--json"], full.into());
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("not all output was written"), "{text}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, text) = run(&folder, &["plan", "--json"], writer.into());
    assert_eq!(code, 3, "{text}");
    assert!(!text.contains("not all output"), "{text}");
}
