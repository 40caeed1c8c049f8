//! Makes a connection: TCP, key exchange with a verified host, login.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
    time::Duration,
};

use russh::{
    ChannelOpenFailure, Names, Preferred, cipher,
    client::{self, Handle, Session},
    compression,
    keys::{PublicKeyOrCertificate, agent::AgentSessionBinding},
};
use tokio::time::timeout;

use super::{
    Known, SshOptions, bound,
    config::{Algorithms, Alive, Route, Via},
    cord::{Cord, WORDY},
    login,
    patience::Patience,
    prompt::Prompt,
    verify::{HostKeyError, KnownHost, known_host},
};
use crate::host::{
    HostErrorKind, Stream,
    trouble::Trouble,
    way::{self, Way},
};

/// What the key exchange found out; login requires `Verified`.
#[derive(Debug, Clone, Default)]
enum Verdict {
    /// `check_server_key` was not called: russh 0.65 has paths on which it is not.
    #[default]
    Unasked,
    Verified,
    Refused(HostKeyError),
    /// Somebody in the middle may have taken out the first messages (CVE-2023-48795).
    NotStrict,
}

/// Our side of a connection: verifies the host, accepts nothing that it opens.
pub(crate) struct Client {
    known: KnownHost,
    verdict: Arc<Mutex<Verdict>>,
}

impl Client {
    fn found(&self, verdict: Verdict) {
        if let Ok(mut slot) = self.verdict.lock() {
            *slot = verdict;
        }
    }
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let result = self.known.verify_now(shown);
        let good = result.is_ok();
        self.found(result.map_or_else(Verdict::Refused, |()| Verdict::Verified));
        Ok(good)
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if names.strict_kex() {
            return Ok(());
        }
        self.found(Verdict::NotStrict);
        Err(russh::Error::KexInit)
    }
}

/// Somebody who takes this long to answer may outlast a host (`LoginGraceTime`).
const LONG: Duration = Duration::from_secs(1);

/// Connects and logs in, and says what with. Each host on the way there has its own deadline.
pub(super) async fn connect(
    route: &Route,
    options: &SshOptions,
) -> Result<(Handle<Client>, String), Trouble> {
    let patience = Patience::of(options.deadline);
    match connect_once(route, options, &patience).await {
        // Whatever was asked for is known by now.
        Err(trouble)
            if patience.asked() > LONG
                && trouble.source.to_string().starts_with(login::HUNG_UP) =>
        {
            connect_once(route, options, &Patience::of(options.deadline)).await
        }
        connected => connected,
    }
}

async fn connect_once(
    route: &Route,
    options: &SshOptions,
    patience: &Patience,
) -> Result<(Handle<Client>, String), Trouble> {
    let place = route.place();
    let Way { stream, said } = dial(route, options).await?;
    let (cord, knife) = Cord::of(stream);
    let connected = tokio::select! {
        connected = connect_over(Box::new(cord), route, options, patience) => connected,
        () = patience.spent() => {
            let seconds = options.deadline.as_secs();
            Err(Trouble::unreachable(format!("{place} did not answer within {seconds} s")))
        }
    };
    match (connected, said) {
        (Ok(connected), _) => {
            knife.let_go();
            Ok(connected)
        }
        (Err(_), _) if knife.was_too_much() => {
            let most = WORDY >> 10;
            Err(Trouble::unreachable(format!("{place} said more than {most} KiB before the login")))
        }
        (Err(trouble), Some(said)) => {
            // A command on the way ends with its conversation.
            drop(knife);
            Err(trouble.after(&said.last().await))
        }
        (Err(trouble), None) => Err(trouble),
    }
}

