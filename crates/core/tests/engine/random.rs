//! Random fleets under random edits and random trouble: nothing is harmed, and they converge.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use proptest::{
    prelude::ProptestConfig,
    test_runner::{FileFailurePersistence, RngSeed, TestRunner},
};

use freehold_core::plan::{Goal, Withheld};

use crate::{
    bed::{Bed, Hand, Text, Trick, VmText},
    lives::{Ask, Chapter, Edit, Life, Writer, lives},
};

/// How many fleets live when nobody says otherwise with `FREEHOLD_CASES`.
const CASES: u32 = 256;
/// Lives wait for their journals much of the time, so there are more of them than processors.
const THREADS: u32 = 4;
/// Cases that failed once; they are tried first.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/random.regressions");

/// What all lives came to.
#[derive(Default)]
struct Tally {
    lives: AtomicUsize,
    applies: AtomicUsize,
    judged: AtomicUsize,
    deeds: AtomicUsize,
    fired: Mutex<BTreeMap<String, usize>>,
}

impl Tally {
    fn count(&self, bed: &Bed) {
        self.lives.fetch_add(1, Ordering::Relaxed);
        self.applies.fetch_add(bed.runs(), Ordering::Relaxed);
        let (judged, deeds) = bed.witness.judged();
        self.judged.fetch_add(judged, Ordering::Relaxed);
        self.deeds.fetch_add(deeds, Ordering::Relaxed);
        let mut fired = self.fired.lock().unwrap();
        for trick in bed.fate.played() {
            let name = match trick {
                Trick::Hand(hand, _) => format!("{hand:?} by hand"),
                trick => format!("{trick:?}"),
            };
            *fired.entry(name).or_default() += 1;
        }
    }

    /// Prints what was done, and checks that it was enough to mean something.
    #[allow(clippy::print_stdout, reason = "the count is part of what a test says")]
    fn tell(&self, cases: usize) {
        let fired = self.fired.lock().unwrap();
        let all: usize = fired.values().sum();
        let [lives, applies, judged, deeds] =
            [&self.lives, &self.applies, &self.judged, &self.deeds]
                .map(|count| count.load(Ordering::Relaxed));
        println!(
            "{lives} lives, {applies} looks and runs, {all} faults, {judged} calls judged, \
             {deeds} changes tried: {fired:?}"
        );
        assert!(lives >= cases, "{lives} lives of {cases}");
        assert!(judged >= 20 * cases && deeds >= 20 * cases, "{judged} calls, {deeds} changes");
        assert!(all >= cases, "{all} faults");
        let kinds = Trick::ALL.len() + Hand::ALL.len();
        assert!(cases < 200 || fired.len() == kinds, "{} of {kinds} kinds", fired.len());
    }
}

/// Lives one life; everything that must not happen panics.
async fn live(life: &Life, tally: &Tally) {
    let bed = Bed::among_strangers(&life.text);
    let mut writer = Writer::new(&life.text);
    for chapter in &life.chapters {
        for (at, trick, ask) in &chapter.troubles {
            bed.fate.spoil(*at, *trick);
            bed.run(goal(&bed, *ask), &bed.agreed(life.lets_go)).await;
            bed.recover();
        }
        if bed.hands.meddled() {
            bed.rests(&bed.agreed(life.lets_go), "while somebody meddles").await;
            bed.put_back();
        }
        bed.settles(3, &bed.agreed(life.lets_go), &format!("{chapter:?}")).await;
        for edit in &chapter.edits {
            bed.write(writer.edit(*edit));
        }
    }
    bed.settles(2, &bed.agreed(life.lets_go), "at last").await;
    if life.destroyed {
        let held = bed.destroy(None).await.plan.held;
        if held.iter().all(|held| held.why != Withheld::Protected) {
            bed.check_destroyed();
        }
    }
    tally.count(&bed);
}

