//! `freehold ssh`: OpenSSH with a host key that is known before the first boot, and a way to the VM.

use std::{
    io::ErrorKind,
    mem::ManuallyDrop,
    net::{IpAddr, Ipv4Addr},
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use freehold_core::{
    host::{Host, HostErrorKind, is_pinned, quote},
    model::{Connection, DomainState, Fleet, SshTarget, VmName},
    plan::{AskedFrom, asked_address},
    state::{Snapshot, replace_file},
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::{
    args::{Args, Ssh},
    context::Context,
    failure::{Exit, Failure},
    vms::Made,
};

/// How long a VM may take to answer before it is looked for through its host.
const PROBE: Duration = Duration::from_secs(1);

/// A port that nobody listens at (RFC 863).
const DISCARD: u16 = 9;

pub(crate) async fn run(args: &Args, ssh: &Ssh) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let (user, name) = match ssh.vm.split_once('@') {
        Some((user, name)) => (Some(user.to_owned()), name),
        None => (None, ssh.vm.as_str()),
    };
    let snapshot = context.state.read().await?;
    let made = Made::find(&context, &snapshot, name)?;
    let user = user.or_else(|| made.vm.and_then(|vm| vm.cloud_init.user.clone()));
    let known_hosts = context.store.path("known_hosts");
    write_known_hosts(&known_hosts, &snapshot)?;
    let (address, from) = address_of(&context, &made)?;
    let mut words = options(args, &known_hosts, made.name);
    if let Some(user) = user {
        words.extend(["-l".to_owned(), user]);
    }
    // Whoever looked stays till the end: a connection that is closed while this process becomes ssh
    // may end it by SIGPIPE, which is let through again from then on.
    let mut looked = None;
    if let Connection::Ssh(target) = &made.host.connection
        && let Seen::FromHost { port } = seen(&context.fleet, &words, address, from).await?
    {
        looked = look(&context, &made, (address, port)).await?;
        words.extend(["-o".to_owned(), way_through(&context, args, target)]);
    }
    let _stays = ManuallyDrop::new(looked);
    let mut command = Command::new("ssh");
    command.args(words).arg("--").arg(address.to_string()).args(&ssh.command);
    Err(cannot_run(&command.exec()))
}

fn cannot_run(error: &std::io::Error) -> Failure {
    Failure::input("cannot run ssh").because(error).hint("is openssh-client installed?")
}

/// Returns where the VM's sshd is, and who surely reaches that: one that is published behind NAT is
/// said to be reached by others, too.
fn address_of(context: &Context, made: &Made<'_>) -> Result<(Ipv4Addr, AskedFrom), Failure> {
    let none = || {
        let what =
            format!("{} has only addresses from DHCP, which freehold does not know", made.name);
        Failure::input(what).hint("give it a NIC with an address of ours")
    };
    let (address, from) = asked_address(&context.fleet, made.decision).ok_or_else(none)?;
    if from == AskedFrom::Anywhere {
        return Ok((address, from));
    }
    let nics = made.vm.map(|vm| vm.nics.as_slice()).unwrap_or_default();
    let published = nics.iter().filter(|nic| nic.publish == Some(true)).find_map(|nic| {
        let decided = made.decision.nics.iter().find(|decided| decided.network == nic.network);
        decided.and_then(|decided| decided.address)
    });
    Ok(published.map_or((address, from), |published| (published, AskedFrom::Anywhere)))
}

/// From where a VM is reached.
enum Seen {
    /// From here, or as the user's own `ssh_config` leads there.
    FromHere,
    /// By its host alone, at this port.
    FromHost { port: u16 },
}

/// Finds out who reaches an address: what `ssh_config` says, then a short try.
async fn seen(
    fleet: &Fleet,
    words: &[String],
    address: Ipv4Addr,
    from: AskedFrom,
) -> Result<Seen, Failure> {
    let mut ask = Command::new("ssh");
    ask.args(words).arg("-G").arg("--").arg(address.to_string());
    let told = ask.output().map_err(|error| cannot_run(&error))?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let option = |name: &str| {
        let values = told.lines().filter_map(|line| line.split_once(' '));
        values.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    if ["proxyjump", "proxycommand"]
        .iter()
        .any(|name| option(name).is_some_and(|way| way != "none"))
    {
        return Ok(Seen::FromHere);
    }
    let port = option("port").and_then(|port| port.parse().ok()).unwrap_or(22);
    if from == AskedFrom::Anywhere && answers(fleet, address, port).await {
        return Ok(Seen::FromHere);
    }
    Ok(Seen::FromHost { port })
}

/// Says whether an sshd answers there. From elsewhere than the VM's own network it must greet, as there
/// are networks whose way out accepts for everybody.
async fn answers(fleet: &Fleet, address: Ipv4Addr, port: u16) -> bool {
    let near = is_near(fleet, address).await;
    if near && refuses(address).await {
        return true;
    }
    let asked = async {
        let mut stream = TcpStream::connect((address, port)).await?;
        if near {
            return Ok(true);
        }
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).await?;
        std::io::Result::Ok(greeting == *b"SSH-")
    };
    matches!(timeout(PROBE, asked).await, Ok(Ok(true)))
}

/// Says whether this machine is on the VM's own network; sends nothing.
async fn is_near(fleet: &Fleet, address: Ipv4Addr) -> bool {
    let asked = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect((address, DISCARD)).await?;
        socket.local_addr()
    };
    let Ok(IpAddr::V4(here)) = asked.await.map(|here| here.ip()) else { return false };
    let subnets = fleet.networks.values().filter_map(|network| network.subnet);
    let mut around = subnets.filter(|subnet| subnet.contains(&address));
    around.any(|subnet| subnet.contains(&here))
}

