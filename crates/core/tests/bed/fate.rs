//! What goes wrong, at which changing call of the whole fleet.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use freehold_core::state::Journal;
use tokio::sync::Notify;

use super::{
    hands::{Hand, Hands},
    witness::Witness,
};

/// What goes wrong with one changing call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trick {
    /// The run is killed before its journal has the intent.
    KillBeforeIntent,
    /// The run is killed while it writes the intent: half the line is there.
    KillTornIntent,
    /// The run is killed before the call arrives.
    KillBefore,
    /// The run is killed when the call has happened.
    KillAfter,
    /// The run is killed while it writes how the call ended: half the line is there.
    KillTornOutcome,
    /// The run is killed once it has written how the call ended.
    KillAfterOutcome,
    /// As `KillAfter`, and the journal's lines that nobody waited for are lost.
    KillAndLoseOutcomes,
    /// It is refused.
    Fail,
    /// It never arrives, and nobody can know that.
    LostRequest,
    /// It happens, its reply is lost.
    LostReply,
    /// It happens after the next look and before the next call, its reply is lost.
    LateEffect,
    /// Its host, or the server, answers nothing from here on.
    Gone,
    /// It happens, its reply is lost, and nothing arrives from here on.
    LostThenGone,
    /// Its host, or the server, answers nothing for the next few calls of the fleet.
    Partition,
    /// Its host starts anew, and the call is lost.
    Reboot,
    /// Nothing can be written into its host's pool any more.
    DiskFull,
    /// It never arrives and is never answered; the run is killed once nothing else goes on.
    Hang,
    /// It happens and is never answered; the run is killed once nothing else goes on.
    HangAfter,
    /// Somebody does this right before it; the number says to which object.
    Hand(Hand, u8),
}

impl Trick {
    /// Everything but somebody's edits.
    pub(crate) const ALL: [Self; 18] = [
        Self::KillBeforeIntent,
        Self::KillTornIntent,
        Self::KillBefore,
        Self::KillAfter,
        Self::KillTornOutcome,
        Self::KillAfterOutcome,
        Self::KillAndLoseOutcomes,
        Self::Fail,
        Self::LostRequest,
        Self::LostReply,
        Self::LateEffect,
        Self::Gone,
        Self::LostThenGone,
        Self::Partition,
        Self::Reboot,
        Self::DiskFull,
        Self::Hang,
        Self::HangAfter,
    ];

    /// Where the tool can be killed around one changing call: before, while and after its intent is
    /// written, after the call, while and after its outcome is written.
    pub(crate) const KILLS: [Self; 6] = [
        Self::KillBeforeIntent,
        Self::KillTornIntent,
        Self::KillBefore,
        Self::KillAfter,
        Self::KillTornOutcome,
        Self::KillAfterOutcome,
    ];
}

/// What of its journal a killed run leaves on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All of it.
    Whole,
    /// What was there when the last call was made.
    ToLastCall,
    /// The same and half the next line.
    InNextLine,
    /// All of it and half a line more.
    TornEnd,
    /// All of it less the outcomes nobody waited for.
    LessOutcomes,
}

impl Cut {
    fn of(trick: Trick) -> Self {
        match trick {
            Trick::KillBeforeIntent => Self::ToLastCall,
            Trick::KillTornIntent => Self::InNextLine,
            Trick::KillTornOutcome => Self::TornEnd,
            Trick::KillAndLoseOutcomes => Self::LessOutcomes,
            _ => Self::Whole,
        }
    }
}

/// How often nothing must have happened until a run with a call that hangs is killed.
const QUIET: usize = 8;
/// How many calls of the fleet a partition lasts.
const PARTITION: usize = 3;

/// Counts the changing calls of a fleet and spoils some.
#[derive(Default)]
pub(crate) struct Fate {
    inner: Mutex<Inner>,
    death: Notify,
    present: OnceLock<(Arc<Witness>, Arc<Hands>)>,
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fate").finish_non_exhaustive()
    }
}

type Return = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Inner {
    calls: usize,
    tricks: BTreeMap<usize, Trick>,
    at_end: Option<Trick>,
    fired: Vec<Trick>,
    dead: Option<Cut>,
    hangs: bool,
    dies_at_outcome: bool,
    late: bool,
    returns: Vec<(usize, Return)>,
}

impl Fate {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Brings who looks at every call, and who may interfere.
    pub(super) fn attend(&self, witness: Arc<Witness>, hands: Arc<Hands>) {
        assert!(self.present.set((witness, hands)).is_ok(), "they attend once");
    }

    pub(super) fn witness(&self) -> Option<&Arc<Witness>> {
        self.present.get().map(|(witness, _)| witness)
    }

    /// Spoils the `nth` changing call from now, counted from 0.
    pub(crate) fn spoil(&self, nth: usize, trick: Trick) {
        let mut inner = self.inner();
        let at = inner.calls + nth;
        inner.tricks.insert(at, trick);
    }

