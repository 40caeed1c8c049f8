//! Servers and files that do not take what is published: VMs are made, and the rest is made up.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{fs, net::TcpListener, path::PathBuf, time::Duration};

use acceptance::{
    bed::Bed,
    lab::{Lab, command::Run},
};
use common::{
    all_domains, lab,
    small::{Gone, RACK1, RACK2, bed, blank, fleet, http, idle, image, pool_files, says, serve},
};
use serde_json::json;

const LAN: &str = "network \"lan\" {\n  kind = \"bridge\"\n  bridge = \"br0\"\n  \
                   subnet = \"10.77.0.0/24\"\n}\n";

/// One VM on rack1 whose name stands in a zone of its own, on a name server at this URL.
fn named(lab: &Lab, name: &str, url: &str, address: &str) -> Bed {
    let dns = format!(
        "dns \"main\" {{\n  kind = \"powerdns\"\n  url = \"{url}\"\n  \
         api_key = env(\"PDNS_API_KEY\")\n  ask = \"10.77.0.1:53\"\n}}\n\
         zone \"own\" {{\n  name = \"{name}.example.org\"\n  server = dns.main\n  create = true\n}}\n"
    );
    let more = format!(
        "nic \"lan\" {{\n    address = \"{address}\"\n  }}\n  dns {{\n    zone = zone.own\n  }}"
    );
    bed(lab, name, &[RACK1, LAN, &dns, &idle(name, "host.rack1", &more)].concat())
}

const RIGHT: &str = "http://10.77.0.1:8081";

/// Applies while the server is as told: the VM is made, these words are said, the name is pending;
/// then the server is right, and the next apply publishes.
fn pends(bed: &Bed, name: &str, address: &str, words: &[&str]) {
    let lab = bed.lab().clone();
    let _gone = Gone(bed, name);
    let said = bed.expect(3, &["apply", "--yes"]).unwrap();
    says(&said, words);
    says(&said, &["dns main"]);
    let key = lab.powerdns().api_key().unwrap();
    assert!(!format!("{said}").contains(key.trim()), "no secret is said");
    assert_eq!(all_domains(&lab, name), [name], "a VM does not wait for a name");
    let status = bed.expect(3, &["status"]).unwrap();
    says(&status, &[&format!("{name}  rack1  running"), "pending: dns main"]);
    right(bed);
    bed.expect(0, &["apply", "--yes"]).unwrap();
    let record = format!("{name}.{name}.example.org");
    assert_eq!(lab.dig(&record, "A").unwrap(), [address]);
    let status = bed.expect(0, &["status"]).unwrap();
    assert!(!status.stdout.contains("pending"), "{status}");
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
    common::small::turn_off(&lab, name);
    bed.expect(0, &["destroy", "--yes"]).unwrap();
    assert_eq!(lab.dig(&record, "A").unwrap(), [""; 0]);
    lab.powerdns().delete_zone(&format!("{name}.example.org")).unwrap();
}

/// Makes the fleet's name server the right one.
fn right(bed: &Bed) {
    let text = bed.read("fleet.hcl").unwrap();
    let line = |line: &str| match line.trim_start().split_once(" = ") {
        Some(("url", _)) => format!("  url = \"{RIGHT}\"\n"),
        Some(("api_key", _)) => "  api_key = env(\"PDNS_API_KEY\")\n".to_owned(),
        _ => format!("{line}\n"),
    };
    bed.write("fleet.hcl", &text.lines().map(line).collect::<String>()).unwrap();
}

#[test]
fn a_wrong_api_key_leaves_names_pending() {
    let lab = lab();
    let bed = named(&lab, "keywrong", RIGHT, "10.77.0.150");
    bed.edit("env(\"PDNS_API_KEY\")", "\"not-the-key\"").unwrap();
    pends(&bed, "keywrong", "10.77.0.150", &["401", "hint: `api_key` must be"]);
}

#[test]
fn a_name_server_that_is_not_there_leaves_names_pending() {
    let lab = lab();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bed = named(&lab, "closed", &format!("http://127.0.0.1:{port}"), "10.77.0.151");
    pends(&bed, "closed", "10.77.0.151", &["does not answer", "Connection refused", "hint: `url`"]);
}

#[test]
fn an_error_of_the_name_server_leaves_names_pending() {
    let lab = lab();
    let body = br#"{"error": "Backend is on fire"}"#;
    let answer = http("500 Internal Server Error", "application/json", body);
    let place = serve("127.0.0.1", answer, Duration::ZERO);
    let bed = named(&lab, "err500", &format!("http://{place}"), "10.77.0.152");
    pends(&bed, "err500", "10.77.0.152", &["500", "Backend is on fire"]);
}

#[test]
fn a_web_page_is_no_name_server() {
    let lab = lab();
    let answer = http("200 OK", "text/html", b"<html><body>Welcome to nginx!</body></html>");
    let place = serve("127.0.0.1", answer, Duration::ZERO);
    let bed = named(&lab, "webpage", &format!("http://{place}"), "10.77.0.153");
    pends(&bed, "webpage", "10.77.0.153", &["not as the API of PowerDNS", "Welcome to nginx"]);
}

