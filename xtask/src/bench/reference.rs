//! What freehold is compared with.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use acceptance::bed::eventually;
use acceptance::lab::Lab;
use acceptance::lab::command::Run;
use acceptance::lab::rack::Spec;
use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

const BARE: &str = include_str!("bare.py");

/// The same libvirt calls by Python, over tunnels that are open already.
pub(super) struct Bare {
    folder: TempDir,
    tunnels: Vec<Child>,
    hosts: Vec<String>,
    vms: usize,
}

impl Bare {
    pub(super) fn open(lab: &Lab, racks: &[Spec], vms: usize) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for tunnels")?;
        fs::write(folder.path().join("bare.py"), BARE).context("writing bare.py")?;
        let mut bare = Self { folder, tunnels: Vec::new(), hosts: Vec::new(), vms };
        for rack in racks {
            let socket = bare.folder.path().join(rack.name);
            bare.tunnels.push(tunnel(lab, rack.name, &socket)?);
            bare.hosts.push(format!("{}=/var/lib/libvirt/freehold=br0", socket.display()));
            eventually("a tunnel", Duration::from_secs(10), || Ok(socket.exists()))?;
        }
        Ok(bare)
    }

    pub(super) fn create(&self) -> Result<f64> {
        self.run("create")
    }

    pub(super) fn remove(&self) -> Result<f64> {
        self.run("remove")
    }

    /// Reads all domains, networks and volumes.
    pub(super) fn read(&self) -> Result<f64> {
        self.run("read")
    }

    fn run(&self, act: &str) -> Result<f64> {
        // Debian's own Python has the bindings.
        let run = Run::new("/usr/bin/python3").arg(self.folder.path().join("bare.py"));
        let run = run.args([act, &self.vms.to_string()]).args(&self.hosts);
        run.limit(Duration::from_mins(5)).ok()?.text().parse().context("bare.py says no time")
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for tunnel in &mut self.tunnels {
            drop(tunnel.kill().and_then(|()| tunnel.wait()));
        }
    }
}

fn tunnel(lab: &Lab, rack: &str, socket: &Path) -> Result<Child> {
    let mut forward = socket.as_os_str().to_owned();
    forward.push(":/run/libvirt/libvirt-sock");
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(lab.ssh_config()).arg("-N").arg("-L").arg(forward).arg(rack);
    ssh.stdin(Stdio::null()).spawn().with_context(|| format!("opening a tunnel to {rack}"))
}

/// Logs in to these racks with ssh, all at once, and does nothing there: what a client pays before it may
/// ask anything. OpenSSH's own choice of key exchange is four times as dear as the one that freehold
/// and Debian 12 agree on.
pub(super) fn logins(lab: &Lab, racks: &[Spec]) -> Result<f64> {
    let begun = Instant::now();
    let mut clients = Vec::new();
    for rack in racks {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(lab.ssh_config()).args(["-o", "KexAlgorithms=curve25519-sha256"]);
        ssh.args([rack.name, "true"]).stdin(Stdio::null());
        clients.push(ssh.spawn().with_context(|| format!("logging in to {}", rack.name))?);
    }
    for mut client in clients {
        let status = client.wait().context("waiting for ssh")?;
        ensure!(status.success(), "ssh ended with {status}");
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Lists the domains of one rack over a connection of its own.
pub(super) fn cold_list(lab: &Lab) -> Result<f64> {
    let wrapper = lab.dir().join("run/bench-ssh");
    let script = format!("#!/bin/sh\nexec ssh -F {} \"$@\"\n", lab.ssh_config().display());
    fs::write(&wrapper, script).context("writing a wrapper of ssh")?;
    Run::new("chmod").arg("+x").arg(&wrapper).ok()?;
    let uri = format!("qemu+ssh://rack1/system?command={}&no_tty=1", wrapper.display());
    let run = Run::new("virsh").args(["-c", &uri, "list", "--all"]);
    let begun = Instant::now();
    run.ok()?;
    Ok(begun.elapsed().as_secs_f64())
}
