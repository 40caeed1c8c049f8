//! `network`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::{
    config::{
        fields::{Field, Fields, Given, One, required},
        problem::Reported,
    },
    model::{AddressRange, Network, NetworkKind},
};

/// Reads a network.
pub(in crate::config) fn network(fields: Fields<'_>) -> Result<Network, Reported> {
    let name = fields.label();
    let kind = kind(fields);
    let subnet = fields.parsed_by("subnet", subnet);
    let gateway = fields.parsed_by("gateway", ipv4);
    let dns = fields.texts("dns", One::IsWrong, |text| {
        text.parse::<IpAddr>().map_err(|_| format!("`{text}` is no address"))
    });
    let ranges = fields.texts("addresses", One::CountsAsList, str::parse::<AddressRange>);
    let (kind, subnet) = (kind?, subnet?);
    if subnet.is_none() && fields.meant(&["subnet"]) {
        return Err(Reported);
    }
    if kind == NetworkKind::Nat && subnet.is_none() {
        let title = fields.block.title();
        let problem = fields.block.problem(format!("{title} is a `nat` network without `subnet`"));
        return Err(fields.add(problem.hint("it takes one, as in `subnet = \"10.88.0.0/24\"`")));
    }
    let subnet = subnet.map(|given| given.value);
    let gateway = checked_gateway(fields, gateway, subnet);
    let gateway = gateway.map(|gateway| match (&kind, subnet) {
        (NetworkKind::Nat, Some(net)) => gateway.or_else(|| net.hosts().next()),
        _ => gateway,
    });
    let addresses = checked_ranges(fields, ranges, subnet, gateway.ok().flatten());
    let dns = dns?.unwrap_or_default().into_iter().map(|given| given.value).collect();
    Ok(Network { name: name?, kind, subnet, gateway: gateway?, dns, addresses: addresses? })
}

fn kind(fields: Fields<'_>) -> Result<NetworkKind, Reported> {
    let later = ["routed", "isolated", "macvtap", "open", "sriov"];
    let is_nat = fields.word("kind", &[("bridge", false), ("nat", true)], &later);
    let bridge = fields.parsed_by("bridge", interface);
    let is_nat = required(is_nat)?.value;
    let title = fields.block.title();
    match bridge? {
        Some(bridge) if !is_nat => Ok(NetworkKind::Bridge(bridge.value)),
        None if is_nat => Ok(NetworkKind::Nat),
        Some(bridge) => {
            let problem = fields.problem(&bridge.span, format!("{title} is a `nat` network"));
            Err(fields.add(problem.hint("`bridge` goes with `kind = \"bridge\"` only")))
        }
        None if fields.meant(&["bridge"]) => Err(Reported),
        None => {
            let problem = fields.block.problem(format!("{title} does not name its `bridge`"));
            Err(fields.add(problem.hint("it takes the host's bridge, as in `bridge = \"br0\"`")))
        }
    }
}

/// Parses the name of an interface, as Linux takes it (`dev_valid_name`).
fn interface(text: &str) -> Result<String, String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/:".contains(c);
    if text.is_empty() || text.len() > 15 || text == "." || text == ".." || text.contains(odd) {
        return Err(format!("`{text}` is no name of a bridge: at most 15 characters, no `/`, `:`"));
    }
    Ok(text.to_owned())
}

fn subnet(text: &str) -> Result<Ipv4Net, String> {
    let bad = || format!("`{text}` is no subnet, as in \"10.77.0.0/24\"");
    let net = match text.parse::<IpNet>().map_err(|_| bad())? {
        IpNet::V4(net) => net,
        IpNet::V6(_) => return Err(format!("`{text}`: IPv6 is not supported yet")),
    };
    if net.trunc() != net {
        return Err(format!("`{text}` has host bits: the subnet is `{}`", net.trunc()));
    }
    if net.prefix_len() > 30 || net.prefix_len() == 0 {
        return Err(format!("`{text}` has no room for hosts: /1 to /30"));
    }
    Ok(net)
}

pub(super) fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => Ok(address),
        Ok(IpAddr::V6(_)) => Err(format!("`{text}`: IPv6 is not supported yet")),
        Err(_) => Err(format!("`{text}` is no IPv4 address")),
    }
}

/// Says why no guest can have this address in a subnet, if so.
pub(super) fn reserved(address: Ipv4Addr, net: Ipv4Net) -> Option<String> {
    if !net.contains(&address) {
        Some(format!("{address} is not in the subnet {net}"))
    } else if address == net.network() {
        Some(format!("{address} is the subnet {net} itself"))
    } else if address == net.broadcast() {
        Some(format!("{address} is the broadcast address of {net}"))
    } else {
        None
    }
}

fn checked_gateway(
    fields: Fields<'_>,
    gateway: Field<Given<Ipv4Addr>>,
    subnet: Option<Ipv4Net>,
) -> Field<Ipv4Addr> {
    let Some(Given { value, span }) = gateway? else { return Ok(None) };
    let why = match subnet {
        Some(net) => reserved(value, net).map(|why| format!("the gateway {why}")),
        None => Some("a `gateway` needs a `subnet`".to_owned()),
    };
    why.map_or(Ok(Some(value)), |why| Err(fields.fail(&span, why)))
}

fn checked_ranges(
    fields: Fields<'_>,
    ranges: Field<Vec<Given<AddressRange>>>,
    subnet: Option<Ipv4Net>,
    gateway: Option<Ipv4Addr>,
) -> Result<Vec<AddressRange>, Reported> {
    let mut taken: Vec<AddressRange> = Vec::new();
    let mut failed = None;
    for Given { value: range, span } in ranges?.unwrap_or_default() {
        let why = match subnet {
            None => Some("`addresses` need a `subnet`".to_owned()),
            Some(net) => reserved(range.first, net).or_else(|| reserved(range.last, net)),
        };
        let why = why.or_else(|| {
            let gateway = gateway.filter(|gateway| range.contains(*gateway))?;
            Some(format!("{range} holds the gateway {gateway}"))
        });
        let why = why.or_else(|| {
            let meets =
                |other: &&AddressRange| other.first <= range.last && range.first <= other.last;
            taken.iter().find(meets).map(|other| format!("{range} overlaps {other}"))
        });
        match why {
            Some(why) => failed = Some(fields.fail(&span, why)),
            None => taken.push(range),
        }
    }
    failed.map_or(Ok(taken), Err)
}
