//! What goes wrong with seeds and the identity.

use std::{io, path::PathBuf};

/// A seed or the identity behind it could not be made or read. Holds no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The identity's file cannot be read.
    #[error("cannot read the identity {path}")]
    ReadIdentity {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The identity's file cannot be written, or is there already.
    #[error("cannot write the identity {path}")]
    WriteIdentity {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what `init` wrote.
    #[error("{0} is no identity: one line `freehold-identity-1 …`")]
    IdentityForm(PathBuf),
    /// Others can read the file.
    #[error("{path} has mode {mode:04o}, so others than its owner may read it")]
    IdentityMode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// The texts are larger than a seed may be.
    #[error(
        "the seed would hold {bytes} bytes, {limit} is the most: is there a file in `user_data`?"
    )]
    Large {
        /// What it would hold.
        bytes: usize,
        /// What it may hold.
        limit: usize,
    },
    /// The image could not be made.
    #[error("cannot make the seed's image")]
    Medium(#[source] io::Error),
}

impl SeedError {
    /// Returns what the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ReadIdentity { path, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!(
                    "guests' host keys derive from it: copy {} from where the fleet was made",
                    path.display()
                ))
            }
            Self::IdentityMode { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::IdentityForm(_) => Some("bring back the file from a copy".to_owned()),
            _ => None,
        }
    }
}
