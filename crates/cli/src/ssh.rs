//! `freehold ssh`: OpenSSH with a host key that is known before the first boot.

use std::{os::unix::process::CommandExt, path::Path, process::Command};

use freehold_core::{
    host::quote,
    model::{Connection, SshTarget, VmName},
    plan::{AskedFrom, asked_address},
    state::{Snapshot, replace_file},
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
    let (address, from) = asked_address(&context.fleet, decision).ok_or_else(|| {
        Failure::input(format!("{name} has only addresses from DHCP, which freehold does not know"))
            .hint("give it a NIC with an address of ours")
    })?;
    let mut command = command(args, &known_hosts, &name);
    if from == AskedFrom::Host {
        let host =
            context.fleet.hosts.get(&decision.host).ok_or_else(|| {
                Failure::input(format!("the host of {name} is no longer declared"))
            })?;
        if let Connection::Ssh(target) = &host.connection {
            command.arg("-o").arg(way_through(&context, args, target));
        }
    }
    if let Some(user) = user {
        command.arg("-l").arg(user);
    }
    command.arg("--").arg(address.to_string());
    command.args(&ssh.command);
    let error = command.exec();
    Err(Failure::input("cannot run ssh").because(&error).hint("is openssh-client installed?"))
}

fn command(args: &Args, known_hosts: &Path, name: &VmName) -> Command {
    let mut command = Command::new("ssh");
    if let Some(config) = &args.ssh_config {
        command.arg("-F").arg(config);
    }
    for option in [
        format!("UserKnownHostsFile={}", in_option(known_hosts)),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("HostKeyAlias={}", alias(name)),
        "HostKeyAlgorithms=ssh-ed25519".to_owned(),
    ] {
        command.arg("-o").arg(option);
    }
    command
}

/// Returns the option that leads through a VM's host. Not `-J`: options do not apply to the host
/// in between then, and its key must be verified whatever the user's configuration says.
fn way_through(context: &Context, args: &Args, target: &SshTarget) -> String {
    let mut words = vec!["ssh".to_owned()];
    if let Some(config) = &args.ssh_config {
        words.extend(["-F".to_owned(), config.display().to_string()]);
    }
    words.extend(["-o".to_owned(), "StrictHostKeyChecking=yes".to_owned()]);
    if let Some(repo) = context.repo_known_hosts() {
        let files = format!("UserKnownHostsFile={} ~/.ssh/known_hosts", in_option(repo));
        words.extend(["-o".to_owned(), files]);
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
