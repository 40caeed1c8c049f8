//! Networks.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{AddressRange, NetworkName};

/// A network that VMs are attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name in the fleet, and libvirt's name for a `nat` network.
    pub name: NetworkName,
    /// What it is on a host.
    pub kind: NetworkKind,
    /// Its addresses; a bridge to a network with an outside DHCP server may leave it out.
    pub subnet: Option<Ipv4Net>,
    /// The router; for `nat` the host itself, by default the first address.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers given to guests.
    pub dns: Vec<IpAddr>,
    /// What freehold may hand out.
    pub addresses: Vec<AddressRange>,
}

/// What a network is on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// A bridge the host has already; outsiders reach the guests.
    Bridge(String),
    /// A libvirt network behind the host's address; outsiders do not reach the guests.
    Nat,
}

impl NetworkKind {
    /// Says whether outsiders reach an address of such a network.
    pub fn is_reachable(&self) -> bool {
        matches!(self, Self::Bridge(_))
    }
}
