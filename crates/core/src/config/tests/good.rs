//! What a right text comes to.

use std::{net::Ipv4Addr, time::Duration};

use super::{Bed, KEY, vm};
use crate::{
    config::starter,
    model::{
        Accel, Connection, DnsServerKind, Firmware, FleetId, ImageSource, NetworkKind, NicAddress,
        Place, Size, Wait,
    },
};

/// The example of the design, with a variable, locals and files that are there.
const EXAMPLE: &str = r#"
fleet "home" {
  id = "f7c10123456789abcdef0123456789ab"
}
variable "memory" {
  default = "1GiB"
}
locals {
  domain = "${local.fleet}.example.org"
  fleet  = lower("HOME")
}
host "rack1" {
  ssh = "root@rack1.example.org"
}
host "rack2" {
  ssh    = "admin@rack2.example.org:2222"
  accel  = "tcg"
  labels = { disk = "ssd" }
}
network "lan" {
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  gateway   = "10.77.0.1"
  dns       = ["10.77.0.1"]
  addresses = "10.77.0.100-10.77.0.199"
}
network "inner" {
  kind   = "nat"
  subnet = "10.88.0.0/24"
}
image "debian-12" {
  source = "debian.qcow2"
  sha256 = "BBaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
}
vm "web" {
  count        = 2
  host         = [host.rack1, host.rack2]
  image        = image.debian-12
  cpus         = 2
  memory       = var.memory
  wait_timeout = "5m"

  disk "data" {
    size = "100GiB"
    keep = true
  }
  disk "root" {
    size = "20GiB"
  }
  nic "lan" {}
  nic "inner" {
    address = cidrhost("10.88.0.0/24", 10 + count.index)
    publish = true
  }

  cloud_init {
    ssh_keys  = [file("alice.pub")]
    user_data = templatefile("web.yaml", { domain = local.domain, ports = [80, 443] })
  }
  dns {
    zone = zone.home
  }
  metrics "node" {
    port = 9100
  }
  ansible {
    groups = ["debops_all_hosts", "web"]
  }
}
dns "main" {
  kind    = "powerdns"
  url     = "http://10.77.0.1:8081/"
  api_key = env("PDNS_API_KEY")
}
zone "home" {
  name    = local.domain
  server  = dns.main
  reverse = true
  create  = true
}
prometheus "main" {
  on   = vm.web[1]
  path = "/etc/prometheus/targets/freehold.json"
  url  = "http://10.77.0.1:9090"
}
"#;

fn example() -> Bed {
    let template = "#cloud-config\nfqdn: ${domain}\n%{ for port in ports ~}\n- ${port}\n\
                    %{ endfor ~}\ncost: $${free}\n";
    Bed::new().file("fleet.hcl", EXAMPLE).file("web.yaml", template)
}

#[test]
fn reads_the_hosts_networks_and_images_of_the_example() {
    let bed = example();
    let fleet = bed.fleet();
    assert_eq!((fleet.name.as_str(), fleet.hosts.len()), ("home", 2));
    let rack2 = &fleet.hosts[&"rack2".parse().unwrap()];
    assert_eq!(rack2.accel, Accel::Tcg);
    assert_eq!(rack2.labels["disk"], "ssd");
    let Connection::Ssh(target) = &rack2.connection else { panic!("{rack2:?}") };
    assert_eq!(target.to_string(), "admin@rack2.example.org:2222");
    let inner = &fleet.networks[&"inner".parse().unwrap()];
    assert_eq!(inner.kind, NetworkKind::Nat);
    assert_eq!(inner.gateway, Some(Ipv4Addr::new(10, 88, 0, 1)));
    let image = &fleet.images[&"debian-12".parse().unwrap()];
    assert_eq!(image.source, ImageSource::Path(bed.path().join("debian.qcow2")));
    assert!(image.checksum.hex().starts_with("bbaa"));
}

#[test]
fn spreads_out_the_vms_of_the_example() {
    let fleet = example().fleet();
    let names: Vec<_> = fleet.vms.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["web-0", "web-1"]);
    let web = &fleet.vms[&"web-1".parse().unwrap()];
    assert_eq!((web.block.as_str(), web.index, web.cpus), ("web", 1, 2));
    assert_eq!(web.hosts.len(), 2);
    assert_eq!(
        (web.memory, web.firmware, web.autostart),
        (Size::from_mib(1024), Firmware::Bios, true)
    );
    assert_eq!((&web.wait, web.wait_timeout), (&Wait::Ssh, Duration::from_mins(5)));
    let disks: Vec<_> = web.disks.iter().map(|disk| (disk.name.as_str(), disk.keep)).collect();
    assert_eq!(disks, [("root", false), ("data", true)]);
    assert_eq!(web.nics[0].address, NicAddress::Planned);
    assert_eq!(web.nics[1].address, NicAddress::Fixed(Ipv4Addr::new(10, 88, 0, 11)));
    assert_eq!(web.nics[1].publish, Some(true));
    assert_eq!(web.groups, ["debops_all_hosts", "web"]);
    assert_eq!((web.metrics[0].name.as_str(), web.metrics[0].port), ("node", 9100));
}

#[test]
fn fills_in_what_the_guests_of_the_example_are_told() {
    let fleet = example().fleet();
    let cloud_init = &fleet.vms[&"web-0".parse().unwrap()].cloud_init;
    assert_eq!(cloud_init.ssh_keys, [KEY]);
    let expected = "#cloud-config\nfqdn: home.example.org\n- 80\n- 443\ncost: ${free}\n";
    assert_eq!(cloud_init.user_data.as_deref(), Some(expected));
}

