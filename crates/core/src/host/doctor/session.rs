//! What an account on a host is good for.

use std::collections::BTreeSet;

use super::{Check, Patient, Step};
use tokio::time::timeout;

use crate::{
    host::{
        clock,
        command::Command,
        ssh::{Refused, Ssh, Stdin},
        transport::{SOCKET, Transport},
        trouble::Trouble,
    },
    model::DaemonMode,
};

/// Programs that are used where they are there, and what for.
const TOOLS: [(&str, &str); 8] = [
    ("curl", "images are fetched by the host itself"),
    ("wget", "the same, without curl"),
    ("qemu-img", "raw images are converted there"),
    ("xz", ".xz images are unpacked there"),
    ("zstd", ".zst images are unpacked there"),
    ("gzip", ".gz images are unpacked there"),
    ("virt-ssh-helper", "libvirt is reached where sshd forwards no sockets"),
    ("nc", "the same, with libvirt before 6.8"),
];

/// Programs that libvirt needs for networks behind the host.
const DNSMASQ: &str = "dnsmasq";
const FILTERS: [&str; 2] = ["nft", "iptables"];

/// `$@` programs. Some stand where only root's `PATH` leads.
const FACTS: &str = r#"
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin;
    echo begin; echo "user $(id -un)"; echo "kernel $(uname -sr)";
    echo "shell ${SHELL:-?}";
    for t in "$@"; do if command -v "$t" >/dev/null 2>&1; then echo "tool $t"; fi; done;
    if [ -r /etc/os-release ]; then ( . /etc/os-release; echo "os $PRETTY_NAME" ); fi;
    if command -v getenforce >/dev/null 2>&1; then echo "selinux $(getenforce)"; fi;
    if command -v apt-get >/dev/null 2>&1; then echo "packages apt";
    elif command -v dnf >/dev/null 2>&1; then echo "packages dnf"; fi;
    exit 0
"#;

/// What a host's shell tells about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    pub(super) user: String,
    pub(super) shell: String,
    pub(super) system: String,
    pub(super) tools: BTreeSet<String>,
    pub(super) selinux: Option<String>,
    pub(super) packages: Option<Packages>,
    /// What the login shell itself printed before.
    pub(super) noise: String,
}

/// What installs packages there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packages {
    Apt,
    Dnf,
}

impl Facts {
    pub(super) fn of(text: &str) -> Self {
        let (noise, text) = text.split_once("begin\n").unwrap_or(("", text));
        let mut facts = Self { noise: noise.trim().to_owned(), ..Self::default() };
        for line in text.lines() {
            let (word, value) = line.split_once(' ').unwrap_or((line, ""));
            let value = value.to_owned();
            match word {
                "user" => facts.user = value,
                "shell" => facts.shell = value,
                "kernel" if facts.system.is_empty() => facts.system = value,
                "os" => facts.system = value,
                "tool" => drop(facts.tools.insert(value)),
                "selinux" => facts.selinux = Some(value),
                "packages" => {
                    facts.packages =
                        Some(if value == "apt" { Packages::Apt } else { Packages::Dnf });
                }
                _ => {}
            }
        }
        facts
    }

    /// Returns the command that installs what Debian and Fedora call so.
    pub(super) fn install(&self, debian: &str, fedora: &str) -> String {
        match self.packages {
            Some(Packages::Apt) => format!("apt install {debian}"),
            Some(Packages::Dnf) => format!("dnf install {fedora}"),
            None => format!("install {debian}, or what your system calls it"),
        }
    }

    fn has(&self, tool: &str) -> bool {
        self.tools.contains(tool)
    }
}

