//! First proposals for what a fleet's objects are called by machines. What was decided is what is
//! written: a collision counts `try_` up.

use uuid::Uuid;

use super::{DiskName, FleetId, HostName, Mac, NetworkName, VmName, digest::hash_of};

/// Returns the proposed UUID of a VM (RFC 9562 version 8).
pub fn domain_uuid(fleet: FleetId, vm: &VmName, try_: u32) -> Uuid {
    uuid_of(fleet, &["domain", vm.as_str()], try_)
}

/// Returns the proposed UUID of a network on a host.
pub fn network_uuid(fleet: FleetId, host: &HostName, network: &NetworkName) -> Uuid {
    uuid_of(fleet, &["network", host.as_str(), network.as_str()], 0)
}

fn uuid_of(fleet: FleetId, parts: &[&str], try_: u32) -> Uuid {
    let count = try_.to_be_bytes();
    let parts = parts.iter().map(|part| part.as_bytes());
    let hash = hash_of(std::iter::once(&fleet.as_bytes()[..]).chain(parts).chain([&count[..]]));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Uuid::new_v8(bytes)
}

/// Returns the proposed MAC address of a VM's `index`th interface.
pub fn nic_mac(fleet: FleetId, vm: &VmName, index: usize, try_: u32) -> Mac {
    let index = (index as u64).to_be_bytes();
    let count = try_.to_be_bytes();
    let hash = hash_of([&fleet.as_bytes()[..], b"nic", vm.as_str().as_bytes(), &index, &count]);
    let mut bytes = [0; 6];
    bytes.copy_from_slice(&hash[..6]);
    Mac::local(bytes)
}

/// Returns the name of a disk's volume: `<fleet8>.<vm-uuid8>.<disk>.<n>`.
pub fn volume_name(fleet: FleetId, vm: Uuid, disk: &DiskName, n: u32) -> String {
    format!("{}.{}.{disk}.{n}", fleet.short(), short_uuid(vm))
}

/// Returns how the names of all volumes of a VM begin: `<fleet8>.<vm-uuid8>.`.
pub fn volume_prefix(fleet: FleetId, vm: Uuid) -> String {
    format!("{}.{}.", fleet.short(), short_uuid(vm))
}

/// Returns the name of a VM's seed: `<fleet8>.<vm-uuid8>.seed.<incarnation>`.
pub fn seed_volume_name(fleet: FleetId, vm: Uuid, incarnation: u32) -> String {
    format!("{}{incarnation}", seed_prefix(fleet, vm))
}

/// Returns how the names of all seeds of a VM begin.
pub fn seed_prefix(fleet: FleetId, vm: Uuid) -> String {
    format!("{}.{}.seed.", fleet.short(), short_uuid(vm))
}

/// Returns the name of the file that keeps a VM's UEFI variables: `<fleet8>.<vm-uuid8>.nvram`.
///
/// No disk has that name: those end in a number.
pub fn nvram_name(fleet: FleetId, vm: Uuid) -> String {
    format!("{}.{}.nvram", fleet.short(), short_uuid(vm))
}

/// Returns the eight digits that stand for a VM in the names of its volumes.
pub fn short_uuid(uuid: Uuid) -> String {
    uuid.simple().to_string()[..8].to_owned()
}
