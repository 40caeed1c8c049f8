//! What ends a command early, how it is said, and its exit code.

use std::error::Error;

use freehold_core::{
    apply::causes_of,
    config::Problems,
    host::{HostError, HostErrorKind},
    plan::PlanProblem,
    plugins::PluginError,
    state::{StateError, StoreTrouble},
};

use crate::screen;

/// How a command ends (documented in `--help`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Input = 1,
    Part = 3,
    Locked = 4,
    Held = 5,
    Bug = 70,
    Interrupted = 130,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

/// What ends a command early.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// Said as it is, instead of `error: …` lines.
    rendered: Option<String>,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, rendered: None, causes: vec![what.into()], hint: None }
    }

    pub(crate) fn input(what: impl Into<String>) -> Self {
        Self::new(Exit::Input, what)
    }

    pub(crate) fn because(mut self, error: &dyn Error) -> Self {
        self.causes.extend(causes_of(error));
        self
    }

    /// Adds causes that are words already, outermost first.
    pub(crate) fn because_of(mut self, causes: Vec<String>) -> Self {
        self.causes.extend(causes);
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on stderr and returns the exit code.
    pub(crate) fn report(&self) -> u8 {
        match &self.rendered {
            Some(text) => screen::say(text.trim_end()),
            None => screen::say(&told(&self.causes, self.hint.as_deref())),
        }
        self.exit.code()
    }
}

/// Returns `error: …`, its causes, and after a blank line the hint.
pub(crate) fn told(causes: &[String], hint: Option<&str>) -> String {
    let mut text = String::new();
    for (index, cause) in causes.iter().enumerate() {
        let cause = shown(cause).replace('\n', "\n    ");
        text += &if index == 0 { format!("error: {cause}") } else { format!("\n  cause: {cause}") };
    }
    if let Some(hint) = hint {
        text += &format!("\n\nhint: {}", shown(hint));
    }
    text
}

/// What hosts and servers say, and names that others gave, reach a terminal: control characters do not.
pub(crate) fn shown(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let rendered = Some(problems.render());
        Self { exit: Exit::Input, rendered, causes: Vec::new(), hint: None }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        let exit = match error {
            StateError::Locked { .. } | StateError::Superseded { .. } => Exit::Locked,
            StateError::Store { trouble: StoreTrouble::Away, .. } => Exit::Part,
            _ => Exit::Input,
        };
        Self { exit, rendered: None, causes: causes_of(&error), hint: error.hint() }
    }
}

impl From<Vec<PlanProblem>> for Failure {
    fn from(problems: Vec<PlanProblem>) -> Self {
        let said = problems.iter().map(|p| told(&[p.to_string()], Some(&p.hint())));
        let rendered = Some(said.collect::<Vec<_>>().join("\n\n"));
        Self { exit: Exit::Input, rendered, causes: Vec::new(), hint: None }
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let (causes, hint) = (causes_of(&error), error.hint.clone());
        Self { exit: Exit::Input, rendered: None, causes, hint }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let exit = exit_of(std::slice::from_ref(&error));
        Self { exit, rendered: None, causes: causes_of(&error), hint: error.hint }
    }
}

/// Returns how a run that could not reach these hosts ends: a changed host key is no outage.
pub(crate) fn exit_of(errors: &[HostError]) -> Exit {
    let is_input = |kind| matches!(kind, HostErrorKind::HostKey | HostErrorKind::Input);
    if errors.iter().any(|error| is_input(error.kind)) {
        Exit::Input
    } else if errors.is_empty() {
        Exit::Done
    } else {
        Exit::Part
    }
}

/// Returns why a host did not do something, with what to do, in the words of [`told`].
pub(crate) fn told_of(error: &HostError) -> String {
    told(&causes_of(error), error.hint.as_deref())
}

/// Says on stderr why hosts were not read, with what to do.
pub(crate) fn tell_errors(errors: &[HostError]) {
    for error in errors {
        screen::say(&told_of(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_cannot_command_the_terminal() {
        let text = told(&["a\u{1b}[2J\rb".into()], Some("c\u{9b}d"));
        assert_eq!(text, "error: a?[2J?b\n\nhint: c?d");
    }

    #[test]
    fn the_hint_stands_after_a_blank_line() {
        let text = told(&["outer".into(), "inner".into()], Some("try this"));
        assert_eq!(text, "error: outer\n  cause: inner\n\nhint: try this");
    }
}
