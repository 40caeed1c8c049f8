//! What the fleet and its decisions mean for a host, as specs.

use std::net::Ipv4Addr;

use super::{VmWork, World};
use crate::{
    model::{
        Accel, AddressRange, Digest, DiskName, DiskSpec, DomainSpec, Firmware, Fleet, HostName,
        Image, ImageName, ImageSpec, Mark, Network, NetworkKind, NetworkSpec, NicAddress,
        NicSource, NicSpec, Size, Vm, VolumeSpec, network_uuid, nvram_name, seed_volume_name,
    },
    state::{DiskRecord, VmDecision, VmRecord},
};

/// Returns the image as a host's pool keeps it: under its digest.
pub fn image_spec(fleet: &Fleet, image: &Image) -> ImageSpec {
    ImageSpec {
        name: image.name.clone(),
        volume: image_volume(image),
        checksum: image.checksum.clone(),
        form: image.form,
        most: largest_root(fleet, &image.name),
    }
}

/// Returns the name of its file in a host's pool. Each VM asks for it: the rest of an [`ImageSpec`] looks at
/// all of them.
pub(super) fn image_volume(image: &Image) -> String {
    let (kind, digits) = (image.checksum.kind(), image.checksum.hex());
    format!("image.{kind}-{}.{}qcow2", &digits[..32], image.form.infix())
}

/// Returns the size that no image can exceed and be of use: a root disk is as large as its image, or
/// larger.
fn largest_root(fleet: &Fleet, image: &ImageName) -> Size {
    let of_image = fleet.vms.values().filter(|vm| vm.image == *image);
    let roots = of_image.filter_map(|vm| vm.disks.first()).map(|disk| disk.size);
    roots.max().unwrap_or(Size::from_bytes(1 << 40))
}

/// Returns the libvirt network of a `nat` network on a host; `None` for a bridge.
pub fn network_spec(world: &World<'_>, host: &HostName, network: &Network) -> Option<NetworkSpec> {
    let (NetworkKind::Nat, Some(subnet)) = (&network.kind, network.subnet) else { return None };
    let gateway = network.gateway.unwrap_or_else(|| first_address(subnet));
    let wants_dhcp = |vm: &Vm| {
        vm.nics.iter().any(|nic| nic.network == network.name && nic.address == NicAddress::Dhcp)
    };
    let dhcp = match world.fleet.vms.values().any(wants_dhcp) {
        true => dhcp_ranges(network, subnet, gateway, world),
        false => Vec::new(),
    };
    let dns = network.dns.clone();
    let said = format!("{subnet} {gateway} {dns:?} {dhcp:?}");
    Some(NetworkSpec {
        uuid: network_uuid(world.fleet.id, host, &network.name),
        name: network.name.to_string(),
        mark: Mark {
            fleet: world.fleet.id,
            name: network.name.to_string(),
            incarnation: 1,
            digest: Digest::of([said.as_bytes()]),
            network: Digest::default(),
            protect: false,
            keep: Vec::new(),
        },
        subnet,
        gateway,
        dns,
        dhcp,
    })
}

fn first_address(subnet: ipnet::Ipv4Net) -> Ipv4Addr {
    subnet.hosts().next().unwrap_or_else(|| subnet.network())
}

