//! A host burns down: what was on it is made again, on another machine of that name or on another
//! host, and the old one is no danger when it comes back.

use std::collections::BTreeSet;

use freehold_core::{
    host::{Host as _, simulated::SimulatedHost},
    model::{FleetId, VmName},
    plan::{Consent, Drift, Rebuilding, Scope, Unplaced, Withheld},
    state::VmDecision,
};

use crate::bed::{Bed, Exit, Text, Trick, VmText, all, host, vm};

/// Two VMs that may live on two hosts each, one of which keeps a disk.
fn text() -> Text {
    let web = VmText::new("web").on(&[1, 3]);
    let db = VmText::new("db").on(&[1, 3]).data(true).nat().uefi();
    Text::new(3, vec![web, db, VmText::new("mail").on(&[2])])
}

/// A machine without anything takes the place of one; returns the old one.
fn burn(bed: &Bed, name: &str) -> SimulatedHost {
    let fresh = SimulatedHost::new(host(name), &["br0"]);
    std::mem::swap(&mut *bed.hosts[&host(name)].world(), &mut *fresh.world());
    bed.witness.state_is_lost();
    bed.witness.remember(&host(name));
    fresh
}

async fn planned(
    bed: &Bed,
    (dead, to): (&str, &str),
    given_up: bool,
) -> Result<Rebuilding, Vec<Unplaced>> {
    let view = bed.hosts[&host(to)].observe(&["br0".to_owned()]).await.unwrap();
    let burnt = freehold_core::plan::Burnt {
        fleet: &bed.fleet(),
        lock: &bed.decided(),
        snapshot: &bed.snapshot(),
        host: &host(dead),
        to: &host(to),
        view: &view,
        given_up: &|_: &VmName| given_up,
    };
    freehold_core::plan::rebuild(&burnt)
}

/// Writes what becomes of lock and state, as the command does before its run.
async fn begun(bed: &Bed, hosts: (&str, &str), given_up: bool) -> Scope {
    let next = planned(bed, hosts, given_up).await.unwrap();
    bed.lock().write(&next.lock).unwrap();
    let mut session = bed.store().lock("test").unwrap();
    session.save(next.state).await.unwrap();
    bed.witness.state_is_lost();
    Scope { vms: Some(next.vms), hosts: None }
}

fn decision(bed: &Bed, name: &str) -> VmDecision {
    bed.decided().vms[&vm(name)].clone()
}

/// It is the same VM to everybody, made once more.
fn again(before: &VmDecision, after: &VmDecision, on: &str) {
    let moved =
        VmDecision { host: host(on), incarnation: before.incarnation + 1, ..before.clone() };
    assert_eq!(*after, moved);
}

#[tokio::test]
async fn another_machine_of_the_same_name_gets_everything_back() {
    let bed = Bed::among_strangers(&text());
    bed.converges(2, "before").await;
    let (web, db, records) = (decision(&bed, "web"), decision(&bed, "db"), bed.server.records());
    drop(burn(&bed, "rack1"));
    // Unasked, nothing is made on a machine that is not the one we know.
    let ran = bed.apply(&all()).await;
    assert!(matches!(ran.why("host rack1"), Some(Withheld::Stranger(_))), "{}", ran.plan.text());
    let next = planned(&bed, ("rack1", "rack1"), false).await.unwrap();
    let lost: Vec<_> = next.lost.iter().map(|lost| (lost.vm.as_str(), &lost.volume)).collect();
    assert_eq!(lost, [("db", &db.disks[1].volume)]);
    assert_eq!(next.vms, BTreeSet::from([vm("web")]), "nobody gave up the data of the other one");
    let scope = begun(&bed, ("rack1", "rack1"), true).await;
    assert_eq!(bed.run(scope, &Consent::default()).await.exit(), Exit::Done);
    bed.check("made again").await;
    again(&web, &decision(&bed, "web"), "rack1");
    again(&db, &decision(&bed, "db"), "rack1");
    assert_eq!(bed.server.records(), records);
    let next = planned(&bed, ("rack1", "rack1"), true).await.unwrap();
    assert!(next.vms.is_empty(), "there is nothing to make again: {next:#?}");
}

