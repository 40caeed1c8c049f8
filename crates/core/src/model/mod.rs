//! Plain values everybody speaks: names, sizes, addresses, the fleet and its parts. Knows no file,
//! no network and no terminal.

mod address;
mod derive;
mod digest;
mod edit;
mod field;
mod fleet;
mod host;
mod image;
mod impact;
mod inventory;
mod mark;
mod name;
mod network;
mod observed;
mod publish;
mod secret;
mod size;
mod spec;
mod store;
mod vm;

pub use address::{AddressError, AddressRange, Mac};
pub use derive::{
    domain_uuid, network_uuid, nic_mac, nvram_name, seed_prefix, seed_volume_name, short_uuid,
    volume_name, volume_prefix,
};
pub(crate) use digest::hex_of;
pub use digest::{Checksum, Digest, DigestError};
pub use edit::{Edit, EditKey, RecordKind, TargetGroup};
pub use field::Field;
pub use fleet::Fleet;
pub use host::{Accel, Connection, DaemonMode, Host, SshTarget};
pub(crate) use image::without_query;
pub use image::{Image, ImageForm, ImageFormat, ImageSource, Packing};
pub use impact::Impact;
pub use inventory::{Inventory, InventoryVm, VmState};
pub use mark::{Mark, Ours, SeedDigest};
pub use name::{DiskName, DnsServerName, ExporterName, HostName, ImageName, NetworkName};
pub use name::{DomainName, FleetId, NameError};
pub use name::{TargetFileName, VmName, ZoneName};
pub use network::{Network, NetworkKind};
pub use observed::{DomainShape, DomainState, DomainView, HostCard, HostView, KeptDomain};
pub use observed::{NetworkShape, NetworkView, Observed, PoolView, Seen, VolumeView};
pub use publish::{DnsServer, DnsServerKind, Place, TargetFile, Zone};
pub use secret::Secret;
pub use size::{Size, SizeError};
pub use spec::{DiskSpec, DomainSpec, ImageSpec, NetworkSpec, NicSource, NicSpec, VolumeSpec};
pub use store::StateStore;
pub use vm::{CloudInit, Disk, Exporter, Firmware, Nic, NicAddress, Vm, VmDns, Wait};
