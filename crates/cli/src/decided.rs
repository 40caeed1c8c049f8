//! What is decided about the fleet, and how it stands to `freehold.lock`.

use freehold_core::{
    model::VmName,
    plan::{Disagreement, Undecided, decide, disagreements, undecided},
    seed::Guests,
    state::{Decisions, Snapshot},
};

use crate::{context::Context, failure::Failure, screen};

/// How many VMs are named one by one.
const NAMED: usize = 5;

/// What is decided, and what the lock said before.
pub(crate) struct Decided {
    pub(crate) guests: Guests,
    pub(crate) decisions: Decisions,
    /// What the lock said.
    pub(crate) lock: Decisions,
    /// Of the fleet's VMs, what the lock does not hold yet.
    pub(crate) open: Vec<Undecided>,
    disagreements: Vec<Disagreement>,
}

impl Decided {
    /// Decides from text, lock and state; asks no host.
    pub(crate) fn of(context: &Context, snapshot: &Snapshot) -> Result<Self, Failure> {
        Self::from(context, context.lock.read()?, snapshot)
    }

    /// Decides from text, state and what freehold.lock is to say.
    pub(crate) fn from(
        context: &Context,
        lock: Decisions,
        snapshot: &Snapshot,
    ) -> Result<Self, Failure> {
        let identity = context.identity()?;
        let fingerprint = identity.fingerprint();
        let guests = Guests::new(identity, context.fleet.id);
        let keys = |vm: &VmName, epoch: u32| guests.host_key(vm, epoch);
        let decisions = decide(&context.fleet, &lock, snapshot, &fingerprint, &keys)?;
        let open = undecided(&lock, &decisions, &context.fleet);
        let disagreements = disagreements(&lock, snapshot, &decisions);
        Ok(Self { guests, decisions, lock, open, disagreements })
    }

    /// Says on stderr where what was applied overrules the lock.
    pub(crate) fn tell(&self) {
        let (lost, others): (Vec<_>, Vec<_>) =
            self.disagreements.iter().partition(|disagreement| disagreement.choice.is_none());
        for disagreement in others.into_iter().chain(lost.iter().take(NAMED).copied()) {
            screen::say(&format!("note: {disagreement}"));
        }
        if lost.len() > NAMED {
            let more = lost.len() - NAMED;
            screen::say(&format!("note: so are {more} more that freehold.lock does not have"));
        }
    }

    /// Refuses to go on with choices that the lock does not hold.
    pub(crate) fn refuse_open(&self) -> Result<(), Failure> {
        if self.open.is_empty() {
            return Ok(());
        }
        let lines: Vec<_> = self.open.iter().map(|open| format!("\n{open}")).collect();
        let what = format!("freehold.lock does not hold what was decided{}", lines.concat());
        let hint = "run `freehold plan --lock` and commit freehold.lock";
        Err(Failure::input(what).hint(hint))
    }
}
