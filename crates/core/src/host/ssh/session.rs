//! Makes a connection: TCP, key exchange with a verified host, login.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
};

use russh::{
    ChannelOpenFailure, Preferred, cipher,
    client::{self, Handle},
    compression,
    keys::PublicKeyOrCertificate,
};
use tokio::{net::TcpStream, time::timeout};

use super::{
    Known, SshOptions,
    config::{Alive, Route, Via},
    login,
    prompt::Prompt,
    proxy::{self, Way},
    verify::{HostKeyError, KnownHost, known_host},
};
use crate::host::{HostErrorKind, Stream, trouble::Trouble};

/// What the key exchange found out; login requires `Verified`.
#[derive(Debug, Clone, Default)]
enum Verdict {
    /// `check_server_key` was not called: russh 0.65 has paths on which it is not.
    #[default]
    Unasked,
    Verified,
    Refused(HostKeyError),
}

/// Our side of a connection: verifies the host, accepts nothing that it opens.
pub(crate) struct Client {
    known: KnownHost,
    verdict: Arc<Mutex<Verdict>>,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let result = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.known.verify(key),
            PublicKeyOrCertificate::Certificate(_) => Err(HostKeyError::Certificate),
        };
        let good = result.is_ok();
        let verdict = result.map_or_else(Verdict::Refused, |()| Verdict::Verified);
        if let Ok(mut slot) = self.verdict.lock() {
            *slot = verdict;
        }
        Ok(good)
    }
}

/// Connects and logs in. Each host on the way there has its own deadline.
pub(super) async fn connect(
    route: &Route,
    options: &SshOptions,
) -> Result<Handle<Client>, Trouble> {
    let place = route.place();
    let Way { stream, said } = dial(route, options).await?;
    let connected = timeout(options.deadline, connect_over(stream, route, options)).await;
    let connected = connected.unwrap_or_else(|_| {
        let seconds = options.deadline.as_secs();
        Err(Trouble::unreachable(format!("{place} did not answer within {seconds} s")))
    });
    match (connected, said) {
        (Err(trouble), Some(said)) => Err(trouble.after(&said.last().await)),
        (connected, _) => connected,
    }
}

async fn connect_over(
    stream: Box<dyn Stream>,
    route: &Route,
    options: &SshOptions,
) -> Result<Handle<Client>, Trouble> {
    let host_key = |error: HostKeyError| host_key_trouble(error, route);
    let known = match &options.known {
        Known::Only(key) => KnownHost::only(&route.known_as, key),
        Known::Files(repo) => known_host(&route.known_as, repo.as_ref(), &route.known_hosts),
    };
    let known = known.map_err(host_key)?;
    let place = route.place();
    let verdict = Arc::new(Mutex::new(Verdict::default()));
    let settings = Arc::new(settings(&known, route.alive));
    let client = Client { known, verdict: Arc::clone(&verdict) };
    let connected = client::connect_stream(settings, stream, client).await;
    let verdict = verdict.lock().map(|verdict| verdict.clone()).unwrap_or_default();
    match (verdict, connected) {
        (Verdict::Refused(error), _) => Err(host_key(error)),
        (Verdict::Verified, Ok(mut handle)) => {
            login::login(&mut handle, route).await?;
            Ok(handle)
        }
        (Verdict::Unasked, Ok(_)) => {
            Err(Trouble::new(HostErrorKind::HostKey, "the host proved no key of its own"))
        }
        (_, Err(error)) => {
            Err(Trouble::unreachable(format!("no key exchange with {place}: {error}")))
        }
    }
}

pub(super) fn host_key_trouble(error: HostKeyError, route: &Route) -> Trouble {
    let trouble = Trouble::new(HostErrorKind::HostKey, error);
    if route.lax_checking {
        trouble.hint("StrictHostKeyChecking in ssh_config counts as `yes` here")
    } else {
        trouble
    }
}

