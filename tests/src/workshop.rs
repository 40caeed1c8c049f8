//! Where a test makes its keys, certificates and agents, with OpenSSH's own tools.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{bed::eventually, lab::command::Run};

/// A folder of keys, gone with the value.
#[derive(Debug)]
pub struct Workshop {
    folder: TempDir,
}

impl Workshop {
    /// Makes an empty one.
    pub fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir().context("making a folder for keys")? })
    }

    /// Returns the path of what is named so.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a pair of keys, `NAME` and `NAME.pub`.
    pub fn key(&self, name: &str, kind: &str, passphrase: &str) -> Result<()> {
        let bits = if kind == "rsa" { ["-b", "2048"] } else { ["-a", "1"] };
        let make = Run::new("ssh-keygen").args(["-q", "-C", name, "-t", kind, "-N", passphrase]);
        make.args(bits).arg("-f").arg(self.at(name)).ok().map(drop)
    }

    /// Has an authority sign a public key: `NAME-cert.pub` comes to be beside `NAME.pub`.
    pub fn sign(&self, authority: &str, public: &Path, how: &[&str]) -> Result<()> {
        let sign = Run::new("ssh-keygen").args(["-q", "-I", "test", "-s"]).arg(self.at(authority));
        sign.args(how).arg(public).ok().map(drop)
    }

    /// Writes a file, `mode` being of a program or of a secret.
    pub fn write(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(self.at(name), text)?;
        Ok(fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode))?)
    }

    /// Returns a public key, `ssh-ed25519 AAAA…`.
    pub fn public(&self, name: &str) -> Result<String> {
        let text = fs::read_to_string(self.at(&format!("{name}.pub"))).context(name.to_owned())?;
        Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    /// Starts an agent that holds these keys, with the certificates beside them.
    pub fn agent(&self, keys: &[&str]) -> Result<Agent> {
        let folder = tempfile::tempdir_in(self.folder.path())?;
        let socket = folder.path().join("socket");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().context("starting ssh-agent")?;
        let agent = Agent { child, socket, _folder: folder };
        eventually("the agent listens", Duration::from_secs(5), || Ok(agent.socket.exists()))?;
        for key in keys {
            let add = Run::new("ssh-add").arg("-q").arg(self.at(key));
            add.env("SSH_AUTH_SOCK", &agent.socket).ok()?;
        }
        Ok(agent)
    }
}

/// An agent that ends with the value.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    /// Where it listens.
    pub socket: PathBuf,
    _folder: TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
