//! What was decided and what was done: `freehold.lock`, the snapshot, the journal and their lock.
//!
//! Knows files and formats; must not know hosts, plans or the terminal. Holds no secret.

mod anew;
mod aside;
mod atomic;
mod bytes;
mod clash;
mod decisions;
mod error;
mod fact;
mod filesystem;
mod journal;
mod line;
mod lockfile;
mod replay;
mod reserve;
mod session;
mod snapshot;
mod statefile;
mod store;
mod wire;

#[cfg(test)]
mod damage_tests;

pub use anew::Anew;
pub use atomic::replace_file;
pub use clash::{Claim, Clash};
pub use decisions::{Decisions, DiskDecision, NicDecision, VmDecision};
pub use error::StateError;
pub use fact::Fact;
pub use journal::{Journal, Outcome};
pub use lockfile::LockFile;
pub use session::Session;
pub use snapshot::{Applied, DiskRecord, KeptDisk, Pending, Snapshot, VmRecord};
pub use store::LocalStore;
