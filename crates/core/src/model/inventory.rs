//! The fleet as outsiders see it.

use std::{collections::BTreeMap, net::Ipv4Addr};

use uuid::Uuid;

use super::{Exporter, Fleet, FleetId, HostName, ImageName, Size, VmDns, VmName};

/// What plugins publish from: declared VMs with what was decided about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Whose.
    pub fleet: FleetId,
    /// The fleet's name.
    pub name: String,
    /// The state's serial this was made from.
    pub serial: u64,
    /// VMs that outsiders shall see.
    pub vms: BTreeMap<VmName, InventoryVm>,
}

/// A VM as outsiders see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryVm {
    /// Its name.
    pub name: VmName,
    /// Its UUID.
    pub uuid: Uuid,
    /// The host it runs on.
    pub host: HostName,
    /// Its image.
    pub image: ImageName,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory: Size,
    /// Addresses that outsiders reach or that a NIC publishes, in the order of its NICs.
    pub addresses: Vec<Ipv4Addr>,
    /// Where its name goes.
    pub dns: Vec<VmDns>,
    /// What can be scraped.
    pub exporters: Vec<Exporter>,
    /// Ansible groups.
    pub groups: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Its public host key, in OpenSSH's one-line form.
    pub host_key: String,
    /// What it does.
    pub state: VmState,
}

/// What a VM does, as far as outsiders care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmState {
    /// It runs, or will once the plan is applied.
    Running,
    /// It does not run and was not asked to stop.
    Stopped,
    /// Its host did not answer.
    Unknown,
}

impl VmState {
    /// Returns the word used in labels: `running`, `stopped`, `unknown`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }
}

impl Inventory {
    /// Returns an inventory without VMs, which takes away everything of ours.
    pub fn empty(fleet: &Fleet, serial: u64) -> Self {
        Self { fleet: fleet.id, name: fleet.name.clone(), serial, vms: BTreeMap::new() }
    }
}
