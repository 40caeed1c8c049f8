//! A small fleet for this crate's tests.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use freehold_core::model::{
    Digest, DnsServer, DnsServerKind, Fleet, FleetId, Inventory, InventoryVm, Secret, Size, VmDns,
    VmState, Zone,
};
use uuid::Uuid;

pub(crate) fn fleet_id() -> FleetId {
    FleetId::from_bytes([7; 16])
}

/// Zone `home` of `home.example.org` with reverse zones.
pub(crate) fn zone(create: bool) -> Zone {
    Zone {
        name: "home".parse().unwrap(),
        domain: "home.example.org".parse().unwrap(),
        server: "main".parse().unwrap(),
        ttl: 60,
        reverse: true,
        reverse_networks: vec!["10.77.0.0/24".parse().unwrap()],
        create,
        nameservers: vec!["ns1.example.org".parse().unwrap()],
    }
}

/// A VM of the name with these addresses, in zone `home`.
pub(crate) fn vm(name: &str, addresses: &[&str]) -> InventoryVm {
    InventoryVm {
        name: name.parse().unwrap(),
        uuid: Uuid::nil(),
        host: "rack1".parse().unwrap(),
        image: "debian-12".parse().unwrap(),
        cpus: 1,
        memory: Size::from_mib(512),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        dns: vec![VmDns { zone: "home".parse().unwrap(), ttl: None }],
        exporters: Vec::new(),
        groups: Vec::new(),
        labels: BTreeMap::new(),
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

pub(crate) fn server(url: &str) -> DnsServer {
    DnsServer {
        name: "main".parse().unwrap(),
        kind: DnsServerKind::PowerDns {
            url: url.to_owned(),
            api_key: Secret::new("poison-key".to_owned()),
        },
        asks: None,
    }
}

pub(crate) fn fleet(zones: &[Zone]) -> Fleet {
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
        zones: zones.iter().map(|zone| (zone.name.clone(), zone.clone())).collect(),
        target_files: BTreeMap::new(),
    }
}
