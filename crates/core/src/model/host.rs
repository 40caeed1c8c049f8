//! Physical hosts.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::HostName;

/// A physical host with sshd and libvirt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name in the fleet.
    pub name: HostName,
    /// How it is reached.
    pub connection: Connection,
    /// Which of its libvirt daemons runs our guests.
    pub libvirt: DaemonMode,
    /// The directory of our pool; `None` is `/var/lib/libvirt/freehold`.
    pub pool: Option<String>,
    /// What runs guests' code.
    pub accel: Accel,
    /// What the operator says about it, for targets' labels.
    pub labels: BTreeMap<String, String>,
}

impl Host {
    /// The directory of our pool where the host's block names none.
    pub const DEFAULT_POOL: &str = "/var/lib/libvirt/freehold";

    /// Returns the directory of our pool.
    pub fn pool_path(&self) -> &str {
        self.pool.as_deref().unwrap_or(Self::DEFAULT_POOL)
    }
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// This machine's own libvirtd.
    Local,
    /// Over SSH.
    Ssh(SshTarget),
}

/// `[user@]host[:port]`; what is left out comes from `ssh_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshTarget {
    /// The login name.
    pub user: Option<String>,
    /// The name as given, which `Host` patterns of `ssh_config` see.
    pub host: String,
    /// The port.
    pub port: Option<u16>,
}

/// What no name or login has: a command of `ssh_config` may hand it to a shell (OpenSSH refuses it, too).
const SHELL: &str = "'\"`/@$;&<>|(){}\\";

impl FromStr for SshTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no SSH target, as in \"root@rack1.example.org\"");
        let rest = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, rest) = match rest.split_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, rest),
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, tail)) => (host, Some(tail.strip_prefix(':').ok_or_else(bad)?)),
            None => match rest.split_once(':') {
                Some((_, tail)) if tail.contains(':') => (rest, None),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let odd = |part: &str| {
            part.is_empty()
                || part.starts_with('-')
                || part.contains(|c: char| c.is_whitespace() || c.is_control() || SHELL.contains(c))
        };
        if odd(host) || user.as_deref().is_some_and(odd) {
            return Err(bad());
        }
        let port = port.map(|port| port.parse().map_err(|_| bad())).transpose()?;
        Ok(Self { user, host: host.to_owned(), port })
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Which of a host's libvirt daemons is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DaemonMode {
    /// The host's, `qemu:///system`.
    #[default]
    System,
    /// The login's own, `qemu:///session`: guests belong to that user, and it makes no networks.
    Session,
}

impl DaemonMode {
    /// Returns libvirt's address of it, as on the host itself.
    pub fn uri(self) -> &'static str {
        match self {
            Self::System => "qemu:///system",
            Self::Session => "qemu:///session",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    pub(crate) fn is_system(&self) -> bool {
        *self == Self::System
    }
}

/// What runs guests' code on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// KVM where libvirt offers it, else TCG; what was taken is written in the plan.
    #[default]
    Auto,
    /// KVM.
    Kvm,
    /// QEMU's own emulation.
    Tcg,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_ssh_targets() {
        for text in ["rack1", "root@rack1.example.org", "root@10.0.0.1:2222", "a@[fd00::1]:22"] {
            assert_eq!(text.parse::<SshTarget>().unwrap().to_string(), text);
        }
        for bad in ["", "@rack1", "root@", "rack1:ssh", "-oProxyCommand=x", "ro ot@x", "a@b@c"] {
            assert!(bad.parse::<SshTarget>().is_err(), "{bad:?}");
        }
    }
}
