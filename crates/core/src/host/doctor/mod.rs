//! Examines a host step by step, from its name to a guest that runs, and says what mends what is wrong.
//!
//! Changes nothing: the one thing it makes is a guest without disks that libvirt ends with the
//! connection. Must not know the terminal.

mod bridges;
mod daemon;
mod guest;
mod place;
mod reach;
mod session;

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{ConnectOptions, libvirt::Libvirt, transport::Transport, trouble::Trouble};
use crate::model::{self, Accel, DaemonMode, Firmware, Fleet, HostName, NetworkKind};

/// A step of an examination, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Its name has an address.
    Name,
    /// Its sshd's port accepts.
    Tcp,
    /// It proves the key it is known by.
    HostKey,
    /// A key of ours opens an account.
    Login,
    /// Commands run there.
    Shell,
    /// Its clock agrees with ours.
    Clock,
    /// sshd leads to sockets and addresses behind it.
    Forwarding,
    /// sshd offers SFTP.
    Sftp,
    /// libvirt answers, is new enough, and lets us.
    Libvirt,
    /// A guest without disks runs, with what the host is to use.
    Guest,
    /// What guests may start with.
    Firmware,
    /// Where our pool is or would be.
    Pool,
    /// Bridges that the fleet's networks name.
    Bridges,
    /// What libvirt needs for networks behind the host.
    Nat,
    /// Programs that are used where they are there.
    Tools,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Name => "name",
            Self::Tcp => "tcp",
            Self::HostKey => "host key",
            Self::Login => "login",
            Self::Shell => "shell",
            Self::Clock => "clock",
            Self::Forwarding => "forwarding",
            Self::Sftp => "sftp",
            Self::Libvirt => "libvirt",
            Self::Guest => "guest",
            Self::Firmware => "firmware",
            Self::Pool => "pool",
            Self::Bridges => "bridges",
            Self::Nat => "nat",
            Self::Tools => "tools",
        })
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, and could be better.
    Note,
    /// Something will not work.
    Bad,
}

/// What was found at one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The step.
    pub step: Step,
    /// What it came to.
    pub verdict: Verdict,
    /// What was seen, in the host's own words at times.
    pub said: String,
    /// What mends it: commands, or words where no command does.
    pub fix: Vec<String>,
}

impl Check {
    fn good(step: Step, said: impl Into<String>) -> Self {
        Self { step, verdict: Verdict::Good, said: said.into(), fix: Vec::new() }
    }

    fn note(step: Step, said: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, ..Self::good(step, said) }
    }

    fn bad(step: Step, said: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, ..Self::good(step, said) }
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }

    /// What went wrong at a step, and what it advises; else this.
    fn of(step: Step, trouble: &Trouble, otherwise: &str) -> Self {
        let fix = trouble.hint.as_deref().unwrap_or(otherwise);
        Self::bad(step, trouble.source.to_string()).fix(fix)
    }
}

/// What was found at one host. Steps that could not be tried are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// The host.
    pub host: HostName,
    /// Where it is, as `ssh_config` has it: `root@10.0.0.1:22`.
    pub place: String,
    /// What was found, in the order of the steps.
    pub checks: Vec<Check>,
}

impl Examination {
    /// Returns the worst verdict.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Good)
    }
}

/// What a fleet wants of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Bridges that must be there.
    pub bridges: BTreeSet<String>,
    /// Whether libvirt is to make networks behind the host.
    pub nat: bool,
    /// Whether guests start by UEFI.
    pub uefi: bool,
}

impl Wanted {
    /// Returns what the VMs that may come to a host want of it.
    pub fn of(fleet: &Fleet, host: &HostName) -> Self {
        let mut wanted = Self::default();
        for vm in fleet.vms.values().filter(|vm| vm.hosts.contains(host)) {
            wanted.uefi |= vm.firmware == Firmware::Uefi;
            for network in vm.nics.iter().filter_map(|nic| fleet.networks.get(&nic.network)) {
                match &network.kind {
                    NetworkKind::Bridge(bridge) => drop(wanted.bridges.insert(bridge.clone())),
                    NetworkKind::Nat => wanted.nat = true,
                }
            }
        }
        wanted
    }
}

/// Examines a host as far as one step lets the next be tried.
pub async fn examine(host: &model::Host, wanted: &Wanted, options: &ConnectOptions) -> Examination {
    let mut checks = Vec::new();
    let reached = match &host.connection {
        model::Connection::Local => ("this machine".to_owned(), Some(Transport::Local)),
        model::Connection::Ssh(target) => reach::reach(host, target, options, &mut checks).await,
    };
    let (place, transport) = reached;
    if let Some(transport) = transport {
        let patient = Patient::of(host, transport, options);
        patient.examine(wanted, &mut checks).await;
    }
    Examination { host: host.name.clone(), place, checks }
}

/// A host that commands run on.
struct Patient {
    pool: String,
    accel: Accel,
    mode: DaemonMode,
    transport: Arc<Transport>,
    libvirt: Libvirt,
    limit: std::time::Duration,
}

impl Patient {
    fn of(host: &model::Host, transport: Transport, options: &ConnectOptions) -> Self {
        let (call, long) = (options.deadlines.call, options.deadlines.long);
        let transport = Arc::new(transport);
        Self {
            pool: host.pool_path().trim_end_matches('/').to_owned(),
            accel: host.accel,
            mode: host.libvirt,
            libvirt: Libvirt::over(Arc::clone(&transport), host.libvirt, call, long),
            transport,
            limit: call,
        }
    }

    async fn examine(&self, wanted: &Wanted, checks: &mut Vec<Check>) {
        let Some(facts) = self.shell(checks).await else { return };
        checks.push(self.clock().await);
        checks.extend(self.forwarding().await);
        checks.extend(self.sftp().await);
        let capabilities = self.daemon(&facts, checks).await;
        if let Some(capabilities) = &capabilities {
            checks.push(self.guest(&facts, capabilities).await);
            checks.push(self.firmware(&facts, capabilities, wanted).await);
        }
        checks.push(self.place(&facts, capabilities.as_ref()).await);
        checks.extend(self.bridges(&facts, wanted).await);
        // A user's own libvirt makes no networks.
        if self.mode == DaemonMode::System {
            checks.push(self.nat(&facts, wanted, capabilities.is_some()).await);
        }
        checks.push(Self::tools(&facts));
    }
}
