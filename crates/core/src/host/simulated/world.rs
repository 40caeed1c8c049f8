//! What a simulated host holds, and the rules by which it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use uuid::Uuid;

use super::{Answer, Faults};
use crate::{
    host::trouble::Trouble,
    model::{
        Digest, DomainShape, DomainSpec, DomainState, DomainView, HostCard, HostView, NetworkShape,
        NetworkSpec, NetworkView, NicSource, Ours, PoolView, Size, VolumeSpec, VolumeView,
    },
};

/// Everything on a simulated host; tests may change it behind everybody's back.
#[derive(Debug, Default)]
pub struct World {
    /// Whether libvirt offers KVM.
    pub kvm: bool,
    /// Whether our pool is defined; and started.
    pub pool: Option<bool>,
    /// The directory of our pool.
    pub pool_path: String,
    /// Files of our pool, but for the card.
    pub volumes: BTreeMap<String, VolumeView>,
    /// Content of small volumes: seeds.
    pub contents: BTreeMap<String, Vec<u8>>,
    /// `freehold-host.json`.
    pub card: Option<HostCard>,
    /// Bytes free in the pool.
    pub free: Size,
    /// Domains by UUID.
    pub domains: BTreeMap<Uuid, WorldDomain>,
    /// Networks by UUID, with whether they run.
    pub networks: BTreeMap<Uuid, (NetworkSpec, bool)>,
    /// Bridges.
    pub bridges: BTreeSet<String>,
    /// Other files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Addresses from which images can be fetched, with what they hash to.
    pub sources: BTreeMap<String, crate::model::Checksum>,
    /// What guests' ports answer while any domain runs.
    pub answers: BTreeMap<(Ipv4Addr, u16), Answer>,
    /// Whether nothing arrives.
    pub down: bool,
    pub(super) changes: usize,
    pub(super) faults: Faults,
    pub(super) calls: Vec<String>,
}

/// A domain of a simulated host.
#[derive(Debug, Clone)]
pub struct WorldDomain {
    /// What it was defined as.
    pub spec: DomainSpec,
    /// What it does.
    pub state: DomainState,
    /// Whether it starts with its host.
    pub autostart: bool,
    /// Whether it bears its mark; somebody may have dropped it.
    pub marked: bool,
    /// Whether it shuts down when asked to.
    pub obeys: bool,
    /// Whether its run was saved to disk (`virsh managedsave`).
    pub saved: bool,
    /// Whether it has snapshots.
    pub snapshots: bool,
    /// Whether it outlives its run.
    pub persistent: bool,
    /// What was added by hand: a device, another tool's metadata. Whoever makes its definition anew
    /// drops it.
    pub extra: String,
    /// Overlays that somebody's external snapshot put on a volume of its disks.
    pub overlays: BTreeMap<String, String>,
    /// What it was started as.
    pub runs: Option<DomainSpec>,
}

impl WorldDomain {
    pub(super) fn fingerprint(&self) -> Digest {
        let spec = serde_json::to_vec(&self.spec).expect("a spec is plain JSON");
        let overlays = format!("{:?}", self.overlays);
        let marked = [u8::from(self.marked)];
        Digest::of([&spec[..], self.extra.as_bytes(), overlays.as_bytes(), &marked])
    }
}

impl World {
    pub(super) fn view(&self, bridges: &[String]) -> HostView {
        let pool = self.pool.map(|active| PoolView {
            path: self.pool_path.clone(),
            active,
            card: self.card.clone().filter(|_| active),
            volumes: if active { self.volumes.clone() } else { BTreeMap::new() },
            free: if active { self.free } else { Size::default() },
        });
        let networks = self.networks.values().map(|(spec, active)| NetworkView {
            name: spec.name.clone(),
            uuid: spec.uuid,
            active: *active,
            autostart: true,
            mark: Some(spec.mark.clone()),
            defined: NetworkShape::of(spec),
        });
        HostView {
            kvm: self.kvm,
            pool,
            networks: networks.collect(),
            domains: self.domains.values().map(|domain| self.domain_view(domain)).collect(),
            bridges: bridges.iter().filter(|name| self.bridges.contains(*name)).cloned().collect(),
        }
    }

