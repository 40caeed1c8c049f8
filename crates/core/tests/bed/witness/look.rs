//! A host as it is at one moment, and what is not ours on it.

use std::collections::BTreeMap;

use freehold_core::{
    host::simulated::{World, WorldDomain},
    model::{FleetId, HostCard, NetworkSpec, VolumeView},
};
use uuid::Uuid;

/// Everything on a host.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) domains: BTreeMap<Uuid, WorldDomain>,
    pub(super) volumes: BTreeMap<String, VolumeView>,
    /// Where the contents of small volumes lie in memory: what is written anew lies elsewhere.
    pub(super) contents: BTreeMap<String, usize>,
    pub(super) networks: BTreeMap<Uuid, (NetworkSpec, bool)>,
    pub(super) card: Option<HostCard>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) pool_path: String,
}

impl Look {
    pub(super) fn at(world: &World) -> Self {
        let contents = world.contents.iter();
        Self {
            domains: world.domains.clone(),
            volumes: world.volumes.clone(),
            contents: contents.map(|(name, it)| (name.clone(), it.as_ptr().addr())).collect(),
            networks: world.networks.clone(),
            card: world.card.clone(),
            files: world.files.clone(),
            pool_path: world.pool_path.clone(),
        }
    }

    /// Says who uses a volume: a domain, or a volume that stands on it.
    pub(super) fn user_of(&self, volume: &str) -> Option<String> {
        let names = |domain: &&WorldDomain| {
            let disks = domain.spec.disks.iter().map(|disk| disk.volume.as_str());
            let others = domain.spec.seed.iter().chain(&domain.spec.nvram).map(String::as_str);
            disks.chain(others).any(|name| name == volume)
        };
        let domain = self.domains.values().find(names);
        let path = format!("{}/{volume}", self.pool_path);
        let over = self.volumes.iter().find(|(_, over)| over.backing.as_ref() == Some(&path));
        let over = || over.map(|(name, _)| format!("volume {name}"));
        domain.map(|domain| format!("domain {}", domain.spec.name)).or_else(over)
    }

    /// Returns what our part of the card lists.
    pub(super) fn index(&self, fleet: FleetId) -> &[String] {
        let card = self.card.as_ref().and_then(|card| card.volumes.get(&fleet.to_string()));
        card.map(Vec::as_slice).unwrap_or_default()
    }
}

/// Says whether two looks at a domain show the same.
pub(super) fn same(one: &WorldDomain, other: &WorldDomain) -> bool {
    let facts = |it: &WorldDomain| {
        (it.state, it.autostart, it.marked, it.saved, it.snapshots, it.persistent, it.obeys)
    };
    facts(one) == facts(other)
        && one.spec == other.spec
        && one.runs == other.runs
        && one.saved_run == other.saved_run
        && one.extra == other.extra
        && one.overlays == other.overlays
}

/// What is on a host and is not ours.
#[derive(Default)]
pub(super) struct Strangers {
    domains: BTreeMap<Uuid, WorldDomain>,
    pub(super) volumes: BTreeMap<String, VolumeView>,
    networks: BTreeMap<Uuid, NetworkSpec>,
    files: BTreeMap<String, Vec<u8>>,
    /// Other fleets' parts of the card.
    serials: BTreeMap<String, u64>,
    listed: BTreeMap<String, Vec<String>>,
}

impl Strangers {
    pub(super) fn of(world: &World, fleet: FleetId) -> Self {
        let id = fleet.to_string();
        let ours = format!("{}.", fleet.short());
        let named_ours = |name: &str| name.contains(&ours) || name.starts_with("image.");
        let card = world.card.as_ref();
        let mut strangers = Self {
            domains: world.domains.clone(),
            volumes: world.volumes.clone(),
            networks: world.networks.iter().map(|(uuid, (it, _))| (*uuid, it.clone())).collect(),
            files: world.files.clone(),
            serials: card.map(|card| card.fleets.clone()).unwrap_or_default(),
            listed: card.map(|card| card.volumes.clone()).unwrap_or_default(),
        };
        // One that lost our mark is not a stranger.
        strangers.domains.retain(|_, domain| domain.spec.mark.fleet != fleet);
        strangers.volumes.retain(|name, _| !named_ours(name) && !name.starts_with("trash."));
        strangers.networks.retain(|_, network| network.mark.fleet != fleet);
        strangers.serials.remove(&id);
        strangers.listed.remove(&id);
        for name in strangers.listed.values().flatten() {
            if let Some(volume) = world.volumes.get(name) {
                strangers.volumes.insert(name.clone(), volume.clone());
            }
        }
        strangers
    }

    /// Says what of them is not as it was.
    pub(super) fn are_in(&self, after: &Look) -> Result<(), String> {
        for (uuid, domain) in &self.domains {
            if !after.domains.get(uuid).is_some_and(|it| same(it, domain)) {
                return Err(format!("{}, which is not ours, changed", domain.spec.name));
            }
        }
        for (name, volume) in &self.volumes {
            if after.volumes.get(name) != Some(volume) {
                return Err(format!("volume {name}, which is not ours, changed"));
            }
        }
        for (uuid, network) in &self.networks {
            if after.networks.get(uuid).map(|(it, _)| it) != Some(network) {
                return Err(format!("network {}, which is not ours, changed", network.name));
            }
        }
        if self.files.iter().any(|(path, content)| after.files.get(path) != Some(content)) {
            return Err("a file that is not ours changed".to_owned());
        }
        let card = after.card.as_ref();
        let serial = |fleet: &String| card.and_then(|card| card.fleets.get(fleet));
        let listed = |fleet: &String| card.and_then(|card| card.volumes.get(fleet));
        let stays = self.serials.iter().all(|(fleet, it)| serial(fleet) == Some(it))
            && self.listed.iter().all(|(fleet, it)| listed(fleet) == Some(it));
        if stays { Ok(()) } else { Err("another fleet's part of the card changed".to_owned()) }
    }
}
