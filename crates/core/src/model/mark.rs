//! The mark that says whose a domain or network is.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Digest, FleetId};

/// Written into libvirt's `<metadata>` in the same define as the object, every time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Whose fleet.
    pub fleet: FleetId,
    /// The VM's or network's name in the fleet.
    pub name: String,
    /// Raised when the VM is made again.
    pub incarnation: u32,
    /// Digest of what the object was made from, to see a change of what cannot be read back.
    pub digest: Digest,
}

/// A domain or network of ours: which it is, and what its mark must say before it is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ours {
    /// Its UUID.
    pub uuid: Uuid,
    /// Our fleet.
    pub fleet: FleetId,
    /// Its name in the fleet.
    pub name: String,
}

impl Ours {
    /// Says whether the mark found on the object with this UUID proves that it is ours.
    pub fn is_proved_by(&self, mark: Option<&Mark>) -> bool {
        mark.is_some_and(|mark| mark.fleet == self.fleet && mark.name == self.name)
    }
}

impl fmt::Display for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
