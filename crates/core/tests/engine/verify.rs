//! What `verify` finds beyond drift: nothing after an apply, and each fault by its code.

use freehold_core::{
    host::simulated::{World, WorldDomain},
    model::{DomainState, VmName, VolumeView},
    plan::{Change, drift_text},
};
use uuid::Uuid;

use crate::{
    bed::{Bed, Exit, Text, Trick, VmText, all, host, vm},
    drift::codes,
};

async fn applied() -> Bed {
    let bed =
        Bed::new(&Text::new(2, vec![VmText::new("web").data(true), VmText::new("db").on(&[2])]));
    bed.converges(2, "before").await;
    bed
}

fn rack1(bed: &Bed) -> std::sync::MutexGuard<'_, World> {
    bed.hosts[&host("rack1")].world()
}

/// The view of a disk of web.
fn disk(world: &mut World, number: usize) -> &mut VolumeView {
    let is_web = |domain: &&WorldDomain| domain.spec.name == "web";
    let name = world.domains.values().find(is_web).unwrap().spec.disks[number].volume.clone();
    world.volumes.get_mut(&name).unwrap()
}

type Fault = (fn(&Bed), &'static [&'static str]);

const FAULTS: &[Fault] = &[
    // Without its image a disk cannot be read.
    (
        |bed| rack1(bed).volumes.retain(|name, _| !name.starts_with("image.")),
        &["rack1 vm web: chain-broken"],
    ),
    (
        |bed| disk(&mut rack1(bed), 1).backing = Some("/srv/base.qcow2".to_owned()),
        &["rack1 vm web: chain-outside"],
    ),
    // Nothing can be read that stands on itself.
    (
        |bed| {
            let mut world = rack1(bed);
            let path = format!("{}/loop", world.pool_path);
            disk(&mut world, 1).backing = Some(path.clone());
            let looped = VolumeView { backing: Some(path), ..disk(&mut world, 1).clone() };
            world.volumes.insert("loop".to_owned(), looped);
        },
        &["rack1 vm web: chain-broken"],
    ),
    (|bed| rack1(bed).clock = 90, &["rack1 host rack1: clock-off"]),
    (|bed| rack1(bed).clock = -90, &["rack1 host rack1: clock-off"]),
    (|bed| rack1(bed).clock = 3, &[]),
    (|bed| bed.server.remove("web.example.org"), &["dns main: not-published"]),
    (
        |bed| {
            bed.server.remove("web.example.org");
            bed.server.put_foreign("web.example.org", "10.0.0.1");
        },
        &["dns main: in-the-way"],
    ),
    (|bed| bed.server.set_down(true), &["dns main: server-unread"]),
    // What lies over a disk of ours is on no card.
    (
        |bed| {
            let mut world = rack1(bed);
            let is_web = |domain: &&WorldDomain| domain.spec.name == "web";
            let web = world.domains.values().find(is_web).unwrap().spec.clone();
            assert!(world.external_snapshot(web.uuid, &web.disks[1].volume));
            let gone = format!("{}/gone", world.pool_path);
            let over = world.volumes.iter_mut().find(|(name, _)| name.contains(".s1")).unwrap();
            over.1.backing = Some(gone);
        },
        &[
            "rack1 vm web: snapshots",
            "rack1 vm web: external-snapshot",
            "rack1 vm web: chain-broken",
        ],
    ),
    // What is on a host that was not read is not known, nor what of it is to be published.
    (
        |bed| {
            bed.hosts[&host("rack1")].set_down(true);
            bed.server.remove("web.example.org");
        },
        &["rack1 host rack1: host-unreachable"],
    ),
    // Of another machine nothing of ours is said.
    (
        |bed| {
            let mut world = rack1(bed);
            world.volumes.retain(|name, _| !name.starts_with("image."));
            world.card.as_mut().unwrap().host = Uuid::from_u128(9);
        },
        &["rack1 host rack1: host-stranger"],
    ),
    // Drift is a part of it.
    (
        |bed| {
            rack1(bed).domains.values_mut().for_each(|domain| domain.autostart = false);
            bed.server.set_down(true);
        },
        &["rack1 vm web: autostart-changed", "dns main: server-unread"],
    ),
];

#[tokio::test]
async fn each_fault_is_found_and_nothing_else() {
    for (number, (fault, expected)) in FAULTS.iter().enumerate() {
        let bed = applied().await;
        let calls = bed.fate.calls();
        fault(&bed);
        let findings = bed.verified(&[]).await;
        assert_eq!(codes(&findings), *expected, "{number}:\n{}", drift_text(&findings));
        assert_eq!(bed.fate.calls(), calls, "{number}: it changes nothing");
        let text = drift_text(&findings);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{number}:\n{text}");
    }
    let findings = applied().await.verified(&["rack2"]).await;
    assert_eq!(codes(&findings), ["rack2 host rack2: key-unpinned"]);
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_before_it_is_needed() {
    let bed = applied().await;
    {
        let mut world = rack1(&bed);
        let mut theirs = world.domains.values().next().unwrap().clone();
        (theirs.spec.uuid, theirs.marked) = (Uuid::from_u128(5), false);
        (theirs.state, theirs.runs) = (DomainState::Off, None);
        theirs.spec.name = "late".to_owned();
        theirs.spec.disks.clear();
        theirs.spec.seed = None;
        world.domains.insert(theirs.spec.uuid, theirs);
    }
    assert_eq!(codes(&bed.verified(&[]).await), [""; 0], "nobody wants it");
    let mut text = Text::new(2, vec![VmText::new("web").data(true), VmText::new("db").on(&[2])]);
    text.vms.push(VmText::new("late"));
    bed.write(&text);
    assert!(!bed.decided().vms.contains_key(&vm("late")), "the look itself decides");
    assert_eq!(codes(&bed.verified(&[]).await), ["rack1 vm late: name-taken"]);
}

#[tokio::test]
async fn what_a_killed_run_left_is_told() {
    let base = applied().await;
    let mut text = Text::new(2, vec![VmText::new("web").data(true)]);
    text.vms.push(VmText::new("mail").on(&[2]).data(true));
    text.vms[0].memory = "512MiB";
    base.write(&text);
    let (mut told, mut silent) = (0, 0);
    for (k, kill) in (0..40).flat_map(|k| [(k, Trick::KillAfter), (k, Trick::KillTornOutcome)]) {
        let bed = base.fork();
        bed.fate.spoil(k, kill);
        if bed.apply(&all()).await.exit() != Exit::Killed {
            continue;
        }
        bed.fate.clear();
        let findings = bed.verified(&[]).await;
        let begun = bed.snapshot().vms;
        let drafted = bed.plan().await;
        // What says that all is well leaves nothing to be done about what was begun, but for what the
        // text says otherwise by now.
        let half = |vm: &VmName| begun.get(vm).is_some_and(|record| !record.made || record.unready);
        let is_half = drafted.changes.iter().filter_map(Change::vm).any(half);
        assert!(!is_half || !findings.is_empty(), "{kill:?} at {k}:\n{}", drafted.text());
        if is_half { told += 1 } else { silent += 1 }
    }
    assert!(told >= 20 && silent >= 4, "{told} told, {silent} silent");
}
