//! From blocks to the model, one file for each kind.

mod dns;
mod guest;
mod host;
mod image;
mod moved;
mod network;
mod nic;
mod prometheus;
mod seconds;
mod state;
mod url;
mod vm;

pub(super) use dns::{dns_server, zone};
pub use host::absolute_path;
pub(super) use host::{fleet_id, host, retain};
pub(super) use image::image;
pub(super) use moved::{Move, moved, moves};
pub(super) use network::network;
pub(super) use nic::FixedAddress;
pub(super) use prometheus::target_file;
pub use seconds::time;
pub(super) use state::state_store;
pub(super) use vm::{VmDraft, vms};
