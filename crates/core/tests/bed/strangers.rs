//! What is on the hosts and on the server and is not ours.

use std::collections::BTreeMap;

use freehold_core::{
    host::simulated::{World, WorldDomain},
    model::{
        Accel, DaemonMode, Digest, DiskSpec, DomainSpec, DomainState, Firmware, FleetId, HostCard,
        Mark, NetworkSpec, Size, VolumeView,
    },
};
use uuid::Uuid;

/// Another fleet.
const STRANGER: &str = "0123456789abcdef0123456789abcdef";

fn stranger() -> FleetId {
    STRANGER.parse().unwrap()
}

fn mark(name: &str) -> Mark {
    Mark {
        fleet: stranger(),
        name: name.to_owned(),
        incarnation: 1,
        digest: Digest::of([name.as_bytes()]),
        protect: false,
        keep: Vec::new(),
        network: Digest::default(),
    }
}

/// Returns a running domain that nobody marked.
pub(super) fn domain(name: &str, id: u128) -> WorldDomain {
    let spec = DomainSpec {
        uuid: Uuid::from_u128(id),
        name: name.to_owned(),
        mark: mark(name),
        cpus: 1,
        memory: Size::from_mib(128),
        firmware: Firmware::Bios,
        nvram: None,
        accel: Accel::Kvm,
        autostart: true,
        disks: Vec::new(),
        seed: None,
        nics: Vec::new(),
    };
    WorldDomain {
        state: DomainState::Running,
        autostart: true,
        marked: false,
        runs: Some(spec.clone()),
        ..WorldDomain::of(&spec)
    }
}

fn volume(backing: Option<&str>) -> VolumeView {
    let size = Size::from_mib(512);
    VolumeView { capacity: size, backing: backing.map(str::to_owned), used: size }
}

/// Puts other people's domains, network and files on a host; `number` is the host's.
pub(super) fn settle(world: &mut World, number: usize) {
    let mut near = domain("vm-00", 0x51);
    (near.state, near.runs, near.autostart) = (DomainState::Off, None, false);
    world.domains.insert(near.spec.uuid, near);
    let network = NetworkSpec {
        uuid: Uuid::from_u128(0x60),
        name: "default".to_owned(),
        mark: mark("default"),
        subnet: "192.168.122.0/24".parse().unwrap(),
        gateway: "192.168.122.1".parse().unwrap(),
        dns: Vec::new(),
        dhcp: Vec::new(),
    };
    world.networks.insert(network.uuid, (network, true));
    world.files.insert("/etc/prometheus/targets/other.json".to_owned(), b"[]".to_vec());
    if number == 0 {
        share_pool(world);
    }
}

/// Another fleet is at work in our pool: a VM under a mark with our VM's name, its volumes, trash.
fn share_pool(world: &mut World) {
    world.pool = Some(true);
    freehold_core::model::Host::DEFAULT_POOL.clone_into(&mut world.pool_path);
    let short = stranger().short();
    let root = format!("{short}.00000052.root.0");
    let names = [root.clone(), format!("{short}.00000052.seed.1"), format!("trash.x.1.{root}")];
    for name in &names {
        world.volumes.insert(name.clone(), volume(None));
    }
    // Nobody's: somebody left it there.
    world.volumes.insert("somebody.qcow2".to_owned(), volume(None));
    let mut theirs = domain("theirs", 0x52);
    theirs.marked = true;
    "vm-0".clone_into(&mut theirs.spec.mark.name);
    theirs.spec.disks = vec![DiskSpec { volume: root, backing: None }];
    theirs.spec.seed = Some(names[1].clone());
    theirs.runs = Some(theirs.spec.clone());
    world.domains.insert(theirs.spec.uuid, theirs);
    world.card = Some(HostCard {
        format: HostCard::FORMAT,
        host: Uuid::from_u128(0x99),
        libvirt: DaemonMode::System,
        fleets: BTreeMap::from([(STRANGER.to_owned(), 7)]),
        volumes: BTreeMap::from([(STRANGER.to_owned(), names.to_vec())]),
    });
}
