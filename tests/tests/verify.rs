//! `freehold verify` on a fleet that is as it should be, and on one that hands were laid on.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::fs;

use acceptance::bed::Bed;
use common::{
    lab,
    small::{Gone, RACK1, bed, idle, says},
    virsh,
};
use serde_json::{Value, json};

const OUTSIDE: &str = r#"
network "lan" {
  kind = "bridge"
  bridge = "br0"
  subnet = "10.77.0.0/24"
}
dns "main" {
  kind = "powerdns"
  url = "http://10.77.0.1:8081"
  api_key = env("PDNS_API_KEY")
  ask = "10.77.0.1:53"
}
zone "own" {
  name = "vfy.example.org"
  server = dns.main
  create = true
}
"#;

/// Codes by what they are about.
fn codes(bed: &Bed, status: i32) -> Vec<String> {
    let said = bed.expect(status, &["verify", "--json"]).unwrap();
    let said: Value = serde_json::from_str(said.text()).unwrap();
    let code = |one: &Value| {
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        format!("{} {}: {}", word(&one["host"]), word(&one["object"]["name"]), word(&one["code"]))
    };
    said["findings"].as_array().unwrap().iter().map(code).collect()
}

#[test]
fn a_fleet_is_verified_and_what_hands_did_is_found() {
    let lab = lab();
    let more = "nic \"lan\" {\n    address = \"10.77.0.236\"\n  }\n  dns {\n    zone = zone.own\n  \
                }\n  metrics \"node\" {\n    port = 9100\n  }";
    let vm = idle("vfy", "host.rack1", more);
    let bed = bed(&lab, "vfy", &[RACK1, OUTSIDE, &vm].concat());
    let targets = bed.path().join("targets.json");
    let text = bed.read("fleet.hcl").unwrap();
    let file = format!("prometheus \"main\" {{\n  path = \"{}\"\n}}\n", targets.display());
    bed.write("fleet.hcl", &(text + &file)).unwrap();
    let _gone = Gone(&bed, "vfy");
    bed.expect(0, &["apply", "--yes"]).unwrap();

    // The lab's racks are known to this machine, and to no clone.
    let unpinned = "rack1 rack1: key-unpinned";
    assert_eq!(codes(&bed, 5), [unpinned]);
    let hint = "freehold host add rack1 --name rack1";
    says(&bed.expect(5, &["verify"]).unwrap(), &["host rack1", "key-unpinned", hint]);
    fs::copy(lab.known_hosts(), bed.path().join("known_hosts")).unwrap();
    let identity = bed.path().join(".freehold/identity.key");
    let away = bed.path().join("away");
    fs::rename(&identity, &away).unwrap();
    let said = bed.expect(0, &["verify"]).unwrap();
    says(&said, &["all is as it should be: 1 VM on 1 host"]);
    fs::rename(&away, &identity).unwrap();

    // Hands at the host, at the name server, at the file.
    virsh(&lab, "rack1", "autostart vfy --disable");
    let gone = json!({ "rrsets": [
        { "name": "vfy.vfy.example.org.", "type": "A", "changetype": "DELETE" }
    ] });
    lab.powerdns_api("PATCH", "/api/v1/servers/localhost/zones/vfy.example.org.", Some(&gone))
        .unwrap();
    let written = fs::read_to_string(&targets).unwrap();
    fs::write(&targets, written.replace("10.77.0.236", "10.77.0.237")).unwrap();
    let found = [
        "rack1 vfy: autostart-changed",
        "- dns main: not-published",
        "- prometheus main: not-published",
    ];
    assert_eq!(codes(&bed, 5), found);
    says(&bed.expect(5, &["verify"]).unwrap(), &["+ dns vfy.vfy.example.org A 10.77.0.236"]);
    assert_eq!(lab.dig("vfy.vfy.example.org", "A").unwrap(), [""; 0], "it only looks");

    // A server that is not there says nothing, and that is said.
    bed.edit("http://10.77.0.1:8081\"", "http://10.77.0.1:9\"").unwrap();
    let found = [found[0], "- dns main: server-unread", found[2]];
    assert_eq!(codes(&bed, 3), found);
    bed.edit("http://10.77.0.1:9\"", "http://10.77.0.1:8081\"").unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert_eq!(codes(&bed, 0), [""; 0]);

    // A block that is gone leaves what it published.
    let whole = bed.read("fleet.hcl").unwrap();
    bed.write("fleet.hcl", whole.split("prometheus \"main\"").next().unwrap()).unwrap();
    assert_eq!(codes(&bed, 5), ["- prometheus main: abandoned"]);
    bed.write("fleet.hcl", &whole).unwrap();
}
