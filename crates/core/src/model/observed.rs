//! What was seen of the world, as typed projections: only what we manage and must know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    AddressRange, DaemonMode, Digest, DomainSpec, FleetId, HostName, Mark, NetworkSpec, NicSpec,
    Size,
};

/// What was seen of all hosts. A host that is missing here was not asked.
pub type Observed = BTreeMap<HostName, Seen>;

/// What was seen of a host: all of it, or why nothing is known. Unknown is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// Everything was read.
    Whole(Box<HostView>),
    /// It was not; nothing may be concluded from what is missing.
    Unreachable(String),
}

/// A host, read completely.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostView {
    /// Whether libvirt offers KVM for x86-64 guests.
    pub kvm: bool,
    /// Its memory; nothing where libvirt does not say.
    #[serde(default)]
    pub memory: Size,
    /// Our pool; `None` when libvirt has no pool of ours.
    pub pool: Option<PoolView>,
    /// Networks libvirt knows, ours and others'.
    pub networks: Vec<NetworkView>,
    /// Domains libvirt knows, ours and others'.
    pub domains: Vec<DomainView>,
    /// Bridges named by the networks we asked for that exist on the host.
    pub bridges: Vec<String>,
}

impl HostView {
    /// Returns `freehold-host.json`, where there is one.
    pub fn card(&self) -> Option<&HostCard> {
        self.pool.as_ref()?.card.as_ref()
    }
}

/// Our pool on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolView {
    /// The directory.
    pub path: String,
    /// Whether it is started (its directory can be read).
    pub active: bool,
    /// `freehold-host.json`, when there is one.
    pub card: Option<HostCard>,
    /// Files in it, but for our staging names.
    pub volumes: BTreeMap<String, VolumeView>,
    /// Bytes free on its file system.
    pub free: Size,
}

/// `freehold-host.json`: how we know a host again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCard {
    /// Version of this file's form.
    pub format: u32,
    /// Random, made at first contact.
    pub host: Uuid,
    /// Which of the host's libvirt daemons has the pool.
    #[serde(default, skip_serializing_if = "DaemonMode::is_system")]
    pub libvirt: DaemonMode,
    /// Fleets that have objects here: id and last serial applied.
    pub fleets: BTreeMap<String, u64>,
    /// Volumes we made here, by fleet id.
    pub volumes: BTreeMap<String, Vec<String>>,
}

impl HostCard {
    /// The file's name in our pool.
    pub const FILE: &str = "freehold-host.json";
    /// The form written today.
    pub const FORMAT: u32 = 1;

    /// Says whether a fleet has made anything on the host.
    pub fn knows(&self, fleet: FleetId) -> bool {
        self.fleets.contains_key(&fleet.to_string())
    }

    /// Returns the card that lies on the host with one fleet's part as in this one; `None` when it
    /// is another host's, or another daemon's.
    pub(crate) fn merged_into(&self, there: Option<Self>, fleet: FleetId) -> Option<Self> {
        let Some(mut card) = there else { return Some(self.clone()) };
        if card.host != self.host || card.libvirt != self.libvirt {
            return None;
        }
        let fleet = fleet.to_string();
        if let Some(serial) = self.fleets.get(&fleet) {
            card.fleets.insert(fleet.clone(), *serial);
        }
        if let Some(volumes) = self.volumes.get(&fleet) {
            card.volumes.insert(fleet, volumes.clone());
        }
        Some(card)
    }
}

/// A file of our pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeView {
    /// Size as a guest sees it (of a raw file: its length).
    pub capacity: Size,
    /// Path of the file under it, when it is an overlay.
    pub backing: Option<String>,
    /// What it takes of the pool's file system.
    #[serde(default)]
    pub used: Size,
}

/// A network libvirt knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether it runs.
    pub active: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Our mark, when it bears one of any fleet.
    pub mark: Option<Mark>,
    /// What it is defined as (`VIR_NETWORK_XML_INACTIVE`).
    #[serde(default)]
    pub defined: NetworkShape,
}

/// The part of a network's XML that we manage.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkShape {
    /// How it leads outside: `nat`, `route`, …; `None` is isolated.
    pub forward: Option<String>,
    /// The host's address in it, with the length of its prefix.
    pub address: Option<ipnet::Ipv4Net>,
    /// Ranges that its DHCP server hands out.
    pub dhcp: Vec<AddressRange>,
}

impl NetworkShape {
    /// Returns the shape that a spec must have.
    pub fn of(spec: &NetworkSpec) -> Self {
        Self {
            forward: Some("nat".to_owned()),
            address: ipnet::Ipv4Net::new(spec.gateway, spec.subnet.prefix_len()).ok(),
            dhcp: spec.dhcp.clone(),
        }
    }
}

/// A domain libvirt knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainView {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// What it does.
    pub state: DomainState,
    /// Whether it outlives its run.
    pub persistent: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Our mark, when it bears one of any fleet.
    pub mark: Option<Mark>,
    /// What it is defined as (`VIR_DOMAIN_XML_INACTIVE`).
    pub defined: DomainShape,
    /// What runs, when it runs.
    pub live: Option<DomainShape>,
    /// Fingerprint of its whole definition, what we do not manage included.
    #[serde(default)]
    pub fingerprint: Digest,
    /// Whether its run is saved to disk (`virsh managedsave`): starting it goes on from there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub saved: bool,
    /// Whether libvirt knows snapshots or checkpoints of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshots: bool,
}

/// A domain as the XML says that was kept when it was undefined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDomain {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Our mark, when it bore one of any fleet.
    pub mark: Option<Mark>,
    /// What it was defined as.
    pub shape: DomainShape,
}

/// What a domain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainState {
    /// It runs (or is blocked, or about to shut down).
    Running,
    /// It is paused.
    Paused,
    /// It is off.
    Off,
    /// It crashed.
    Crashed,
}

impl DomainState {
    /// Says whether there is a machine.
    pub fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// The part of a domain's XML that we manage, freed of libvirt's own normalisation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DomainShape {
    /// `<vcpu>`.
    pub cpus: u32,
    /// `<memory>`.
    pub memory: Size,
    /// `type` of `<domain>`: `kvm`, `qemu`.
    pub kind: String,
    /// Whether its firmware is UEFI.
    pub uefi: bool,
    /// Files of its disks in order of target name, CD-ROM drives left out.
    pub disks: Vec<String>,
    /// Files under its disks: images, and what somebody's external snapshot put an overlay on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beneath: Vec<String>,
    /// Files of its CD-ROM drives.
    pub cdroms: Vec<String>,
    /// Its interfaces; one of a kind we do not make is left out and counted in `other_nics`.
    pub nics: Vec<NicSpec>,
    /// Interfaces of kinds we do not make.
    pub other_nics: u32,
}

impl DomainShape {
    /// Returns the shape that a spec must have on a host whose pool lies at `pool`.
    pub fn of(spec: &DomainSpec, pool: &str) -> Self {
        let file = |volume: &String| format!("{pool}/{volume}");
        Self {
            cpus: spec.cpus,
            memory: spec.memory,
            kind: match spec.accel {
                super::Accel::Tcg => "qemu".to_owned(),
                super::Accel::Auto | super::Accel::Kvm => "kvm".to_owned(),
            },
            uefi: spec.firmware == super::Firmware::Uefi,
            disks: spec.disks.iter().map(|disk| file(&disk.volume)).collect(),
            beneath: spec.disks.iter().filter_map(|disk| disk.backing.as_ref()).map(file).collect(),
            cdroms: spec.seed.iter().map(file).collect(),
            nics: spec.nics.clone(),
            other_nics: 0,
        }
    }
}