    fn domain_view(&self, domain: &WorldDomain) -> DomainView {
        let runs = matches!(domain.state, DomainState::Running | DomainState::Paused);
        DomainView {
            name: domain.spec.name.clone(),
            uuid: domain.spec.uuid,
            state: domain.state,
            persistent: domain.persistent,
            autostart: domain.autostart,
            mark: domain.marked.then(|| domain.spec.mark.clone()),
            live: domain.runs.as_ref().filter(|_| runs).map(|runs| self.shape(domain, runs)),
            defined: self.shape(domain, &domain.spec),
            fingerprint: domain.fingerprint(),
            saved: domain.saved,
            snapshots: domain.snapshots,
        }
    }

    fn shape(&self, domain: &WorldDomain, spec: &DomainSpec) -> DomainShape {
        let mut shape = DomainShape::of(spec, &self.pool_path);
        for (volume, overlay) in &domain.overlays {
            let path = format!("{}/{volume}", self.pool_path);
            for disk in shape.disks.iter_mut().filter(|disk| **disk == path) {
                overlay.clone_into(disk);
                shape.beneath.push(path.clone());
            }
        }
        shape
    }

    pub(super) fn started_pool(&self) -> Result<(), Trouble> {
        match self.pool {
            Some(true) => Ok(()),
            Some(false) => Err(Trouble::failed("the pool is not active")),
            None => Err(Trouble::failed("libvirt has no pool of ours")),
        }
    }

    pub(super) fn create_volume(&mut self, spec: &VolumeSpec) -> Result<(), Trouble> {
        self.started_pool()?;
        let backing = spec.backing.as_ref().map(|name| format!("{}/{name}", self.pool_path));
        if spec.backing.as_ref().is_some_and(|name| !self.volumes.contains_key(name)) {
            return Err(Trouble::failed("the image under it is not there"));
        }
        let volume = VolumeView { capacity: spec.size, backing, used: Size::from_mib(1) };
        match self.volumes.get(&spec.name) {
            Some(there) if *there != volume => {
                Err(Trouble::conflict("a volume of that name is there"))
            }
            _ => {
                self.volumes.insert(spec.name.clone(), volume);
                Ok(())
            }
        }
    }

    /// Says who uses a volume: a domain, or a volume that stands on it.
    pub(super) fn unused(&self, name: &str) -> Result<(), Trouble> {
        let path = format!("{}/{name}", self.pool_path);
        for domain in self.domains.values() {
            let shape = DomainShape::of(&domain.spec, &self.pool_path);
            let mut files = shape.disks.iter().chain(&shape.cdroms);
            if domain.spec.nvram.as_deref() == Some(name) || files.any(|file| *file == path) {
                return Err(Trouble::conflict(format!("domain {} uses it", domain.spec.name)));
            }
        }
        match self.volumes.iter().find(|(_, over)| over.backing.as_ref() == Some(&path)) {
            None => Ok(()),
            Some((over, _)) => Err(Trouble::conflict(format!("volume {over} uses it"))),
        }
    }

    pub(super) fn rename_volume(&mut self, from: &str, to: &str) -> Result<(), Trouble> {
        self.started_pool()?;
        self.unused(from)?;
        if self.volumes.contains_key(to) {
            return Err(Trouble::conflict(format!("{to} is there already")));
        }
        let volume = self.volumes.remove(from).ok_or_else(|| Trouble::failed("no such volume"))?;
        self.volumes.insert(to.to_owned(), volume);
        if let Some(content) = self.contents.remove(from) {
            self.contents.insert(to.to_owned(), content);
        }
        Ok(())
    }

