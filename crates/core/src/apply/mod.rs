//! Carrying a plan out.
//!
//! Walks the steps of a plan, journals each before its call, and says what happened. It decides
//! nothing: what to do, where and under which name stands in the plan.

mod audit;
mod batch;
mod failure;
mod image;
mod look;
mod prepare;
mod ready;
mod restore;
mod run;
mod schedule;

pub use audit::Audit;
pub use failure::{Failure, FailureKind, causes_of};
pub use look::{Looked, Onlook, look};
pub use prepare::{Connect, Reached, propose, published, reach};
pub use ready::await_ready;
pub use restore::kept_domain;
pub use run::{Interrupt, Report, Run, SHUTDOWN};
