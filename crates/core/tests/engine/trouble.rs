//! Calls that hang, hosts that come and go, a second run, and somebody's hands.

use freehold_core::{
    model::DomainState,
    plan::{Goal, Withheld},
    state::StateError,
};

use crate::bed::{Bed, Exit, Hand, Text, Trick, VmText, all, host, vm};

/// How many changing calls the first run of the usual fleet makes.
const CALLS: usize = 26;

/// Says whether all VMs of a host run: two on the first, one on the second.
fn is_whole(bed: &Bed, rack: &str, vms: usize) -> bool {
    let world = bed.hosts[&host(rack)].world();
    let ours = world.domains.values().filter(|domain| domain.spec.mark.fleet == bed.fleet().id);
    ours.filter(|domain| domain.state == DomainState::Running).count() == vms
}

#[tokio::test]
async fn a_call_that_hangs_stops_its_own_host_alone() {
    let base = Bed::among_strangers(&Text::usual());
    for hang in [Trick::Hang, Trick::HangAfter] {
        for k in 0..CALLS {
            let bed = base.fork();
            bed.fate.spoil(k, hang);
            assert_eq!(bed.apply(&all()).await.exit(), Exit::Killed);
            let whole = is_whole(&bed, "rack1", 2) || is_whole(&bed, "rack2", 1);
            assert!(whole, "{hang:?} at {k}: no host was finished");
            bed.converges(2, &format!("{hang:?} at {k}")).await;
        }
    }
}

#[tokio::test]
async fn a_host_that_was_away_for_a_while_is_finished_by_the_next_run() {
    let base = Bed::among_strangers(&Text::usual());
    for k in 0..CALLS {
        let bed = base.fork();
        bed.fate.spoil(k, Trick::Partition);
        assert_eq!(bed.apply(&all()).await.exit(), Exit::Part, "away at {k}");
        bed.recover();
        assert_eq!(bed.apply(&all()).await.exit(), Exit::Done, "back after {k}");
        bed.check(&format!("away at {k}")).await;
    }
}

#[tokio::test]
async fn a_second_run_from_the_same_folder_is_locked_out() {
    for k in [0, CALLS / 3, CALLS / 2] {
        let bed = Bed::among_strangers(&Text::usual());
        let second = async {
            while bed.fate.calls() <= k {
                tokio::task::yield_now().await;
            }
            bed.store().lock("second")
        };
        let consent = all();
        let (first, second) = futures::join!(bed.apply(&consent), second);
        assert!(matches!(second, Err(StateError::Locked { .. })), "after call {k}");
        assert_eq!(first.exit(), Exit::Done);
        bed.check("the first run is not disturbed").await;
    }
}

/// Two more runs, each of which writes both cards.
async fn goes_on(bed: &Bed) {
    for text in [Text::new(2, Vec::new()), Text::usual()] {
        bed.write(&text);
        assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    }
}

#[tokio::test]
async fn a_copy_of_the_folder_with_an_older_state_touches_nothing() {
    let bed = Bed::among_strangers(&Text::usual());
    bed.converges(2, "before").await;
    let rival = bed.rival();
    goes_on(&bed).await;
    let mut more = Text::usual().without("db");
    more.vms.push(VmText::new("mail").on(&[2]).data(true));
    for text in [Text::usual(), Text::new(2, Vec::new()), more] {
        rival.write(&text);
        for ran in [rival.apply(&all()).await, rival.destroy(None).await] {
            for rack in ["host rack1", "host rack2"] {
                let why = ran.why(rack);
                assert!(matches!(why, Some(Withheld::OldState { .. })), "{rack}: {why:?}");
            }
            assert_eq!((ran.exit(), rival.fate.calls()), (Exit::Part, 0), "{}", ran.plan.text());
        }
    }
    bed.check("nobody was there").await;
}

#[tokio::test]
async fn a_copy_that_is_one_run_behind_touches_no_host() {
    let mut more = Text::usual();
    more.vms.push(VmText::new("mail").on(&[2]).data(true));
    for text in [Text::usual().without("web"), Text::usual().without("db"), more] {
        let base = Bed::among_strangers(&Text::usual());
        base.converges(2, "before").await;
        for late in [Text::usual(), text.clone()] {
            let bed = base.fork();
            let rival = bed.rival();
            bed.write(&text);
            assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
            let (card, state) = (bed.snapshot().serial, rival.snapshot().serial);
            assert_eq!(card, state + 1);
            let written = |rack: &str| {
                let world = bed.hosts[&host(rack)].world();
                let fleets = world.card.as_ref().map(|card| card.fleets.clone());
                fleets.is_some_and(|fleets| fleets.values().any(|serial| *serial == card))
            };
            let things = |rack: &str| {
                let world = bed.hosts[&host(rack)].world();
                let domains: Vec<_> = world.domains.values().map(|it| it.spec.clone()).collect();
                (domains, world.volumes.clone(), world.card.clone())
            };
            let before = (["rack1", "rack2"].map(things), bed.server.records());
            rival.write(&late);
            let ran = rival.apply(&all()).await;
            let fenced: Vec<_> = ["rack1", "rack2"].into_iter().filter(|it| written(it)).collect();
            assert!(!fenced.is_empty(), "the last run wrote no card");
            for rack in fenced {
                let why = ran.why(&format!("host {rack}"));
                assert_eq!(why, Some(&Withheld::OldState { card, state }), "{rack}");
            }
            assert_eq!((ran.exit(), ran.plan.changes.len()), (Exit::Part, 0), "{:?}", ran.plan);
            assert_eq!((["rack1", "rack2"].map(things), bed.server.records()), before);
        }
    }
}

