//! The records the fleet wants on one server: pure, from the inventory.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use freehold_core::{
    model::{DomainName, Inventory, InventoryVm, RecordKind, VmDns, VmName, Zone},
    plugins::PluginErrorKind,
};

use crate::{
    reverse::{ptr_name, zone_for},
    wire::ZoneEntry,
};

/// The zones a server has.
pub(crate) type Served = BTreeMap<DomainName, ZoneEntry>;

/// The place of an rrset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) zone: DomainName,
    pub(crate) name: DomainName,
    pub(crate) kind: RecordKind,
}

/// What an rrset shall hold, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) vm: VmName,
    pub(crate) ttl: u32,
    /// Addresses, or names without the final dot.
    pub(crate) values: BTreeSet<String>,
}

/// What is not published, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) act: String,
    pub(crate) kind: PluginErrorKind,
    pub(crate) reason: String,
    pub(crate) hint: Option<String>,
}

/// Everything the fleet wants on one server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Zones to make, with their name servers.
    pub(crate) zones: BTreeMap<DomainName, Vec<DomainName>>,
    pub(crate) rrsets: BTreeMap<Spot, Content>,
    pub(crate) refused: Vec<Refusal>,
}

/// Returns what the inventory wants in `zones`, all of them on the server that has `served`.
pub(crate) fn wanted(inventory: &Inventory, zones: &[Zone], served: &Served) -> Wanted {
    let mut wanted = Wanted::default();
    for vm in inventory.vms.values() {
        let mut named = BTreeSet::new();
        for place in &vm.dns {
            if let Some(zone) = zones.iter().find(|zone| zone.name == place.zone) {
                wanted.add_vm(vm, place, zone, served, &mut named);
            }
        }
    }
    wanted
}

impl Wanted {
    /// Adds a VM's name in one zone; `named` are its addresses that have a PTR already.
    fn add_vm(
        &mut self,
        vm: &InventoryVm,
        place: &VmDns,
        zone: &Zone,
        served: &Served,
        named: &mut BTreeSet<Ipv4Addr>,
    ) {
        let name = match zone.domain.child(vm.name.as_str()) {
            Ok(name) => name,
            Err(error) => {
                let act = format!("publish {}.{}", vm.name, zone.domain);
                return self.refuse(act, error.to_string(), None);
            }
        };
        if vm.addresses.is_empty() {
            let reason = format!("no address of {} is published", vm.name);
            let hint = "`publish = true` in one of its `nic` blocks publishes that address";
            return self.refuse(format!("publish {name}"), reason, Some(hint.to_owned()));
        }
        if !self.has_zone(zone, served) {
            return;
        }
        let ttl = place.ttl.unwrap_or(zone.ttl);
        let values = vm.addresses.iter().map(Ipv4Addr::to_string).collect();
        let spot = Spot { zone: zone.domain.clone(), name: name.clone(), kind: RecordKind::A };
        self.rrsets.insert(spot, Content { vm: vm.name.clone(), ttl, values });
        if !zone.reverse {
            return;
        }
        for address in &vm.addresses {
            if !named.insert(*address) {
                continue;
            }
            if let Some(reverse) = self.reverse_zone(*address, zone, served) {
                let spot = Spot { zone: reverse, name: ptr_name(*address), kind: RecordKind::Ptr };
                let values = BTreeSet::from([name.as_str().to_owned()]);
                self.rrsets.insert(spot, Content { vm: vm.name.clone(), ttl, values });
            }
        }
    }

    /// Says whether records may go into the zone, and asks for it to be made where they may then.
    fn has_zone(&mut self, zone: &Zone, served: &Served) -> bool {
        let domain = &zone.domain;
        if let Some(entry) = served.get(domain) {
            return self.takes_records(domain, entry);
        }
        if zone.create {
            return self.make_zone(domain, zone);
        }
        let reason = format!("the server has no zone {domain}");
        let hint = format!("make it there, or set `create = true` in zone \"{}\"", zone.name);
        self.refuse(format!("write into zone {domain}"), reason, Some(hint));
        false
    }

    fn takes_records(&mut self, domain: &DomainName, entry: &ZoneEntry) -> bool {
        if !entry.is_secondary() {
            return true;
        }
        let reason = format!("{domain} is a secondary there (`{}`)", entry.kind);
        let hint = "records belong on its primary: name that server in the zone's block";
        self.refuse(format!("write into zone {domain}"), reason, Some(hint.to_owned()));
        false
    }

    fn make_zone(&mut self, domain: &DomainName, zone: &Zone) -> bool {
        if zone.nameservers.is_empty() {
            let reason = "a zone needs a name server".to_owned();
            let hint = format!("set `nameservers = [\"ns1.…\"]` in zone \"{}\"", zone.name);
            self.refuse(format!("make zone {domain}"), reason, Some(hint));
            return false;
        }
        self.zones.entry(domain.clone()).or_insert_with(|| zone.nameservers.clone());
        true
    }

    /// Returns the zone an address's PTR goes into: the longest that is there, else one we make.
    fn reverse_zone(
        &mut self,
        address: Ipv4Addr,
        zone: &Zone,
        served: &Served,
    ) -> Option<DomainName> {
        let name = ptr_name(address);
        let act = || format!("publish {address} PTR");
        let longest = served
            .keys()
            .chain(self.zones.keys())
            .filter(|zone| name.is_within(zone))
            .max_by_key(|zone| zone.as_str().len())
            .cloned();
        if let Some(longest) = longest {
            if longest == name {
                let reason = format!("{name} is a zone of its own, whose apex we do not touch");
                self.refuse(act(), reason, None);
                return None;
            }
            let writable =
                served.get(&longest).is_none_or(|entry| self.takes_records(&longest, entry));
            return writable.then_some(longest);
        }
        let network = zone.reverse_networks.iter().filter(|network| network.contains(&address));
        let Some(network) = network.max_by_key(|network| network.prefix_len()) else {
            let reason = format!("no reverse zone for {address} is known");
            let hint = "make it on the server, or give the address's network a `subnet`";
            self.refuse(act(), reason, Some(hint.to_owned()));
            return None;
        };
        let reverse = zone_for(address, *network);
        if zone.create {
            return self.make_zone(&reverse, zone).then_some(reverse);
        }
        let reason = format!("the server has no reverse zone for {address}");
        let hint = format!(
            "make {reverse} there, or set `create = true` or `reverse = false` in zone \"{}\"",
            zone.name
        );
        self.refuse(act(), reason, Some(hint));
        None
    }

    /// Notes what is not done, once.
    fn refuse(&mut self, act: String, reason: String, hint: Option<String>) {
        let refusal = Refusal { act, kind: PluginErrorKind::Refused, reason, hint };
        if !self.refused.contains(&refusal) {
            self.refused.push(refusal);
        }
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
