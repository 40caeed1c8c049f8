//! What hands do to a host behind everybody's back, and what is found of it.

use freehold_core::{
    host::simulated::{World, WorldDomain},
    model::{self, DomainState, HostCard, NicSource, Size, VolumeView},
};
use uuid::Uuid;

pub(super) const STRANGER: &str = "0123456789abcdef0123456789abcdef";

pub(super) fn web(world: &mut World) -> &mut WorldDomain {
    world.domains.values_mut().find(|domain| domain.spec.name == "web").unwrap()
}

/// Changes what the domain `web` is defined as, and what runs.
pub(super) fn redefine(world: &mut World, change: impl Fn(&mut model::DomainSpec)) {
    let domain = web(world);
    change(&mut domain.spec);
    domain.runs.as_mut().into_iter().for_each(change);
}

pub(super) fn volume(bytes: u64) -> VolumeView {
    VolumeView { capacity: Size::from_bytes(bytes), backing: None, used: Size::from_bytes(bytes) }
}

pub(super) fn web_disk(world: &mut World, disk: usize) -> String {
    web(world).spec.disks[disk].volume.clone()
}

pub(super) fn card(world: &mut World) -> &mut HostCard {
    world.card.as_mut().unwrap()
}

/// Makes a domain that is off like `web`, with none of its files.
pub(super) fn copy_of_web(world: &mut World, number: u128, name: &str) -> WorldDomain {
    let mut copy = web(world).clone();
    copy.spec.uuid = Uuid::from_u128(number);
    copy.spec.name = name.into();
    copy.spec.disks.clear();
    copy.spec.seed = None;
    (copy.state, copy.runs) = (DomainState::Off, None);
    copy
}

pub(super) fn put(world: &mut World, domain: WorldDomain) {
    world.domains.insert(domain.spec.uuid, domain);
}

