//! A fleet's folder for tests of the command.

#![allow(dead_code, reason = "every test binary uses its part of it")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use freehold_core::{
    model::FleetId,
    state::{Fact, LocalStore, LockFile},
};
use futures::FutureExt as _;

/// A fleet's folder; its hosts answer nobody.
pub(crate) struct Fleet {
    folder: tempfile::TempDir,
}

/// How a run ended, and all it said.
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) said: String,
}

impl Ran {
    /// It ended so, and said all of these.
    #[track_caller]
    pub(crate) fn is(&self, exit: i32, words: &[&str]) {
        assert_eq!(self.exit, exit, "{}", self.said);
        for word in words {
            assert!(self.said.contains(word), "{word:?} is not in:\n{}", self.said);
        }
    }
}

impl Fleet {
    pub(crate) fn new(vms: &str) -> Self {
        let fleet = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(fleet.path("base.qcow2"), b"image").unwrap();
        fleet.declare(vms);
        fleet.run(&["init"]).is(0, &["identity.key"]);
        fleet
    }

    /// Writes into the folder's state that `web-0` was made where it was decided.
    pub(crate) fn has_made_web(&self) {
        let id: FleetId = "f7c10b8e5a2d4c93b6e1f04a7d825c39".parse().unwrap();
        let decisions = LockFile::of(&self.path(""), id).read().unwrap();
        let web = decisions.vms.values().next().unwrap();
        let record = serde_json::json!({
            "uuid": web.uuid, "host": web.host, "incarnation": 1, "disks": [], "seed": "", "made": true,
        });
        let made: Fact = serde_json::from_value(serde_json::json!({
            "fact": "vm", "vm": "web-0", "record": record, "decision": web,
        }))
        .unwrap();
        let mut session = LocalStore::of(&self.path(""), id).lock("test").unwrap();
        let mut snapshot = session.snapshot.clone();
        snapshot.fold(&made);
        session.save(snapshot).now_or_never().unwrap().unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes the text: `web 2` is two VMs `web-0`, `web-1`.
    pub(crate) fn declare(&self, vms: &str) {
        let block = |words: &str| {
            let (name, count) = words.trim().split_once(' ').unwrap();
            format!(
                "vm \"{name}\" {{\n  count = {count}\n  host = [host.rack1, host.rack2]\n  \
                 image = image.base\n  memory = \"256MiB\"\n  wait = \"none\"\n  \
                 disk \"root\" {{\n    size = \"1GiB\"\n  }}\n  nic \"lan\" {{}}\n}}\n"
            )
        };
        let vms: String = vms.split(',').filter(|vm| !vm.is_empty()).map(block).collect();
        let digest = "0123456789abcdef".repeat(4);
        let text = format!(
            r#"
fleet "home" {{
  id = "f7c10b8e5a2d4c93b6e1f04a7d825c39"
}}
host "rack1" {{
  ssh = "root@127.0.0.1:1"
}}
host "rack2" {{
  ssh = "root@127.0.0.1:1"
}}
network "lan" {{
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  addresses = "10.77.0.100-10.77.0.199"
}}
image "base" {{
  source = "base.qcow2"
  sha256 = "{digest}"
}}
{vms}"#
        );
        fs::write(self.path("fleet.hcl"), text).unwrap();
    }

    pub(crate) fn lock(&self) -> String {
        fs::read_to_string(self.path("freehold.lock")).unwrap_or_default()
    }

    /// Runs freehold with nobody at a terminal.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_into(Stdio::piped(), arguments)
    }

    /// The same, with its data going elsewhere.
    pub(crate) fn run_into(&self, data: Stdio, arguments: &[&str]) -> Ran {
        let child = Command::new(env!("CARGO_BIN_EXE_freehold"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(data)
            .stderr(Stdio::piped())
            .spawn();
        let Output { status, stdout, stderr } = child.unwrap().wait_with_output().unwrap();
        let said = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).join("\n");
        Ran { exit: status.code().unwrap(), said }
    }
}
