//! One SSH connection to a host: verified, authenticated with keys, and made again when it is lost.
//!
//! Knows nothing of libvirt. The only place that talks to `russh`.

mod agent;
mod bound;
mod certificate;
mod config;
mod cord;
mod exec;
mod guest;
mod identities;
mod keyfile;
mod known_hosts;
mod login;
mod passphrases;
mod patience;
mod pattern;
mod probe;
mod prompt;
mod session;
mod signer;
mod verify;

use std::{
    fmt,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use russh::{ChannelOpenFailure, client::Handle};
use tokio::sync::{Mutex, OnceCell, Semaphore};

pub use self::passphrases::{AskPassphrase, NoAnswer, Passphrases};
use self::{
    config::Route,
    known_hosts::{Role, keys_for},
    session::Client,
};
pub(crate) use self::{
    config::Surroundings,
    exec::Stdin,
    guest::guest_key,
    probe::{Destination, ShownKey, destination, host_key},
    session::ON_THE_WAY,
};
use super::{Host, Stream, trouble::Trouble};
use crate::model::SshTarget;

/// sshd's stock `MaxSessions` is 10; forwarded sockets and connections do not count.
const SESSIONS: usize = 8;

/// What a connection is made from.
#[derive(Debug, Clone)]
pub(crate) struct SshOptions {
    /// An `ssh_config` instead of the user's.
    pub(crate) config: Option<PathBuf>,
    /// How its host key is known.
    pub(crate) known: Known,
    /// The repository's file of known keys, for hosts on the way.
    pub(crate) repo: Option<PathBuf>,
    /// A host to reach it through where it does not answer from here.
    pub(crate) through: Option<Arc<dyn Host>>,
    /// How long connecting and logging in may take together, but for questions to a person.
    pub(crate) deadline: Duration,
    /// What unlocks key files.
    pub(crate) passphrases: Passphrases,
    pub(crate) around: Surroundings,
}

/// How a host's key is known.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// By the repository's `known_hosts`, where there is one, and the user's.
    Files(Option<PathBuf>),
    /// It is this one, `ssh-ed25519 AAAA…`.
    Only(String),
}

/// An SSH connection that is made again on the next use after it was lost.
pub(crate) struct Ssh {
    route: Route,
    options: SshOptions,
    live: Mutex<Option<Arc<Handle<Client>>>>,
    sessions: Arc<Semaphore>,
    /// What the first login was done with.
    logged_in_with: OnceCell<String>,
}

impl fmt::Debug for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ssh").field("route", &self.route).finish_non_exhaustive()
    }
}

impl Ssh {
    /// Connects to a target and logs in.
    pub(crate) async fn connect(target: &SshTarget, options: SshOptions) -> Result<Self, Trouble> {
        let route = route_to(target, &options).await?;
        let ssh = Self {
            route,
            options,
            live: Mutex::new(None),
            sessions: Arc::new(Semaphore::new(SESSIONS)),
            logged_in_with: OnceCell::new(),
        };
        ssh.live().await?;
        Ok(ssh)
    }

    async fn live(&self) -> Result<Arc<Handle<Client>>, Trouble> {
        let mut live = self.live.lock().await;
        if let Some(handle) = live.as_ref().filter(|handle| !handle.is_closed()) {
            return Ok(Arc::clone(handle));
        }
        let connecting = Box::pin(session::connect(&self.route, &self.options));
        let (handle, with) = connecting.await?;
        let handle = Arc::new(handle);
        // A later login changes nothing of it.
        drop(self.logged_in_with.set(with));
        *live = Some(Arc::clone(&handle));
        Ok(handle)
    }

    /// Connects to a UNIX socket of the host; `Ok(Err)` says that the host refused.
    pub(crate) async fn socket(
        &self,
        path: &str,
    ) -> Result<Result<Box<dyn Stream>, Refused>, Trouble> {
        let live = self.live().await?;
        settle(live.channel_open_direct_streamlocal(path).await)
    }

    /// Connects to an address as the host sees it; `Ok(Err)` says that the host refused.
    pub(crate) async fn dial(
        &self,
        address: Ipv4Addr,
        port: u16,
    ) -> Result<Result<Box<dyn Stream>, Refused>, Trouble> {
        let live = self.live().await?;
        let (address, port) = (address.to_string(), u32::from(port));
        settle(live.channel_open_direct_tcpip(address, port, "127.0.0.1", 0).await)
    }
}

/// Finds the way to a target in `ssh_config`, which may run commands (`Match exec`).
async fn route_to(target: &SshTarget, options: &SshOptions) -> Result<Route, Trouble> {
    let (wanted, file, around) = (target.clone(), options.config.clone(), options.around.clone());
    let finding = move || config::route(&wanted, file.as_deref(), &around);
    let found = tokio::task::spawn_blocking(finding).await.map_err(Trouble::failed)?;
    found.map_err(Trouble::input)
}

/// Says whether a file knows a key of this target, under a name that `ssh_config` gives it.
pub(crate) fn is_known(
    target: &SshTarget,
    config: Option<&Path>,
    around: &Surroundings,
    file: &Path,
) -> bool {
    let route = config::route(target, config, around);
    let keys = route.ok().and_then(|route| keys_for(&route, &[file.to_owned()]).ok());
    keys.is_some_and(|keys| keys.iter().any(|known| known.role != Role::Revoked))
}

/// Why sshd did not open a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its configuration forbids it.
    Forbidden,
    /// Nothing answers there, or the user may not connect there.
    Failed,
}

fn settle(
    opened: Result<russh::Channel<russh::client::Msg>, russh::Error>,
) -> Result<Result<Box<dyn Stream>, Refused>, Trouble> {
    match opened {
        Ok(channel) => Ok(Ok(Box::new(channel.into_stream()))),
        Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited)) => {
            Ok(Err(Refused::Forbidden))
        }
        Err(russh::Error::ChannelOpenFailure(_)) => Ok(Err(Refused::Failed)),
        Err(error) => Err(Trouble::unreachable(error)),
    }
}
