//! Why a download failed, and what to do about it.

use std::{io::ErrorKind, path::Path};

use crate::model::Size;

/// Why an image did not come to this machine.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error("this machine cannot download it")]
    Request(#[source] reqwest::Error),
    #[error("the server answers {0}")]
    Status(reqwest::StatusCode),
    #[error("it leads to {0}, and only http and https are followed")]
    Elsewhere(String),
    #[error("it leads from one address to the next, more than {0} times")]
    Loop(usize),
    #[error("the connection ended after {} of {}", in_words(*.have), in_words(*.want))]
    Short { have: u64, want: u64 },
    #[error("the connection ended after {}", in_words(*.have))]
    Cut {
        have: u64,
        #[source]
        source: reqwest::Error,
    },
    #[error("{}, {} long, hashes to {have}, the fleet says {want}", .url, in_words(*.length))]
    Digest { url: String, length: u64, have: String, want: String },
    #[error("cannot write {path}")]
    Here {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

fn in_words(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{bytes} bytes") } else { Size::from_bytes(bytes).rounded() }
}

impl DownloadError {
    pub(super) fn here(path: &Path, source: std::io::Error) -> Self {
        Self::Here { path: super::shown(path), source }
    }

    fn is_full(&self) -> bool {
        let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
        matches!(self, Self::Here { source, .. } if full.contains(&source.kind()))
    }

    /// Says whether the next run may go on with what came: not with a wrong file, and not where that
    /// takes the last of the room.
    pub(super) fn leaves_a_part(&self) -> bool {
        !matches!(self, Self::Digest { .. }) && !self.is_full()
    }

    /// Returns what the user can do.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Status(status) if status.is_server_error() => {
                "the server is in trouble: try again later"
            }
            Self::Status(_) | Self::Request(_) => {
                "neither the host nor this machine got it: is the address right?"
            }
            Self::Elsewhere(_) => "give the address that it shall come from",
            Self::Loop(_) => "open the address in a browser: it may want a login or a cookie",
            Self::Short { .. } | Self::Cut { .. } => {
                "`freehold apply` goes on where it ended; if it ends there again, the server sends \
                 less than it says"
            }
            Self::Digest { .. } => {
                "was the image replaced, or came less than all of it? check its publisher's checksums"
            }
            Self::Here { .. } if self.is_full() => {
                "make room on this machine: images that hosts cannot fetch by themselves lie in \
                 .freehold/cache"
            }
            Self::Here { .. } => "may you write there?",
        }
    }
}
