//! `PowerDNS`' JSON, and what we read from it.

use std::{collections::BTreeSet, net::Ipv4Addr};

use freehold_core::model::{DomainName, FleetId, RecordKind, VmName};
use serde::{Deserialize, Serialize};

use crate::records::{Content, Spot};

/// The account our comments carry.
const ACCOUNT: &str = "freehold";

/// A zone as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ZoneEntry {
    /// What stands for it in addresses; not always its name.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: String,
}

impl ZoneEntry {
    /// Says whether its records come from elsewhere (both words of all versions).
    pub(crate) fn is_secondary(&self) -> bool {
        ["slave", "secondary", "consumer"].contains(&self.kind.to_ascii_lowercase().as_str())
    }

    /// Says whether it has secondaries to notify.
    pub(crate) fn is_primary(&self) -> bool {
        ["master", "primary", "producer"].contains(&self.kind.to_ascii_lowercase().as_str())
    }
}

/// A zone's content.
#[derive(Debug, Deserialize)]
pub(crate) struct ZoneBody {
    pub(crate) rrsets: Vec<Rrset>,
}

/// An rrset as the server shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rrset {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) ttl: u32,
    #[serde(default)]
    pub(crate) records: Vec<Record>,
    #[serde(default)]
    pub(crate) comments: Vec<Comment>,
}

/// A record of an rrset.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) disabled: bool,
}

/// A comment on an rrset.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Comment {
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) account: String,
}

impl Rrset {
    /// Returns its name, unless it is none of ours by its form (a wildcard, say).
    pub(crate) fn domain(&self) -> Option<DomainName> {
        self.name.parse().ok()
    }

    /// Returns its type, where it is one that we write.
    pub(crate) fn record_kind(&self) -> Option<RecordKind> {
        match self.kind.as_str() {
            "A" => Some(RecordKind::A),
            "PTR" => Some(RecordKind::Ptr),
            _ => None,
        }
    }

    /// Returns the VM it is marked for, when the mark is that of this fleet.
    pub(crate) fn vm(&self, fleet: FleetId) -> Option<VmName> {
        let mut ours = self.comments.iter().filter(|comment| comment.account == ACCOUNT);
        ours.find_map(|comment| {
            let (id, vm) = comment.content.strip_prefix("freehold ")?.split_once(' ')?;
            if id.parse::<FleetId>().ok()? != fleet {
                return None;
            }
            vm.parse().ok()
        })
    }

    /// Returns what it answers, in the form we compare: order, case and final dots do not count.
    pub(crate) fn values(&self) -> BTreeSet<String> {
        let shown = self.records.iter().filter(|record| !record.disabled);
        shown.map(|record| normal(self.record_kind(), &record.content)).collect()
    }

    /// Says whether a record of it was switched off by hand.
    pub(crate) fn has_disabled(&self) -> bool {
        self.records.iter().any(|record| record.disabled)
    }
}

/// Returns a record's content in the form we compare.
pub(crate) fn normal(kind: Option<RecordKind>, content: &str) -> String {
    let parsed = match kind {
        Some(RecordKind::A) => content.trim().parse::<Ipv4Addr>().ok().map(|a| a.to_string()),
        Some(RecordKind::Ptr) => content.parse::<DomainName>().ok().map(String::from),
        None => None,
    };
    parsed.unwrap_or_else(|| content.to_owned())
}

/// One entry of a PATCH.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Change {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    ttl: u32,
    changetype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<Record>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comments: Option<Vec<Comment>>,
}

impl Change {
    /// Puts a whole rrset with our mark in place of whatever is there.
    pub(crate) fn replace(spot: &Spot, content: &Content, fleet: FleetId) -> Self {
        let dot = if spot.kind == RecordKind::Ptr { "." } else { "" };
        let record = |value: &String| Record { content: format!("{value}{dot}"), disabled: false };
        let mark = Comment {
            content: format!("freehold {fleet} {}", content.vm),
            account: ACCOUNT.to_owned(),
        };
        Self {
            name: spot.name.fqdn(),
            kind: spot.kind.to_string(),
            ttl: content.ttl,
            changetype: "REPLACE",
            records: Some(content.values.iter().map(record).collect()),
            comments: Some(vec![mark]),
        }
    }

