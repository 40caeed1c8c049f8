//! A small fleet for this crate's tests.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use freehold_core::model::{
    Digest, DomainName, Exporter, Fleet, FleetId, Inventory, InventoryVm, Place, Size, TargetFile,
    VmDns, VmState, ZoneName,
};
use uuid::Uuid;

pub(crate) fn fleet_id() -> FleetId {
    FleetId::from_bytes([7; 16])
}

pub(crate) fn zones() -> BTreeMap<ZoneName, DomainName> {
    BTreeMap::from([("home".parse().unwrap(), "home.example.org".parse().unwrap())])
}

pub(crate) fn vm(name: &str, addresses: &[&str], exporters: &[(&str, u16)]) -> InventoryVm {
    let exporter =
        |&(name, port): &(&str, u16)| Exporter { name: name.parse().unwrap(), port, path: None };
    InventoryVm {
        name: name.parse().unwrap(),
        uuid: Uuid::nil(),
        host: "rack1".parse().unwrap(),
        image: "debian-12".parse().unwrap(),
        cpus: 1,
        memory: Size::from_mib(512),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        dns: vec![VmDns { zone: "home".parse().unwrap(), ttl: None }],
        exporters: exporters.iter().map(exporter).collect(),
        groups: vec!["web-servers".to_owned()],
        labels: BTreeMap::from([("tier.x".to_owned(), "ä \"quoted\"".to_owned())]),
        host_key: String::new(),
        state: VmState::Running,
    }
}

pub(crate) fn inventory(vms: &[InventoryVm]) -> Inventory {
    Inventory {
        fleet: fleet_id(),
        name: "home".to_owned(),
        serial: 1,
        vms: vms.iter().map(|vm| (vm.name.clone(), vm.clone())).collect(),
    }
}

pub(crate) fn target_file(on: Place, path: &str, url: Option<&str>) -> TargetFile {
    TargetFile {
        name: "main".parse().unwrap(),
        on,
        path: path.to_owned(),
        url: url.map(str::to_owned),
    }
}

pub(crate) fn fleet() -> Fleet {
    Fleet {
        moved: BTreeMap::new(),
        state: freehold_core::model::StateStore::default(),
        retain: Duration::default(),
        digest: Digest::default(),
        name: "home".to_owned(),
        id: fleet_id(),
        directory: PathBuf::from("/fleet"),
        hosts: BTreeMap::new(),
        networks: BTreeMap::new(),
        images: BTreeMap::new(),
        vms: BTreeMap::new(),
        dns_servers: BTreeMap::new(),
        zones: BTreeMap::new(),
        target_files: BTreeMap::new(),
    }
}
