//! What goes wrong with the files of the state.

use std::{io, path::PathBuf};

use super::Clash;

/// A file of the state that cannot be read, written or believed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written; the old one is untouched.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what we wrote.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What the user can do.
        hint: String,
    },
    /// A lock that would be damaged; the old one is untouched.
    #[error("{} is not written: {clash}", path.display())]
    Clash {
        /// The lock.
        path: PathBuf,
        /// What two VMs would both have.
        clash: Clash,
    },
    /// A file of a later freehold.
    #[error("{} has format {have}, this freehold knows {know}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        have: u32,
        /// Ours.
        know: u32,
    },
    /// The state is another fleet's.
    #[error("{} belongs to fleet {have}, this folder declares {want}", path.display())]
    OtherFleet {
        /// The file.
        path: PathBuf,
        /// The fleet it names.
        have: String,
        /// The fleet of the text.
        want: String,
    },
    /// Another run holds the lock.
    #[error("locked by {holder}")]
    Locked {
        /// Who, as far as it said.
        holder: String,
    },
    /// A network file system, where flock cannot be believed.
    #[error("{} lies on a network file system ({kind})", path.display())]
    NetworkFileSystem {
        /// The directory.
        path: PathBuf,
        /// Its kind.
        kind: String,
    },
    /// A journal continues another history than the state.
    #[error("{} continues history {have}, the state is of {want}", path.display())]
    OtherHistory {
        /// The journal.
        path: PathBuf,
        /// The history it names.
        have: String,
        /// The state's.
        want: String,
        /// What the user can do.
        hint: String,
    },
    /// The state is an old one that was put back.
    #[error("{} has serial {have}, yet {} knows of {serial}", path.display(), newer.display())]
    Older {
        /// The state's file.
        path: PathBuf,
        /// Its serial.
        have: u64,
        /// What knows of a later one.
        newer: PathBuf,
        /// The later serial.
        serial: u64,
        /// What the user can do.
        hint: String,
    },
    /// A state that is to be made again is there.
    #[error("{} is there, with serial {serial}", path.display())]
    There {
        /// The file.
        path: PathBuf,
        /// Its serial.
        serial: u64,
    },
    /// The disk has no room for what a run would write; nothing was done yet.
    #[error("no room for the state: {} needs {} KiB more", path.display(), bytes >> 10)]
    NoRoom {
        /// The file that could not be made.
        path: PathBuf,
        /// How many bytes it is to have.
        bytes: u64,
        /// Why.
        source: io::Error,
    },
}

impl StateError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { path, .. } => {
                Some(format!("is it another user's? `ls -ld {}` tells", path.display()))
            }
            Self::Clash { .. } => Some("`freehold plan` says what is decided now".into()),
            Self::Write { .. } => Some("is the disk full, or the folder another user's?".into()),
            Self::Damaged { hint, .. }
            | Self::Older { hint, .. }
            | Self::OtherHistory { hint, .. } => Some(hint.clone()),
            Self::NoRoom { .. } => Some(
                "make room on the disk of .freehold/, then run this again: nothing was done \
                      yet"
                .into(),
            ),
            Self::There { .. } => Some(
                "nothing was lost, and it knows every host that answers; to begin anew all the \
                 same, move it away first"
                    .into(),
            ),
            Self::Newer { .. } => Some("use the freehold that wrote it, or a later one".into()),
            Self::OtherFleet { .. } => {
                Some("was `fleet.id` changed, or the folder copied? put the old id back".into())
            }
            Self::Locked { .. } => Some(
                "run this again when it has ended; with --lock-timeout 5m it is waited for".into(),
            ),
            Self::NetworkFileSystem { .. } => {
                Some("keep the fleet's folder on a local disk and share it by git".into())
            }
        }
    }
}
