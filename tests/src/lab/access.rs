//! How people get into the racks: one user key, an `ssh/config` and a `known_hosts`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::command::Run;
use super::rack::Spec;

/// Returns the user's private key.
pub(super) fn user_key(lab: &Path) -> PathBuf {
    lab.join("ssh/id_ed25519")
}

/// Makes the user's key pair, which the racks are then laid out with.
pub(super) fn create_user_key(lab: &Path) -> Result<()> {
    let key = user_key(lab);
    Run::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "freehold-lab", "-f"])
        .arg(key)
        .ok()?;
    Ok(())
}

/// Writes `ssh/config` and `ssh/known_hosts` from the keys the racks now have.
pub(super) fn write_client_files(lab: &Path, racks: &[Spec]) -> Result<()> {
    let ssh = lab.join("ssh");
    let mut config = String::new();
    let mut known = String::new();
    for rack in racks {
        let key = lab.join(rack.name).join("ssh/host_key.pub");
        let key = fs::read_to_string(&key).with_context(|| format!("reading {}", key.display()))?;
        let key = key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        writeln!(known, "{},{} {key}", rack.name, rack.address)?;
        writeln!(config, "Host {} {}", rack.name, rack.address)?;
        writeln!(config, "    HostName {}\n    User {}", rack.address, rack.user)?;
    }
    let at = ssh.display();
    writeln!(config, "Host *\n    IdentityFile {at}/id_ed25519\n    IdentitiesOnly yes")?;
    writeln!(
        config,
        "    UserKnownHostsFile {at}/known_hosts\n    GlobalKnownHostsFile /dev/null"
    )?;
    writeln!(config, "    StrictHostKeyChecking yes\n    ConnectTimeout 5")?;
    fs::write(ssh.join("known_hosts"), known).context("writing ssh/known_hosts")?;
    fs::write(ssh.join("config"), config).context("writing ssh/config")
}

/// Whoever called through sudo gets the keys: of the SSH user and of the name server's API.
pub(super) fn give_to_caller(lab: &Path) -> Result<()> {
    let caller = std::env::var("SUDO_UID").ok().and_then(|id| id.parse::<u32>().ok());
    let Some(caller) = caller else { return Ok(()) };
    for secret in ["ssh/id_ed25519", "powerdns/api-key"] {
        chown(lab.join(secret), Some(caller), None)
            .with_context(|| format!("giving away {secret}"))?;
    }
    Ok(())
}
