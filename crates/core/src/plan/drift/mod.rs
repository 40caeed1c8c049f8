//! Drift: in what hosts differ from what was last made of them.
//!
//! Knows the state and what was seen, and must not know what is wanted: what would be done about a
//! difference is the plan's business. What is nobody's of this fleet is no drift; [`unmanaged`]
//! lists it.

mod detail;
mod domain;
mod finding;
mod host;
mod network;
mod orphan;
mod overlay;
mod owner;
mod report;
mod shape;
mod unmanaged;
mod volume;
mod words;

pub use detail::{FieldChange, MarkChange, MarkField, ShapeField};
pub use finding::{Advised, Drift, Finding, Subject};
pub use host::drift;
pub(super) use host::volumes_listed;
pub use report::{drift_text, hosts_text, short_size};
pub use unmanaged::{
    Owner, Unmanaged, UnmanagedDomain, UnmanagedNetwork, UnmanagedVolume, unmanaged,
};