    /// Takes an rrset and its comments away.
    pub(crate) fn delete(spot: &Spot) -> Self {
        Self {
            name: spot.name.fqdn(),
            kind: spot.kind.to_string(),
            ttl: 0,
            changetype: "DELETE",
            records: None,
            comments: None,
        }
    }
}

/// Bodies of a PATCH, each with whole entries and at most `limit` bytes (one entry may be more).
pub(crate) fn batches(changes: &[Change], limit: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut body = String::new();
    for change in changes {
        let entry = serde_json::to_string(change).expect("texts and numbers are JSON");
        if !body.is_empty() && body.len() + entry.len() + FRAME > limit {
            bodies.push(std::mem::take(&mut body));
        }
        if !body.is_empty() {
            body.push(',');
        }
        body.push_str(&entry);
    }
    bodies.extend((!body.is_empty()).then_some(body));
    bodies.iter().map(|entries| format!("{{\"rrsets\":[{entries}]}}")).collect()
}

/// Bytes around the entries of a body, and a comma.
const FRAME: usize = 16;

/// Returns the body that makes a zone. Its SOA names a real server (`PowerDNS` would write
/// `a.misconfigured…`) and lets a "no such name" be forgotten after a minute, since names are asked
/// for before their VMs are there.
pub(crate) fn zone_body(zone: &DomainName, nameservers: &[DomainName]) -> serde_json::Value {
    let primary = nameservers.first().unwrap_or(zone).fqdn();
    let apex = zone.fqdn();
    let soa = format!("{primary} hostmaster.{apex} 0 10800 3600 604800 60");
    serde_json::json!({
        "name": apex,
        "kind": "Native",
        "nameservers": nameservers.iter().map(DomainName::fqdn).collect::<Vec<_>>(),
        "soa_edit_api": "DEFAULT",
        "api_rectify": true,
        "rrsets": [{
            "name": apex,
            "type": "SOA",
            "ttl": 3600,
            "records": [{ "content": soa, "disabled": false }],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(n: usize) -> Change {
        let zone: DomainName = "home.example.org".parse().unwrap();
        let name = zone.child(&format!("vm-{n}")).unwrap();
        Change::delete(&Spot { zone, name, kind: RecordKind::A })
    }

    #[test]
    fn keeps_batches_below_the_limit_and_whole() {
        let changes: Vec<_> = (0..100).map(change).collect();
        let bodies = batches(&changes, 1000);
        assert!(bodies.len() > 5);
        let mut entries = 0;
        for body in bodies {
            assert!(body.len() <= 1000, "{}", body.len());
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            entries += value["rrsets"].as_array().unwrap().len();
        }
        assert_eq!(entries, 100);
        assert!(batches(&[], 1000).is_empty());
        assert_eq!(batches(&changes[..2], 10).len(), 2);
    }

    #[test]
    fn knows_its_own_mark_only() {
        let fleet = FleetId::from_bytes([7; 16]);
        let rrset = |account: &str, content: &str| Rrset {
            name: "web.home.example.org.".to_owned(),
            kind: "A".to_owned(),
            ttl: 60,
            records: Vec::new(),
            comments: vec![Comment { content: content.to_owned(), account: account.to_owned() }],
        };
        let mark = format!("freehold {fleet} web-0");
        assert_eq!(rrset("freehold", &mark).vm(fleet).unwrap().as_str(), "web-0");
        assert_eq!(rrset("alice", &mark).vm(fleet), None);
        assert_eq!(rrset("freehold", &mark).vm(FleetId::from_bytes([8; 16])), None);
        assert_eq!(rrset("freehold", "freehold web-0").vm(fleet), None);
    }

    #[test]
    fn compares_contents_by_meaning() {
        assert_eq!(normal(Some(RecordKind::Ptr), "Web.Home.Example.org."), "web.home.example.org");
        assert_eq!(normal(Some(RecordKind::A), "10.0.0.1 "), "10.0.0.1");
        assert_eq!(normal(None, "x"), "x");
    }
}