#[tokio::test]
async fn a_copy_that_is_one_run_behind_changes_no_vm_back() {
    let text = |memory| {
        let mut text = Text::new(1, vec![VmText::new("web"), VmText::new("db")]);
        text.vms[0].memory = memory;
        text
    };
    let bed = Bed::new(&text("256MiB"));
    bed.converges(2, "before").await;
    let rival = bed.rival();
    let mut later = text("512MiB");
    later.vms.push(VmText::new("mail"));
    bed.write(&later);
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    let ran = rival.apply(&all()).await;
    assert!(
        matches!(ran.why("host rack1"), Some(Withheld::OldState { .. })),
        "{:?}",
        ran.plan.held
    );
    assert_eq!(rival.fate.calls(), 0);
    bed.check("nobody was there").await;
}

#[tokio::test]
async fn a_journal_that_was_put_aside_shuts_no_host() {
    let base = Bed::new(&Text::usual());
    base.converges(2, "before").await;
    let mut more = Text::usual();
    more.vms.push(VmText::new("mail").on(&[2]));
    base.write(&more);
    for k in 0..5 {
        let bed = base.fork();
        bed.fate.spoil(k, Trick::KillAfterOutcome);
        assert_eq!(bed.apply(&all()).await.exit(), Exit::Killed);
        // Damaged, it was moved as the hint says.
        std::fs::remove_file(bed.store().path("journal.jsonl")).unwrap();
        bed.witness.state_is_lost();
        for _ in 0..2 {
            let ran = bed.apply(&all()).await;
            assert!(ran.why("host rack2").is_none(), "{k}: {}", ran.plan.text());
        }
        let mut calm = Text::usual();
        calm.vms.push(VmText::new("late").on(&[2]));
        bed.write(&calm);
        bed.apply(&all()).await;
        assert!(bed.snapshot().vms.contains_key(&vm("late")), "{k}: others go on");
    }
}

/// Has somebody do each thing right before each call of the run that makes `text`.
async fn meddled_at_every_step(base: &Bed, calls: usize) -> usize {
    let mut meddled = 0;
    for hand in Hand::ALL {
        for k in 0..calls {
            let bed = base.fork();
            bed.fate.spoil(k, Trick::Hand(hand, u8::try_from(k).unwrap()));
            bed.apply(&all()).await;
            meddled += bed.fate.fired();
            let context = format!("{hand:?} at {k}");
            bed.rests(&all(), &context).await;
            bed.put_back();
            bed.converges(3, &context).await;
        }
    }
    meddled
}

#[tokio::test]
async fn somebody_meddles_at_every_step_of_a_new_fleet() {
    let base = Bed::among_strangers(&Text::usual());
    assert_eq!(meddled_at_every_step(&base, CALLS).await, CALLS * Hand::ALL.len());
}

#[tokio::test]
async fn somebody_meddles_at_every_step_of_a_change() {
    let base = Bed::among_strangers(&Text::usual());
    base.converges(2, "before").await;
    let mut text = Text::usual().without("db");
    text.vms[0].memory = "512MiB";
    text.vms.push(VmText::new("mail").on(&[2]).data(true));
    base.write(&text);
    let calls = {
        let bed = base.fork();
        assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
        bed.fate.calls()
    };
    assert!(calls >= 20, "{calls} calls");
    assert_eq!(meddled_at_every_step(&base, calls).await, calls * Hand::ALL.len());
}

#[tokio::test]
async fn what_arrives_late_in_the_trash_stays_on_the_card() {
    let mut text = Text::new(1, vec![VmText::new("web").data(false)]);
    text.vms[0].uefi = true;
    let base = Bed::among_strangers(&text);
    base.converges(2, "before").await;
    let again = (text, Goal::Replace([vm("web")].into()));
    let gone = (Text::new(1, Vec::new()), Goal::Converge);
    let mut spoiled = 0;
    for ((text, goal), k) in [again, gone].iter().flat_map(|it| (0..16).map(move |k| (it, k))) {
        let bed = base.fork();
        bed.write(text);
        // The run is killed before it looks again.
        bed.fate.spoil(k, Trick::LateEffect);
        bed.fate.spoil(k + 1, Trick::KillBefore);
        bed.run(goal.clone(), &all()).await;
        bed.recover();
        bed.settles(3, &all(), &format!("{goal:?}, late at {k}")).await;
        spoiled += bed.fate.fired();
    }
    assert!(spoiled >= 40, "{spoiled} calls were late or killed");
}
