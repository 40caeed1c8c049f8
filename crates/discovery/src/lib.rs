//! Prometheus targets from the fleet: a `file_sd` file as a plugin.
//!
//! Knows the inventory, the form of target files and Prometheus' API; must not know plans, state
//! or the terminal. Data flows `groups` (what is wanted) → `file` (what differs, and whose it is)
//! → `place` (read and write) → `prometheus` (see that it was read).
#![warn(missing_docs)]

mod file;
mod file_sd;
#[cfg(test)]
mod fixtures;
mod groups;
mod place;
mod prometheus;

pub use file_sd::FileSd;
