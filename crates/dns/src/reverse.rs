//! Names and zones of the reverse tree (RFC 1035 §3.5).

use std::net::Ipv4Addr;

use freehold_core::model::DomainName;
use ipnet::Ipv4Net;

/// Returns the name that holds an address's PTR.
pub(crate) fn ptr_name(address: Ipv4Addr) -> DomainName {
    reverse_name(&address.octets())
}

/// Says whether a zone maps addresses back to names.
pub(crate) fn is_reverse(zone: &DomainName) -> bool {
    ["in-addr.arpa", "ip6.arpa"].iter().any(|tree| zone.as_str().ends_with(&format!(".{tree}")))
}

/// Returns the reverse zone to make for an address of this network: as many whole octets as its
/// prefix has, at most three (a zone per address is nobody's wish) and at least one.
pub(crate) fn zone_for(address: Ipv4Addr, network: Ipv4Net) -> DomainName {
    let octets = usize::from(network.prefix_len() / 8).clamp(1, 3);
    reverse_name(&address.octets()[..octets])
}

fn reverse_name(octets: &[u8]) -> DomainName {
    let labels: Vec<_> = octets.iter().rev().map(u8::to_string).collect();
    format!("{}.in-addr.arpa", labels.join("."))
        .parse()
        .expect("one to four octets and in-addr.arpa are a domain name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_reverse_zones() {
        let is = |zone: &str| is_reverse(&zone.parse().unwrap());
        assert!(is("77.10.in-addr.arpa") && is("8.b.d.0.1.0.0.2.ip6.arpa"));
        assert!(!is("home.example.org") && !is("arpa.example.org"));
    }

    #[test]
    fn cuts_zones_at_octets() {
        let address = Ipv4Addr::new(10, 77, 3, 100);
        assert_eq!(ptr_name(address).as_str(), "100.3.77.10.in-addr.arpa");
        for (network, zone) in [
            ("10.77.3.0/24", "3.77.10.in-addr.arpa"),
            ("10.77.3.96/27", "3.77.10.in-addr.arpa"),
            ("10.77.0.0/22", "77.10.in-addr.arpa"),
            ("10.77.0.0/16", "77.10.in-addr.arpa"),
            ("10.64.0.0/10", "10.in-addr.arpa"),
            ("8.0.0.0/5", "10.in-addr.arpa"),
        ] {
            assert_eq!(zone_for(address, network.parse().unwrap()).as_str(), zone, "{network}");
        }
    }
}
