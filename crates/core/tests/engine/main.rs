//! The engine on a simulated fleet: whatever goes wrong at whatever step, it converges.

#[path = "../bed/mod.rs"]
mod bed;

mod decide;
mod faults;
mod foreign;
mod outside;
mod random;
mod removal;
mod secrets;