/// Opens what the conversation goes over.
pub(super) async fn dial(route: &Route, options: &SshOptions) -> Result<Way, Trouble> {
    match &route.via {
        None => from_here(route, options).await,
        Some(Via::Jump(hop)) => Box::pin(through(hop, route, options)).await,
        Some(Via::Command { shell, command }) => proxy::start(shell, command),
    }
}

/// What is said of a host on the way to another.
pub(crate) const ON_THE_WAY: &str = "on the way";

/// Logs in to a host on the way, and goes on from there.
async fn through(hop: &Route, route: &Route, options: &SshOptions) -> Result<Way, Trouble> {
    let known = Known::Files(options.repo.clone());
    let (at, to) = (hop.place(), format!("{}:{}", route.host, route.port));
    let on_the_way = |trouble: Trouble| trouble.at(format!("{ON_THE_WAY}, at {at}"));
    let hop_options = SshOptions { known, through: None, ..options.clone() };
    let handle = connect(hop, &hop_options).await.map_err(on_the_way)?;
    let open = handle.channel_open_direct_tcpip(&route.host, route.port.into(), "127.0.0.1", 0);
    let limit = route.connect_timeout.unwrap_or(options.deadline);
    let Ok(opened) = timeout(limit, open).await else {
        return Err(Trouble::unreachable(format!("{to} does not answer from {at}")));
    };
    match opened {
        Ok(channel) => Ok(Way::of(channel.into_stream())),
        Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited)) => {
            Err(Trouble::unreachable(format!("{at} forbids forwarding to {to}"))
                .hint("set AllowTcpForwarding yes in its sshd_config"))
        }
        Err(russh::Error::ChannelOpenFailure(_)) => {
            Err(Trouble::unreachable(format!("nothing answers at {to}, seen from {at}")))
        }
        Err(error) => Err(on_the_way(Trouble::unreachable(error))),
    }
}

/// Connects from here; where that fails, through the host that the options name.
async fn from_here(route: &Route, options: &SshOptions) -> Result<Way, Trouble> {
    let place = route.place();
    let limit = route.connect_timeout.unwrap_or(options.deadline / 3);
    let connect = timeout(limit, TcpStream::connect((&*route.host, route.port)));
    let here = match connect.await {
        Ok(Ok(tcp)) => return Prompt::of(tcp).map(Way::of).map_err(Trouble::unreachable),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", limit.as_secs()),
    };
    let (Some(host), Ok(address)) = (&options.through, route.host.parse()) else {
        return Err(Trouble::unreachable(format!("{place}: {here}")));
    };
    let dialled = host.dial(address, route.port).await;
    dialled.map(Way::of).map_err(|error| {
        Trouble::unreachable(format!("{place}: {here}; from {}: {error}", error.host))
    })
}

/// Measured with an upload of 387 MB (russh 0.65.1): 310 MB/s with the default cipher and window,
/// 450 to 520 with these.
fn settings(known: &KnownHost, alive: Alive) -> client::Config {
    let ciphers = [cipher::AES_128_GCM, cipher::AES_256_GCM];
    let others = Preferred::DEFAULT.cipher.iter().filter(|name| !ciphers.contains(name)).copied();
    let preferred = Preferred {
        cipher: ciphers.into_iter().chain(others).collect(),
        key: known.algorithms(&safe_algorithms()),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    };
    client::Config {
        preferred,
        window_size: 16 << 20,
        maximum_packet_size: 65535,
        // A channel nobody reads from for a while must not hold up the others.
        channel_buffer_size: 1024,
        keepalive_interval: Some(alive.interval),
        keepalive_max: alive.most,
        nodelay: true,
        ..client::Config::default()
    }
}

/// All of russh's but RSA with SHA-1.
pub(super) fn safe_algorithms() -> Vec<russh::keys::Algorithm> {
    let sha1 = russh::keys::Algorithm::Rsa { hash: None };
    Preferred::DEFAULT.key.iter().filter(|algorithm| **algorithm != sha1).cloned().collect()
}