/// Returns what a run is for: some of the VMs that are declared and made, if there are any.
fn goal(bed: &Bed, ask: Ask) -> Goal {
    let (fleet, snapshot) = (bed.fleet(), bed.snapshot());
    let there: Vec<_> = snapshot.vms.keys().filter(|vm| fleet.vms.contains_key(*vm)).collect();
    let one = |n: usize| there[n % there.len()].clone();
    match ask {
        Ask::Replace(n) if !there.is_empty() => Goal::Replace([one(n)].into()),
        Ask::Destroy(n) if !there.is_empty() => Goal::Destroy(Some([one(n)].into())),
        _ => Goal::Converge,
    }
}

/// Lives of one VM that failed once.
fn lives_that_failed() -> Vec<Life> {
    let bare = || VmText::new("vm-0").on(&[1]);
    let life = |vm: VmText, chapters: &[(Edit, Trick)]| Life {
        text: Text::new(1, vec![vm]),
        chapters: chapters
            .iter()
            .map(|(edit, trick)| Chapter {
                edits: vec![*edit],
                troubles: vec![(0, *trick, Ask::Converge)],
            })
            .collect(),
        destroyed: false,
        lets_go: false,
    };
    let (add, toggle, keep) = (Edit::AddDisk(0), Edit::Toggle(0), Edit::Keep(0));
    let renamed_while_away = |last: [Edit; 2]| {
        let mut life = life(bare(), &[(toggle, Trick::Fail), (last[0], Trick::KillBeforeIntent)]);
        life.chapters[1].edits = last.to_vec();
        life
    };
    let gone_while_renamed = || {
        let mut life = life(bare().data(true), &[(keep, Trick::Fail), (toggle, Trick::Fail)]);
        life.chapters[0].edits.push(Edit::Rename(0));
        life
    };
    vec![
        // A disk that was to be added was lost before it was there.
        life(bare(), &[(add, Trick::KillBeforeIntent), (toggle, Trick::KillAfterOutcome)]),
        life(bare(), &[(add, Trick::KillBeforeIntent), (toggle, Trick::Fail)]),
        // Two runs killed at once locked everybody out.
        life(bare(), &[(add, Trick::KillBeforeIntent), (toggle, Trick::KillBeforeIntent)]),
        // What was saved to disk, or undefined while it ran, stood in the way for ever.
        life(bare(), &[(toggle, Trick::Fail), (toggle, Trick::Hand(Hand::Save, 0))]),
        life(bare(), &[(toggle, Trick::Fail), (add, Trick::Hand(Hand::UndefineLive, 0))]),
        // It came back under another name, and both names claimed its UUID.
        renamed_while_away([toggle, Edit::Rename(0)]),
        renamed_while_away([Edit::Rename(0), toggle]),
        // It went before it was renamed, and both names claimed its UUID.
        gone_while_renamed(),
        // Nobody agreed that a kept disk is kept no more.
        life(bare().data(true), &[(keep, Trick::Fail), (toggle, Trick::Fail)]),
    ]
}

#[tokio::test]
async fn lives_that_failed_once_go_well() {
    let tally = Tally::default();
    for life in lives_that_failed() {
        live(&life, &tally).await;
    }
    assert_eq!(tally.lives.into_inner(), lives_that_failed().len());
}

fn runner(cases: u32, thread: u32) -> TestRunner {
    let mut config = ProptestConfig {
        cases: cases.div_ceil(THREADS),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..ProptestConfig::default()
    };
    if let RngSeed::Fixed(seed) = config.rng_seed {
        config.rng_seed = RngSeed::Fixed(seed.wrapping_add(u64::from(thread)));
    }
    TestRunner::new(config)
}

#[test]
fn any_fleet_converges_and_harms_nobody() {
    let asked = std::env::var("FREEHOLD_CASES").ok();
    let cases = asked.map_or(CASES, |asked| asked.parse().expect("FREEHOLD_CASES is a number"));
    let tally = Tally::default();
    thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| {
            let tally = &tally;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.unwrap();
                let lived = runner(cases, thread).run(&lives(), |life| {
                    runtime.block_on(live(&life, tally));
                    Ok(())
                });
                lived.unwrap_or_else(|failed| panic!("{failed}"));
            })
        });
        let threads: Vec<_> = threads.collect();
        for thread in threads {
            assert!(thread.join().is_ok(), "see above");
        }
    });
    tally.tell(usize::try_from(cases).unwrap());
}
