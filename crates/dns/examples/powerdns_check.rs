//! Walks the plugin through the life of a record on a real `PowerDNS` that holds nothing of value:
//! `cargo run -p freehold-dns --example powerdns_check -- URL API_KEY DNS_ADDRESS`.
#![allow(clippy::print_stdout)]

use std::{
    collections::BTreeMap,
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

use freehold_core::{
    model::{
        Digest, DnsServer, DnsServerKind, Edit, EditKey, Fleet, FleetId, Inventory, InventoryVm,
        RecordKind, Secret, Size, VmDns, VmState, Zone,
    },
    plugins::{Hosts, Plugin, PluginErrorKind, Proposal, Published},
};
use freehold_dns::{NameServer, PowerDns};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

struct Check {
    plugin: PowerDns,
    published: Published,
}

#[tokio::main]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(key), Some(asks)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: powerdns_check URL API_KEY DNS_ADDRESS".into());
    };
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "two TLS providers")?;
    let server = |key: String| DnsServer {
        name: "main".parse().expect("a label"),
        kind: DnsServerKind::PowerDns { url: url.clone(), api_key: Secret::new(key) },
        asks: Some(asks.clone()),
    };
    let main = server(key.clone());
    let fleet = |byte, ttl| fleet(FleetId::from_bytes([byte; 16]), ttl);
    let mut check =
        Check { plugin: PowerDns::new(&fleet(7, 60), &main)?, published: Published::new() };

    wrong_key(&fleet(7, 60), &server("wrong".to_owned())).await?;
    check
        .apply("two VMs in zones that are not there", &[("web-0", 100), ("web-1", 101)], 6)
        .await?;
    check.apply("the same again", &[("web-0", 100), ("web-1", 101)], 0).await?;
    check.apply("another address", &[("web-0", 102), ("web-1", 101)], 3).await?;
    check.plugin = PowerDns::new(&fleet(7, 5), &main)?;
    check.apply("another time to live", &[("web-0", 102), ("web-1", 101)], 4).await?;
    check.plugin = PowerDns::new(&fleet(7, 60), &main)?;
    check.apply("and back", &[("web-0", 102), ("web-1", 101)], 4).await?;

    foreign(&PowerDns::new(&fleet(8, 60), &main)?).await?;
    let inventory = inventory(&[("web-0", 102)]);
    let lost = check.plugin.propose(&inventory, &Published::new(), &none()).await?;
    assert!(lost.edits.is_empty() && lost.present.len() == 2, "{lost:?}");
    println!("a lost state: nothing is removed, {} records are known again", lost.present.len());

    let many: Vec<(String, u8)> = (0..200).map(|n| (format!("vm-{n}"), n)).collect();
    let many: Vec<_> = many.iter().map(|(name, last)| (name.as_str(), *last)).collect();
    check.apply("200 VMs in place of two", &many, 402).await?;
    check.apply("none", &[], 400).await?;

    let name = "vm-7.check.freehold.test".parse()?;
    let answer = NameServer::reach(&main, &none()).await?;
    let answer = answer.ask(&name, RecordKind::A).await?;
    assert!(answer.absent, "{answer}");
    println!("done: {name} has {answer}");
    Ok(())
}

impl Check {
    /// Proposes, publishes and verifies, and sees that nothing is left to propose.
    async fn apply(&mut self, what: &str, vms: &[(&str, u8)], edits: usize) -> Outcome {
        let inventory = inventory(vms);
        let begun = Instant::now();
        let proposal = self.plugin.propose(&inventory, &self.published, &none()).await?;
        let proposed = begun.elapsed();
        assert!(proposal.refused.is_empty(), "{:?}", proposal.refused);
        for edit in proposal.edits.iter().take(6) {
            println!("  {edit}");
        }
        assert_eq!(proposal.edits.len(), edits, "{what}");
        let begun = Instant::now();
        self.plugin.publish(&proposal.edits, &none()).await?;
        let published = begun.elapsed();
        let begun = Instant::now();
        assert!(self.plugin.verify(&proposal.edits, &none()).await?, "{what}: not verified");
        let verified = begun.elapsed();
        println!(
            "{what}: {edits} edits; proposed in {proposed:.0?}, published in {published:.0?}, \
             verified in {verified:.0?}"
        );
        // Safe to repeat.
        self.plugin.publish(&proposal.edits, &none()).await?;
        self.note(&proposal);
        let again = self.plugin.propose(&inventory, &self.published, &none()).await?;
        assert!(again.edits.is_empty() && again.refused.is_empty(), "{what}: {again:?}");
        Ok(())
    }

