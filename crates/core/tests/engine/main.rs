//! The engine on a simulated fleet: whatever goes wrong at whatever step, it converges.

#[path = "../bed/mod.rs"]
mod bed;

mod faults;
mod foreign;
mod outside;
mod removal;
mod secrets;
