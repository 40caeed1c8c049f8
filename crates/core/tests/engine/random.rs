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
    prelude::*,
    test_runner::{FileFailurePersistence, RngSeed, TestRunner},
};

use crate::bed::{Bed, Data, Hand, Text, Trick, VmText};

/// How many fleets live when nobody says otherwise with `FREEHOLD_CASES`.
const CASES: u32 = 256;
/// Lives wait for their journals much of the time, so there are more of them than processors.
const THREADS: u32 = 4;
/// Cases that failed once; they are tried first.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/random.regressions");

/// A change of the text; the number says of which block.
#[derive(Debug, Clone, Copy)]
enum Edit {
    /// The block is there, or is not.
    Toggle(usize),
    Count(usize, usize),
    Keep(usize),
    AddDisk(usize),
    Memory(usize),
    Autostart(usize),
    Running(usize),
}

/// What happens to a fleet between two times of peace.
#[derive(Debug, Clone)]
struct Chapter {
    edits: Vec<Edit>,
    /// Each spoils one changing call of a run of its own.
    troubles: Vec<(usize, Trick)>,
}

/// A fleet from its first apply on.
#[derive(Debug, Clone)]
struct Life {
    text: Text,
    chapters: Vec<Chapter>,
    destroyed: bool,
    /// Whether it is agreed to that what was kept is kept no more.
    lets_go: bool,
}

fn blocks() -> impl Strategy<Value = Vec<VmText>> {
    let count = prop::option::weighted(0.4, 1..=2_usize);
    let nics =
        prop::sample::select(vec![(true, false), (true, false), (true, true), (false, true)]);
    let disk = prop::option::of(any::<bool>());
    let block = (count, 0..6_usize, nics, disk, prop::bool::weighted(0.2));
    prop::collection::vec(block, 1..=4).prop_map(|blocks| {
        let blocks = blocks.into_iter().enumerate().map(|(n, (count, at, nics, data, uefi))| {
            // One host, or spread over two.
            let hosts = [&[1][..], &[2], &[3], &[1, 2], &[2, 3], &[1, 3]][at];
            let mut vm = VmText::new(&format!("vm-{n}")).on(hosts);
            (vm.count, vm.nat, vm.uefi) = (count, nics.1, uefi);
            vm.lan = vm.lan.filter(|_| nics.0);
            if let Some(keep) = data {
                vm = vm.data(keep);
            }
            vm
        });
        blocks.collect()
    })
}

/// A fleet of at most six VMs on one to three hosts.
fn fleets() -> impl Strategy<Value = Text> {
    (1..=3_usize, blocks()).prop_map(|(hosts, mut blocks)| {
        let mut vms = 0;
        for block in &mut blocks {
            for host in &mut block.hosts {
                *host = (*host).min(hosts);
            }
            block.hosts.dedup();
            vms += block.count.unwrap_or(1);
        }
        while vms > 6 {
            vms -= blocks.pop().map_or(vms, |block| block.count.unwrap_or(1));
        }
        Text::new(hosts, blocks)
    })
}

fn edits() -> impl Strategy<Value = Edit> {
    (0..4_usize, 0..=3_usize, 0..8_usize).prop_map(|(block, count, kind)| match kind {
        0 | 1 => Edit::Toggle(block),
        2 => Edit::Count(block, count),
        3 => Edit::Keep(block),
        4 => Edit::AddDisk(block),
        5 => Edit::Memory(block),
        6 => Edit::Autostart(block),
        _ => Edit::Running(block),
    })
}

fn tricks() -> impl Strategy<Value = Trick> {
    let by_itself = prop::sample::select(Trick::ALL.to_vec());
    let by_hand = (prop::sample::select(Hand::ALL.to_vec()), any::<u8>());
    prop_oneof![3 => by_itself, 1 => by_hand.prop_map(|(hand, which)| Trick::Hand(hand, which))]
}