    fn note(&mut self, proposal: &Proposal) {
        for Edit { plugin, key, new, .. } in &proposal.edits {
            self.published.insert((plugin.clone(), key.clone()), new.clone());
        }
    }
}

async fn wrong_key(fleet: &Fleet, server: &DnsServer) -> Outcome {
    let plugin = PowerDns::new(fleet, server)?;
    let Err(error) = plugin.propose(&inventory(&[]), &Published::new(), &none()).await else {
        return Err("a wrong key was accepted".into());
    };
    assert_eq!(error.kind, PluginErrorKind::Refused);
    println!("a wrong key: {error}: {} ({:?})", error.source, error.hint);
    Ok(())
}

/// Another fleet must not take our names, not even by publishing past its own proposal.
async fn foreign(other: &PowerDns) -> Outcome {
    let inventory = inventory(&[("web-0", 102)]);
    let proposal = other.propose(&inventory, &Published::new(), &none()).await?;
    assert!(proposal.edits.is_empty(), "{proposal:?}");
    assert!(proposal.refused.iter().all(|error| error.kind == PluginErrorKind::Foreign));
    for error in &proposal.refused {
        println!("another fleet: {error}: {}", error.source);
    }
    let edit = Edit {
        plugin: other.name().to_owned(),
        vm: Some("web-0".parse()?),
        key: EditKey::Rrset {
            zone: "check.freehold.test".parse()?,
            name: "web-0.check.freehold.test".parse()?,
            kind: RecordKind::A,
            ttl: 60,
        },
        old: Vec::new(),
        new: vec!["192.0.2.1".to_owned()],
    };
    let Err(error) = other.publish(std::slice::from_ref(&edit), &none()).await else {
        return Err("another fleet's name was taken".into());
    };
    assert_eq!(error.kind, PluginErrorKind::Foreign);
    // Nothing was written, so what it wanted never shows.
    let begun = Instant::now();
    let Err(error) = other.verify(&[edit], &none()).await else {
        return Err("what is not there was verified".into());
    };
    assert_eq!(error.kind, PluginErrorKind::NotShown);
    assert!(begun.elapsed() < Duration::from_secs(17));
    println!("not shown: {error}: {} (after {:.1?})", error.source, begun.elapsed());
    Ok(())
}

fn none() -> Hosts {
    Hosts::new()
}

fn fleet(id: FleetId, ttl: u32) -> Fleet {
    let zone = Zone {
        name: "check".parse().expect("a label"),
        domain: "check.freehold.test".parse().expect("a domain name"),
        server: "main".parse().expect("a label"),
        ttl,
        reverse: true,
        reverse_networks: vec!["203.0.113.0/24".parse().expect("a network")],
        create: true,
        nameservers: vec!["ns1.check.freehold.test".parse().expect("a domain name")],
    };
    Fleet {
        moved: BTreeMap::new(),
        state: freehold_core::model::StateStore::default(),
        retain: Duration::default(),
        digest: Digest::default(),
        name: "check".to_owned(),
        id,
        directory: PathBuf::from("/"),
        hosts: BTreeMap::new(),
        networks: BTreeMap::new(),
        images: BTreeMap::new(),
        vms: BTreeMap::new(),
        dns_servers: BTreeMap::new(),
        zones: BTreeMap::from([(zone.name.clone(), zone)]),
        target_files: BTreeMap::new(),
    }
}

fn inventory(vms: &[(&str, u8)]) -> Inventory {
    let vms = vms.iter().map(|&(name, last)| InventoryVm {
        name: name.parse().expect("a label"),
        uuid: uuid::Uuid::nil(),
        host: "rack1".parse().expect("a label"),
        image: "debian-12".parse().expect("a label"),
        cpus: 1,
        memory: Size::from_mib(512),
        addresses: vec![[203, 0, 113, last].into()],
        dns: vec![VmDns { zone: "check".parse().expect("a label"), ttl: None }],
        exporters: Vec::new(),
        groups: Vec::new(),
        labels: BTreeMap::new(),
        host_key: String::new(),
        state: VmState::Running,
    });
    Inventory {
        fleet: FleetId::from_bytes([7; 16]),
        name: "check".to_owned(),
        serial: 1,
        vms: vms.map(|vm| (vm.name.clone(), vm)).collect(),
    }
}
