//! What happened, as values: one stream feeds screen and JSON. Knows nothing of who listens.

use serde::Serialize;

use crate::model::HostName;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A host is being reached and read.
    Observing {
        /// Which.
        host: HostName,
    },
    /// A host was read, or could not be.
    Observed {
        /// Which.
        host: HostName,
    },
    /// A step began.
    StepStarted {
        /// Its number in the plan.
        step: usize,
        /// Its host, when it has one.
        host: Option<HostName>,
        /// Its words: `create volume …`.
        what: String,
    },
    /// A step has moved bytes.
    StepProgress {
        /// Its number in the plan.
        step: usize,
        /// Bytes done.
        done: u64,
        /// Bytes in all, when known.
        total: Option<u64>,
    },
    /// A step ended.
    StepEnded {
        /// Its number in the plan.
        step: usize,
        /// How.
        outcome: StepOutcome,
    },
    /// A run ended.
    RunEnded {
        /// Steps that are done.
        done: usize,
        /// Steps that failed.
        failed: usize,
        /// Steps that were left out.
        skipped: usize,
        /// Plugins with edits that could not be published.
        pending: Vec<String>,
        /// Whether the user ended it.
        interrupted: bool,
    },
    /// A change is not made, as consent for it lacks.
    Held {
        /// What: `vm web-0`.
        object: String,
        /// Why, as a code.
        code: &'static str,
        /// Why, in words.
        text: String,
        /// What gives the consent.
        hint: Option<String>,
    },
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It is done.
    Done,
    /// It failed, with the chain of causes.
    Failed {
        /// The causes, outermost first.
        causes: Vec<String>,
        /// What the user can do.
        hint: Option<String>,
    },
    /// It was left out, since one it needs failed.
    Skipped,
}

/// Where events go. Sending never blocks and never fails.
pub trait Listener: Send + Sync {
    /// Takes one event.
    fn on(&self, event: Event);
}

/// A listener that drops everything.
#[derive(Debug, Clone, Copy)]
pub struct Silence;

impl Listener for Silence {
    fn on(&self, _: Event) {}
}
