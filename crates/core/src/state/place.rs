//! Where a store is, in the words of messages: what a part of it is called, and the command that
//! mends it.

use std::path::PathBuf;

use super::aside::{cp, mv, mv_and_cp};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a directory of this machine.
    Local(PathBuf),
}

/// A part of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    State,
    Journal,
    History,
    /// The copy of the state of this serial.
    Copy(u64),
}

impl Part {
    fn name(self) -> String {
        match self {
            Self::State => "state.json".to_owned(),
            Self::Journal => "journal.jsonl".to_owned(),
            Self::History => "history".to_owned(),
            Self::Copy(serial) => format!("history/state-{serial:08}.json"),
        }
    }
}

impl Place {
    /// Returns what the state is called.
    pub(super) fn state(&self) -> PathBuf {
        self.part(Part::State)
    }

    /// Returns what a part is called; on this machine that is its path.
    pub(super) fn part(&self, part: Part) -> PathBuf {
        match self {
            Self::Local(directory) => directory.join(part.name()),
        }
    }

    /// Returns the command that moves a part aside.
    pub(super) fn mv(&self, part: Part) -> String {
        match self {
            Self::Local(_) => mv(&self.part(part)),
        }
    }

    /// Returns the command that makes a copy the state, where there is none.
    pub(super) fn cp(&self, serial: u64) -> String {
        match self {
            Self::Local(_) => cp(&self.part(Part::Copy(serial)), &self.part(Part::State)),
        }
    }

    /// Returns the command that makes a copy the state, and keeps the one that is there.
    pub(super) fn mv_and_cp(&self, serial: u64) -> String {
        match self {
            Self::Local(_) => mv_and_cp(&self.part(Part::State), &self.part(Part::Copy(serial))),
        }
    }
}
