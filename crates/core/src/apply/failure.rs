//! What failed in a run, in words and in kind.

use std::error::Error;

use crate::{
    host::{Certainty, HostError, HostErrorKind},
    plugins::{PluginError, PluginErrorKind},
    state::{Outcome, StateError},
};

/// One step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step in words.
    pub what: String,
    /// The causes, outermost first.
    pub causes: Vec<String>,
    /// What the user can do.
    pub hint: Option<String>,
    /// What kind of trouble it is.
    pub kind: FailureKind,
    /// Whether it may have happened all the same.
    pub outcome: Outcome,
}

/// What kind of trouble a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A host's.
    Host(HostErrorKind),
    /// A plugin's.
    Plugin(PluginErrorKind),
    /// The journal could not be written; the call was not made.
    Journal,
    /// The user wanted the run to end.
    Interrupted,
    /// A VM was not ready in time.
    NotReady,
    /// Something the user gave: an image that cannot be fetched or is none.
    Input,
}

/// Returns an error and its causes, outermost first.
pub fn causes_of(error: &dyn Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        let words = error.to_string();
        // A wrapper that only repeats its source says nothing.
        if causes.last() != Some(&words) {
            causes.push(words);
        }
        next = error.source();
    }
    causes
}

impl Failure {
    pub(super) fn of_host(what: String, error: &HostError) -> Self {
        let outcome = match error.certainty {
            Certainty::DidNot => Outcome::Failed,
            Certainty::Unknown => Outcome::Unknown,
        };
        let (causes, hint) = (causes_of(error), error.hint.clone());
        Self { what, causes, hint, kind: FailureKind::Host(error.kind), outcome }
    }

    pub(super) fn of_plugin(what: String, error: &PluginError) -> Self {
        let (causes, hint) = (causes_of(error), error.hint.clone());
        let kind = FailureKind::Plugin(error.kind);
        // A server that did not answer may have taken the change; the next look says.
        Self { what, causes, hint, kind, outcome: Outcome::Unknown }
    }

    pub(super) fn of_state(what: String, error: &StateError) -> Self {
        let (causes, hint) = (causes_of(error), error.hint());
        Self { what, causes, hint, kind: FailureKind::Journal, outcome: Outcome::Failed }
    }
}
