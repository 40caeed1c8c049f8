//! What a plugin wants to change outside: closed values, shown in the plan.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{DomainName, VmName};

/// One change outside the hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The plugin that publishes it, as `dns main`, `prometheus main`.
    pub plugin: String,
    /// The VM it is about; it follows that VM's fate. `None` concerns the whole fleet (a zone).
    pub vm: Option<VmName>,
    /// What it is about.
    pub key: EditKey,
    /// The values that are there now and are ours.
    pub old: Vec<String>,
    /// The values that shall be there; empty removes.
    pub new: Vec<String>,
}

/// What an edit is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum EditKey {
    /// A zone to make; values are its name servers.
    Zone {
        /// Its domain name.
        zone: DomainName,
    },
    /// An rrset; values are its records' contents.
    Rrset {
        /// The zone it lies in.
        zone: DomainName,
        /// Its owner name.
        name: DomainName,
        /// Its type.
        kind: RecordKind,
        /// Its time to live in seconds.
        ttl: u32,
    },
    /// A scrape target; values are its target groups as compact JSON.
    Target {
        /// The VM's name.
        vm: VmName,
        /// The exporter's name.
        exporter: String,
        /// The TCP port.
        port: u16,
    },
}

impl EditKey {
    /// Says whether both are about the same thing outside; a TTL is no part of a place.
    pub fn same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Rrset { zone, name, kind, .. },
                Self::Rrset { zone: zone2, name: name2, kind: kind2, .. },
            ) => (zone, name, kind) == (zone2, name2, kind2),
            (one, other) => one == other,
        }
    }
}

/// The type of an rrset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordKind {
    /// IPv4 address.
    A,
    /// Name of an address.
    Ptr,
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Ptr => "PTR",
        })
    }
}

/// One group of a Prometheus `file_sd` file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// `address:port`, each.
    pub targets: Vec<String>,
    /// Labels, all of them text.
    pub labels: BTreeMap<String, String>,
}

impl fmt::Display for Edit {
    /// Writes `+ dns web-0.home.example.org A 10.77.0.100`, as the plan shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (self.old.is_empty(), self.new.is_empty()) {
            (true, _) => '+',
            (false, true) => '-',
            (false, false) => '~',
        };
        match &self.key {
            EditKey::Zone { zone } => write!(f, "{sign} zone {zone}"),
            EditKey::Rrset { name, kind, .. } => {
                write!(f, "{sign} dns {name} {kind} ")?;
                match (self.old.is_empty(), self.new.is_empty()) {
                    (false, false) if self.old != self.new => {
                        write!(f, "{} -> {}", self.old.join(" "), self.new.join(" "))
                    }
                    (_, true) => f.write_str(&self.old.join(" ")),
                    _ => f.write_str(&self.new.join(" ")),
                }
            }
            EditKey::Target { vm, exporter, port } => {
                write!(f, "{sign} target {vm}:{port} {exporter}")
            }
        }
    }
}