#[test]
fn a_name_server_that_falls_asleep_is_given_up() {
    let lab = lab();
    let place = serve("127.0.0.1", http("200 OK", "text/plain", b""), Duration::from_mins(5));
    let bed = named(&lab, "asleep", &format!("http://{place}"), "10.77.0.154");
    pends(&bed, "asleep", "10.77.0.154", &["no whole answer within 10 s"]);
}

#[test]
fn a_zone_that_is_missing_is_named_and_not_made() {
    let lab = lab();
    drop(lab.powerdns().delete_zone("zoneless.example.org"));
    let bed = named(&lab, "zoneless", RIGHT, "10.77.0.155");
    let _gone = Gone(&bed, "zoneless");
    bed.edit("create = true", "create = false").unwrap();
    let said = bed.expect(3, &["apply", "--yes"]).unwrap();
    says(&said, &["zoneless.example.org", "hint: "]);
    assert_eq!(all_domains(&lab, "zoneless"), ["zoneless"]);
    let zones = lab.powerdns_api("GET", "/api/v1/servers/localhost/zones", None).unwrap();
    assert!(!zones.to_string().contains("zoneless"), "no zone was made");
    bed.edit("create = false", "create = true").unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert_eq!(lab.dig("zoneless.zoneless.example.org", "A").unwrap(), ["10.77.0.155"]);
}

#[test]
fn names_whose_block_is_gone_are_not_forgotten() {
    let lab = lab();
    drop(lab.powerdns().delete_zone("orphaned.example.org"));
    let bed = named(&lab, "orphaned", RIGHT, "10.77.0.230");
    let _gone = Gone(&bed, "orphaned");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    let whole = bed.read("fleet.hcl").unwrap();
    let (before, rest) = whole.split_once("dns \"main\"").unwrap();
    let vm = &rest[rest.find("vm \"").unwrap()..];
    let without = format!("{before}{}", vm.replace("dns {\n    zone = zone.own\n  }", ""));
    bed.write("fleet.hcl", &without).unwrap();
    let said = bed.expect(3, &["plan"]).unwrap();
    says(&said, &["dns main: no longer declared, and 1 of what it published is still there"]);
    assert_eq!(lab.dig("orphaned.orphaned.example.org", "A").unwrap(), ["10.77.0.230"]);

    bed.write("fleet.hcl", &whole.replace("dns {\n    zone = zone.own\n  }", "")).unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert_eq!(lab.dig("orphaned.orphaned.example.org", "A").unwrap(), [""; 0]);
    bed.write("fleet.hcl", &without).unwrap();
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do"]);
    bed.write("fleet.hcl", &whole).unwrap();
}

#[test]
fn a_record_that_somebody_else_wrote_is_left_as_it_is() {
    let lab = lab();
    drop(lab.create_zone("theirs.example.org"));
    let zone = "/api/v1/servers/localhost/zones/theirs.example.org.";
    let record = json!({"rrsets": [{
        "name": "theirs.theirs.example.org.", "type": "A", "ttl": 300, "changetype": "REPLACE",
        "records": [{"content": "10.77.0.9", "disabled": false}],
    }]});
    lab.powerdns_api("PATCH", zone, Some(&record)).unwrap();
    let bed = named(&lab, "theirs", RIGHT, "10.77.0.156");
    let gone = Gone(&bed, "theirs");
    for _again in 0..2 {
        let said = bed.expect(3, &["apply", "--yes"]).unwrap();
        says(&said, &["theirs.theirs.example.org", "hint: "]);
        assert_eq!(lab.dig("theirs.theirs.example.org", "A").unwrap(), ["10.77.0.9"]);
    }
    assert_eq!(all_domains(&lab, "theirs"), ["theirs"]);
    drop(gone);
    assert_eq!(lab.dig("theirs.theirs.example.org", "A").unwrap(), ["10.77.0.9"]);
    lab.powerdns().delete_zone("theirs.example.org").unwrap();
}

/// One VM that is scraped, and a target file in this place.
fn scraped(lab: &Lab, name: &str, place: &str, address: &str) -> Bed {
    let more = format!(
        "nic \"lan\" {{\n    address = \"{address}\"\n  }}\n  metrics \"node\" {{\n    port = 9100\n  }}"
    );
    let file = format!("prometheus \"main\" {{\n{place}\n}}\n");
    bed(lab, name, &[RACK1, RACK2, LAN, &file, &idle(name, "host.rack1", &more)].concat())
}

#[test]
fn a_target_file_of_somebody_elses_is_left_as_it_is() {
    let lab = lab();
    let path: PathBuf = lab.prometheus().targets_dir().join("sometheirs.json");
    let theirs = r#"[{"targets": ["10.77.0.1:9"], "labels": {"by": "hand"}}]"#;
    fs::write(&path, theirs).unwrap();
    let place = format!("  path = \"{}\"", path.display());
    let bed = scraped(&lab, "sometheirs", &place, "10.77.0.157");
    {
        let _gone = Gone(&bed, "sometheirs");
        let said = bed.expect(3, &["apply", "--yes"]).unwrap();
        says(&said, &["sometheirs.json", "hint: "]);
        assert_eq!(all_domains(&lab, "sometheirs"), ["sometheirs"]);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), theirs);
    fs::remove_file(path).unwrap();
}

