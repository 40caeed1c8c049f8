//! Images: what root disks begin as.

use std::path::PathBuf;

use super::{Checksum, ImageName};

/// A disk image that VMs are cloned from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name in the fleet.
    pub name: ImageName,
    /// Where it comes from.
    pub source: ImageSource,
    /// What its bytes must hash to; for a path left out, the caller computes it.
    pub checksum: Checksum,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A file on this machine, absolute.
    Path(PathBuf),
    /// An `http://` or `https://` address.
    Url(String),
}

/// Returns an address as it may be shown: a query is often a key.
pub(crate) fn without_query(url: &str) -> String {
    match url.split_once(['?', '#']) {
        Some((place, _)) => format!("{place}?…"),
        None => url.to_owned(),
    }
}
