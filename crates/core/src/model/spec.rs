//! What a plan asks a host to make. Everything is decided: nothing here is chosen later.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Accel, AddressRange, Checksum, Firmware, ImageForm, ImageName, Mac, Mark, Ours, Size};

/// A domain (libvirt's word for a VM) to define.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainSpec {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Our mark.
    pub mark: Mark,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory: Size,
    /// What starts it.
    pub firmware: Firmware,
    /// The file of our pool in which UEFI keeps its variables; libvirt makes it on the first start.
    pub nvram: Option<String>,
    /// What runs its code; `Auto` is resolved by the planner, never here.
    pub accel: Accel,
    /// Whether it starts with its host.
    pub autostart: bool,
    /// Its disks, as `vda`, `vdb`, …
    pub disks: Vec<DiskSpec>,
    /// The volume of its seed, attached as a CD-ROM drive after the disks.
    pub seed: Option<String>,
    /// Its interfaces.
    pub nics: Vec<NicSpec>,
}

impl DomainSpec {
    /// Returns how what is made of it is found and proved to be ours.
    pub fn ours(&self) -> Ours {
        Ours { uuid: self.uuid, fleet: self.mark.fleet, name: self.mark.name.clone(), seen: None }
    }
}

/// A qcow2 disk of a domain; volumes lie in our pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// The volume.
    pub volume: String,
    /// The image volume under it (qcow2), or none.
    pub backing: Option<String>,
}

/// A virtio interface of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicSpec {
    /// Its MAC address.
    pub mac: Mac,
    /// What it is attached to.
    pub source: NicSource,
}

/// What an interface is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NicSource {
    /// A bridge of the host, by name.
    Bridge(String),
    /// A libvirt network, by name.
    Network(String),
}

/// A libvirt network to define and start: NAT, with DHCP when it has ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Our mark.
    pub mark: Mark,
    /// Its addresses.
    pub subnet: Ipv4Net,
    /// The host's address in it.
    pub gateway: Ipv4Addr,
    /// Name servers its DHCP hands out; none means the host's own dnsmasq.
    pub dns: Vec<IpAddr>,
    /// What its DHCP may hand out (no planned address lies in it).
    pub dhcp: Vec<AddressRange>,
}

impl NetworkSpec {
    /// Returns how what is made of it is found and proved to be ours.
    pub fn ours(&self) -> Ours {
        Ours { uuid: self.uuid, fleet: self.mark.fleet, name: self.mark.name.clone(), seen: None }
    }
}

/// An image to have in a host's pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Its name in the fleet, for the screen.
    pub name: ImageName,
    /// Its file in the pool, named for its digest and what was done to it:
    /// `image.sha256-<first 32 digits>.xz.raw.qcow2`.
    pub volume: String,
    /// What its bytes must hash to, as it is published.
    pub checksum: Checksum,
    /// How it is published.
    #[serde(default)]
    pub form: ImageForm,
    /// How large it may be once it is unpacked.
    #[serde(default)]
    pub most: Size,
}

/// A qcow2 volume to make in a host's pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Its name.
    pub name: String,
    /// Its size as the guest sees it.
    pub size: Size,
    /// The image volume it is a linked clone of, or none for an empty one.
    pub backing: Option<String>,
}
