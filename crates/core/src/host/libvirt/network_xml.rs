//! A network as libvirt is told to define it, and our mark on one.

use std::net::IpAddr;

use super::xml::{Tag, mark_of, metadata, parse, tag};
use crate::{
    host::trouble::Trouble,
    model::{AddressRange, Mark, NetworkSpec},
};

const DNSMASQ: &str = "http://libvirt.org/schemas/network/dnsmasq/1.0";

/// Returns the XML of a NAT network; libvirt picks the bridge's name.
pub(super) fn network_xml(spec: &NetworkSpec) -> Result<String, Trouble> {
    let network = tag("network")
        .child(tag("name").text(&spec.name))
        .child(tag("uuid").text(spec.uuid))
        .child(metadata(&spec.mark))
        .child(tag("forward").with("mode", "nat"))
        // Without the delay a guest's first question for an address is lost.
        .child(tag("bridge").with("stp", "on").with("delay", 0))
        .child(address(spec));
    name_servers(network, spec).xml()
}

fn address(spec: &NetworkSpec) -> Tag {
    let ip = tag("ip").with("address", spec.gateway).with("prefix", spec.subnet.prefix_len());
    if spec.dhcp.is_empty() {
        return ip;
    }
    let range =
        |range: &AddressRange| tag("range").with("start", range.first).with("end", range.last);
    ip.child(tag("dhcp").children(spec.dhcp.iter().map(range)))
}

/// DHCP hands out the host's own dnsmasq unless told otherwise.
fn name_servers(network: Tag, spec: &NetworkSpec) -> Tag {
    let servers: Vec<String> =
        spec.dns.iter().filter(|server| server.is_ipv4()).map(IpAddr::to_string).collect();
    if servers.is_empty() || spec.dhcp.is_empty() {
        return network;
    }
    let option = format!("dhcp-option=option:dns-server,{}", servers.join(","));
    network.namespace("dnsmasq", DNSMASQ).child(
        tag("options")
            .within("dnsmasq")
            .child(tag("option").within("dnsmasq").with("value", option)),
    )
}

/// Returns the mark a network bears.
pub(super) fn mark_of_network(xml: &str) -> Result<Option<Mark>, Trouble> {
    Ok(mark_of(&parse(xml)?))
}
