//! From blocks to the model, one file for each kind.

mod dns;
mod guest;
mod host;
mod image;
mod network;
mod nic;
mod prometheus;
mod seconds;
mod url;
mod vm;

pub(super) use dns::{dns_server, zone};
pub(super) use host::{fleet_id, host};
pub(super) use image::image;
pub(super) use network::network;
pub(super) use nic::FixedAddress;
pub(super) use prometheus::target_file;
pub(super) use vm::{VmDraft, vms};
