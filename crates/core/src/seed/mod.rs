//! What a guest is told at first boot: a `NoCloud` medium, and the guest's identity.
//!
//! Pure but for reading and writing the identity's file. The same inputs give the same bytes, so
//! that a seed can be made again and compared. Must not know hosts, plans or state; its secrets
//! leave it in [`Secret`] only, and as a keyed [`Digest`] by which a change is seen.

mod cloud_init;
mod error;
mod guests;
mod identity;
mod medium;

use std::net::{IpAddr, Ipv4Addr};

use uuid::Uuid;
use zeroize::Zeroize;

pub use error::SeedError;
pub use guests::Guests;
pub use identity::{HostKey, Identity};

use crate::model::{CloudInit, Digest, Mac, Secret, SeedDigest, VmName};

/// Everything a seed is made from.
#[derive(Debug, Clone)]
pub struct SeedSpec {
    /// The VM's UUID.
    pub uuid: Uuid,
    /// Raised when the VM is made again: the guest then takes itself for a new instance.
    pub incarnation: u32,
    /// The guest's host name.
    pub name: VmName,
    /// Its interfaces, in order.
    pub nics: Vec<SeedNic>,
    /// What the user wants it to be told.
    pub cloud_init: CloudInit,
    /// Its SSH host key.
    pub host_key: HostKey,
}

/// An interface as the guest shall set it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedNic {
    /// What it is known by.
    pub mac: Mac,
    /// Its address.
    pub address: SeedAddress,
}

/// How an interface gets its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeedAddress {
    /// It is this.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// Bits of its network.
        prefix: u8,
        /// The network's router; the first interface that has one gets the default route.
        gateway: Option<Ipv4Addr>,
        /// Name servers.
        dns: Vec<IpAddr>,
    },
    /// A DHCP server says.
    Dhcp,
}

/// A medium to give to a guest.
#[derive(Debug, Clone)]
pub struct Seed {
    /// A FAT image labelled `CIDATA`; holds the guest's private key.
    pub bytes: Secret<Vec<u8>>,
    /// Shows a change of what the seed says, and nothing else: it is keyed.
    pub digest: SeedDigest,
}

/// Returns the seed of a guest.
pub fn seed(spec: &SeedSpec) -> Result<Seed, SeedError> {
    let mut vendor = cloud_init::vendor_data(spec);
    let bytes = medium::seed_image(&[
        ("meta-data", cloud_init::meta_data(spec).as_bytes()),
        ("network-config", cloud_init::network_config(&spec.nics).as_bytes()),
        ("user-data", cloud_init::user_data(&spec.cloud_init).as_bytes()),
        ("vendor-data", vendor.as_bytes()),
    ]);
    vendor.zeroize();
    Ok(Seed { bytes: Secret::new(bytes?), digest: digest(spec) })
}

/// Returns the digest of what a seed says, without making the medium.
///
/// User data may hold a password somebody could guess: only the key keeps it from being tried. Who
/// the guest is (its name, its incarnation) is not in it: that never makes it another guest.
pub fn digest(spec: &SeedSpec) -> SeedDigest {
    // Another host key is another key of digests, too.
    let key = spec.host_key.digest_key();
    let keys = spec.cloud_init.ssh_keys.join("\n");
    let first = Digest::of([
        key.expose().as_slice(),
        keys.as_bytes(),
        cloud_init::user_data(&spec.cloud_init).as_bytes(),
        spec.cloud_init.user.as_deref().unwrap_or_default().as_bytes(),
    ]);
    let network = cloud_init::network_config(&spec.nics);
    let network = Digest::of([key.expose().as_slice(), network.as_bytes()]);
    SeedDigest { first, network }
}

#[cfg(test)]
#[path = "seed_tests.rs"]
mod tests;
