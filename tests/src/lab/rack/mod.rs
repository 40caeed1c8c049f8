//! A rack: a host of the lab, made of namespaces, with a real sshd, virtlogd and libvirtd inside.
//!
//! Knows how such a host is laid out, started, disturbed and asked. Must not know who else is in the lab.

mod files;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};

use super::Fault;
use super::command::{Output, Run};
use super::network::{self, Cable};
use super::process::{self, Part};

/// Who one logs in as, and with it the whole manner of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Root, QEMU as root, generous limits: everything easy.
    Easy,
    /// A user in group libvirt, QEMU as libvirt-qemu, stock limits: what users have.
    Stock,
}

/// What is fixed about a rack.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Host name, and name in the lab's `ssh/config`.
    pub name: &'static str,
    /// Address on the lab's network.
    pub address: &'static str,
    /// The user one logs in as.
    pub user: &'static str,
    /// How it is set up.
    pub manner: Manner,
}

/// The racks a lab has at most; it has the first of them, as many as were asked for.
pub const EVERY: [Spec; 10] = [
    easy("rack1", "10.77.0.11"),
    Spec { name: "rack2", address: "10.77.0.12", user: "admin", manner: Manner::Stock },
    easy("rack3", "10.77.0.13"),
    easy("rack4", "10.77.0.14"),
    easy("rack5", "10.77.0.15"),
    easy("rack6", "10.77.0.16"),
    easy("rack7", "10.77.0.17"),
    easy("rack8", "10.77.0.18"),
    easy("rack9", "10.77.0.19"),
    easy("rack10", "10.77.0.20"),
];

/// The racks every lab has: one of each manner.
pub const RACKS: [Spec; 2] = [EVERY[0], EVERY[1]];

const fn easy(name: &'static str, address: &'static str) -> Spec {
    Spec { name, address, user: "root", manner: Manner::Easy }
}

/// How long a rack may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(40);

/// A rack of a lab.
#[derive(Debug, Clone)]
pub struct Rack {
    /// What is fixed about it.
    pub spec: Spec,
    lab: PathBuf,
    part: Part,
}

impl Rack {
    /// Names the rack `spec` of the lab in `lab`.
    pub fn new(lab: &Path, spec: Spec) -> Self {
        Self { spec, lab: lab.to_owned(), part: Part::new(lab, spec.name) }
    }

    /// Returns its folder; the host sees it as `/run/rack`.
    pub fn dir(&self) -> PathBuf {
        self.lab.join(self.spec.name)
    }

    /// Returns the folder that is `/etc/prometheus/targets` on it.
    pub fn targets(&self) -> PathBuf {
        self.dir().join("targets")
    }

    /// Lays out its files, network and namespaces and starts its daemons.
    pub fn start(&self) -> Result<()> {
        files::lay_out(self).with_context(|| format!("laying out {}", self.spec.name))?;
        self.boot()
    }

    /// Starts it as it lies there: its network, its namespaces, its daemons.
    pub fn boot(&self) -> Result<()> {
        network::connect(self.spec.name, self.spec.address)?;
        let dir = self.dir();
        let script = dir.join("inside.sh");
        let path =
            |path: &'_ Path| path.to_str().map(str::to_owned).context("the lab's path is not text");
        let (script, dir) = (path(&script)?, path(&dir)?);
        let enter = ["ip", "netns", "exec", self.spec.name];
        let separate = ["unshare", "-m", "-u", "-p", "-i", "-f", "--kill-child", "--mount-proc"];
        let init = ["bash", &script, self.spec.name, &dir];
        self.part.start(enter.iter().chain(&separate).chain(&init))
    }

    /// Waits until sshd and libvirtd answer.
    pub fn wait(&self) -> Result<()> {
        self.part.wait_until(START_LIMIT, || self.answers()).map_err(|error| {
            let log = self.dir().join("log");
            error.context(format!(
                "{} is not up; its daemons log to {}",
                self.spec.name,
                log.display()
            ))
        })
    }

