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
    /// A store that is elsewhere did not do what it was asked.
    #[error("cannot {act} the state in {place}")]
    Store {
        /// Where it is, without any password.
        place: String,
        /// What was asked: `read`, `lock`, `write`.
        act: &'static str,
        /// What kind of trouble it is.
        trouble: StoreTrouble,
        /// What the user can do.
        hint: Option<String>,
        /// Why; it holds no password.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another run has the lock by now, or wrote the state: this one may not.
    #[error("this run no longer holds the lock of the state in {place}: {why}")]
    Superseded {
        /// Where the state is.
        place: String,
        /// How that was seen.
        why: String,
    },
    /// A shared store is empty, and the folder's own state is not.
    #[error("the state in {place} is empty, yet {} has serial {serial}", path.display())]
    NotPushed {
        /// Where the shared store is.
        place: String,
        /// The folder's state.
        path: PathBuf,
        /// Its serial.
        serial: u64,
    },
    /// A shared store has a state, and the folder has another.
    #[error("the state in {place} is not the one in {}", path.display())]
    TwoStates {
        /// Where the shared store is.
        place: String,
        /// The folder's state.
        path: PathBuf,
        /// What the user can do.
        hint: String,
    },
    /// The folder has no state of its own: it used a shared one.
    #[error("this folder used the state in {place}, and the text names no store")]
    Elsewhere {
        /// Where the shared store is.
        place: String,
    },
    /// There is nothing to be moved to a shared store.
    #[error("this folder has no state of its own that could be moved to {place}")]
    NothingToPush {
        /// Where the shared store is.
        place: String,
    },
    /// The state was taken out of a store.
    #[error("the state is no longer in {place}: {note}")]
    Moved {
        /// Where it was.
        place: String,
        /// What its last owner left there.
        note: String,
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

/// What kind of trouble a store is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreTrouble {
    /// It does not answer, or not any more.
    Away,
    /// It has no room.
    Full,
    /// It says no: the login, a right, its version.
    Refused,
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
            Self::Store { hint, .. } => hint.clone(),
            Self::Superseded { .. } => Some(
                "whoever took over goes on from what is written; run this again when that has \
                 ended"
                    .into(),
            ),
            Self::NotPushed { .. } => Some("move it there: `freehold state push`".into()),
            Self::TwoStates { hint, .. } => Some(hint.clone()),
            Self::Elsewhere { .. } => Some(
                "put the `state` block back; to keep the state here, run `freehold state pull` \
                 first"
                    .into(),
            ),
            Self::NothingToPush { .. } => {
                Some("a store that is empty is begun by the first `freehold apply`".into())
            }
            Self::Moved { .. } => Some(
                "take the changed text from git; where the state is to be here again, whoever \
                 has it runs `freehold state push`"
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
