//! The engine of freehold: everything between the text of a fleet and the hosts it runs on.
//!
//! Rooms, in the order data flows: [`config`] reads HCL into a [`model`] of the wanted fleet;
//! [`plan`] compares it with what was decided ([`state`]) and what is there ([`host`]) and makes a
//! value the user signs; [`apply`] walks that value and reports [`events`]; [`plugins`] carry the
//! result to name servers and monitoring. Nothing here knows a terminal or names a plugin.
#![warn(missing_docs)]

pub mod apply;
pub mod config;
pub mod events;
pub mod host;
pub mod model;
pub mod plan;
pub mod plugins;
pub mod seed;
pub mod state;