impl Patient {
    pub(super) async fn run(&self, command: &Command) -> Result<String, Trouble> {
        let output = self.transport.run(command, Stdin::Nothing, self.limit).await?.good()?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    pub(super) async fn shell(&self, checks: &mut Vec<Check>) -> Option<Facts> {
        let asked = TOOLS.iter().map(|(tool, _)| *tool).chain([DNSMASQ]).chain(FILTERS);
        let said = match Command::new(FACTS, asked) {
            Ok(command) => self.run(&command).await,
            Err(trouble) => Err(trouble),
        };
        match said.map(|text| Facts::of(&text)) {
            Ok(facts) if !facts.noise.is_empty() => {
                let said = format!("{} prints before a command: {:?}", facts.shell, facts.noise);
                let fix = "in its start files, print in interactive shells only";
                checks.push(Check::bad(Step::Shell, said).fix(fix));
                None
            }
            Ok(facts) if !facts.user.is_empty() => {
                let said = format!("{}, {}", facts.shell, facts.system);
                checks.push(Check::good(Step::Shell, said));
                Some(facts)
            }
            Ok(_) => {
                let said = "a command's output did not come back";
                let fix = "is there a ForceCommand, or a shell that prints nothing, for this user?";
                checks.push(Check::bad(Step::Shell, said).fix(fix));
                None
            }
            Err(trouble) => {
                let fix = "the account needs a login shell: getent passwd, chsh -s /bin/sh";
                let check = Check::of(Step::Shell, &trouble, fix);
                let said = format!("no command runs: {}", check.said);
                checks.push(Check { said, ..check });
                None
            }
        }
    }

    pub(super) async fn clock(&self) -> Check {
        let fix = "timedatectl set-ntp true";
        match clock::ahead(&self.transport, self.limit).await {
            Err(trouble) => Check::of(Step::Clock, &trouble, "date +%s"),
            Ok(-2..=2) => Check::good(Step::Clock, "it agrees with ours"),
            Ok(ahead @ 3..) => off_by(ahead.unsigned_abs(), "ahead of").fix(fix),
            Ok(behind) => off_by(behind.unsigned_abs(), "behind").fix(fix),
        }
    }

    pub(super) async fn forwarding(&self) -> Option<Check> {
        let Transport::Ssh(ssh) = &*self.transport else { return None };
        let mut check = Check::good(Step::Forwarding, "sockets and addresses");
        let mut without = Vec::new();
        if self.mode == DaemonMode::System && !self.forwards_sockets(ssh).await {
            without.push("sockets (libvirt is reached by a command, if one is there)");
            check = check.fix("AllowStreamLocalForwarding yes in /etc/ssh/sshd_config");
        }
        let port = timeout(self.limit, ssh.dial(std::net::Ipv4Addr::LOCALHOST, 22));
        if matches!(port.await, Ok(Ok(Err(Refused::Forbidden)))) {
            without.push("addresses (no name server and no guest is asked through this host)");
            check = check.fix("AllowTcpForwarding yes in /etc/ssh/sshd_config, and no PermitOpen");
        }
        if without.is_empty() {
            return Some(check);
        }
        let said = format!("sshd does not forward {}", without.join(", nor "));
        Some(Check { fix: check.fix, ..Check::note(Step::Forwarding, said) })
    }

    /// sshd says the same where it forbids and where nobody listens: somebody who does is asked.
    async fn forwards_sockets(&self, ssh: &Ssh) -> bool {
        if matches!(timeout(self.limit, ssh.socket(SOCKET)).await, Ok(Ok(Ok(_)))) {
            return true;
        }
        let open = r#"if [ -r "$1" ] && [ -w "$1" ]; then echo open; fi"#;
        let Ok(command) = Command::new(open, [SOCKET]) else { return true };
        self.run(&command).await.is_ok_and(|open| open.trim().is_empty())
    }

    pub(super) async fn sftp(&self) -> Option<Check> {
        let Transport::Ssh(ssh) = &*self.transport else { return None };
        Some(match ssh.offers("sftp", self.limit).await {
            Ok(true) => Check::good(Step::Sftp, "offered"),
            Ok(false) => {
                let said = "not offered: freehold needs none, Ansible and scp may";
                Check::note(Step::Sftp, said)
                    .fix("Subsystem sftp internal-sftp in /etc/ssh/sshd_config")
            }
            Err(trouble) => Check::of(Step::Sftp, &trouble, "MaxSessions in /etc/ssh/sshd_config"),
        })
    }

    /// `asks` says whether libvirt can be asked.
    pub(super) async fn nat(&self, facts: &Facts, wanted: &super::Wanted, asks: bool) -> Check {
        if asks && let Err(trouble) = self.libvirt.networks().await {
            return Check::of(Step::Nat, &trouble, "systemctl start virtnetworkd.socket");
        }
        let filter = FILTERS.iter().any(|tool| facts.has(tool));
        let mut missing: Vec<&str> = Vec::new();
        missing.extend((!facts.has(DNSMASQ)).then_some("dnsmasq"));
        missing.extend((!filter).then_some("nft or iptables"));
        if missing.is_empty() {
            return Check::good(Step::Nat, "dnsmasq and a packet filter are there");
        }
        let said = format!("{} missing: libvirt makes no nat networks", missing.join(" and "));
        let fix = facts.install("dnsmasq-base nftables iptables", "dnsmasq nftables iptables-nft");
        let check =
            if wanted.nat { Check::bad(Step::Nat, said) } else { Check::note(Step::Nat, said) };
        check.fix(fix)
    }

    pub(super) fn tools(facts: &Facts) -> Check {
        let (there, absent): (Vec<_>, Vec<_>) = TOOLS.iter().partition(|(tool, _)| facts.has(tool));
        let names = |list: &[&(&str, &str)]| {
            list.iter().map(|(tool, _)| *tool).collect::<Vec<_>>().join(" ")
        };
        let has = |tool| facts.has(tool);
        if has("curl") || has("wget") {
            let without = if absent.is_empty() {
                String::new()
            } else {
                format!("; not needed, and not there: {}", names(&absent))
            };
            return Check::good(Step::Tools, format!("{}{without}", names(&there)));
        }
        let said = "neither curl nor wget: images come through this machine";
        Check::note(Step::Tools, said).fix(facts.install("curl", "curl"))
    }
}

fn off_by(seconds: u64, side: &str) -> Check {
    let said = format!("{seconds} s {side} ours");
    // Signed records and sessions are refused when clocks are further apart (RFC 8945: 300 s).
    if seconds > 60 { Check::bad(Step::Clock, said) } else { Check::note(Step::Clock, said) }
}