#[test]
fn a_target_file_lies_on_the_host_it_is_declared_for() {
    let lab = lab();
    for (name, rack, address) in
        [("sdone", "rack1", "10.77.0.158"), ("twosd", "rack2", "10.77.0.159")]
    {
        let path = format!("/etc/prometheus/targets/{name}.json");
        let place = format!("  on = host.{rack}\n  path = \"{path}\"");
        let bed = scraped(&lab, name, &place, address);
        {
            let _gone = Gone(&bed, name);
            bed.expect(0, &["apply", "--yes"]).unwrap();
            let file = lab.ssh(rack, &format!("cat {path}; stat -c %a {path}")).unwrap();
            let target = format!("{address}:9100");
            assert!(file.stdout.contains(&target) && file.text().ends_with("644"), "{file}");
            let seen = || Ok(lab.prometheus_targets()?.to_string().contains(&target));
            let limit = Duration::from_secs(30);
            acceptance::bed::eventually("Prometheus reads it", limit, seen).unwrap();
            says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
        }
        let file = lab.ssh(rack, &format!("cat {path}")).unwrap();
        assert!(!file.stdout.contains("9100"), "{file}");
        drop(lab.ssh(rack, &format!("rm -f {path}")));
    }
}

#[test]
fn a_target_file_that_cannot_be_written_is_pending() {
    let lab = lab();
    let place = "  on = host.rack2\n  path = \"/etc/prometheus/forbidden.json\"";
    let bed = scraped(&lab, "forbidden", place, "10.77.0.160");
    let _gone = Gone(&bed, "forbidden");
    let said = bed.expect(3, &["apply", "--yes"]).unwrap();
    says(&said, &["/etc/prometheus/forbidden.json", "Permission denied", "rack2"]);
    assert_eq!(all_domains(&lab, "forbidden"), ["forbidden"]);
    says(&bed.expect(3, &["status"]).unwrap(), &["pending: "]);
    let right = "/etc/prometheus/targets/forbidden.json";
    bed.edit("/etc/prometheus/forbidden.json", right).unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    let status = bed.expect(0, &["status"]).unwrap();
    assert!(!status.stdout.contains("pending"), "{status}");
}

/// A bed whose image comes from this URL.
fn from_url(lab: &Lab, name: &str, url: &str, sha256: &str) -> Bed {
    let text = image(url, sha256) + RACK1 + &idle(name, "host.rack1", "");
    Bed::new(lab, &fleet(name, &text)).unwrap()
}

#[test]
fn a_host_fetches_an_image_by_itself_and_checks_it() {
    let lab = lab();
    let folder = tempfile::tempdir().unwrap();
    // Unlike every other test's, so that it is in no pool yet.
    let size = format!("{}K", 4096 + std::process::id() % 4096);
    let sha256 = blank(folder.path(), &size);
    let content = fs::read(folder.path().join("blank.qcow2")).unwrap();
    let answer = http("200 OK", "application/octet-stream", &content);
    let place = serve("10.77.0.1", answer, Duration::ZERO);
    let url = format!("http://{place}/blank.qcow2");
    let wrong = "78".repeat(32);
    let bed = from_url(&lab, "fetched", &url, &wrong);
    let said = bed.expect(1, &["apply", "--yes"]).unwrap();
    says(&said, &["image blank", &sha256, &wrong]);
    common::small::nothing_was_made(&lab, "fetched");
    assert_eq!(pool_files(&lab, "rack1", &wrong[..32]), [""; 0]);
    bed.edit(&wrong, &sha256).unwrap();
    let _gone = Gone(&bed, "fetched");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert_eq!(all_domains(&lab, "fetched"), ["fetched"]);
    assert!(!bed.path().join(".freehold/cache").exists(), "no byte came through here");
    let image = pool_files(&lab, "rack1", &sha256[..32]).pop().unwrap();
    let there = format!("sha256sum /var/lib/libvirt/freehold/{image}");
    assert!(lab.ssh("rack1", &there).unwrap().stdout.starts_with(&sha256));
}

#[test]
fn an_address_without_an_image_is_named() {
    let lab = lab();
    let answer = http("404 Not Found", "text/html", b"<html>no</html>");
    let place = serve("10.77.0.1", answer, Duration::ZERO);
    let url = format!("http://{place}/none.qcow2");
    let sha256 = "9a".repeat(32);
    let bed = from_url(&lab, "urlnone", &url, &sha256);
    says(&bed.expect(1, &["apply", "--yes"]).unwrap(), &[&url, "404", "image blank", "hint: "]);
    common::small::nothing_was_made(&lab, "urlnone");
    assert_eq!(pool_files(&lab, "rack1", &sha256[..32]), [""; 0]);
    let left = Run::new("find").arg(bed.path()).args(["-name", "*.part"]).ok().unwrap();
    assert_eq!(left.text(), "", "nothing half-fetched");
}