fn lives() -> impl Strategy<Value = Life> {
    let edits = prop::collection::vec(edits(), 1..=3);
    let troubles = prop::collection::vec((0..24_usize, tricks()), 1..=3);
    let chapter = (edits, troubles).prop_map(|(edits, troubles)| Chapter { edits, troubles });
    let chapters = prop::collection::vec(chapter, 1..=2);
    (fleets(), chapters, prop::bool::weighted(0.2), any::<bool>()).prop_map(
        |(text, chapters, destroyed, lets_go)| Life { text, chapters, destroyed, lets_go },
    )
}

/// The text as it is now, and the blocks that are not in it.
struct Writer {
    blocks: Vec<(VmText, bool)>,
    text: Text,
}

impl Writer {
    fn new(text: &Text) -> Self {
        let blocks = text.vms.iter().map(|block| (block.clone(), true));
        Self { blocks: blocks.collect(), text: text.clone() }
    }

    fn edit(&mut self, edit: Edit) {
        let (Edit::Toggle(n)
        | Edit::Count(n, _)
        | Edit::Keep(n)
        | Edit::AddDisk(n)
        | Edit::Memory(n)
        | Edit::Autostart(n)
        | Edit::Running(n)) = edit;
        let last = self.blocks.len();
        let (vm, declared) = &mut self.blocks[n % last];
        match edit {
            Edit::Toggle(_) => *declared = !*declared,
            Edit::Count(_, count) => vm.count = vm.count.map(|_| count),
            Edit::Keep(_) => {
                if let Some(data) = &mut vm.data {
                    data.keep = !data.keep;
                }
            }
            Edit::AddDisk(_) => {
                vm.data = vm.data.or(Some(Data { size: "2GiB", keep: false }));
            }
            Edit::Memory(_) => {
                vm.memory = if vm.memory == "256MiB" { "512MiB" } else { "256MiB" };
            }
            Edit::Autostart(_) => vm.autostart = !vm.autostart,
            Edit::Running(_) => vm.running = !vm.running,
        }
        let there = self.blocks.iter().filter(|(_, declared)| *declared);
        self.text.vms = there.map(|(vm, _)| vm.clone()).collect();
    }
}

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
        for (at, trick) in &chapter.troubles {
            bed.fate.spoil(*at, *trick);
            bed.apply(&bed.agreed(life.lets_go)).await;
            bed.recover();
        }
        if bed.hands.meddled() {
            bed.rests(&bed.agreed(life.lets_go), "while somebody meddles").await;
            bed.put_back();
        }
        bed.settles(3, &bed.agreed(life.lets_go), &format!("{chapter:?}")).await;
        for edit in &chapter.edits {
            writer.edit(*edit);
        }
        bed.write(&writer.text);
    }
    bed.settles(2, &bed.agreed(life.lets_go), "at last").await;
    if life.destroyed {
        bed.destroy(None).await;
        bed.check_destroyed();
    }
    tally.count(&bed);
}

/// Lives of one VM that failed once.
fn lives_that_failed() -> Vec<Life> {
    let bare = || VmText::new("vm-0").on(&[1]);
    let life = |vm: VmText, chapters: &[(Edit, Trick)]| Life {
        text: Text::new(1, vec![vm]),
        chapters: chapters
            .iter()
            .map(|(edit, trick)| Chapter { edits: vec![*edit], troubles: vec![(0, *trick)] })
            .collect(),
        destroyed: false,
        lets_go: false,
    };
    let (add, toggle, keep) = (Edit::AddDisk(0), Edit::Toggle(0), Edit::Keep(0));
    vec![
        // A disk that was to be added was lost before it was there.
        life(bare(), &[(add, Trick::KillBeforeIntent), (toggle, Trick::KillAfterOutcome)]),
        life(bare(), &[(add, Trick::KillBeforeIntent), (toggle, Trick::Fail)]),
        // Two runs killed at once locked everybody out.
        life(bare(), &[(add, Trick::KillBeforeIntent), (toggle, Trick::KillBeforeIntent)]),
        // What was saved to disk, or undefined while it ran, stood in the way for ever.
        life(bare(), &[(toggle, Trick::Fail), (toggle, Trick::Hand(Hand::Save, 0))]),
        life(bare(), &[(toggle, Trick::Fail), (add, Trick::Hand(Hand::UndefineLive, 0))]),
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
