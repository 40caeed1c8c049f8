//! What goes wrong with the files of the state.

use std::{io, path::PathBuf};

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
        kind: &'static str,
    },
}

impl StateError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Write { .. } => Some("is the disk full, or the folder another user's?".into()),
            Self::Damaged { hint, .. } => Some(hint.clone()),
            Self::Newer { .. } => Some("use the freehold that wrote it, or a later one".into()),
            Self::OtherFleet { .. } => {
                Some("was `fleet.id` changed, or the folder copied? put the old id back".into())
            }
            Self::Locked { .. } => Some("wait for it to end, then run this again".into()),
            Self::NetworkFileSystem { .. } => {
                Some("keep the fleet's folder on a local disk and share it by git".into())
            }
        }
    }
}