#[tokio::test]
async fn what_nobody_gave_up_waits_for_its_data() {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    let db = decision(&bed, "db");
    drop(burn(&bed, "rack1"));
    let scope = begun(&bed, ("rack1", "rack1"), false).await;
    assert_eq!(bed.run(scope, &Consent::default()).await.exit(), Exit::Done);
    let ran = bed.apply(&all()).await;
    assert!(matches!(ran.why("vm db"), Some(Withheld::DiskMissing(_))), "{}", ran.plan.text());
    // Its backup is put where it was.
    let volume = db.disks[1].volume.clone();
    let data = bed.hosts[&host("rack1")].world().volumes.values().next().unwrap().clone();
    let data = freehold_core::model::VolumeView {
        backing: None,
        capacity: freehold_core::model::Size::from_mib(2048),
        ..data
    };
    bed.hosts[&host("rack1")].world().volumes.insert(volume.clone(), data);
    let next = planned(&bed, ("rack1", "rack1"), false).await.unwrap();
    assert_eq!(next.found[0].volume, volume);
    {
        // The command has the run's first step list it.
        let mut world = bed.hosts[&host("rack1")].world();
        let listed = world.card.as_mut().unwrap().volumes.values_mut().next().unwrap();
        listed.push(volume.clone());
    }
    let scope = begun(&bed, ("rack1", "rack1"), false).await;
    let ran = bed.run(scope, &Consent::default()).await;
    assert_eq!(ran.exit(), Exit::Done, "{}", ran.plan.text());
    bed.check("with its data").await;
    let uuid = db.uuid;
    let world = bed.hosts[&host("rack1")].world();
    assert!(world.domains[&uuid].spec.disks.iter().any(|disk| disk.volume == volume));
}

#[tokio::test]
async fn another_host_takes_over_and_the_old_one_is_no_danger_when_it_comes_back() {
    let bed = Bed::among_strangers(&text());
    bed.converges(2, "before").await;
    let (web, db) = (decision(&bed, "web"), decision(&bed, "db"));
    bed.hosts[&host("rack1")].set_down(true);
    let scope = begun(&bed, ("rack1", "rack3"), true).await;
    let ran = bed.run(scope, &Consent::default()).await;
    assert_eq!(ran.exit(), Exit::Done, "{}", ran.plan.text());
    again(&web, &decision(&bed, "web"), "rack3");
    again(&db, &decision(&bed, "db"), "rack3");
    let on_rack3 = bed.hosts[&host("rack3")].world().domains.len();
    // It was only the power supply.
    bed.hosts[&host("rack1")].set_down(false);
    let old = |finding: &freehold_core::plan::Finding| matches!(&finding.drift, Drift::OrphanDomain { lives_on: Some(on), .. } if *on == host("rack3"));
    assert_eq!(bed.verified(&[]).await.iter().filter(|one| old(one)).count(), 2);
    let calls = bed.hosts[&host("rack1")].calls().len();
    let ran = bed.apply(&Consent::default()).await;
    let why = ran.why("old copy of vm web");
    assert!(matches!(why, Some(Withheld::Consent(_))), "{}", ran.plan.text());
    assert_eq!(bed.hosts[&host("rack1")].calls().len(), calls, "nobody consented");
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.exit(), Exit::Done, "{}", ran.plan.text());
    bed.check("the old copies are gone").await;
    assert_eq!(bed.hosts[&host("rack3")].world().domains.len(), on_rack3);
    let world = bed.hosts[&host("rack1")].world();
    let in_trash = |name: &String| name.starts_with("trash.") && name.ends_with(".data.0");
    assert!(world.volumes.keys().any(in_trash), "its data is not lost: {:?}", world.volumes);
}

