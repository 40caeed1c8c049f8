//! Codes are stable, documented, and what JSON says.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::plan::{MarkField, ShapeField};

const PAGE: &str = include_str!("../../../../../docs/reference/drift.md");

fn about_hosts_and_volumes() -> Vec<Drift> {
    let (uuid, volume) = (Uuid::from_u128(1), "v".to_owned());
    let disk = || "data".parse().unwrap();
    vec![
        Drift::HostUnreachable { why: "gone".into() },
        Drift::HostStranger { known: uuid, found: None },
        Drift::StateOld { card: 9, state: 1 },
        Drift::PoolInactive { path: "/pool".into() },
        Drift::VolumeMissing { volume: volume.clone(), disk: Some(disk()) },
        Drift::VolumeUnlisted { volume: volume.clone() },
        Drift::VolumeShared { volume: volume.clone(), domain: "other".into() },
        Drift::KeptDiskMissing { vm: "web".parse().unwrap(), disk: disk() },
        Drift::ExternalSnapshot { volume, overlay: None },
        Drift::OrphanDomain { uuid, vm: "web".into(), incarnation: 1, lives_on: None },
        Drift::OrphanNetwork { uuid },
        Drift::OrphanVolume { size: Size::from_mib(1), used: Size::from_mib(1), listed: true },
    ]
}

fn advised(why: &str) -> Advised {
    Advised { why: why.to_owned(), hint: None }
}

fn seen_by_verify() -> Vec<Drift> {
    let (volume, file) = ("v".to_owned(), "/else/where".to_owned());
    vec![
        Drift::ChainBroken { volume: volume.clone(), missing: Some(file.clone()) },
        Drift::ChainOutside { volume, backing: file },
        Drift::Unfinished { what: vec!["disk data is not made".into()] },
        Drift::NameTaken { by: Uuid::from_u128(1) },
        Drift::ClockOff { seconds: -90 },
        Drift::KeyUnpinned { target: "root@rack1".into() },
        Drift::NotPublished { edits: vec!["+ web A 10.0.0.1".into()] },
        Drift::InTheWay(advised("somebody's record")),
        Drift::Unpublishable(advised("no address")),
        Drift::ServerUnread(advised("connection refused")),
        Drift::Abandoned { published: 2 },
    ]
}

fn about_domains_and_networks() -> Vec<Drift> {
    let fleet = FleetId::from_bytes([7; 16]);
    let field =
        FieldChange { field: ShapeField::Cpus, from: Some("1".into()), to: Some("2".into()) };
    let mark = MarkChange { field: MarkField::Keep, from: "data".into(), to: "none".into() };
    vec![
        Drift::DomainMissing { taken_by: None, seen_on: None },
        Drift::DomainForeign { fleet, name: "web".into() },
        Drift::DomainRenamed { to: "www".into() },
        Drift::DomainTransient,
        Drift::DomainOff,
        Drift::DomainRunning,
        Drift::DomainPaused,
        Drift::DomainCrashed,
        Drift::MarkLost,
        Drift::MarkChanged(mark),
        Drift::AutostartChanged { to: false },
        Drift::FieldChanged(field.clone()),
        Drift::PendingRestart { fields: vec![field] },
        Drift::ManagedSave,
        Drift::Snapshots,
        Drift::NetworkMissing { taken_by: None },
        Drift::NetworkForeign { fleet, name: "lan".into() },
        Drift::NetworkRenamed { to: "wan".into() },
        Drift::NetworkInactive,
    ]
}

fn one_of_each() -> Vec<Drift> {
    [about_hosts_and_volumes(), about_domains_and_networks(), seen_by_verify()].concat()
}

#[test]
fn every_code_is_its_word_in_json_and_stands_in_the_reference() {
    let mut codes = BTreeSet::new();
    for drift in one_of_each() {
        assert_eq!(serde_json::to_value(&drift).unwrap()["code"], drift.code());
        assert_ne!(drift.to_string(), drift.code(), "it has words of its own");
        assert!(codes.insert(drift.code()), "{} stands here twice", drift.code());
    }
    let rows = PAGE.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<BTreeSet<_>>(), codes);
    // Whoever adds a code adds it here: the match of `code` has one line each.
    let source = include_str!("finding.rs");
    let lines = source.lines().filter(|line| line.contains(" => \"")).count();
    assert_eq!(lines, codes.len());
}

#[test]
fn a_finding_says_where_what_and_in_what() {
    let field = FieldChange { field: ShapeField::Disk, from: None, to: Some("x.img".into()) };
    let finding = Finding {
        host: Some("rack1".parse().unwrap()),
        object: Subject::Vm("web".parse().unwrap()),
        drift: Drift::FieldChanged(field),
    };
    let said = json!({
        "host": "rack1",
        "object": { "kind": "vm", "name": "web" },
        "drift": {
            "code": "field-changed",
            "detail": { "field": "disk", "from": null, "to": "x.img" },
        },
    });
    assert_eq!(serde_json::to_value(&finding).unwrap(), said);
    assert_eq!(finding.to_string(), "vm web: field-changed: disk: none -> x.img");
}
