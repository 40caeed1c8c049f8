//! The engine on a simulated fleet: whatever goes wrong at whatever step, it converges.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![allow(clippy::print_stdout, reason = "suites say how much they tried")]

#[path = "../bed/mod.rs"]
mod bed;

mod changes;
mod consent;
mod decide;
mod drift;
mod exhaustive;
mod faults;
mod fence;
mod foreign;
mod forgotten;
mod lint;
mod lives;
mod locked;
mod named;
mod outside;
mod promises;
mod random;
mod ready;
mod rebuild;
mod recover;
mod removal;
mod saved;
mod secrets;
mod trash;
mod trash_faults;
mod trouble;
mod twice;
mod verify;