#[test]
fn knows_where_the_example_is_published() {
    let fleet = example().fleet();
    let server = &fleet.dns_servers[&"main".parse().unwrap()];
    let DnsServerKind::PowerDns { url, api_key } = &server.kind;
    assert_eq!(url, "http://10.77.0.1:8081");
    assert_eq!(api_key.expose(), "poison-of-the-environment");
    let zone = &fleet.zones[&"home".parse().unwrap()];
    assert_eq!((zone.domain.as_str(), zone.ttl, zone.create), ("home.example.org", 60, true));
    assert_eq!(zone.nameservers[0].as_str(), "ns1.home.example.org");
    let nets: Vec<_> = zone.reverse_networks.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.77.0.0/24", "10.88.0.0/24"]);
    let file = &fleet.target_files[&"main".parse().unwrap()];
    assert_eq!(file.on, Place::Vm("web-1".parse().unwrap()));
}

#[test]
fn takes_values_from_outside() {
    let fleet = example().var("memory", "2GiB").env("FREEHOLD_VAR_memory", "3GiB").fleet();
    assert_eq!(fleet.vms[&"web-0".parse().unwrap()].memory, Size::from_mib(2048));
    let fleet = example().env("FREEHOLD_VAR_memory", "3GiB").fleet();
    assert_eq!(fleet.vms[&"web-0".parse().unwrap()].memory, Size::from_mib(3072));
    let typed = "variable \"n\" {\n}\nvariable \"hosts\" {\n  default = [\"a\"]\n}\n";
    let more = vm("count = var.n\nlabels = { hosts = join(\",\", var.hosts) }");
    let bed = Bed::with(&format!("{typed}{more}")).var("n", "3").var("hosts", "[\"b\", \"c\"]");
    let fleet = bed.fleet();
    assert_eq!(fleet.vms.len(), 3);
    assert_eq!(fleet.vms[&"web-2".parse().unwrap()].labels["hosts"], "b,c");
}

#[test]
fn waits_for_ssh_where_an_address_is_known() {
    let wait = |lines: &str| {
        let fleet = Bed::with(&vm(lines)).fleet();
        fleet.vms[&"web".parse().unwrap()].wait.clone()
    };
    assert_eq!(wait(""), Wait::None);
    assert_eq!(wait("nic \"bare\" {\n  dhcp = true\n}"), Wait::None);
    assert_eq!(wait("nic \"lan\" {\n}"), Wait::Ssh);
    assert_eq!(wait("nic \"lan\" {\n}\nwait = \"port:22\""), Wait::Port(22));
    assert_eq!(wait("nic \"lan\" {\n}\nwait = \"none\""), Wait::None);
}

#[test]
fn takes_edges() {
    assert!(Bed::with(&vm("count = 0")).fleet().vms.is_empty());
    assert_eq!(Bed::with(&vm("count = 1000")).fleet().vms.len(), 1000);
    let twice = Bed::with(&vm(&"nic \"lan\" {\n}\n".repeat(2))).fleet();
    assert_eq!(twice.vms[&"web".parse().unwrap()].nics.len(), 2);
    let here = Bed::with("prometheus \"p\" {\n  path = \"x.json\"\n}\n");
    let file = &here.fleet().target_files[&"p".parse().unwrap()];
    assert_eq!(
        (&file.on, file.path.as_str()),
        (&Place::Here, here.path().join("x.json").to_str().unwrap())
    );
    let on = "prometheus \"p\" {\n  on = vm.web-0\n  path = \"/x.json\"\n}\n";
    assert!(Bed::with(&(vm("count = 1") + on)).load().is_ok());
}

#[test]
fn evaluates_expressions() {
    let label = |expression: &str| {
        let fleet = Bed::with(&vm(&format!("labels = {{ a = {expression} }}"))).fleet();
        fleet.vms[&"web".parse().unwrap()].labels["a"].clone()
    };
    for (expression, value) in [
        ("1 + 2 * 3", "7"),
        ("7 / 2", "3.5"),
        ("-3 % 2", "-1"),
        ("!(1 > 2) && \"a\" == \"a\" ? \"yes\" : \"no\"", "yes"),
        ("join(\"-\", [for i, x in [\"a\", \"b\"] : \"${i}${upper(x)}\" if x != \"c\"])", "0A-1B"),
        ("{ for x in [\"a\"] : x => 5 }.a", "5"),
        ("[{ b = 1 }, { b = 2 }].*.b[1]", "2"),
        ("join(\"\", [{ b = [1, 5] }, { b = [2, 6] }][*].b[1])", "56"),
        ("length(split(\",\", \"a,b,c\"))", "3"),
        ("length(concat([1], [2, 3]))", "3"),
        ("format(\"%s-%02d%%\", \"a\", 5)", "a-05%"),
        ("cidrhost(\"10.0.0.0/8\", -2)", "10.255.255.254"),
        ("trimspace(\" a\\n\")", "a"),
        ("\"x%{ if true }y%{ else }z%{ endif }\"", "xy"),
    ] {
        assert_eq!(label(expression), value, "{expression}");
    }
    assert_eq!(label("<<-END\n    a\n      b\n    END\n"), "a\n  b\n");
}

#[test]
fn the_starter_loads_as_it_is() {
    let id = FleetId::from_bytes([7; 16]);
    let bed = Bed::new().file("fleet.hcl", &starter("home ${x} \"y\"", id));
    let fleet = bed.fleet();
    assert_eq!((fleet.id, fleet.hosts.len()), (id, 0));
    assert_eq!(fleet.name, "home ${x} \"y\"");
}
