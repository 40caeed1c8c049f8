//! DNS records from the fleet: `PowerDNS` as a plugin, and asking name servers.
//!
//! Knows the inventory, the HTTP API of `PowerDNS` and DNS itself; must not know plans, state or
//! the terminal. Data flows `records` (what is wanted) → `ownership` (what differs, and whose it
//! is) → `api` (publish) → `verify` (ask the server back).
#![warn(missing_docs)]

mod api;
mod ask;
#[cfg(test)]
mod fixtures;
mod ownership;
mod powerdns;
mod records;
mod reverse;
mod verify;
mod wire;

pub use ask::{Answer, AskError, NameServer};
pub use powerdns::PowerDns;
