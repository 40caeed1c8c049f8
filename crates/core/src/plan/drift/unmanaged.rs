//! What is on hosts and nobody's of this fleet.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use uuid::Uuid;

use super::{host::Look, owner::Belongs, short_size};
use crate::{
    model::{DomainState, HostName, Observed, Seen, Size, VmName},
    state::Snapshot,
};

/// What is on one host and nobody's of this fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unmanaged {
    /// Domains, by name.
    pub domains: Vec<UnmanagedDomain>,
    /// libvirt's networks, by name.
    pub networks: Vec<UnmanagedNetwork>,
    /// Files of our pool.
    pub volumes: Vec<UnmanagedVolume>,
}

/// A domain that is not this fleet's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnmanagedDomain {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// What it does.
    pub state: DomainState,
    /// Its virtual CPUs.
    pub cpus: u32,
    /// Its memory, in bytes.
    pub memory: Size,
    /// Whose it is.
    pub owner: Owner,
}

/// A network that is not this fleet's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnmanagedNetwork {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether it runs.
    pub active: bool,
    /// Whose it is.
    pub owner: Owner,
}

/// A file of our pool that is not this fleet's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnmanagedVolume {
    /// Its name.
    pub name: String,
    /// Its size as a guest sees it, in bytes.
    pub size: Size,
    /// What it takes of the pool's file system, in bytes.
    pub used: Size,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose something is that is not this fleet's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Owner {
    /// Nobody's that says so.
    Nobody,
    /// Another fleet's, as its mark or the host's card says.
    Fleet {
        /// Which.
        id: String,
    },
    /// Of a VM of ours that is no longer managed.
    Forgotten {
        /// Which.
        vm: VmName,
    },
}

/// Returns what is on the hosts that were read and nobody's of this fleet.
pub fn unmanaged(snapshot: &Snapshot, observed: &Observed) -> BTreeMap<HostName, Unmanaged> {
    let read = observed.iter().filter_map(|(host, seen)| match seen {
        Seen::Whole(view) => Some((host, view)),
        Seen::Unreachable(_) => None,
    });
    read.map(|(host, view)| (host.clone(), Look { snapshot, observed, host, view }.unmanaged()))
        .collect()
}

impl Look<'_> {
    fn unmanaged(self) -> Unmanaged {
        let mut all = Unmanaged::default();
        for domain in &self.view.domains {
            let Belongs::Other(owner) = self.domain_owner(domain) else { continue };
            all.domains.push(UnmanagedDomain {
                name: domain.name.clone(),
                uuid: domain.uuid,
                state: domain.state,
                cpus: domain.defined.cpus,
                memory: domain.defined.memory,
                owner,
            });
        }
        let ours = self.snapshot.networks.get(self.host);
        for network in &self.view.networks {
            let fleet = network.mark.as_ref().map(|mark| mark.fleet);
            let known = ours.is_some_and(|ours| ours.values().any(|uuid| *uuid == network.uuid));
            if known || fleet == Some(self.snapshot.fleet) {
                continue;
            }
            let (name, uuid, active) = (network.name.clone(), network.uuid, network.active);
            let owner = Owner::of(fleet.map(|fleet| fleet.to_string()));
            all.networks.push(UnmanagedNetwork { name, uuid, active, owner });
        }
        let known = self.known_volumes();
        for (name, view) in self.pool().into_iter().flat_map(|pool| &pool.volumes) {
            if let Belongs::Other(owner) = self.volume_owner(name, &known) {
                let (name, size, used) = (name.clone(), view.capacity, view.used);
                all.volumes.push(UnmanagedVolume { name, size, used, owner });
            }
        }
        all.domains.sort_by(|one, other| one.name.cmp(&other.name));
        all.networks.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

impl Owner {
    pub(super) fn of(fleet: Option<String>) -> Self {
        fleet.map_or(Self::Nobody, |id| Self::Fleet { id })
    }
}

impl Unmanaged {
    /// Returns one line per object.
    pub fn lines(&self) -> Vec<String> {
        let domains = self.domains.iter().map(ToString::to_string);
        let networks = self.networks.iter().map(ToString::to_string);
        let volumes = self.volumes.iter().map(ToString::to_string);
        domains.chain(networks).chain(volumes).collect()
    }
}

impl fmt::Display for UnmanagedDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, state, cpus, memory, owner, .. } = self;
        let state = match state {
            DomainState::Running => "running",
            DomainState::Paused => "paused",
            DomainState::Off => "off",
            DomainState::Crashed => "crashed",
        };
        write!(f, "domain {name}: {state}, {cpus} cpu, {}{owner}", short_size(*memory))
    }
}

impl fmt::Display for UnmanagedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.active { "active" } else { "inactive" };
        write!(f, "network {}: {state}{}", self.name, self.owner)
    }
}

impl fmt::Display for UnmanagedVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, used) = (short_size(self.size), short_size(self.used));
        write!(f, "volume {}: {size}, takes {used}{}", self.name, self.owner)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => Ok(()),
            Self::Fleet { id } => write!(f, ", of fleet {id}"),
            Self::Forgotten { vm } => write!(f, ", of vm {vm}, forgotten"),
        }
    }
}
