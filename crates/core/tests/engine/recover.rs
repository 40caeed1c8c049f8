//! A state that is lost is made again from the lock, marks, cards and what servers hold.
//!
//! That the two are equal once a fleet has converged is checked after every life of every other
//! test of this suite ([`Bed::check`]).

use std::collections::BTreeSet;

use freehold_core::plan::{Goal, Withheld, taken_in};

use crate::bed::{Bed, Exit, Text, Trick, VmText, all, host, vm};

fn web_0() -> Goal {
    Goal::Replace(BTreeSet::from([vm("web-0")]))
}

/// What is under way when the run is killed and the state is lost.
#[derive(Debug, Clone, Copy)]
enum Doing {
    Creating,
    Changing,
    Replacing,
    Destroying,
}

impl Doing {
    const ALL: [Self; 4] = [Self::Creating, Self::Changing, Self::Replacing, Self::Destroying];

    async fn begun(self) -> Bed {
        let bed = Bed::among_strangers(&Text::usual());
        if !matches!(self, Self::Creating) {
            bed.converges(2, "before").await;
        }
        if matches!(self, Self::Changing) {
            let mut text = Text::usual().without("db");
            text.vms[0].memory = "512MiB";
            text.vms.push(VmText::new("mail").on(&[2]).data(true));
            bed.write(&text);
        }
        bed
    }

    async fn run(self, bed: &Bed) -> Exit {
        match self {
            Self::Creating | Self::Changing => bed.apply(&all()).await.exit(),
            Self::Replacing => bed.run(web_0(), &all()).await.exit(),
            Self::Destroying => bed.destroy(None).await.exit(),
        }
    }
}

#[tokio::test]
async fn a_state_lost_with_a_run_killed_at_any_step_is_made_again_and_converges() {
    for doing in Doing::ALL {
        let base = doing.begun().await;
        let mut tried = 0;
        // What the journal says is lost: what counts is whether the call happened.
        for trick in [Trick::KillBefore, Trick::KillAfter] {
            for k in 0.. {
                let bed = base.fork();
                bed.fate.spoil(k, trick);
                if doing.run(&bed).await != Exit::Killed {
                    break;
                }
                let context = format!("{doing:?}: {trick:?} at {k}");
                bed.heal();
                bed.lose_state();
                bed.make_state_again(&context).await;
                bed.converges(3, &context).await;
                tried += 1;
            }
        }
        assert!(tried > 20, "{doing:?}: {tried}");
        println!("{doing:?}: the state lost after {tried} kills");
    }
}

#[tokio::test]
async fn a_lost_state_stops_every_run_until_it_is_made_again() {
    let bed = Bed::new(&Text::usual());
    bed.converges(2, "before").await;
    bed.lose_state();
    let calls = bed.fate.calls();
    let mut more = Text::usual();
    more.vms.push(VmText::new("new").on(&[1]));
    bed.write(&more);
    for ran in [bed.apply(&all()).await, bed.run(web_0(), &all()).await, bed.destroy(None).await] {
        for rack in ["host rack1", "host rack2"] {
            assert_eq!(ran.why(rack), Some(&Withheld::StateLost), "{}", ran.plan.text());
            assert!(ran.why(rack).unwrap().hint().unwrap().contains("freehold recover"));
        }
        assert!(ran.plan.is_empty(), "{}", ran.plan.text());
        assert_eq!(ran.exit(), Exit::Part);
    }
    assert_eq!(bed.fate.calls(), calls, "not even what is new is made");
    bed.make_state_again("lost").await;
    bed.converges(2, "made again").await;
}

#[tokio::test]
async fn promises_outlive_state_and_text() {
    let text = Text::new(
        1,
        vec![VmText::new("web").data(true), VmText::new("db").more("protect = true\n")],
    );
    let bed = Bed::new(&text);
    bed.converges(2, "before").await;
    bed.write(&Text::new(1, vec![VmText::new("web")]));
    bed.lose_state();
    bed.make_state_again("lost").await;
    let made = bed.snapshot();
    let keeps = |disk: &freehold_core::state::DiskRecord| disk.keep && disk.name.as_str() == "data";
    assert!(made.vms[&vm("web")].disks.iter().any(keeps), "its mark says so: {made:#?}");
    assert!(made.vms[&vm("db")].protect);
    assert!(matches!(bed.apply(&all()).await.why("vm db"), Some(Withheld::Protected)));
}

