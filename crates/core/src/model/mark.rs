//! The mark that says whose a domain or network is.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Digest, DiskName, FleetId};

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
    /// Digest of what a guest is told about its interfaces at every start.
    #[serde(default)]
    pub network: Digest,
    /// Whether it must not be taken away; says so even when the text and the state no longer do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protect: bool,
    /// Its disks that outlive it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<DiskName>,
}

/// What a seed says, in two digests: a change of either is seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeedDigest {
    /// Of what a guest is told once, at its first boot.
    pub first: Digest,
    /// Of what it is told about its interfaces at every boot.
    pub network: Digest,
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
    /// The fingerprint of its definition as the plan saw it: the first step that touches it refuses
    /// one that changed since. `None`: a step of ours touched it before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Digest>,
}

impl Ours {
    /// Returns the same with the fingerprint that its definition must still have.
    #[must_use]
    pub fn seen_as(self, seen: &Digest) -> Self {
        Self { seen: Some(seen.clone()), ..self }
    }

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
