//! Where a store is, in the words of messages: what a part of it is called, and the command that
//! mends it.

use std::{fmt, path::PathBuf};

use super::aside::{cp, mv, mv_and_cp};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a directory of this machine.
    Local(PathBuf),
    /// In a directory of a host.
    Host {
        /// The host, as the fleet calls it.
        host: String,
        /// The directory there.
        directory: String,
    },
    /// In a database.
    Database {
        /// Its server, user and name: `postgres://freehold@db:5432/freehold`, without password.
        shown: String,
        /// The fleet whose rows are meant.
        fleet: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(directory) => write!(f, "{}", directory.display()),
            Self::Host { host, directory } => write!(f, "{host}:{directory}"),
            Self::Database { shown, .. } => f.write_str(shown),
        }
    }
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
            Self::Host { .. } | Self::Database { .. } => format!("{self}/{}", part.name()).into(),
        }
    }

    /// Returns the command that moves a part aside.
    pub(super) fn mv(&self, part: Part) -> String {
        match self {
            Self::Local(_) => mv(&self.part(part)),
            Self::Host { host, .. } => format!("on {host}: {}", mv(&self.there(part))),
            Self::Database { fleet, .. } => {
                let table = match part {
                    Part::State => "freehold_state",
                    Part::Journal => "freehold_journal",
                    Part::History | Part::Copy(_) => "freehold_history",
                };
                format!("UPDATE {table} SET fleet = fleet || '.damaged' WHERE fleet = '{fleet}';")
            }
        }
    }

    /// Returns the command that makes a copy the state, where there is none.
    pub(super) fn cp(&self, serial: u64) -> String {
        let copy = Part::Copy(serial);
        match self {
            Self::Local(_) => cp(&self.part(copy), &self.part(Part::State)),
            Self::Host { host, .. } => {
                format!("on {host}: {}", cp(&self.there(copy), &self.there(Part::State)))
            }
            Self::Database { fleet, .. } => format!(
                "INSERT INTO freehold_state (fleet, lineage, serial, state) SELECT fleet, lineage, \
                 serial, state FROM freehold_history WHERE fleet = '{fleet}' AND serial = {serial};"
            ),
        }
    }

    /// Returns the command that makes a copy the state, and keeps the one that is there.
    pub(super) fn mv_and_cp(&self, serial: u64) -> String {
        let copy = Part::Copy(serial);
        match self {
            Self::Local(_) => mv_and_cp(&self.part(Part::State), &self.part(copy)),
            Self::Host { host, .. } => {
                format!("on {host}: {}", mv_and_cp(&self.there(Part::State), &self.there(copy)))
            }
            Self::Database { .. } => format!("{} {}", self.mv(Part::State), self.cp(serial)),
        }
    }

    /// Returns the path of a part on its own machine.
    fn there(&self, part: Part) -> PathBuf {
        match self {
            Self::Host { directory, .. } => PathBuf::from(directory).join(part.name()),
            Self::Local(_) | Self::Database { .. } => self.part(part),
        }
    }
}