/// What is done, how, and what is found.
pub(super) type Hand = (&'static str, fn(&mut World), &'static [&'static str]);

/// What hands do to the host and its domains, and what is found.
pub(super) const ON_DOMAINS: &[Hand] = &[
    ("turned off", |w| web(w).state = DomainState::Off, &["vm web: domain-off"]),
    ("paused", |w| web(w).state = DomainState::Paused, &["vm web: domain-paused"]),
    ("crashed", |w| web(w).state = DomainState::Crashed, &["vm web: domain-crashed"]),
    ("mark dropped", |w| web(w).marked = false, &["vm web: mark-lost"]),
    ("autostart off", |w| web(w).autostart = false, &["vm web: autostart-changed"]),
    ("renamed", |w| web(w).spec.name = "www".into(), &["vm web: domain-renamed"]),
    ("undefined while it runs", |w| web(w).persistent = false, &["vm web: domain-transient"]),
    ("snapshots", |w| web(w).snapshots = true, &["vm web: snapshots"]),
    (
        "saved",
        |w| {
            web(w).saved = true;
            web(w).state = DomainState::Off;
        },
        &["vm web: managed-save"],
    ),
    (
        "another fleet's mark",
        |w| web(w).spec.mark.fleet = STRANGER.parse().unwrap(),
        &["vm web: domain-foreign"],
    ),
    ("an older incarnation", |w| web(w).spec.mark.incarnation = 0, &["vm web: mark-changed"]),
    ("protected by hand", |w| web(w).spec.mark.protect = true, &["vm web: mark-changed"]),
    ("no longer kept by its mark", |w| web(w).spec.mark.keep.clear(), &["vm web: mark-changed"]),
    (
        "undefined",
        |w| {
            let uuid = web(w).spec.uuid;
            w.domains.remove(&uuid);
        },
        &["vm web: domain-missing"],
    ),
    (
        "made anew under its name",
        |w| {
            let other = copy_of_web(w, 1, "web");
            let uuid = web(w).spec.uuid;
            w.domains.remove(&uuid);
            put(w, WorldDomain { marked: false, ..other });
        },
        &["vm web: domain-missing"],
    ),
];

/// What hands do to definitions.
pub(super) const ON_DEFINITIONS: &[Hand] = &[
    ("more cpus", |w| redefine(w, |spec| spec.cpus = 4), &["vm web: field-changed"]),
    (
        "more memory",
        |w| redefine(w, |spec| spec.memory = Size::from_mib(512)),
        &["vm web: field-changed"],
    ),
    (
        "UEFI",
        |w| redefine(w, |spec| spec.firmware = model::Firmware::Uefi),
        &["vm web: field-changed"],
    ),
    ("TCG", |w| redefine(w, |spec| spec.accel = model::Accel::Tcg), &["vm web: field-changed"]),
    (
        "a disk attached",
        |w| {
            redefine(w, |spec| {
                spec.disks.push(model::DiskSpec { volume: "hand.img".into(), backing: None });
            });
        },
        &["vm web: field-changed"],
    ),
    ("a disk detached", |w| redefine(w, |spec| drop(spec.disks.pop())), &["vm web: field-changed"]),
    ("the seed ejected", |w| redefine(w, |spec| spec.seed = None), &["vm web: field-changed"]),
    (
        "another bridge",
        |w| redefine(w, |spec| spec.nics[0].source = NicSource::Bridge("br1".into())),
        &["vm web: field-changed"],
    ),
    ("an interface less", |w| redefine(w, |spec| spec.nics.clear()), &["vm web: field-changed"]),
    (
        "two fields",
        |w| {
            redefine(w, |spec| {
                spec.cpus = 4;
                spec.nics.clear();
            });
        },
        &["vm web: field-changed", "vm web: field-changed"],
    ),
    ("what runs alone", |w| web(w).runs.as_mut().unwrap().cpus = 9, &["vm web: pending-restart"]),
    (
        "what is defined alone",
        |w| web(w).spec.cpus = 9,
        &["vm web: field-changed", "vm web: pending-restart"],
    ),
    (
        "a snapshot's overlay elsewhere",
        |w| {
            let root = web_disk(w, 0);
            web(w).overlays.insert(root, "/mnt/web.snap1".into());
        },
        &["vm web: external-snapshot"],
    ),
    (
        "a snapshot's overlays in the pool",
        |w| {
            let root = web_disk(w, 0);
            let path = |name: &str| format!("{}/{name}", model::Host::DEFAULT_POOL);
            let names = [root.replace(".0", ".snap1"), root.replace(".0", ".snap2")];
            for (name, below) in names.iter().zip([&root, &names[0]]) {
                let view = VolumeView { backing: Some(path(below)), ..volume(1) };
                w.volumes.insert(name.clone(), view);
            }
            let top = path(&names[1]);
            web(w).overlays.insert(root, top);
        },
        &["vm web: external-snapshot"],
    ),
];

/// What hands do to volumes, networks and the host.
pub(super) const ON_OTHERS: &[Hand] = &[
    (
        "a volume deleted",
        |w| {
            let root = web_disk(w, 0);
            w.volumes.remove(&root);
        },
        &["vm web: volume-missing"],
    ),
    (
        "the seed deleted",
        |w| {
            let seed = web(w).spec.seed.clone().unwrap();
            w.volumes.remove(&seed);
        },
        &["vm web: volume-missing"],
    ),
    (
        "a volume taken off the card",
        |w| {
            let root = web_disk(w, 0);
            card(w).volumes.values_mut().for_each(|names| names.retain(|name| *name != root));
        },
        &["vm web: volume-unlisted"],
    ),
    (
        "a disk attached to another domain, too",
        |w| {
            let mut other = copy_of_web(w, 2, "other");
            other.spec.disks = web(w).spec.disks[..1].to_vec();
            put(w, WorldDomain { marked: false, ..other });
        },
        &["vm web: volume-shared"],
    ),
    (
        "a network stopped",
        |w| w.networks.values_mut().for_each(|(_, runs)| *runs = false),
        &["network back: network-inactive"],
    ),
    ("a network undefined", |w| w.networks.clear(), &["network back: network-missing"]),
    (
        "another fleet's mark on a network",
        |w| {
            let stranger = STRANGER.parse().unwrap();
            w.networks.values_mut().for_each(|(spec, _)| spec.mark.fleet = stranger);
        },
        &["network back: network-foreign"],
    ),
    (
        "another name in a network's mark",
        |w| w.networks.values_mut().for_each(|(spec, _)| spec.mark.name = "front".into()),
        &["network back: mark-changed"],
    ),
    (
        "a network renamed",
        |w| w.networks.values_mut().for_each(|(spec, _)| spec.name = "front".into()),
        &["network back: network-renamed"],
    ),
    (
        "a network of ours the state does not know",
        |w| {
            let (mut spec, runs) = w.networks.values().next().unwrap().clone();
            spec.uuid = Uuid::from_u128(3);
            spec.name = "old".into();
            w.networks.insert(spec.uuid, (spec, runs));
        },
        &["network old: orphan-network"],
    ),
    (
        "a domain of ours the state does not know",
        |w| {
            let copy = copy_of_web(w, 4, "old");
            put(w, copy);
        },
        &["domain old: orphan-domain"],
    ),
    (
        "a seed of another incarnation",
        |w| {
            let seed = web(w).spec.seed.clone().unwrap();
            w.volumes.insert(seed.replace(".seed.1", ".seed.7"), volume(1));
        },
        &["volume f7c10b8e.WEB.seed.7: orphan-volume"],
    ),
    (
        "a volume the card lists as ours",
        |w| {
            card(w).volumes.values_mut().for_each(|names| names.push("odd.qcow2".into()));
            w.volumes.insert("odd.qcow2".into(), volume(1));
        },
        &["volume odd.qcow2: orphan-volume"],
    ),
    ("trash", |w| drop(w.volumes.insert("trash.20261122T1Z.3.f7c10b8e.x".into(), volume(1))), &[]),
    ("another's file", |w| drop(w.volumes.insert("mine.iso".into(), volume(1))), &[]),
    ("the pool stopped", |w| w.pool = Some(false), &["host rack1: pool-inactive"]),
    ("the card lost", |w| w.card = None, &["host rack1: host-stranger"]),
    ("another card", |w| card(w).host = Uuid::from_u128(1), &["host rack1: host-stranger"]),
    (
        "a later card",
        |w| card(w).fleets.values_mut().for_each(|serial| *serial += 9),
        &["host rack1: state-old"],
    ),
    ("the host down", |w| w.down = true, &["host rack1: host-unreachable"]),
];
