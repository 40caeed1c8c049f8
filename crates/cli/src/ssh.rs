//! `freehold ssh`: OpenSSH with a host key that is known before the first boot.

use std::{os::unix::process::CommandExt, path::Path, process::Command};

use freehold_core::{
    model::{Connection, Host, VmName},
    state::{VmDecision, replace_file},
};

use crate::{
    args::{Args, Ssh},
    context::Context,
    failure::{Exit, Failure},
};

pub(crate) fn run(args: &Args, ssh: &Ssh) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let (user, name) = match ssh.vm.split_once('@') {
        Some((user, name)) => (Some(user.to_owned()), name),
        None => (None, ssh.vm.as_str()),
    };
    let unknown = || {
        Failure::input(format!("no vm named {name} was made"))
            .hint("`freehold status` lists them; `freehold apply` makes them")
    };
    let name: VmName = name.parse().map_err(|_| unknown())?;
    let snapshot = context.store.read()?;
    let decision = snapshot.decisions.vms.get(&name);
    let decision = decision.filter(|_| snapshot.vms.contains_key(&name)).ok_or_else(unknown)?;
    let vm = context.fleet.vms.get(&name);
    let user = user.or_else(|| vm.and_then(|vm| vm.cloud_init.user.clone()));
    let known_hosts = context.store.path("known_hosts");
    write_known_hosts(&known_hosts, &snapshot)?;
    let mut command = command(&context, args, decision, &known_hosts, &name)?;
    if let Some(user) = user {
        command.arg("-l").arg(user);
    }
    let address = address_of(decision, &name)?;
    command.arg("--").arg(address);
    command.args(&ssh.command);
    let error = command.exec();
    Err(Failure::input("cannot run ssh").because(&error).hint("is openssh-client installed?"))
}

fn command(
    context: &Context,
    args: &Args,
    decision: &VmDecision,
    known_hosts: &Path,
    name: &VmName,
) -> Result<Command, Failure> {
    let mut command = Command::new("ssh");
    if let Some(config) = &args.ssh_config {
        command.arg("-F").arg(config);
    }
    let option = |name: &str, value: &str| format!("{name}={value}");
    let quoted = known_hosts.to_string_lossy().replace('"', "");
    for option in [
        option("UserKnownHostsFile", &format!("\"{quoted}\"")),
        option("GlobalKnownHostsFile", "/dev/null"),
        option("StrictHostKeyChecking", "yes"),
        option("HostKeyAlias", &alias(name)),
        option("HostKeyAlgorithms", "ssh-ed25519"),
    ] {
        command.arg("-o").arg(option);
    }
    if !is_reachable(context, decision)
        && let Some(jump) = jump_of(context.fleet.hosts.get(&decision.host), name)?
    {
        command.arg("-J").arg(jump);
    }
    Ok(command)
}

fn is_reachable(context: &Context, decision: &VmDecision) -> bool {
    let nics = decision.nics.iter().filter(|nic| nic.address.is_some());
    let networks = nics.filter_map(|nic| context.fleet.networks.get(&nic.network));
    networks.into_iter().any(|network| network.kind.is_reachable())
}

/// A network behind a host is reached through that host.
fn jump_of(host: Option<&Host>, name: &VmName) -> Result<Option<String>, Failure> {
    match host.map(|host| &host.connection) {
        Some(Connection::Ssh(target)) => Ok(Some(target.to_string())),
        Some(Connection::Local) => Ok(None),
        None => Err(Failure::input(format!("the host of {name} is no longer declared"))),
    }
}

fn address_of(decision: &VmDecision, name: &VmName) -> Result<String, Failure> {
    let address = decision.nics.iter().find_map(|nic| nic.address);
    address.map(|address| address.to_string()).ok_or_else(|| {
        Failure::input(format!("{name} has only addresses from DHCP, which freehold does not know"))
            .hint("give it a NIC with an address of ours")
    })
}

fn alias(name: &VmName) -> String {
    format!("{name}.freehold")
}

fn write_known_hosts(
    path: &Path,
    snapshot: &freehold_core::state::Snapshot,
) -> Result<(), Failure> {
    let decided = snapshot.decisions.vms.iter().filter(|(vm, _)| snapshot.vms.contains_key(*vm));
    let lines: String =
        decided.map(|(vm, decision)| format!("{} {}\n", alias(vm), decision.host_key)).collect();
    replace_file(path, lines.as_bytes(), 0o600)
        .map_err(|error| Failure::input(format!("cannot write {}", path.display())).because(&error))
}
