//! What goes wrong below the words of the domain; an act on a host makes a [`HostError`] of it.

use std::error::Error;

use super::{Certainty, HostError, HostErrorKind};
use crate::model::HostName;

/// A failure that does not know yet which act of which host it spoils.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: HostErrorKind,
    pub(crate) certainty: Certainty,
    pub(crate) hint: Option<String>,
    pub(crate) source: Box<dyn Error + Send + Sync>,
}

impl Trouble {
    pub(crate) fn new(
        kind: HostErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { kind, certainty: Certainty::DidNot, hint: None, source: source.into() }
    }

    pub(crate) fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(HostErrorKind::Failed, source)
    }

    pub(crate) fn input(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(HostErrorKind::Input, source)
    }

    pub(crate) fn conflict(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(HostErrorKind::Conflict, source)
    }

    pub(crate) fn unreachable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(HostErrorKind::Unreachable, source)
    }

    /// Adds what the user can do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says where it happened, when it was not where one was going.
    pub(crate) fn at(mut self, place: impl std::fmt::Display) -> Self {
        self.source = format!("{place}: {}", self.source).into();
        self
    }

    /// Adds what a program on the way complained about, if it did.
    pub(crate) fn after(mut self, complaint: &str) -> Self {
        if !complaint.is_empty() {
            self.source = format!("{} ({complaint})", self.source).into();
        }
        self
    }

    /// Says that it may have happened all the same.
    pub(crate) fn unknown(mut self) -> Self {
        self.certainty = Certainty::Unknown;
        self
    }

    /// Says what was tried on which host. Who has nothing better to try is sent to the doctor, and to the
    /// plan where it may have happened all the same.
    pub(crate) fn on(self, host: &HostName, act: impl Into<String>) -> HostError {
        let reach = [HostErrorKind::Unreachable, HostErrorKind::Login, HostErrorKind::HostKey];
        let usual = || match self.certainty {
            Certainty::Unknown => Some("`freehold plan` looks at what came of it".to_owned()),
            Certainty::DidNot => reach
                .contains(&self.kind)
                .then(|| format!("`freehold doctor {host}` goes there step by step")),
        };
        HostError {
            host: host.clone(),
            act: act.into(),
            certainty: self.certainty,
            hint: self.hint.or_else(usual),
            kind: self.kind,
            source: self.source,
        }
    }
}