#[tokio::test]
async fn never_do_both_run() {
    let base = Bed::new(&text());
    base.converges(2, "before").await;
    base.hosts[&host("rack1")].set_down(true);
    let scope = begun(&base, ("rack1", "rack3"), true).await;
    for k in 0..6 {
        let bed = base.fork();
        bed.fate.spoil(k, Trick::KillBefore);
        assert_eq!(bed.run(scope.clone(), &Consent::default()).await.exit(), Exit::Killed, "{k}");
        // The old host is back before the new one has everything.
        bed.heal();
        let both = || {
            let runs = |rack: &str, name: &str| {
                let world = bed.hosts[&host(rack)].world();
                let mut domains = world.domains.values();
                domains.any(|one| one.spec.name == name && one.is_active())
            };
            ["web", "db"]
                .into_iter()
                .filter(|name| runs("rack1", name) && runs("rack3", name))
                .count()
        };
        let before = both();
        for _ in 0..3 {
            bed.apply(&all()).await;
            assert!(both() <= before, "{k}: a second one was started");
        }
        bed.check(&format!("killed at {k}")).await;
        assert_eq!(both(), 0);
    }
}

#[tokio::test]
async fn a_rebuild_killed_at_any_step_is_gone_on_with_by_apply() {
    let base = Bed::among_strangers(&text());
    base.converges(2, "before").await;
    drop(burn(&base, "rack1"));
    let scope = begun(&base, ("rack1", "rack1"), true).await;
    let mut tried = 0;
    for trick in Trick::KILLS {
        for k in 0.. {
            let bed = base.fork();
            bed.fate.spoil(k, trick);
            if bed.run(scope.clone(), &Consent::default()).await.exit() != Exit::Killed {
                break;
            }
            bed.heal();
            bed.converges(2, &format!("{trick:?} at {k}")).await;
            tried += 1;
        }
    }
    println!("a rebuild was killed {tried} times");
    assert!(tried > 60, "{tried}");
}

#[tokio::test]
async fn a_host_that_the_text_does_not_allow_is_refused_by_name() {
    let mut strict = text();
    strict.vms[0].hosts = vec![1];
    let bed = Bed::new(&strict);
    bed.converges(2, "before").await;
    bed.hosts[&host("rack1")].set_down(true);
    let unplaced = planned(&bed, ("rack1", "rack3"), true).await.unwrap_err();
    assert_eq!(unplaced, [Unplaced::NotAllowed(vm("web"), vec![host("rack1")])]);
}

/// Host and state are lost together: the laptop was in the same room.
#[tokio::test]
async fn from_lock_and_marks_alone() {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    let (web, db) = (decision(&bed, "web"), decision(&bed, "db"));
    drop(burn(&bed, "rack1"));
    bed.lose_state();
    bed.make_state_again("without rack1").await;
    let scope = begun(&bed, ("rack1", "rack1"), true).await;
    assert_eq!(bed.run(scope, &Consent::default()).await.exit(), Exit::Done);
    bed.check("made again").await;
    again(&web, &decision(&bed, "web"), "rack1");
    again(&db, &decision(&bed, "db"), "rack1");
}

/// All of it burns: a clone of the repository, the identity secret, fresh hosts, one apply.
#[tokio::test]
async fn from_nothing() {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    let before = bed.decided();
    for rack in ["rack1", "rack2", "rack3"] {
        drop(burn(&bed, rack));
    }
    bed.lose_state();
    assert_eq!(bed.apply(&Consent::default()).await.exit(), Exit::Done);
    bed.check("from nothing").await;
    assert_eq!(bed.decided(), before);
}

#[tokio::test]
async fn a_copy_of_another_fleet_or_of_the_same_age_is_no_old_copy() {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    let uuid = decision(&bed, "web").uuid;
    let domain = bed.hosts[&host("rack1")].world().domains[&uuid].clone();
    let other: FleetId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    for (fleet, incarnation) in [(bed.fleet().id, 1), (other, 0)] {
        let mut copy = domain.clone();
        (copy.spec.mark.fleet, copy.spec.mark.incarnation) = (fleet, incarnation);
        bed.hosts[&host("rack2")].world().domains.insert(uuid, copy);
        bed.witness.state_is_lost();
        let calls = bed.hosts[&host("rack2")].calls().len();
        bed.apply(&all()).await;
        assert_eq!(bed.hosts[&host("rack2")].calls().len(), calls);
        assert!(bed.hosts[&host("rack2")].world().domains.contains_key(&uuid));
    }
}