    pub(super) fn define_domain(&mut self, spec: &DomainSpec) -> Result<(), Trouble> {
        if let Some(there) = self.domains.get(&spec.uuid) {
            if there.marked && there.spec.mark == spec.mark {
                return Ok(());
            }
            let name = &there.spec.name;
            let why = format!("domain {name} is there already with UUID {}", spec.uuid);
            return Err(Trouble::conflict(why));
        }
        if let Some(held) = self.domains.values().find(|held| held.spec.name == spec.name) {
            let (name, uuid) = (&spec.name, held.spec.uuid);
            let why = format!("domain '{name}' already exists with uuid {uuid}");
            return Err(Trouble::conflict(why));
        }
        let domain = WorldDomain {
            spec: spec.clone(),
            state: DomainState::Off,
            autostart: spec.autostart,
            marked: true,
            obeys: true,
            saved: false,
            snapshots: false,
            persistent: true,
            extra: String::new(),
            overlays: BTreeMap::new(),
            runs: None,
        };
        self.domains.insert(spec.uuid, domain);
        Ok(())
    }

    /// Finds a domain that bears its mark.
    pub(super) fn domain(&mut self, ours: &Ours) -> Result<&mut WorldDomain, Trouble> {
        let uuid = ours.uuid;
        let absent = || Trouble::failed(format!("libvirt has no domain with UUID {uuid}"));
        let domain = self.domains.get_mut(&uuid).ok_or_else(absent)?;
        let mark = domain.marked.then_some(&domain.spec.mark);
        if ours.is_proved_by(mark) {
            if ours.seen.as_ref().is_some_and(|seen| *seen != domain.fingerprint()) {
                return Err(changed(&domain.spec.name));
            }
            return Ok(domain);
        }
        let name = &domain.spec.name;
        Err(Trouble::conflict(format!("domain {name} does not bear the mark of {ours}")))
    }

    pub(super) fn remove_network(&mut self, ours: &Ours) -> Result<(), Trouble> {
        let Some((network, _)) = self.networks.get(&ours.uuid) else { return Ok(()) };
        if !ours.is_proved_by(Some(&network.mark)) {
            let why = format!("network {} does not bear its mark", network.name);
            return Err(Trouble::conflict(why));
        }
        let source = NicSource::Network(network.name.clone());
        let attached = |domain: &&WorldDomain| domain.spec.nics.iter().any(|n| n.source == source);
        if let Some(user) = self.domains.values().find(attached) {
            let why = format!("domain {} is attached to it", user.spec.name);
            return Err(Trouble::conflict(why));
        }
        self.networks.remove(&ours.uuid);
        Ok(())
    }

    pub(super) fn start_domain(&mut self, ours: &Ours) -> Result<(), Trouble> {
        let spec = self.domain(ours)?.spec.clone();
        let files = spec.disks.iter().map(|disk| &disk.volume).chain(&spec.seed);
        for file in files {
            if !self.volumes.contains_key(file) {
                return Err(Trouble::failed(format!("cannot access storage file {file}")));
            }
        }
        if let Some(nvram) = spec.nvram {
            let fresh =
                VolumeView { capacity: Size::from_mib(1), backing: None, used: Size::from_mib(1) };
            self.volumes.entry(nvram).or_insert(fresh);
        }
        let domain = self.domain(ours)?;
        domain.state = DomainState::Running;
        domain.runs = Some(domain.spec.clone());
        Ok(())
    }

    pub(super) fn undefine_domain(&mut self, ours: &Ours) -> Result<(), Trouble> {
        if !self.domains.contains_key(&ours.uuid) {
            return Ok(());
        }
        let domain = self.domain(ours)?;
        if matches!(domain.state, DomainState::Running | DomainState::Paused) {
            return Err(Trouble::conflict(format!("domain {} runs", domain.spec.name)));
        }
        if domain.saved {
            return Err(Trouble::conflict(format!("domain {} is saved to disk", domain.spec.name)));
        }
        self.domains.remove(&ours.uuid);
        Ok(())
    }
}

pub(super) fn changed(name: &str) -> Trouble {
    let hint = "somebody changed it meanwhile: plan again";
    Trouble::conflict(format!("domain {name} is not defined as the plan saw it")).hint(hint)
}
