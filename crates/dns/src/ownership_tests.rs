use freehold_core::model::RecordKind;

use super::*;
use crate::{
    fixtures::{fleet_id, inventory, vm, zone},
    records::{Served, wanted},
    wire::{Comment, Record},
};

const PLUGIN: &str = "dns main";

fn rrset(name: &str, kind: &str, contents: &[&str], mark: Option<FleetId>) -> Rrset {
    let record = |content: &&str| Record { content: (*content).to_owned(), disabled: false };
    let comment = |fleet: FleetId| Comment {
        content: format!("freehold {fleet} web-0"),
        account: "freehold".to_owned(),
    };
    Rrset {
        name: name.to_owned(),
        kind: kind.to_owned(),
        ttl: 60,
        records: contents.iter().map(record).collect(),
        comments: mark.map(comment).into_iter().collect(),
    }
}

const NAME: &str = "web-0.home.example.org.";

fn domain() -> DomainName {
    "home.example.org".parse().unwrap()
}

/// What becomes of the zone when `web-0` shall have 10.77.0.100 and these rrsets are there.
fn compared(rrsets: &[Rrset], vms: &[&str], published: &[&str]) -> Comparison {
    let vms: Vec<_> = vms.iter().map(|name| vm(name, &["10.77.0.100"])).collect();
    let wanted = wanted(&inventory(&vms), &[zone(true)], &Served::new());
    let domain = domain();
    let key = EditKey::Rrset {
        zone: domain.clone(),
        name: NAME.parse().unwrap(),
        kind: RecordKind::A,
        ttl: 300,
    };
    let values = published.iter().map(|value| (*value).to_owned()).collect();
    let published = Published::from([((PLUGIN.to_owned(), key), values)]);
    let published = if values_of(&published).is_empty() { Published::new() } else { published };
    compare(
        PLUGIN,
        fleet_id(),
        &Shelf::new(&domain, rrsets),
        &wanted.rrsets,
        &ledger(PLUGIN, &published),
    )
}

fn values_of(published: &Published) -> Vec<String> {
    published.values().flatten().cloned().collect()
}

fn shown(comparison: &Comparison) -> Vec<String> {
    let refused = comparison.refused.iter().map(|refusal| format!("! {}", refusal.reason));
    comparison.edits.iter().map(Edit::to_string).chain(refused).collect()
}

#[test]
fn adds_what_is_not_there() {
    let found = compared(&[], &["web-0"], &[]);
    assert_eq!(shown(&found), ["+ dns web-0.home.example.org A 10.77.0.100"]);
}

#[test]
fn leaves_what_is_ours_and_equal() {
    let ours = rrset("Web-0.home.example.org.", "A", &["10.77.0.100"], Some(fleet_id()));
    let found = compared(&[ours], &["web-0"], &[]);
    assert!(shown(&found).is_empty());
    assert_eq!(found.present.len(), 1);
    assert_eq!(found.present[0].1, ["10.77.0.100"]);
}

#[test]
fn corrects_what_is_ours_and_differs() {
    let ours = rrset(NAME, "A", &["10.77.0.9"], Some(fleet_id()));
    let found = compared(&[ours], &["web-0"], &[]);
    assert_eq!(shown(&found), ["~ dns web-0.home.example.org A 10.77.0.9 -> 10.77.0.100"]);

    let mut slower = rrset(NAME, "A", &["10.77.0.100"], Some(fleet_id()));
    slower.ttl = 300;
    let found = compared(&[slower], &["web-0"], &[]);
    assert_eq!(shown(&found), ["~ dns web-0.home.example.org A 10.77.0.100"]);

    let mut off = rrset(NAME, "A", &["10.77.0.100"], Some(fleet_id()));
    off.records[0].disabled = true;
    assert_eq!(compared(&[off], &["web-0"], &[]).edits.len(), 1);
}

#[test]
fn refuses_what_is_not_ours_even_when_equal() {
    for mark in [None, Some(FleetId::from_bytes([8; 16]))] {
        let foreign = rrset(NAME, "A", &["10.77.0.100"], mark);
        let found = compared(&[foreign], &["web-0"], &["10.77.0.100"]);
        assert!(found.edits.is_empty() && found.present.is_empty());
        assert_eq!(found.refused[0].kind, PluginErrorKind::Foreign);
    }
}

#[test]
fn refuses_names_that_cannot_answer_with_our_records() {
    for (name, kind) in
        [(NAME, "CNAME"), (NAME, "ALIAS"), (NAME, "LUA"), (NAME, "NS"), (NAME, "DNAME")]
    {
        let found = compared(&[rrset(name, kind, &["x."], None)], &["web-0"], &[]);
        assert_eq!(found.refused.len(), 1, "{kind}");
        assert!(found.edits.is_empty());
    }
    let apex = rrset("home.example.org.", "NS", &["ns1.example.org."], None);
    let beside = rrset(NAME, "TXT", &["\"hello\""], None);
    let wild = rrset("*.home.example.org.", "A", &["10.0.0.1"], Some(fleet_id()));
    assert_eq!(compared(&[apex, beside, wild], &["web-0"], &[]).edits.len(), 1);
}

#[test]
fn removes_only_what_is_marked_and_as_published() {
    let ours = rrset(NAME, "A", &["10.77.0.100"], Some(fleet_id()));
    let known = ["10.77.0.100"];
    let found = compared(std::slice::from_ref(&ours), &[], &known);
    assert_eq!(shown(&found), ["- dns web-0.home.example.org A 10.77.0.100"]);
    assert_eq!(found.edits[0].vm.as_ref().unwrap().as_str(), "web-0");

    let changed = rrset(NAME, "A", &["10.77.0.9"], Some(fleet_id()));
    let found = compared(&[changed], &[], &known);
    assert!(found.edits.is_empty());
    assert!(found.refused[0].reason.contains("changed by hand"), "{:?}", found.refused);

    assert!(compared(&[ours], &[], &[]).edits.is_empty());
    let unmarked = rrset(NAME, "A", &["10.77.0.100"], None);
    assert!(shown(&compared(&[unmarked], &[], &known)).is_empty());
    let apex = rrset("home.example.org.", "A", &["10.77.0.100"], Some(fleet_id()));
    assert!(shown(&compared(&[apex], &[], &known)).is_empty());
}

#[test]
fn judges_again_before_writing() {
    let domain = domain();
    let change = |rrsets: &[Rrset], edit: &Edit| {
        change_for(edit, fleet_id(), &Shelf::new(&domain, rrsets)).map(|change| change.is_some())
    };
    let ours = || rrset(NAME, "A", &["10.77.0.100"], Some(fleet_id()));
    let foreign = || rrset(NAME, "A", &["10.77.0.100"], None);
    let add = compared(&[], &["web-0"], &[]).edits.remove(0);
    assert_eq!(change(&[], &add), Ok(true));
    assert_eq!(change(&[ours()], &add), Ok(false), "done already");
    assert!(change(&[foreign()], &add).is_err(), "came in since");

    let remove = compared(&[ours()], &[], &["10.77.0.100"]).edits.remove(0);
    assert_eq!(change(&[ours()], &remove), Ok(true));
    assert_eq!(change(&[], &remove), Ok(false));
    assert!(change(&[foreign()], &remove).is_err());
    let changed = rrset(NAME, "A", &["10.77.0.9"], Some(fleet_id()));
    assert!(change(&[changed], &remove).is_err());
}