async fn connect_over(
    stream: Box<dyn Stream>,
    route: &Route,
    options: &SshOptions,
    patience: &Patience,
) -> Result<(Handle<Client>, String), Trouble> {
    let host_key = |error: HostKeyError| host_key_trouble(error, route);
    let (known, algorithms) = match &options.known {
        Known::Only(key) => (KnownHost::only(&route.known_as, key), &Algorithms::usual()),
        Known::Files(repo) => (known_host(route, repo.as_ref()), &route.algorithms),
    };
    let known = known.map_err(host_key)?;
    let place = route.place();
    let verdict = Arc::new(Mutex::new(Verdict::default()));
    let settings = settings(&known, algorithms, route.alive);
    asks_for_something(&settings.preferred)?;
    let settings = Arc::new(settings);
    let client = Client { known, verdict: Arc::clone(&verdict) };
    let connected = client::connect_stream(settings, stream, client).await;
    let verdict = verdict.lock().map(|verdict| verdict.clone()).unwrap_or_default();
    match (verdict, connected) {
        (Verdict::Refused(error), _) => Err(host_key(error)),
        (Verdict::NotStrict, _) => Err(too_weak("its sshd knows no strict key exchange")),
        (Verdict::Verified, Ok(handle)) if signed_with_sha1(&handle) => {
            Err(too_weak("its sshd signed the key exchange with SHA-1"))
        }
        (Verdict::Verified, Ok(mut handle)) => {
            let login = login::login(&mut handle, route, (&options.passphrases, patience));
            let with = Box::pin(login).await?;
            Ok((handle, with))
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

fn too_weak(why: &str) -> Trouble {
    Trouble::failed(why.to_owned())
        .hint("update the host's sshd: OpenSSH 9.6, or your distribution's fix of CVE-2023-48795")
}

/// What was agreed on is one thing, what the host did another: russh 0.65 takes any RSA signature.
fn signed_with_sha1(handle: &Handle<Client>) -> bool {
    let signature = handle.agent_session_binding().map(AgentSessionBinding::signature);
    signature.is_some_and(|signature| signature.starts_with(b"\0\0\0\x07ssh-rsa"))
}

/// Opens what the conversation goes over.
pub(super) async fn dial(route: &Route, options: &SshOptions) -> Result<Way, Trouble> {
    match &route.via {
        None => from_here(route, options).await,
        Some(Via::Jump(hop)) => Box::pin(through(hop, route, options)).await,
        Some(Via::Command { shell, command }) => way::start(shell, command),
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
    let (handle, _) = connect(hop, &hop_options).await.map_err(on_the_way)?;
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
    let here = match timeout(limit, bound::connect(route)).await {
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
fn settings(known: &KnownHost, algorithms: &Algorithms, alive: Alive) -> client::Config {
    let preferred = preferred(known, algorithms);
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

/// What we want to agree on with a host.
pub(super) fn preferred(known: &KnownHost, algorithms: &Algorithms) -> Preferred {
    let ciphers = [cipher::AES_128_GCM, cipher::AES_256_GCM];
    let others = Preferred::DEFAULT.cipher.iter().filter(|name| !ciphers.contains(name)).copied();
    Preferred {
        cipher: ciphers.into_iter().chain(others).collect(),
        key: known.algorithms(&algorithms.host_keys).into(),
        host_key_certificates: known.certificates(&algorithms.host_keys).into(),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}

/// Says why there is nothing that a host could prove itself with.
pub(super) fn asks_for_something(preferred: &Preferred) -> Result<(), Trouble> {
    if !preferred.key.is_empty() || !preferred.host_key_certificates.is_empty() {
        return Ok(());
    }
    let why = "HostKeyAlgorithms in ssh_config asks for certificates only, and no authority of the host's is known";
    let hint = "let it name a kind of plain key, too, or add an @cert-authority line to a known_hosts file";
    Err(Trouble::input(why).hint(hint))
}

/// All of russh's but RSA with SHA-1.
pub(super) fn safe_algorithms() -> Vec<russh::keys::Algorithm> {
    let sha1 = russh::keys::Algorithm::Rsa { hash: None };
    Preferred::DEFAULT.key.iter().filter(|algorithm| **algorithm != sha1).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::host::ssh::config::{Surroundings, route};

    #[tokio::test]
    async fn past_the_deadline_a_host_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, "UserKnownHostsFile none\n").unwrap();
        let options = SshOptions {
            config: Some(file.clone()),
            known: Known::Files(None),
            repo: None,
            through: None,
            deadline: Duration::from_millis(200),
            passphrases: super::super::Passphrases::default(),
            around: Surroundings {
                home: folder.path().to_owned(),
                user: "alice".to_owned(),
                agent: None,
                shell: PathBuf::from("/bin/sh"),
                system: folder.path().to_owned(),
            },
        };
        let target = format!("127.0.0.1:{port}").parse().unwrap();
        let route = route(&target, Some(&file), &options.around).unwrap();
        // In the middle of the key exchange: ours is out, theirs never comes.
        let host = async {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.write_all(b"SSH-2.0-slow\r\n").await.unwrap();
            tcp.read_to_end(&mut Vec::new()).await
        };
        let both = async { tokio::join!(connect(&route, &options), host) };
        let (connected, heard) = timeout(Duration::from_secs(5), both).await.unwrap();
        let why = connected.err().unwrap().source.to_string();
        assert!(why.contains("did not answer within"), "{why}");
        heard.unwrap();
    }
}
