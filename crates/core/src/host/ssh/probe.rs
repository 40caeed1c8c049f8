//! What is asked of a way and of an sshd before anything is done over them.

use std::{sync::Arc, time::Duration};

use russh::{ChannelMsg, keys::HashAlg};
use tokio::time::timeout;

use super::{
    Known, Ssh, SshOptions,
    certificate::CertificateFault,
    config,
    guest::{shown_key, written},
    session::{asks_for_something, dial, host_key_trouble, preferred},
    verify::{HostKeyError, kind_of, known_host},
};
use crate::{
    host::{trouble::Trouble, way::Way},
    model::SshTarget,
};

/// Where `ssh_config` leads from a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// What was asked for.
    pub(crate) target: SshTarget,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// The place in words, with what leads there.
    pub(crate) place: String,
    /// Whether it is connected to from here, and not over a host or a command.
    pub(crate) direct: bool,
    /// How long `ConnectTimeout` allows.
    pub(crate) connect_timeout: Option<Duration>,
    /// Its name as files of known keys write it.
    pub(crate) known_as: String,
}

/// Reads `ssh_config`; connects to nobody, but may run commands (`Match exec`).
pub(crate) async fn destination(
    target: &SshTarget,
    options: &SshOptions,
) -> Result<Destination, Trouble> {
    let route = super::route_to(target, options).await?;
    let (place, direct) = (route.place(), route.via.is_none());
    let config::Route { host, port, user, known_as, connect_timeout, .. } = route;
    let target = target.clone();
    Ok(Destination { target, host, port, user, place, direct, connect_timeout, known_as })
}

/// The key that a host proves to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownKey {
    /// `ssh-ed25519 AAAA…`.
    pub(crate) key: String,
    /// `SHA256:…`, as `ssh-keygen -l` writes it.
    pub(crate) fingerprint: String,
    /// What its file on the host has in its name: `ed25519`.
    pub(crate) kind: &'static str,
    /// `file:line` where it is known from; `None` where it is not known.
    pub(crate) known: Option<String>,
    /// Why its certificate does not count, where it shows one and its key is not known.
    pub(crate) fault: Option<CertificateFault>,
}

/// Asks a host for its key and goes no further: nobody logs in. A key that is not the known one, or
/// revoked, is an error.
pub(crate) async fn host_key(
    target: &SshTarget,
    options: &SshOptions,
) -> Result<ShownKey, Trouble> {
    let route = super::route_to(target, options).await?;
    let refused = |error| host_key_trouble(error, &route);
    let repo = match &options.known {
        Known::Files(repo) => repo.as_ref(),
        Known::Only(_) => None,
    };
    let known = known_host(&route, repo).map_err(refused)?;
    let kinds = preferred(&known, &route.algorithms);
    asks_for_something(&kinds)?;
    let Way { stream, said } = dial(&route, options).await?;
    let shown = match (shown_key(stream, kinds, options.deadline).await, said) {
        (Err(trouble), Some(said)) => return Err(trouble.after(&said.last().await)),
        (shown, _) => shown?,
    };
    let (known, fault) = match known.verify_now(&shown) {
        Ok(()) => (known.place_of(&shown).map(ToString::to_string), None),
        Err(HostKeyError::Unknown { .. }) => (None, None),
        // Its key may be vouched for as that of any other host.
        Err(HostKeyError::Certificate { fault, .. }) => (None, Some(fault)),
        Err(error) => return Err(refused(error)),
    };
    let key = shown.public_key();
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    Ok(ShownKey { key: written(&key)?, fingerprint, kind: kind_of(&key), known, fault })
}

impl Ssh {
    /// Returns what it logged in with, and what the host had refused before.
    pub(crate) fn logged_in_with(&self) -> &str {
        self.logged_in_with.get().map_or("", String::as_str)
    }

    /// Says whether sshd offers a subsystem.
    pub(crate) async fn offers(
        &self,
        subsystem: &str,
        deadline: Duration,
    ) -> Result<bool, Trouble> {
        let late = |_| Trouble::unreachable("the host opens no session");
        let permit = Arc::clone(&self.sessions).acquire_owned().await.map_err(Trouble::failed)?;
        let mut channel = timeout(deadline, self.session()).await.map_err(late)??;
        let answer = async {
            let channel = &mut channel;
            channel.request_subsystem(true, subsystem).await.map_err(Trouble::unreachable)?;
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Success) => return Ok(true),
                    Some(ChannelMsg::Failure) | None => return Ok(false),
                    Some(_) => {}
                }
            }
        };
        let offered = timeout(deadline, answer).await.map_err(late)?;
        drop(timeout(deadline, channel.close()).await);
        drop(permit);
        offered
    }
}