    /// Kills the next run when its calls are done and its state is not saved, or not in full.
    pub(crate) fn spoil_end(&self, kill: Trick) {
        self.inner().at_end = Some(kill);
    }

    /// Returns how many tricks were played.
    pub(crate) fn fired(&self) -> usize {
        self.inner().fired.len()
    }

    /// Returns the tricks that were played.
    pub(crate) fn played(&self) -> Vec<Trick> {
        self.inner().fired.clone()
    }

    /// Returns how many changing calls there were.
    pub(crate) fn calls(&self) -> usize {
        self.inner().calls
    }

    /// Plays no more tricks; a killed run is over.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner();
        inner.tricks.clear();
        inner.at_end = None;
        inner.dead = None;
        inner.hangs = false;
        inner.dies_at_outcome = false;
    }

    /// What was away is so no more.
    pub(crate) fn recover(&self) {
        self.inner().returns.clear();
    }

    /// Returns what the journal keeps once the run is killed.
    pub(super) async fn death(&self, journal: &Journal) -> Cut {
        loop {
            let (dead, hangs) = {
                let inner = self.inner();
                (inner.dead, inner.hangs)
            };
            match dead {
                Some(cut) => return cut,
                None if hangs => self.starve(journal).await,
                None => self.death.notified().await,
            }
        }
    }

    /// Ends a run with a call that hangs once nothing else goes on: no step waits for the journal,
    /// and none made another call.
    async fn starve(&self, journal: &Journal) {
        for _ in 0..QUIET {
            let calls = self.calls();
            journal.intent(usize::MAX, "look whether others go on", &[], &[]).await.unwrap();
            for _ in 0..QUIET {
                tokio::task::yield_now().await;
            }
            if calls != self.calls() {
                return;
            }
        }
        self.inner().dead = Some(Cut::Whole);
    }

    /// Returns how the run is killed at its end, if it is.
    pub(super) fn end(&self) -> Option<(Trick, Cut)> {
        let mut inner = self.inner();
        let trick = inner.at_end.take()?;
        inner.fired.push(trick);
        Some((trick, Cut::of(trick)))
    }

    /// Is asked before every changing call; a run that is dead calls no more.
    pub(super) async fn before(&self) -> Option<Trick> {
        let (trick, returns) = {
            let mut inner = self.inner();
            match inner.dead {
                Some(_) => (Err(()), Vec::new()),
                None => (Ok(inner.next()), inner.due()),
            }
        };
        for back in returns {
            back();
        }
        match trick {
            Err(()) => std::future::pending().await,
            Ok(Some(
                kill @ (Trick::KillBeforeIntent | Trick::KillTornIntent | Trick::KillBefore),
            )) => self.die(Cut::of(kill)).await,
            Ok(Some(Trick::Hang)) => self.hang().await,
            Ok(Some(Trick::Hand(hand, which))) => {
                if let Some((_, hands)) = self.present.get() {
                    hands.act(hand, which);
                }
                None
            }
            Ok(trick) => trick,
        }
    }

    /// Is told after every changing call.
    pub(super) async fn after(&self, trick: Option<Trick>) {
        match trick {
            Some(
                kill @ (Trick::KillAfter | Trick::KillTornOutcome | Trick::KillAndLoseOutcomes),
            ) => self.die(Cut::of(kill)).await,
            Some(Trick::HangAfter) => self.hang().await,
            Some(Trick::KillAfterOutcome) => self.inner().dies_at_outcome = true,
            _ => {}
        }
    }

    /// Is told when the outcome of a step was handed to the journal.
    pub(super) fn outcome(&self) {
        let mut inner = self.inner();
        if inner.dies_at_outcome {
            inner.dead = Some(Cut::Whole);
            self.death.notify_one();
        }
    }

    /// Has something come back after some more calls.
    pub(super) fn comes_back(&self, back: Return) {
        let mut inner = self.inner();
        let at = inner.calls + PARTITION;
        inner.returns.push((at, back));
    }

    pub(super) fn is_dead(&self) -> bool {
        self.inner().dead.is_some()
    }

    /// Says whether anything may still be on its way to a host.
    pub(super) fn is_late(&self) -> bool {
        self.inner().late
    }

    async fn die<T>(&self, cut: Cut) -> T {
        self.inner().dead = Some(cut);
        self.death.notify_one();
        std::future::pending().await
    }

    async fn hang<T>(&self) -> T {
        self.inner().hangs = true;
        self.death.notify_one();
        std::future::pending().await
    }
}

impl Inner {
    fn next(&mut self) -> Option<Trick> {
        let trick = self.tricks.remove(&self.calls);
        self.calls += 1;
        self.fired.extend(trick);
        self.late |= trick == Some(Trick::LateEffect);
        trick
    }

    fn due(&mut self) -> Vec<Return> {
        let calls = self.calls;
        let due = self.returns.extract_if(.., |(at, _)| *at <= calls);
        due.map(|(_, back)| back).collect()
    }
}
