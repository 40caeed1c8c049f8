//! The trash: what removals put away on the hosts, how it comes back, and how it is destroyed.
//!
//! What lies there is found by its names alone, in our pool and in the host's card; nothing else
//! remembers it, so that a lost state loses no disk. It is looked at, brought back
//! ([`Goal::Restore`](super::Goal::Restore)) and destroyed ([`Goal::Empty`](super::Goal::Empty)) by
//! the same road as everything else: a plan, its steps, the journal. No file and no clock is read
//! here: how old something is follows from its name and the stamp of this run.

mod bin;
mod empty;
mod entry;
mod law;
mod order;
mod refusal;
mod restore;
mod space;
mod work;

pub use entry::{TrashContent, TrashEntry, TrashItem, TrashKey, trash};
pub use refusal::Unrestorable;
pub use restore::{Restore, Restoring, begun_restores};
pub use space::{TrashSpace, span};
pub use work::{DiskRestoral, KeptXml, RestoredDisk, TrashEmptying, VmRestoral};

pub(super) use entry::{may_come, trash_on};
pub(super) use law::of_trash;
pub(super) use restore::unfinished_restore;
