use super::*;
use crate::fixtures::{inventory, vm, zone};

fn served(zones: &[(&str, &str)]) -> Served {
    let entry = |&(name, kind): &(&str, &str)| {
        let domain: DomainName = name.parse().unwrap();
        (
            domain.clone(),
            ZoneEntry { id: domain.fqdn(), name: domain.fqdn(), kind: kind.to_owned() },
        )
    };
    zones.iter().map(entry).collect()
}

fn lines(wanted: &Wanted) -> Vec<String> {
    let line = |(spot, content): (&Spot, &Content)| {
        let values: Vec<_> = content.values.iter().map(String::as_str).collect();
        format!("{} {} {} {}", spot.zone, spot.name, spot.kind, values.join(","))
    };
    wanted.rrsets.iter().map(line).collect()
}

const BOTH: [(&str, &str); 2] =
    [("home.example.org", "Native"), ("0.77.10.in-addr.arpa", "Native")];

#[test]
fn gives_each_vm_its_addresses_and_each_address_its_name() {
    let inventory = inventory(&[vm("web-0", &["10.77.0.101", "10.77.0.100"])]);
    let wanted = wanted(&inventory, &[zone(false)], &served(&BOTH));
    assert_eq!(
        lines(&wanted),
        [
            "0.77.10.in-addr.arpa 100.0.77.10.in-addr.arpa PTR web-0.home.example.org",
            "0.77.10.in-addr.arpa 101.0.77.10.in-addr.arpa PTR web-0.home.example.org",
            "home.example.org web-0.home.example.org A 10.77.0.100,10.77.0.101",
        ]
    );
    assert!(wanted.refused.is_empty());
}

#[test]
fn puts_a_ptr_into_the_longest_zone_there_is() {
    let inventory = inventory(&[vm("web-0", &["10.77.0.100"])]);
    let zones = [("home.example.org", "Native"), ("10.in-addr.arpa", "Native")];
    let wide = wanted(&inventory, &[zone(true)], &served(&zones));
    assert!(lines(&wide)[0].starts_with("10.in-addr.arpa "), "{wide:?}");
    assert!(wide.zones.is_empty());
    let zones = [zones[0], zones[1], ("77.10.in-addr.arpa", "Native")];
    let longer = wanted(&inventory, &[zone(true)], &served(&zones));
    assert!(lines(&longer).iter().any(|line| line.starts_with("77.10.in-addr.arpa ")));
}

#[test]
fn makes_missing_zones_only_when_told() {
    let inventory = inventory(&[vm("web-0", &["10.77.0.100"]), vm("web-1", &["10.77.0.101"])]);
    let made = wanted(&inventory, &[zone(true)], &Served::new());
    let zones: Vec<_> = made.zones.keys().map(DomainName::as_str).collect();
    assert_eq!(zones, ["0.77.10.in-addr.arpa", "home.example.org"]);
    assert_eq!(made.rrsets.len(), 4);

    let refused = wanted(&inventory, &[zone(false)], &Served::new());
    assert!(refused.rrsets.is_empty() && refused.zones.is_empty());
    assert_eq!(refused.refused.len(), 1, "once per zone: {:?}", refused.refused);
    assert!(refused.refused[0].hint.as_ref().unwrap().contains("create = true"));

    let nameless = Zone { nameservers: Vec::new(), ..zone(true) };
    let refused = wanted(&inventory, &[nameless], &Served::new());
    assert!(refused.refused[0].hint.as_ref().unwrap().contains("nameservers"));
}

#[test]
fn refuses_an_address_outside_every_reverse_zone_and_nothing_else() {
    let inventory = inventory(&[vm("web-0", &["10.77.0.100", "192.0.2.1"])]);
    let wanted = wanted(&inventory, &[zone(true)], &served(&BOTH));
    assert_eq!(wanted.rrsets.len(), 2);
    assert_eq!(wanted.refused.len(), 1);
    assert_eq!(wanted.refused[0].act, "publish 192.0.2.1 PTR");
}

#[test]
fn names_an_address_once() {
    let mut web = vm("web-0", &["10.77.0.100"]);
    web.dns.push(VmDns { zone: "lab".parse().unwrap(), ttl: Some(5) });
    let lab = Zone {
        name: "lab".parse().unwrap(),
        domain: "lab.example.org".parse().unwrap(),
        ..zone(true)
    };
    let wanted = wanted(&inventory(&[web]), &[zone(true), lab], &Served::new());
    let ptrs: Vec<_> =
        wanted.rrsets.iter().filter(|(spot, _)| spot.kind == RecordKind::Ptr).collect();
    assert_eq!(ptrs.len(), 1);
    assert!(ptrs[0].1.values.contains("web-0.home.example.org"));
    assert_eq!(wanted.rrsets.len(), 3);
}

#[test]
fn refuses_secondaries_and_vms_without_a_public_address() {
    let web = inventory(&[vm("web-0", &["10.77.0.100"])]);
    let zones = [("home.example.org", "Slave"), BOTH[1]];
    let refused = wanted(&web, &[zone(true)], &served(&zones));
    assert!(refused.rrsets.is_empty());
    assert!(refused.refused[0].reason.contains("secondary"));

    let hidden = wanted(&inventory(&[vm("db", &[])]), &[zone(true)], &served(&BOTH));
    assert!(hidden.rrsets.is_empty());
    assert!(hidden.refused[0].hint.as_ref().unwrap().contains("publish = true"));
}
