//! What two VMs of a lock may not both have, and where it stands in the lock's text.

use std::{fmt, net::Ipv4Addr};

use uuid::Uuid;

use super::VmDecision;
use crate::model::{Mac, NetworkName, VmName};

/// Something only one VM can have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A UUID.
    Uuid(Uuid),
    /// A MAC address.
    Mac(Mac),
    /// An address of a network.
    Address(NetworkName, Ipv4Addr),
    /// A volume.
    Volume(String),
}

/// Two VMs that claim the same: two branches may have decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The one.
    pub one: VmName,
    /// The other; the same VM where it claims a thing twice.
    pub other: VmName,
    /// What they both claim.
    pub claim: Claim,
}

impl Claim {
    /// Returns everything a VM claims. A tombstone's address may be another's by now.
    pub(super) fn all_of(vm: &VmDecision) -> Vec<Self> {
        let macs = vm.nics.iter().map(|nic| Self::Mac(nic.mac));
        let living = vm.nics.iter().filter(|_| !vm.removed);
        let addresses = living.filter_map(|nic| {
            nic.address.map(|address| Self::Address(nic.network.clone(), address))
        });
        let volumes = vm.disks.iter().map(|disk| Self::Volume(disk.volume.clone()));
        [Self::Uuid(vm.uuid)].into_iter().chain(macs).chain(addresses).chain(volumes).collect()
    }

    /// Returns it as the lock's text has it.
    fn in_text(&self) -> String {
        match self {
            Self::Uuid(uuid) => uuid.to_string(),
            Self::Mac(mac) => mac.to_string(),
            Self::Address(_, address) => address.to_string(),
            Self::Volume(volume) => volume.clone(),
        }
    }
}

impl Clash {
    /// Returns the lines where the two claims stand, as far as they are found.
    pub(super) fn lines(&self, text: &str) -> Vec<usize> {
        let quoted = format!("\"{}\"", self.claim.in_text());
        let has_it = |(_, line): &(usize, &str)| line.to_ascii_lowercase().contains(&quoted);
        let claims = |vm| lines_of(text, vm).into_iter().filter(has_it).map(|(number, _)| number);
        if self.one == self.other {
            return claims(&self.one).take(2).collect();
        }
        claims(&self.one).take(1).chain(claims(&self.other).take(1)).collect()
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => write!(f, "UUID {uuid}"),
            Self::Mac(mac) => write!(f, "MAC {mac}"),
            Self::Address(network, address) => write!(f, "address {address} of network {network}"),
            Self::Volume(volume) => write!(f, "volume {volume}"),
        }
    }
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { one, other, claim } = self;
        if one == other {
            write!(f, "vm {one} has {claim} twice")
        } else {
            write!(f, "vm {one} and vm {other} both have {claim}")
        }
    }
}

/// Returns the VM whose table begins at this line: `[vm.web-0]`, `[vm."web-0"]`.
pub(super) fn vm_of_header(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix("[vm.")?.split(']').next()?.trim();
    (!name.contains('.')).then(|| name.trim_matches('"'))
}

/// Returns the lines of a VM's table and of those in it, with their numbers.
fn lines_of<'a>(text: &'a str, vm: &VmName) -> Vec<(usize, &'a str)> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('[') {
            let header = line.trim().trim_matches(['[', ']']);
            let of = header.strip_prefix("vm.").map(|rest| rest.split('.').next().unwrap_or(rest));
            inside = of.is_some_and(|of| of.trim_matches('"') == vm.as_str());
        }
        if inside {
            lines.push((index + 1, line));
        }
    }
    lines
}
