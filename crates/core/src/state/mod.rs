//! What was decided and what was done: `freehold.lock`, the snapshot, the journal and their lock.
//!
//! Knows files and formats; must not know hosts, plans or the terminal. Holds no secret.

mod anew;
mod aside;
mod atomic;
mod bytes;
mod clash;
mod database;
mod decisions;
mod door;
mod error;
mod fact;
mod format;
mod holder;
mod journal;
mod ledger;
mod line;
mod local;
mod lockfile;
mod onhost;
mod place;
mod replay;
mod session;
mod shared;
mod snapshot;
mod store;
mod wire;

#[cfg(test)]
mod damage_tests;

pub use anew::Anew;
pub use atomic::replace_file;
pub use clash::{Claim, Clash};
pub use database::DatabaseStore;
pub use decisions::{Decisions, DiskDecision, NicDecision, VmDecision};
pub use door::State;
pub use error::{StateError, StoreTrouble};
pub use fact::Fact;
pub use holder::Holder;
pub use journal::{Journal, Outcome};
pub use local::LocalStore;
pub use lockfile::LockFile;
pub use onhost::{Dial, DialError, Dialled, HostStore, Wire};
pub use place::Place;
pub use session::Session;
pub use shared::SharedStore;
pub use snapshot::{Applied, DiskRecord, KeptDisk, Pending, Snapshot, VmRecord};
pub use store::{Contents, HISTORY, Held, NewJournal, NewState, Pen, Reading, Store, Written};
