//! What was decided and what was done: `freehold.lock`, the snapshot, the journal and their lock.
//!
//! Knows files and formats; must not know hosts, plans or the terminal. Holds no secret.

mod atomic;
mod decisions;
mod error;
mod fact;
mod journal;
mod lockfile;
mod snapshot;
mod store;
mod wire;

pub use atomic::replace_file;
pub use decisions::{Decisions, DiskDecision, NicDecision, VmDecision};
pub use error::StateError;
pub use fact::Fact;
pub use journal::{Journal, Outcome};
pub use lockfile::LockFile;
pub use snapshot::{Applied, DiskRecord, KeptDisk, Pending, Snapshot, VmRecord};
pub use store::{LocalStore, Session};
