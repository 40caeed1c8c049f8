//! The wanted fleet.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    Digest, DnsServer, DnsServerName, FleetId, Host, HostName, Image, ImageName, Network,
    NetworkName, StateStore, TargetFile, TargetFileName, Vm, VmName, Zone, ZoneName,
};

/// Everything the text of a fleet asks for. All references in it lead somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// The label of its `fleet` block.
    pub name: String,
    /// Its identity.
    pub id: FleetId,
    /// The directory its text lies in.
    pub directory: PathBuf,
    /// Physical hosts.
    pub hosts: BTreeMap<HostName, Host>,
    /// Networks.
    pub networks: BTreeMap<NetworkName, Network>,
    /// Images.
    pub images: BTreeMap<ImageName, Image>,
    /// VMs, `count` spread out.
    pub vms: BTreeMap<VmName, Vm>,
    /// Name servers.
    pub dns_servers: BTreeMap<DnsServerName, DnsServer>,
    /// Zones.
    pub zones: BTreeMap<ZoneName, Zone>,
    /// Target files.
    pub target_files: BTreeMap<TargetFileName, TargetFile>,
    /// VMs that were called otherwise before, and how: the newest name first.
    pub moved: BTreeMap<VmName, Vec<VmName>>,
    /// Where its state is kept.
    pub state: StateStore,
    /// How long what was removed stays in the trash.
    pub retain: Duration,
    /// Digest of everything the text was read from: files, variables, environment. It may hold
    /// secrets, so it leaves only keyed.
    pub digest: Digest,
}
