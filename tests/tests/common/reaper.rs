//! Kills a run at the step that is meant.

use std::{
    fs, thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use acceptance::{
    bed::Bed,
    lab::{Lab, RACKS},
    relay::{Relay, Way},
    walk::{Next, Walk, is},
};
use serde_json::Value;

/// When, seen from the call that a step makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Its intent is on disk, and the call never leaves.
    Before,
    /// The call is on its way when the run dies, and is carried out by a host that nobody listens to.
    UnderWay,
    /// The call is done, and that it is was not written down.
    After,
}

impl Moment {
    pub(crate) const ALL: [Self; 3] = [Self::Before, Self::UnderWay, Self::After];
}

/// Returns what chance begins from: `FREEHOLD_SEED`, or any.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("FREEHOLD_SEED").ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    given.map_or(now, |seed| seed.parse().expect("FREEHOLD_SEED is a number"))
}

/// Says whether everything is to be tried that there is (`FREEHOLD_FULL`).
pub(crate) fn full() -> bool {
    std::env::var_os("FREEHOLD_FULL").is_some()
}

/// The wires to both racks.
pub(crate) struct Wires([Relay; 2]);

impl Wires {
    pub(crate) fn new() -> Self {
        Self(["10.77.0.11:22", "10.77.0.12:22"].map(|place| Relay::to(place).unwrap()))
    }

    /// Leads a bed through them.
    pub(crate) fn lead(&self, bed: Bed, lab: &Lab) -> Bed {
        let lines = RACKS.iter().zip(&self.0).map(|(rack, relay)| relay.config(rack.name));
        super::picture::by(bed, lab, &lines.collect::<String>())
    }

    pub(crate) fn rack1(&self) -> &Relay {
        &self.0[0]
    }

    pub(crate) fn each(&self, act: impl Fn(&Relay)) {
        self.0.iter().for_each(act);
    }

    fn waiting(&self) -> usize {
        self.0.iter().map(Relay::waiting).sum()
    }
}

/// How long a run that may say something more is listened to.
const QUIET: Duration = Duration::from_millis(15);

/// Runs `freehold` and kills it at this step. Returns the step's words; `None` where the run has no such step, and
/// so came to its end.
pub(crate) fn killed_at(
    (bed, wires): (&Bed, &Wires),
    arguments: &[&str],
    step: usize,
    moment: Moment,
) -> Option<String> {
    let mut walk = Walk::begin(bed.freehold(&[arguments, &["--json"]].concat())).unwrap();
    let reached = match moment {
        // The event is not taken, so nothing began since.
        Moment::After => walk.until(|event| is(event, "step-ended", step)).unwrap(),
        Moment::Before | Moment::UnderWay => {
            begun(&mut walk, wires, |event| is(event, "step-started", step))
        }
    };
    if !reached {
        wires.each(Relay::release);
        let (status, said) = walk.finish().unwrap();
        assert_eq!(status, 0, "{arguments:?} has no step {step}: {said}");
        return None;
    }
    intended(bed, step);
    if moment == Moment::UnderWay {
        // What has no call of its own waits for nothing.
        let deadline = Instant::now() + QUIET;
        while wires.waiting() == 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
    walk.kill().unwrap();
    if moment == Moment::Before {
        wires.each(Relay::sever);
    }
    wires.each(Relay::release);
    Some(unsettled(bed, step))
}

/// Runs `freehold` until a step of these words begins. The wires are held: whatever happens before they are released
/// happens in the midst of the step.
pub(crate) fn held_at((bed, wires): (&Bed, &Wires), arguments: &[&str], words: &str) -> Walk {
    let mut walk = Walk::begin(bed.freehold(&[arguments, &["--json"]].concat())).unwrap();
    let is = |event: &Value| {
        let what = event["what"].as_str().unwrap_or_default();
        event["event"] == "step-started" && what.starts_with(words)
    };
    assert!(begun(&mut walk, wires, is), "{arguments:?} has no step {words:?}: {}", walk.said());
    walk
}

/// Goes on until this step has begun; says whether it has. Whenever the run says something, nothing leaves it
/// until it is quiet: what it says is that steps ended, and begin.
fn begun(walk: &mut Walk, wires: &Wires, is: impl Fn(&Value) -> bool) -> bool {
    loop {
        let mut next = walk.expect().unwrap();
        wires.each(|relay| relay.hold(Way::Up));
        loop {
            match next {
                Next::Event(Some(event)) if is(&event) => return true,
                Next::Event(_) => walk.take().unwrap(),
                Next::End => return false,
                Next::Silence => break,
            }
            next = walk.peek(QUIET).unwrap();
        }
        wires.each(Relay::release);
    }
}

/// Waits until the intent of a step is on disk.
fn intended(bed: &Bed, step: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let what = format!("\"entry\":\"intent\",\"step\":{step},");
    while !journal(bed).contains(&what) {
        assert!(Instant::now() < deadline, "no intent of step {step}: {}", journal(bed));
        thread::sleep(Duration::from_millis(1));
    }
}

fn journal(bed: &Bed) -> String {
    fs::read_to_string(bed.path().join(".freehold/journal.jsonl")).unwrap_or_default()
}

/// Asserts that the journal ends in the midst of this step, and returns the step's words. Where it has the outcome
/// already, that line is taken away: it is written without waiting for the disk.
fn unsettled(bed: &Bed, step: usize) -> String {
    let text = journal(bed);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let at =
        |entry: &str| lines.iter().position(|line| line["entry"] == entry && line["step"] == step);
    let intent = at("intent").unwrap_or_else(|| panic!("step {step} has no intent: {text}"));
    if let Some(outcome) = at("outcome") {
        let later = lines[outcome..].iter().all(|line| line["entry"] == "outcome");
        assert!(later, "step {step} was over, and others had begun: {text}");
        let kept: String = text.split_inclusive('\n').take(outcome).collect();
        bed.write(".freehold/journal.jsonl", &kept).unwrap();
    }
    lines[intent]["what"].as_str().unwrap().to_owned()
}
