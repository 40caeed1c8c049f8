//! What a change does to what runs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a change does to what runs, from harmless to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// Nothing that runs notices.
    Live,
    /// Links drop.
    Disconnect,
    /// The VM restarts.
    Restart,
    /// The VM is made again; kept disks are attached again.
    Rebuild,
    /// Disks go to the trash.
    DataLoss,
}

impl Impact {
    /// All of them, harmless first.
    pub const ALL: [Self; 5] =
        [Self::Live, Self::Disconnect, Self::Restart, Self::Rebuild, Self::DataLoss];

    /// Returns its word: `live`, `disconnect`, `restart`, `rebuild`, `data-loss`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Disconnect => "disconnect",
            Self::Restart => "restart",
            Self::Rebuild => "rebuild",
            Self::DataLoss => "data-loss",
        }
    }
}

impl fmt::Display for Impact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Impact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|impact| impact.word() == text).ok_or_else(|| {
            let words = Self::ALL.map(Self::word).join(", ");
            format!("`{text}` is no impact class: one of {words}")
        })
    }
}