/// Returns what is left of the subnet for DHCP: neither ours to hand out, nor the gateway, nor
/// a fixed address.
fn dhcp_ranges(
    network: &Network,
    subnet: ipnet::Ipv4Net,
    gateway: Ipv4Addr,
    world: &World<'_>,
) -> Vec<AddressRange> {
    let nics = world.fleet.vms.values().flat_map(|vm| &vm.nics);
    let fixed =
        nics.filter(|nic| nic.network == network.name).filter_map(|nic| match nic.address {
            NicAddress::Fixed(address) => Some(AddressRange { first: address, last: address }),
            NicAddress::Planned | NicAddress::Dhcp => None,
        });
    let mut away: Vec<AddressRange> = network.addresses.clone();
    away.push(AddressRange { first: gateway, last: gateway });
    away.extend(fixed);
    away.sort();
    let (first, last) = (u32::from(subnet.network()) + 1, u32::from(subnet.broadcast()));
    let mut ranges = Vec::new();
    let mut next = first;
    for range in away {
        let (begin, end) = (u32::from(range.first), u32::from(range.last));
        if begin > next {
            ranges.push(AddressRange { first: next.into(), last: (begin - 1).into() });
        }
        next = next.max(end.saturating_add(1));
    }
    if next < last {
        ranges.push(AddressRange { first: next.into(), last: (last - 1).into() });
    }
    ranges
}

/// Returns the domain of a VM; `kvm` says whether its host has KVM.
pub(super) fn domain_spec(
    world: &World<'_>,
    vm: &Vm,
    decision: &VmDecision,
    accel: Accel,
) -> DomainSpec {
    let fleet = world.fleet;
    let backing = |index: usize| (index == 0).then(|| image_volume(&fleet.images[&vm.image]));
    let disks = decision
        .disks
        .iter()
        .enumerate()
        .map(|(index, disk)| DiskSpec { volume: disk.volume.clone(), backing: backing(index) });
    let nics = decision.nics.iter().map(|nic| NicSpec {
        mac: nic.mac,
        source: match &fleet.networks[&nic.network].kind {
            NetworkKind::Bridge(bridge) => NicSource::Bridge(bridge.clone()),
            NetworkKind::Nat => NicSource::Network(nic.network.to_string()),
        },
    });
    let told = (world.seed_digest)(vm, decision);
    DomainSpec {
        uuid: decision.uuid,
        name: vm.name.to_string(),
        mark: Mark {
            fleet: fleet.id,
            name: vm.name.to_string(),
            incarnation: decision.incarnation,
            digest: told.first,
            network: told.network,
            protect: vm.protect,
            keep: kept_disks(vm),
        },
        cpus: vm.cpus,
        memory: vm.memory,
        firmware: vm.firmware,
        nvram: (vm.firmware == Firmware::Uefi).then(|| nvram_name(fleet.id, decision.uuid)),
        accel,
        autostart: vm.autostart,
        disks: disks.collect(),
        seed: Some(seed_volume_name(fleet.id, decision.uuid, decision.incarnation)),
        nics: nics.collect(),
    }
}

/// Returns the volumes of a VM's disks.
pub(super) fn volume_specs(spec: &DomainSpec, vm: &Vm) -> Vec<VolumeSpec> {
    let pairs = spec.disks.iter().zip(&vm.disks);
    let volume = |(made, wanted): (&DiskSpec, &crate::model::Disk)| VolumeSpec {
        name: made.volume.clone(),
        size: wanted.size,
        backing: made.backing.clone(),
    };
    pairs.map(volume).collect()
}

pub(super) fn kept_disks(vm: &Vm) -> Vec<DiskName> {
    vm.disks.iter().filter(|disk| disk.keep).map(|disk| disk.name.clone()).collect()
}

/// Returns what the state remembers of a VM that is begun, or about to change.
pub(super) fn vm_record(vm: &Vm, work: &VmWork) -> VmRecord {
    let decision = &work.decision;
    let pairs = decision.disks.iter().zip(&vm.disks);
    let disks = pairs.map(|(made, wanted)| DiskRecord {
        name: made.name.clone(),
        volume: made.volume.clone(),
        keep: wanted.keep,
        there: false,
        old: false,
    });
    VmRecord {
        uuid: decision.uuid,
        host: decision.host.clone(),
        incarnation: decision.incarnation,
        disks: disks.collect(),
        seed: work.spec.seed.clone().unwrap_or_default(),
        made: false,
        unready: work.wait.is_some(),
        protect: vm.protect,
        applied: None,
        restoring: None,
    }
}