    /// Asks libvirtd over SSH, as its user would.
    pub fn answers(&self) -> Result<bool> {
        self.greets()?;
        let limit = Duration::from_secs(10);
        let listed =
            ssh(&self.lab, self.spec.name, "virsh -c qemu:///system list").limit(limit).ok();
        listed.map(|_| true)
    }

    fn greets(&self) -> Result<()> {
        let limit = Duration::from_secs(1);
        let address: SocketAddr = format!("{}:22", self.spec.address).parse()?;
        let mut stream = TcpStream::connect_timeout(&address, limit).context("sshd")?;
        stream.set_read_timeout(Some(limit))?;
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).context("sshd does not greet")
    }

    /// Runs a command line on it over SSH.
    pub fn ssh(&self, command: &str) -> Result<Output> {
        ssh(&self.lab, self.spec.name, command).output()
    }

    /// Stops libvirtd in its tracks: it accepts, and never answers.
    pub fn freeze(&self) {
        process::signal(&self.part.processes(Some("libvirtd")), Signal::STOP);
    }

    /// Lets a frozen libvirtd go on.
    pub fn thaw(&self) {
        process::signal(&self.part.processes(Some("libvirtd")), Signal::CONT);
    }

    /// Kills libvirtd; the rack starts it again within a second, guests live on.
    pub fn crash_libvirtd(&self) {
        process::signal(&self.part.processes(Some("libvirtd")), Signal::KILL);
    }

    /// Takes its power away: everything in it dies at once, guests too, and its disk stays.
    pub fn crash(&self) -> Result<()> {
        self.part.kill()?;
        network::disconnect(self.spec.name)
    }

    /// Kills its sshd with all its sessions; the rack starts it again within a second.
    pub fn kill_sshd(&self) -> Result<()> {
        process::signal(&process::beside(self.inside()?, "sshd"), Signal::KILL);
        Ok(())
    }

    /// Drops what is sent to its sshd.
    pub fn drop_packets(&self) -> Result<Fault> {
        Fault::drops(self.spec.name)
    }

    /// Lets no more than this arrive: `2mbit`.
    pub fn thin_wire(&self, rate: &str) -> Result<Fault> {
        Fault::thins(self.spec.name, rate)
    }

    /// Pulls its network cable.
    pub fn cut(&self) -> Result<()> {
        network::set_cable(self.spec.name, Cable::Pulled)
    }

    /// Puts its network cable back.
    pub fn mend(&self) -> Result<()> {
        network::set_cable(self.spec.name, Cable::Plugged)
    }

    /// Returns the first process inside it, which lives as long as the rack: its namespaces can be entered.
    pub fn inside(&self) -> Result<Pid> {
        let is_first = |pid: &Pid| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
            let status = status.unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let numbers: Vec<_> = numbers.unwrap_or_default().split_whitespace().collect();
            numbers.len() > 1 && numbers.last() == Some(&"1")
        };
        let found = self.part.processes(None).into_iter().find(is_first);
        found.with_context(|| format!("{} does not run", self.spec.name))
    }

    /// Says whether any of its processes lives.
    pub fn runs(&self) -> bool {
        !self.part.processes(None).is_empty()
    }
}

/// Prepares `command` to be run on `host` with the lab's own SSH configuration.
pub fn ssh(lab: &Path, host: &str, command: &str) -> Run {
    let config = lab.join("ssh/config");
    Run::new("ssh").arg("-F").arg(config).args(["-o", "BatchMode=yes", host, "--", command])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_racks_share_a_name_or_an_address() {
        let names: BTreeSet<_> = EVERY.iter().map(|rack| rack.name).collect();
        let addresses: BTreeSet<_> = EVERY.iter().map(|rack| rack.address).collect();
        assert_eq!((names.len(), addresses.len()), (EVERY.len(), EVERY.len()));
    }
}
