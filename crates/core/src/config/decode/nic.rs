//! `nic` within a VM.

use std::{collections::BTreeMap, net::Ipv4Addr, ops::Range};

use super::network::{ipv4, reserved};
use crate::{
    config::{
        fields::{Fields, Given},
        problem::Reported,
        source::Source,
    },
    model::{Network, NetworkName, Nic, NicAddress, VmName},
};

/// An address that the text gives to a VM.
#[derive(Debug, Clone)]
pub(in crate::config) struct FixedAddress<'a> {
    pub(in crate::config) address: Ipv4Addr,
    pub(in crate::config) vm: VmName,
    pub(in crate::config) source: &'a Source,
    pub(in crate::config) span: Range<usize>,
}

/// Reads an interface; `networks` are those without mistakes.
pub(super) fn nic(
    fields: Fields<'_>,
    networks: &BTreeMap<NetworkName, Network>,
    several: bool,
) -> Result<(Nic, Option<Given<Ipv4Addr>>), Reported> {
    let network = network_name(fields);
    let fixed = fixed_address(fields, several);
    let dhcp = fields.boolean("dhcp");
    let publish = fields.boolean("publish");
    let (network, fixed, dhcp) = (network?, fixed?, dhcp?.unwrap_or(false));
    let known = networks.get(&network);
    let address = match (&fixed, dhcp) {
        (Some(_), true) => {
            let span = fields.key_span("dhcp");
            let title = fields.block.title();
            return Err(fields.fail(&span, format!("{title} has both `address` and `dhcp`")));
        }
        (Some(given), false) => {
            check_fixed(fields, given, known)?;
            NicAddress::Fixed(given.value)
        }
        (None, true) => NicAddress::Dhcp,
        (None, false) if fields.meant(&["address", "dhcp"]) => return Err(Reported),
        (None, false) => {
            check_planned(fields, known)?;
            NicAddress::Planned
        }
    };
    Ok((Nic { network, address, publish: publish? }, fixed))
}

fn network_name(fields: Fields<'_>) -> Result<NetworkName, Reported> {
    let (label, span) = (fields.block.label, fields.block.label_span.clone());
    fields.scope.world.reference(fields.block.source, span, "network", label, None)?;
    label.parse().map_err(|_| Reported)
}

fn fixed_address(fields: Fields<'_>, several: bool) -> Result<Option<Given<Ipv4Addr>>, Reported> {
    let asked = fields.scope.asks_for_index(|| fields.parsed_by("address", ipv4));
    let (given, asked) = (asked.0?, asked.1);
    match &given {
        Some(given) if several && !asked => {
            let message = format!("every VM of the `count` would have the address {}", given.value);
            let hint = "count from it, as in `cidrhost(\"10.77.0.0/24\", 50 + count.index)`";
            Err(fields.add(fields.problem(&given.span, message).hint(hint)))
        }
        _ => Ok(given),
    }
}

fn check_fixed(
    fields: Fields<'_>,
    given: &Given<Ipv4Addr>,
    network: Option<&Network>,
) -> Result<(), Reported> {
    let Some(network) = network else { return Ok(()) };
    let why = match network.subnet {
        None => Some(format!("network \"{}\" has no `subnet`, so no address", network.name)),
        Some(_) if network.gateway == Some(given.value) => {
            Some(format!("{} is the gateway of network \"{}\"", given.value, network.name))
        }
        Some(net) => reserved(given.value, net),
    };
    why.map_or(Ok(()), |why| Err(fields.fail(&given.span, why)))
}

fn check_planned(fields: Fields<'_>, network: Option<&Network>) -> Result<(), Reported> {
    let Some(network) = network.filter(|network| network.addresses.is_empty()) else {
        return Ok(());
    };
    let message = format!("network \"{}\" has no `addresses` to hand out", network.name);
    let hint = "give the network `addresses`, or this nic an `address` or `dhcp = true`";
    Err(fields.add(fields.block.problem(message).hint(hint)))
}
