//! Why something does not come back from the trash.

use std::{fmt, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::model::{DiskName, VmName};

/// Why something does not come back from the trash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unrestorable {
    /// It is not in the trash.
    Absent(String),
    /// A VM of that name or UUID is there.
    VmThere(String),
    /// A volume of that name is in the pool.
    VolumeThere(String),
    /// Its definition is not in this entry.
    NoDefinition {
        /// This entry.
        id: String,
        /// The entry before it that has one: a removal that was killed put the rest away later.
        earlier: Option<String>,
    },
    /// What is kept is not the definition of that VM of ours.
    StrangeDefinition(String),
    /// The lock knows nothing of it.
    NotDecided(String),
    /// It is called otherwise by now.
    Renamed {
        /// What it was called when it was put away.
        was: String,
        /// What it is called.
        now: VmName,
    },
    /// Another VM has its address by now.
    AddressTaken {
        /// The address.
        address: Ipv4Addr,
        /// The VM.
        by: VmName,
    },
    /// No disk of that name is in the entry.
    NoDisk(DiskName),
    /// A file under its disk is gone.
    BaseMissing(String),
    /// Its restore from this entry was begun.
    Begun(String),
}

impl Unrestorable {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Absent(_) => "`freehold trash list` shows what is there".into(),
            Self::VmThere(_) => "destroy or rename that one first".into(),
            Self::VolumeThere(_) => {
                "destroy the VM whose disk it is, or move the file out of the pool".into()
            }
            Self::NoDefinition { earlier: Some(id), .. } => {
                format!("the definition lies in what was put away before: trash restore {id}")
            }
            Self::NoDefinition { id, earlier: None } => {
                format!("bring its disks back one by one: trash restore {id} --disk NAME")
            }
            Self::StrangeDefinition(_) => "bring its disks back: add --disk NAME".into(),
            Self::NotDecided(_) => {
                "put its block into the fleet, or the newest freehold.lock back, and try again"
                    .into()
            }
            Self::Renamed { .. } => "take the `moved` block out, restore, and put it back".into(),
            Self::AddressTaken { .. } => {
                "put its block into the fleet first: then it gets another address".into()
            }
            Self::NoDisk(_) => "`freehold trash list` shows what it holds".into(),
            Self::BaseMissing(_) => "put that file back first".into(),
            Self::Begun(id) => format!("finish it: freehold trash restore {id}"),
        }
    }
}

impl fmt::Display for Unrestorable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(id) => write!(f, "nothing in the trash is called {id}"),
            Self::VmThere(what) => write!(f, "{what} is there"),
            Self::VolumeThere(volume) => write!(f, "a volume {volume} is in the pool"),
            Self::NoDefinition { .. } => f.write_str("its definition is not in this entry"),
            Self::StrangeDefinition(why) => write!(f, "what was kept is not its definition: {why}"),
            Self::NotDecided(vm) => write!(f, "freehold.lock knows nothing of {vm}"),
            Self::Renamed { was, now } => {
                write!(f, "it was called {was} when it was put away, and is called {now} now")
            }
            Self::AddressTaken { address, by } => write!(f, "its address {address} is vm {by}'s"),
            Self::NoDisk(disk) => write!(f, "it holds no disk {disk}"),
            Self::BaseMissing(file) => write!(f, "{file} is gone, and a disk stands on it"),
            Self::Begun(id) => write!(f, "it is half back from the trash ({id})"),
        }
    }
}
