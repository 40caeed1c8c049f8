//! Virtual machines as wanted.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{DiskName, ExporterName, HostName, ImageName, NetworkName, Size, VmName, ZoneName};

/// One VM, after `count` has been spread out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its name, unique in the fleet.
    pub name: VmName,
    /// The block it came from: `web` for `web-0`.
    pub block: VmName,
    /// Its place in the block's `count`.
    pub index: usize,
    /// The hosts it may run on; never empty.
    pub hosts: Vec<HostName>,
    /// What its root disk begins as.
    pub image: ImageName,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory: Size,
    /// What starts it.
    pub firmware: Firmware,
    /// Whether it starts with its host.
    pub autostart: bool,
    /// Whether it runs; one that is stopped on purpose has no names and no targets.
    pub running: bool,
    /// What `apply` waits for.
    pub wait: Wait,
    /// How long it waits.
    pub wait_timeout: Duration,
    /// Its disks; the first is the root disk, cloned from the image.
    pub disks: Vec<Disk>,
    /// Its network interfaces, in the order of the guest.
    pub nics: Vec<Nic>,
    /// What the guest is told at first boot.
    pub cloud_init: CloudInit,
    /// Where its names go.
    pub dns: Vec<VmDns>,
    /// What can be scraped.
    pub metrics: Vec<Exporter>,
    /// Ansible groups.
    pub groups: Vec<String>,
    /// Whether it must not be taken away or made again.
    pub protect: bool,
    /// Labels for targets.
    pub labels: BTreeMap<String, String>,
}

/// What starts a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// `SeaBIOS`.
    #[default]
    Bios,
    /// OVMF, chosen by libvirt's own firmware selection.
    Uefi,
}

/// When a VM counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// Once it was started.
    None,
    /// Once a TCP port accepts.
    Port(u16),
    /// Once its sshd shows the host key we gave it.
    Ssh,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Port(port) => write!(f, "port:{port}"),
            Self::Ssh => f.write_str("ssh"),
        }
    }
}

/// A disk as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its name within the VM; the root disk's is `root`.
    pub name: DiskName,
    /// Its size as the guest sees it.
    pub size: Size,
    /// Whether it outlives its VM.
    pub keep: bool,
}

/// A network interface as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The network it is attached to.
    pub network: NetworkName,
    /// Where its address comes from.
    pub address: NicAddress,
    /// Whether its address is published; by default when outsiders reach it.
    pub publish: Option<bool>,
}

/// Where an interface's address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NicAddress {
    /// One of the network's `addresses`, kept for life.
    Planned,
    /// This one.
    Fixed(Ipv4Addr),
    /// A DHCP server's, which we do not know.
    Dhcp,
}

/// What the guest is told at first boot (cloud-init `NoCloud`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloudInit {
    /// Public keys for the login, one line each.
    pub ssh_keys: Vec<String>,
    /// The user's own `user-data`, untouched.
    pub user_data: Option<String>,
    /// The login `freehold ssh` uses and that gets `ssh_keys`; the image's default where left out.
    pub user: Option<String>,
}

/// Where a VM's name is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmDns {
    /// The zone.
    pub zone: ZoneName,
    /// Time to live in seconds; the zone's by default.
    pub ttl: Option<u32>,
}

/// Something Prometheus can scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exporter {
    /// Its name, which becomes the label `exporter`.
    pub name: ExporterName,
    /// Its TCP port.
    pub port: u16,
    /// Its path, `/metrics` by default.
    pub path: Option<String>,
}
