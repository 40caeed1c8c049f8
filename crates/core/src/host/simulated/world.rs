//! What a simulated host holds, and the rules by which it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use uuid::Uuid;

use super::{Answer, Faults};
use crate::model::{
    Digest, DomainShape, DomainSpec, DomainState, DomainView, HostCard, HostView, NetworkShape,
    NetworkSpec, NetworkView, PoolView, Size, VolumeView,
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
    /// Whether the pool's file system is full: nothing new gets a name there.
    pub full: bool,
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
    /// By how many seconds its clock is ahead.
    pub clock: i64,
    /// Whether nothing arrives.
    pub down: bool,
    pub(super) late: Vec<Late>,
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
    /// What ran when its run was saved: it goes on as that, whatever it is defined as since.
    pub saved_run: Option<DomainSpec>,
}

impl WorldDomain {
    /// Makes a domain that is off, as a definition makes it.
    pub fn of(spec: &DomainSpec) -> Self {
        Self {
            spec: spec.clone(),
            state: DomainState::Off,
            autostart: false,
            marked: true,
            obeys: true,
            saved: false,
            snapshots: false,
            persistent: true,
            extra: String::new(),
            overlays: BTreeMap::new(),
            runs: None,
            saved_run: None,
        }
    }

    /// Says whether there is a machine.
    pub fn is_active(&self) -> bool {
        matches!(self.state, DomainState::Running | DomainState::Paused)
    }

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
            memory: Size::from_mib(64 << 10),
            pool,
            networks: networks.collect(),
            domains: self.domains.values().map(|domain| self.domain_view(domain)).collect(),
            bridges: bridges.iter().filter(|name| self.bridges.contains(*name)).cloned().collect(),
        }
    }

    fn domain_view(&self, domain: &WorldDomain) -> DomainView {
        let runs = domain.is_active();
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

    pub(super) fn shape(&self, domain: &WorldDomain, spec: &DomainSpec) -> DomainShape {
        let mut shape = DomainShape::of(spec, &self.pool_path);
        shape.beneath.clear();
        for (disk, file) in spec.disks.iter().zip(&mut shape.disks) {
            if let Some(overlay) = domain.overlays.get(&disk.volume) {
                shape.beneath.push(std::mem::replace(file, overlay.clone()));
            }
            shape.beneath.extend(disk.backing.as_ref().map(|name| self.path(name)));
        }
        shape
    }

    /// Returns the path of a file in the pool.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.pool_path)
    }

    /// Has what was on its way arrive.
    pub(super) fn land(&mut self) {
        for Late(effect) in std::mem::take(&mut self.late) {
            effect(self);
        }
    }
}

/// A change whose request left, and that has not happened yet.
pub(super) struct Late(pub(super) Box<dyn FnOnce(&mut World) + Send>);

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Late")
    }
}
