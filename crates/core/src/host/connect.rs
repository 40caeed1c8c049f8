//! How a conversation with a host begins.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    Host, HostError, Stream,
    real::RealHost,
    ssh::{self, Known, Passphrases, Ssh, SshOptions, Surroundings, guest_key},
    transport::Transport,
    trouble::Trouble,
};
use crate::model;

/// What a connection needs besides the host itself.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// Read instead of `~/.ssh/config`.
    pub ssh_config: Option<PathBuf>,
    /// The repository's `known_hosts`; where it knows a host, it alone decides.
    pub repo_known_hosts: Option<PathBuf>,
    /// What unlocks key files; clones share what was unlocked.
    pub passphrases: Passphrases,
    /// How long things may take.
    pub deadlines: Deadlines,
}

/// How long things may take before we cut them off.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Connecting and logging in.
    pub connect: Duration,
    /// A question, a small file, a piece of a large one.
    pub call: Duration,
    /// A change libvirt makes.
    pub long: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            call: Duration::from_secs(30),
            long: Duration::from_mins(2),
        }
    }
}

/// Returns what an SSH connection to a host is made from.
pub(super) fn ssh_options(options: &ConnectOptions) -> SshOptions {
    SshOptions {
        config: options.ssh_config.clone(),
        known: Known::Files(options.repo_known_hosts.clone()),
        repo: options.repo_known_hosts.clone(),
        through: None,
        deadline: options.deadlines.connect,
        passphrases: options.passphrases.clone(),
        around: Surroundings::of_process(),
    }
}

/// Connects to a host: SSH and libvirt, or this machine's libvirt.
pub async fn connect(
    host: &model::Host,
    options: &ConnectOptions,
) -> Result<Arc<dyn Host>, HostError> {
    let (transport, place) = match &host.connection {
        model::Connection::Local => (Ok(Transport::Local), "libvirt".to_owned()),
        model::Connection::Ssh(target) => {
            let ssh = Ssh::connect(target, ssh_options(options));
            (ssh.await.map(|ssh| Transport::Ssh(Box::new(ssh))), target.to_string())
        }
    };
    let refused = |trouble: Trouble| trouble.on(&host.name, format!("connect to {place}"));
    let transport = transport.map_err(refused)?;
    let real = RealHost::new(host, transport, options.deadlines);
    let opened = real.libvirt.connect().await;
    opened.map_err(|trouble| trouble.on(&host.name, "connect to its libvirt"))?;
    Ok(Arc::new(real))
}

/// Says whether the repository's `known_hosts` knows a target: it alone decides about its key then.
pub fn is_pinned(target: &model::SshTarget, options: &ConnectOptions) -> bool {
    let (file, around) = (options.ssh_config.as_deref(), Surroundings::of_process());
    options
        .repo_known_hosts
        .as_deref()
        .is_some_and(|repo| ssh::is_known(target, file, &around, repo))
}

/// Ends the process at once with this exit code, whatever conversations are open: the kernel closes
/// them. What was written must have been flushed.
pub fn leave(code: u8) -> ! {
    super::libvirt::leave(code)
}

/// Says why a guest's host key was not seen.
#[derive(Debug, thiserror::Error)]
#[error("no host key was seen")]
pub struct GuestKeyError {
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Returns the host key that a guest's sshd proves to have (`ssh-ed25519 AAAA…`), without login.
pub async fn guest_host_key(stream: Box<dyn Stream>) -> Result<String, GuestKeyError> {
    let shown = guest_key(stream, Deadlines::default().connect).await;
    shown.map_err(|trouble| GuestKeyError { source: trouble.source })
}
