//! The mark that says whose a domain or network is.

use serde::{Deserialize, Serialize};

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