/// Says whether a kernel is there that refuses a port nobody listens at: it does so at once, while a
/// connection to sshd costs the VM a process.
async fn refuses(address: Ipv4Addr) -> bool {
    let asked = timeout(PROBE / 10, TcpStream::connect((address, DISCARD))).await;
    matches!(asked, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

/// Looks from the host, so that a VM that is off or does not answer is said to be. Where the host
/// lets us in by no key, ssh may still ask for a password.
async fn look(
    context: &Context,
    made: &Made<'_>,
    (address, port): (Ipv4Addr, u16),
) -> Result<Option<Arc<dyn Host>>, Failure> {
    let host = match made.reach(context).await {
        Ok(host) => host,
        Err(error) if error.kind == HostErrorKind::Login => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let name = made.name;
    refuse_off(&*host, context, made).await?;
    match host.dial(address, port).await {
        Ok(_) => Ok(Some(host)),
        Err(error) => Err(Failure::new(Exit::Part, format!("{name} does not answer"))
            .because(&error)
            .hint(match (error.kind, &error.hint) {
                // The host answers: it is the VM that does not.
                (HostErrorKind::Unreachable, _) | (_, None) => {
                    format!("is it still starting? `freehold logs {name}` shows what it says")
                }
                (_, Some(hint)) => hint.clone(),
            })),
    }
}

/// Refuses a VM that does not run, and says how it is started.
pub(crate) async fn refuse_off(
    host: &dyn Host,
    context: &Context,
    made: &Made<'_>,
) -> Result<(), Failure> {
    let (name, place) = (made.name, made.host_name());
    match host.domain_state(&made.ours(context)).await? {
        Some(DomainState::Running) => Ok(()),
        Some(DomainState::Paused) => Err(Failure::new(Exit::Part, format!("{name} is paused"))
            .hint(format!("on {place}: virsh resume {name}"))),
        Some(DomainState::Off | DomainState::Crashed) => {
            Err(Failure::new(Exit::Part, format!("{name} is off"))
                .hint(format!("freehold start {name}")))
        }
        None => Err(Failure::new(Exit::Part, format!("{name} is not on {place} any more"))
            .hint("`freehold plan` shows what apply would do about it")),
    }
}

fn options(args: &Args, known_hosts: &Path, name: &VmName) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(config) = &args.ssh_config {
        words.extend(["-F".to_owned(), config.display().to_string()]);
    }
    for option in [
        format!("UserKnownHostsFile={}", in_option(known_hosts)),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("HostKeyAlias={}", alias(name)),
        "HostKeyAlgorithms=ssh-ed25519".to_owned(),
    ] {
        words.extend(["-o".to_owned(), option]);
    }
    words
}

/// Returns the option that leads through a VM's host. Not `-J`: options do not apply to the host
/// in between then, and its key must be verified whatever the user's configuration says.
fn way_through(context: &Context, args: &Args, target: &SshTarget) -> String {
    let mut words = vec!["ssh".to_owned()];
    if let Some(config) = &args.ssh_config {
        words.extend(["-F".to_owned(), config.display().to_string()]);
    }
    words.extend(["-o".to_owned(), "StrictHostKeyChecking=yes".to_owned()]);
    let pinned = context.repo_known_hosts().filter(|_| is_pinned(target, &context.options));
    if let Some(repo) = pinned {
        let only = [
            format!("UserKnownHostsFile={}", in_option(repo)),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
        ];
        words.extend(only.into_iter().flat_map(|option| ["-o".to_owned(), option]));
    }
    if let Some(user) = &target.user {
        words.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(port) = target.port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    let words = words.iter().map(|word| quote(&word.replace('%', "%%")));
    let command = words.collect::<Vec<_>>().join(" ");
    format!("ProxyCommand={command} -W %h:%p -- {}", quote(&target.host))
}

/// Returns a path as the value of one of ssh's options.
fn in_option(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

fn alias(name: &VmName) -> String {
    format!("{name}.freehold")
}

fn write_known_hosts(path: &Path, snapshot: &Snapshot) -> Result<(), Failure> {
    let decided = snapshot.decisions.vms.iter().filter(|(vm, _)| snapshot.vms.contains_key(*vm));
    let lines: String =
        decided.map(|(vm, decision)| format!("{} {}\n", alias(vm), decision.host_key)).collect();
    replace_file(path, lines.as_bytes(), 0o600)
        .map_err(|error| Failure::input(format!("cannot write {}", path.display())).because(&error))
}
