//! Where a fleet's state is kept.

use super::{HostName, Secret};

/// Where a fleet's state is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StateStore {
    /// In `.freehold/` beside the fleet.
    #[default]
    Folder,
    /// In a directory of a host.
    Ssh {
        /// The host.
        host: HostName,
        /// A host that gets a copy after each run.
        copy: Option<HostName>,
        /// The directory on both; by default one in the pool.
        path: Option<String>,
    },
    /// In a `PostgreSQL` database.
    Postgres {
        /// Its URL, login included.
        url: Secret<String>,
    },
}
