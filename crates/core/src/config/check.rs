//! What only shows when the whole fleet is seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;

use super::{
    block::Block,
    decode::{FixedAddress, VmDraft},
    problem::Report,
};
use crate::model::{
    DaemonMode, Fleet, HostName, Network, NetworkKind, Nic, NicAddress, Place, Vm, VmName, ZoneName,
};

/// Reports blocks of the same kind and label.
pub(super) fn repeated_blocks(blocks: &[Block<'_>], report: &Report) {
    let mut seen: BTreeMap<(&str, &str), &Block<'_>> = BTreeMap::new();
    for block in blocks.iter().filter(|block| block.schema.label.is_some()) {
        // There is one fleet and one state, whatever it is called.
        let label = if ["fleet", "state"].contains(&block.schema.kind) { "" } else { block.label };
        let Some(first) = seen.get(&(block.schema.kind, label)) else {
            seen.insert((block.schema.kind, label), block);
            continue;
        };
        let message = match block.schema.kind {
            kind @ ("fleet" | "state") => format!("there is more than one `{kind}`"),
            _ => format!("{} stands twice", block.title()),
        };
        report.add(block.problem(message).note(format!("first at {}", first.place())));
    }
}

/// Reports networks that share addresses.
pub(super) fn overlapping_networks(networks: &[(Network, &Block<'_>)], report: &Report) {
    let nets: Vec<_> =
        networks.iter().filter_map(|(net, block)| Some((net.subnet?, block))).collect();
    for (index, (net, block)) in nets.iter().enumerate() {
        let meets =
            |(other, _): &&(Ipv4Net, &&Block<'_>)| other.contains(net) || net.contains(other);
        if let Some((other, first)) = nets[..index].iter().find(meets) {
            let message = format!("{} and {} share addresses", first.title(), block.title());
            let note = format!("{other} at {}, {net} here", first.place());
            report.add(block.problem(message).note(note));
        }
    }
}

/// Returns the VMs by name, reporting names and addresses that are given twice.
pub(super) fn distinct_vms(drafts: Vec<VmDraft<'_>>, report: &Report) -> BTreeMap<VmName, Vm> {
    let mut addresses: BTreeMap<Ipv4Addr, FixedAddress<'_>> = BTreeMap::new();
    let mut blocks: BTreeMap<VmName, &Block<'_>> = BTreeMap::new();
    let mut vms = BTreeMap::new();
    for VmDraft { vm, block, fixed } in drafts {
        for fixed in fixed {
            let Some(first) = addresses.get(&fixed.address) else {
                addresses.insert(fixed.address, fixed);
                continue;
            };
            let message = format!("{} is the address of two nics", fixed.address);
            let problem = fixed.source.problem(fixed.span.clone(), message);
            let place = first.source.place(first.span.start);
            report.add(problem.note(format!("vm \"{}\" has it at {place}", first.vm)));
        }
        match blocks.get(&vm.name) {
            // Blocks with the same label were reported.
            Some(first) if first.label == block.label => {}
            Some(first) => {
                let message = format!("two VMs would be called \"{}\"", vm.name);
                let note = format!("{} at {} makes the other", first.title(), first.place());
                report.add(block.problem(message).note(note));
            }
            None => {
                blocks.insert(vm.name.clone(), block);
                vms.insert(vm.name.clone(), vm);
            }
        }
    }
    vms
}

/// Reports target files on VMs beyond a `count`.
pub(super) fn places(fleet: &Fleet, blocks: &[Block<'_>], report: &Report) {
    for file in fleet.target_files.values() {
        let Place::Vm(vm) = &file.on else { continue };
        let block = blocks
            .iter()
            .find(|block| block.schema.kind == "prometheus" && block.label == file.name.as_str());
        if let Some(block) = block.filter(|_| !fleet.vms.contains_key(vm)) {
            let message = format!("{} is on vm \"{vm}\", which is not declared", block.title());
            report.add(block.problem(message).hint("the `count` of its block is too small"));
        }
    }
}

/// Reports VMs that are to be published and have no address outsiders could be told.
pub(super) fn unpublishable(fleet: &Fleet, blocks: &[Block<'_>], report: &Report) {
    let mut told = BTreeSet::new();
    for vm in fleet.vms.values().filter(|vm| !vm.dns.is_empty() || !vm.metrics.is_empty()) {
        let is_published = |nic: &Nic| {
            let network = fleet.networks.get(&nic.network);
            let reachable = network.is_some_and(|network| network.kind.is_reachable());
            nic.address != NicAddress::Dhcp && nic.publish.unwrap_or(reachable)
        };
        if vm.nics.iter().any(is_published) || !told.insert(&vm.block) {
            continue;
        }
        let here =
            |block: &&Block<'_>| block.schema.kind == "vm" && block.label == vm.block.as_str();
        if let Some(block) = blocks.iter().find(here) {
            let message =
                format!("{} has `dns` or `metrics` and no address to publish", block.title());
            let hint = "give it a nic on a bridge with an address of ours, or set `publish = true` \
                        on one behind nat; an address from DHCP is not known";
            report.add(block.problem(message).hint(hint));
        }
    }
}

/// Reports VMs behind nat that may come to a host whose libvirt is the login's own: it makes no networks.
pub(super) fn networks_of_sessions(fleet: &Fleet, blocks: &[Block<'_>], report: &Report) {
    let is_session = |host: &&HostName| {
        fleet.hosts.get(*host).is_some_and(|host| host.libvirt == DaemonMode::Session)
    };
    let mut told = BTreeSet::new();
    for vm in fleet.vms.values() {
        let is_nat = |nic: &&Nic| {
            fleet.networks.get(&nic.network).is_some_and(|it| it.kind == NetworkKind::Nat)
        };
        let (Some(nic), Some(host)) =
            (vm.nics.iter().find(is_nat), vm.hosts.iter().find(is_session))
        else {
            continue;
        };
        let here =
            |block: &&Block<'_>| block.schema.kind == "vm" && block.label == vm.block.as_str();
        if let Some(block) = blocks.iter().find(here).filter(|_| told.insert(&vm.block)) {
            let message = format!(
                "{} is on network \"{}\", and host \"{host}\" makes no networks",
                block.title(),
                nic.network
            );
            let hint = "with `libvirt = \"session\"` a host has only its bridges";
            report.add(block.problem(message).hint(hint));
        }
    }
}

/// Reports zones and files that two blocks would write.
pub(super) fn written_twice(fleet: &Fleet, blocks: &[Block<'_>], report: &Report) {
    let zones = fleet.zones.values().map(|zone| {
        let what = format!("zone {} of dns \"{}\"", zone.domain, zone.server);
        ("zone", zone.name.as_str(), what)
    });
    let files = fleet.target_files.values().map(|file| {
        let on = match &file.on {
            Place::Here => "this machine".to_owned(),
            Place::Host(host) => format!("host \"{host}\""),
            Place::Vm(vm) => format!("vm \"{vm}\""),
        };
        ("prometheus", file.name.as_str(), format!("file {} on {on}", file.path))
    });
    let mut seen: BTreeMap<String, &Block<'_>> = BTreeMap::new();
    for (kind, label, what) in zones.chain(files) {
        let here = |block: &&Block<'_>| block.schema.kind == kind && block.label == label;
        let Some(block) = blocks.iter().find(here) else { continue };
        if let Some(first) = seen.get(&what) {
            // What is written may be named from outside, so it is not shown.
            let message = format!("{} and {} write the same", first.title(), block.title());
            report.add(block.problem(message).note(format!("first at {}", first.place())));
        } else {
            seen.insert(what, block);
        }
    }
}

/// Returns the subnets whose addresses have names in a zone.
pub(super) fn reverse_networks(fleet: &Fleet, zone: &ZoneName) -> Vec<Ipv4Net> {
    let vms = fleet.vms.values().filter(|vm| vm.dns.iter().any(|dns| dns.zone == *zone));
    let networks = vms.flat_map(|vm| vm.nics.iter().map(|nic| &nic.network));
    let nets: BTreeSet<Ipv4Net> =
        networks.filter_map(|network| fleet.networks.get(network)?.subnet).collect();
    nets.into_iter().collect()
}