/// The backup is there before anything else of ours is.
#[tokio::test]
async fn a_backup_is_attached_where_it_is_the_first_thing_on_the_new_host() {
    let db = VmText::new("db").on(&[1, 3]).data(true);
    let bed = Bed::new(&Text::new(3, vec![db]));
    bed.converges(2, "before").await;
    let volume = decision(&bed, "db").disks[1].volume.clone();
    let data = bed.hosts[&host("rack1")].world().volumes[&volume].clone();
    bed.hosts[&host("rack1")].set_down(true);
    {
        let mut world = bed.hosts[&host("rack3")].world();
        world.pool = Some(true);
        world.pool_path = "/var/lib/libvirt/freehold".to_owned();
        world.volumes.insert(volume.clone(), data);
        // As the command has it listed before anything is planned.
        let fleet = bed.fleet().id.to_string();
        world.card = Some(freehold_core::model::HostCard {
            format: freehold_core::model::HostCard::FORMAT,
            host: uuid::Uuid::from_u128(7),
            libvirt: freehold_core::model::DaemonMode::System,
            fleets: [].into(),
            volumes: [(fleet, vec![volume.clone()])].into(),
        });
    }
    let scope = begun(&bed, ("rack1", "rack3"), false).await;
    let ran = bed.run(scope, &Consent::default()).await;
    assert_eq!(ran.exit(), Exit::Done, "{}", ran.plan.text());
    let uuid = decision(&bed, "db").uuid;
    let world = bed.hosts[&host("rack3")].world();
    assert!(world.domains[&uuid].spec.disks.iter().any(|disk| disk.volume == volume));
}

/// What was found was no good; then the data are given up.
#[tokio::test]
async fn giving_data_up_holds_whatever_was_found_before() {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    let volume = decision(&bed, "db").disks[1].volume.clone();
    drop(burn(&bed, "rack1"));
    let mut session = bed.store().lock("test").unwrap();
    let mut state = session.snapshot.clone();
    let kept = |on: &str| freehold_core::state::KeptDisk {
        vm: vm("db"),
        disk: "data".parse().unwrap(),
        host: host(on),
        volume: volume.clone(),
    };
    state.kept = vec![kept("rack1"), kept("rack3")];
    session.save(state).await.unwrap();
    drop(session);
    let scope = begun(&bed, ("rack1", "rack1"), true).await;
    assert_eq!(bed.run(scope, &Consent::default()).await.exit(), Exit::Done);
    assert_eq!(bed.snapshot().kept, [kept("rack3")], "another host's is another thing");
}

#[tokio::test]
async fn taking_an_old_copy_away_is_gone_on_with_after_any_kill() {
    let base = Bed::among_strangers(&text());
    base.converges(2, "before").await;
    base.hosts[&host("rack1")].set_down(true);
    let scope = begun(&base, ("rack1", "rack3"), true).await;
    assert_eq!(base.run(scope, &Consent::default()).await.exit(), Exit::Done);
    base.hosts[&host("rack1")].set_down(false);
    let ours = format!("{}.", base.fleet().id.short());
    let mut tried = 0;
    for trick in Trick::KILLS {
        for k in 0.. {
            let bed = base.fork();
            bed.fate.spoil(k, trick);
            if bed.apply(&all()).await.exit() != Exit::Killed {
                break;
            }
            bed.heal();
            bed.converges(2, &format!("{trick:?} at {k}")).await;
            let world = bed.hosts[&host("rack1")].world();
            let left: Vec<_> =
                world.volumes.keys().filter(|name| name.starts_with(&ours)).collect();
            assert!(left.is_empty(), "{trick:?} at {k}: {left:?}");
            tried += 1;
        }
    }
    println!("an old copy's removal was killed {tried} times");
    assert!(tried > 40, "{tried}");
}

#[tokio::test]
async fn a_host_that_still_has_the_old_copy_is_no_place_for_it() {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    bed.hosts[&host("rack1")].set_down(true);
    let scope = begun(&bed, ("rack1", "rack3"), true).await;
    assert_eq!(bed.run(scope, &Consent::default()).await.exit(), Exit::Done);
    bed.hosts[&host("rack1")].set_down(false);
    bed.hosts[&host("rack3")].set_down(true);
    let unplaced = planned(&bed, ("rack3", "rack1"), true).await.unwrap_err();
    assert_eq!(unplaced, [Unplaced::Taken(vm("db")), Unplaced::Taken(vm("web"))]);
}
