//! What the script is about: domains, volumes and a network of a fleet of its own.

use freehold_core::model::{
    Accel, Digest, DiskSpec, DomainSpec, Firmware, FleetId, Mark, NetworkSpec, NicSource, NicSpec,
    Size, VolumeSpec, domain_uuid, nic_mac,
};
use uuid::Uuid;

/// What the names of all objects of the script begin with.
pub(crate) const PREFIX: &str = "conf";

pub(crate) fn fleet() -> FleetId {
    "c0f0c0f0c0f0c0f0c0f0c0f0c0f0c0f0".parse().unwrap()
}

pub(crate) fn mark(name: &str) -> Mark {
    Mark {
        fleet: fleet(),
        name: name.to_owned(),
        incarnation: 1,
        digest: Digest::of([name.as_bytes()]),
        network: Digest::default(),
        protect: false,
        keep: Vec::new(),
    }
}

pub(crate) fn uuid(name: &str) -> Uuid {
    domain_uuid(fleet(), &name.parse().unwrap(), 0)
}

pub(crate) fn disk(name: &str) -> DiskSpec {
    let backing = name.contains("root").then(|| "conf.base".to_owned());
    DiskSpec { volume: name.to_owned(), backing }
}

pub(crate) fn nic(name: &str, index: usize, network: &str) -> NicSpec {
    let source = match network {
        "br0" => NicSource::Bridge(network.to_owned()),
        network => NicSource::Network(network.to_owned()),
    };
    NicSpec { mac: nic_mac(fleet(), &name.parse().unwrap(), index, 0), source }
}

/// A small domain with one disk on the base, a seed and an interface.
pub(crate) fn domain(name: &str) -> DomainSpec {
    DomainSpec {
        uuid: uuid(name),
        name: name.to_owned(),
        mark: mark(name),
        cpus: 1,
        memory: Size::from_mib(64),
        firmware: Firmware::Bios,
        nvram: None,
        accel: Accel::Tcg,
        autostart: true,
        disks: vec![disk(&format!("conf.{name}.root.0"))],
        seed: None,
        nics: vec![nic(name, 0, "br0")],
    }
}

pub(crate) fn network() -> NetworkSpec {
    NetworkSpec {
        uuid: uuid("conf-net"),
        name: "conf-net".to_owned(),
        mark: mark("conf-net"),
        subnet: "10.99.77.0/24".parse().unwrap(),
        gateway: "10.99.77.1".parse().unwrap(),
        dns: Vec::new(),
        dhcp: vec!["10.99.77.100-10.99.77.120".parse().unwrap()],
    }
}

pub(crate) fn volume(name: &str, mib: u64) -> VolumeSpec {
    VolumeSpec { name: name.to_owned(), size: Size::from_mib(mib), backing: disk(name).backing }
}
