//! What outsiders must see after an apply, and the lab in which they look.
//!
//! Knows the world outside: sshd, libvirt, `PowerDNS`, Prometheus, guests. Must not know freehold: it
//! depends on none of its crates, so that nothing here can share a mistake with them; [`bed`] runs
//! its binary as a user would.

pub mod bed;
pub mod burnt;
pub mod hostile;
pub mod lab;
pub mod old_libvirt;
pub mod relay;
pub mod sshd;
pub mod terminal;
pub mod walk;
pub mod web;
pub mod workshop;
