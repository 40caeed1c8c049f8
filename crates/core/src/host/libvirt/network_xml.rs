//! A network as libvirt is told to define it, and our mark on one.

use std::net::IpAddr;

use ipnet::Ipv4Net;
use roxmltree::Node;

use super::xml::{Tag, child, children, mark, mark_of, parsed, tag};
use crate::{
    host::trouble::Trouble,
    model::{AddressRange, Mark, NetworkShape, NetworkSpec},
};

const DNSMASQ: &str = "http://libvirt.org/schemas/network/dnsmasq/1.0";

/// Returns the XML of a NAT network; libvirt picks the bridge's name.
pub(super) fn network_xml(spec: &NetworkSpec) -> Result<String, Trouble> {
    let network = tag("network")
        .child(tag("name").text(&spec.name))
        .child(tag("uuid").text(spec.uuid))
        .child(tag("metadata").child(mark(&spec.mark)))
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

/// Returns the shape of a network, and our mark when it bears one.
pub(super) fn network_shape(xml: &str) -> Result<(NetworkShape, Option<Mark>), Trouble> {
    let document = parsed(xml)?;
    let root = document.root_element();
    // `<forward/>` without a mode is NAT.
    let mode = |forward: Node<'_, '_>| forward.attribute("mode").unwrap_or("nat").to_owned();
    let is_ipv4 = |ip: &Node<'_, '_>| ip.attribute("family").is_none_or(|family| family == "ipv4");
    let ip = children(root, "ip").find(is_ipv4);
    let dhcp = ip.and_then(|ip| child(ip, "dhcp")).into_iter();
    let shape = NetworkShape {
        forward: child(root, "forward").map(mode),
        address: ip.and_then(net_of),
        dhcp: dhcp.flat_map(|dhcp| children(dhcp, "range")).filter_map(range_of).collect(),
    };
    Ok((shape, mark_of(root)))
}

fn net_of(ip: Node<'_, '_>) -> Option<Ipv4Net> {
    let address = ip.attribute("address")?.parse().ok()?;
    match (ip.attribute("prefix"), ip.attribute("netmask")) {
        (Some(prefix), _) => Ipv4Net::new(address, prefix.parse().ok()?).ok(),
        (None, Some(mask)) => Ipv4Net::with_netmask(address, mask.parse().ok()?).ok(),
        (None, None) => None,
    }
}

fn range_of(range: Node<'_, '_>) -> Option<AddressRange> {
    let end = |name: &str| range.attribute(name)?.parse().ok();
    Some(AddressRange { first: end("start")?, last: end("end")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_shape_of_its_spec() {
        let spec = NetworkSpec {
            uuid: uuid::Uuid::nil(),
            name: "back".to_owned(),
            mark: Mark {
                fleet: "0123456789abcdef0123456789abcdef".parse().unwrap(),
                name: "back".to_owned(),
                incarnation: 1,
                digest: crate::model::Digest::of([b"back".as_slice()]),
                network: crate::model::Digest::default(),
                protect: true,
                keep: Vec::new(),
            },
            subnet: "10.99.0.0/24".parse().unwrap(),
            gateway: "10.99.0.1".parse().unwrap(),
            dns: vec!["9.9.9.9".parse().unwrap()],
            dhcp: vec!["10.99.0.10-10.99.0.20".parse().unwrap()],
        };
        let (shape, mark) = network_shape(&network_xml(&spec).unwrap()).unwrap();
        assert_eq!((shape, mark), (NetworkShape::of(&spec), Some(spec.mark)));
    }

    #[test]
    fn others_networks_are_read_as_far_as_they_go() {
        let read = |xml: &str| network_shape(xml).unwrap().0;
        assert_eq!(read("<network/>"), NetworkShape::default());
        let old = read(
            "<network><forward/><ip family='ipv6' address='fd00::1' prefix='64'/>
               <ip address='10.0.0.1' netmask='255.255.254.0'/></network>",
        );
        assert_eq!(old.forward.as_deref(), Some("nat"));
        assert_eq!(old.address, Some("10.0.0.1/23".parse().unwrap()));
    }
}
