//! Walks the plugin through the life of a target on a real Prometheus that reads FILE:
//! `cargo run -p freehold-discovery --example prometheus_check -- URL FILE`.
#![allow(clippy::print_stdout)]

use std::{
    collections::BTreeMap,
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

use freehold_core::{
    model::{
        Digest, Exporter, Fleet, FleetId, Inventory, InventoryVm, Place, Size, TargetFile, VmState,
    },
    plugins::{Hosts, Plugin, Published},
};
use freehold_discovery::FileSd;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: prometheus_check URL FILE".into());
    };
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "two TLS providers")?;
    let file = TargetFile { name: "main".parse()?, on: Place::Here, path, url: Some(url) };
    let plugin = FileSd::new(&fleet(), &file, None)?;
    for (what, vms, edits) in [
        ("two VMs", vec![("web-0", 2), ("web-1", 3)], 2),
        ("another address", vec![("web-0", 4), ("web-1", 3)], 1),
        ("one", vec![("web-1", 3)], 1),
        ("none", vec![], 1),
    ] {
        apply(&plugin, what, &vms, edits).await?;
    }
    println!("done");
    Ok(())
}

async fn apply(plugin: &FileSd, what: &str, vms: &[(&str, u8)], edits: usize) -> Outcome {
    let (published, hosts) = (Published::new(), Hosts::new());
    let inventory = inventory(vms)?;
    let proposal = plugin.propose(&inventory, &published, &hosts).await?;
    assert!(proposal.refused.is_empty(), "{:?}", proposal.refused);
    for edit in &proposal.edits {
        println!("  {edit}");
    }
    assert_eq!(proposal.edits.len(), edits, "{what}");
    let begun = Instant::now();
    plugin.publish(&proposal.edits, &hosts).await?;
    let written = begun.elapsed();
    assert!(plugin.verify(&proposal.edits, &hosts).await?, "{what}: not verified");
    println!("{what}: written in {written:.0?}, seen after {:.1?}", begun.elapsed());
    let again = plugin.propose(&inventory, &published, &hosts).await?;
    assert!(again.edits.is_empty(), "{what}: {again:?}");
    Ok(())
}

fn fleet() -> Fleet {
    Fleet {
        moved: BTreeMap::new(),
        state: freehold_core::model::StateStore::default(),
        retain: Duration::default(),
        digest: Digest::default(),
        name: "check".to_owned(),
        id: FleetId::from_bytes([7; 16]),
        directory: PathBuf::from("/"),
        hosts: BTreeMap::new(),
        networks: BTreeMap::new(),
        images: BTreeMap::new(),
        vms: BTreeMap::new(),
        dns_servers: BTreeMap::new(),
        zones: BTreeMap::new(),
        target_files: BTreeMap::new(),
    }
}

fn inventory(vms: &[(&str, u8)]) -> Outcome<Inventory> {
    let mut found = BTreeMap::new();
    for &(name, last) in vms {
        let vm = InventoryVm {
            name: name.parse()?,
            uuid: uuid::Uuid::nil(),
            host: "rack1".parse()?,
            image: "debian-12".parse()?,
            cpus: 1,
            memory: Size::from_mib(512),
            addresses: vec![[127, 0, 0, last].into()],
            dns: Vec::new(),
            exporters: vec![Exporter {
                name: "node".parse()?,
                port: 9100,
                path: Some("/stats".to_owned()),
            }],
            groups: vec!["web".to_owned()],
            labels: BTreeMap::from([("tier.x".to_owned(), "one".to_owned())]),
            host_key: String::new(),
            state: VmState::Running,
        };
        found.insert(vm.name.clone(), vm);
    }
    Ok(Inventory {
        fleet: FleetId::from_bytes([7; 16]),
        name: "check".to_owned(),
        serial: 1,
        vms: found,
    })
}