#[tokio::test]
async fn a_lock_that_lacks_a_vm_leaves_it_alone() {
    let bed = Bed::new(&Text::usual());
    bed.converges(2, "before").await;
    let mut lock = bed.decided();
    lock.vms.remove(&vm("db"));
    bed.lock().write(&lock).unwrap();
    bed.lose_state();
    bed.make_state_again("lost").await;
    assert!(!bed.snapshot().vms.contains_key(&vm("db")));
    let findings = bed.verified(&[]).await;
    assert!(
        findings.iter().any(|finding| finding.drift.code() == "orphan-domain"),
        "{findings:#?}"
    );
    let calls = bed.hosts[&host("rack1")].calls().len();
    let ran = bed.apply(&all()).await;
    assert!(matches!(ran.why("vm db"), Some(Withheld::NotInState(_))), "{}", ran.plan.text());
    assert_eq!(bed.hosts[&host("rack1")].calls().len(), calls);
    // Its UUID is derived: taken in by name, it is what it was.
    let adopt = Goal::Adopt { vms: BTreeSet::from([vm("db")]), mark: false };
    assert_eq!(bed.run(adopt, &all()).await.exit(), Exit::Done);
    bed.converges(2, "adopted").await;
}

/// A lock of an earlier age, as a clone may have it: what was done since stands on the hosts.
#[tokio::test]
async fn of_an_old_lock_what_the_hosts_say_holds() {
    let bed = Bed::new(&Text::usual());
    bed.converges(2, "before").await;
    let old = bed.decided();
    assert_eq!(bed.run(web_0(), &all()).await.exit(), Exit::Done);
    bed.converges(2, "made again").await;
    let lost = bed.snapshot();
    bed.lock().write(&old).unwrap();
    bed.lose_state();
    bed.make_state_again("lost").await;
    let made = bed.snapshot();
    assert_eq!(made.vms, lost.vms);
    assert_eq!(made.decisions.vms[&vm("web-0")].incarnation, 2);
    bed.converges(2, "after").await;
}

/// The state was made again while a host was away.
#[tokio::test]
async fn a_host_that_was_away_is_taken_in_when_it_answers() {
    let bed = Bed::new(&Text::usual());
    bed.converges(2, "before").await;
    let lost = bed.snapshot();
    bed.hosts[&host("rack2")].set_down(true);
    bed.lose_state();
    bed.make_state_again("without rack2").await;
    assert!(!bed.snapshot().vms.contains_key(&vm("web-1")));
    bed.hosts[&host("rack2")].set_down(false);
    assert_eq!(bed.apply(&all()).await.why("host rack2"), Some(&Withheld::StateLost));
    // It was written to last of all.
    let fleet = bed.fleet().id.to_string();
    bed.hosts[&host("rack2")].world().card.as_mut().unwrap().fleets.insert(fleet, 41);
    let mut session = bed.store().lock("test").unwrap();
    let whole = taken_in(&session.snapshot, &bed.recovered().await);
    session.save(whole).await.unwrap();
    drop(session);
    let made = bed.snapshot();
    assert_eq!((&made.vms, &made.hosts, &made.networks), (&lost.vms, &lost.hosts, &lost.networks));
    assert_eq!(taken_in(&made, &bed.recovered().await), made, "all of it is known");
    bed.converges(2, "whole").await;
}

/// Somebody ran `apply` in a fresh clone before; it published something that is nobody's.
#[tokio::test]
async fn a_state_that_knows_of_nothing_made_is_made_again() {
    let bed = Bed::new(&Text::usual());
    bed.converges(2, "before").await;
    bed.lose_state();
    let mut session = bed.store().lock("test").unwrap();
    session.save(session.snapshot.clone()).await.unwrap();
    drop(session);
    bed.make_state_again("after a run").await;
    bed.converges(2, "made again").await;
}

/// A host came back with old copies, and then the state is lost.
#[tokio::test]
async fn what_an_old_copy_uses_is_no_kept_disk() {
    let text = Text::new(2, vec![VmText::new("web").on(&[1, 2]).data(true)]);
    let bed = Bed::new(&text);
    bed.converges(2, "before").await;
    let uuid = bed.decided().vms[&vm("web")].uuid;
    let (here, there) = match bed.decided().vms[&vm("web")].host == host("rack1") {
        true => ("rack1", "rack2"),
        false => ("rack2", "rack1"),
    };
    let mut copy = bed.hosts[&host(here)].world().domains[&uuid].clone();
    copy.spec.mark.incarnation = 0;
    let volumes = bed.hosts[&host(here)].world().volumes.clone();
    let mut card = bed.hosts[&host(here)].world().card.clone().unwrap();
    card.host = uuid::Uuid::from_u128(9);
    {
        let mut world = bed.hosts[&host(there)].world();
        (world.pool, world.card) = (Some(true), Some(card));
        world.pool_path = "/var/lib/libvirt/freehold".to_owned();
        world.volumes.extend(volumes);
        world.domains.insert(uuid, copy);
    }
    let made = bed.recovered().await;
    assert_eq!(made.kept, []);
    assert_eq!(made.vms[&vm("web")].host, host(here));
}
