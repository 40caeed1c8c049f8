//! Each mistake is told once, at its place, with what to do.

use super::{BASE, Bed, vm};

/// Checks that a text has exactly one problem, which says all of this.
#[track_caller]
fn refuses(text: &str, fragments: &[&str]) {
    let problems = Bed::with(text).problems();
    let shown = problems.render().replace("\n      ", " ");
    for fragment in fragments {
        assert!(shown.contains(fragment), "{fragment:?} is missing for\n{text}\nin\n{shown}");
    }
    assert_eq!(problems.list.len(), 1, "for\n{text}\n{shown}");
}

#[test]
fn shows_file_line_underline_and_hint() {
    let text = "fleet \"x\" {\n  id = \"0123456789abcdef0123456789abcdef\"\n}\n\nhost \"a\" {\n  \
                ssh = \"a\"\n  acel = \"kvm\"\n}\n";
    let shown = Bed::new().file("fleet.hcl", text).problems().render();
    let expected = "error: unknown key `acel` in host \"a\"\n --> fleet.hcl:7:3\n  |\n7 |   acel = \
                    \"kvm\"\n  |   ^^^^\n  |\nhint: did you mean `accel`?\n";
    assert_eq!(shown, expected);
}

#[test]
fn refuses_unknown_words() {
    for (text, fragments) in [
        (vm("memroy = 1"), ["unknown key `memroy` in vm \"web\"", "did you mean `memory`?"]),
        (vm("dsk \"a\" {\n}"), ["unknown block `dsk` in vm \"web\"", "did you mean `disk`?"]),
        ("hots \"a\" {\n}\n".into(), ["unknown block `hots`", "did you mean `host`?"]),
        ("host \"h\" {\n  shh = \"a\"\n}\n".into(), ["unknown key `shh`", "did you mean `ssh`?"]),
        (vm("").replace("memory", "memmory"), ["unknown key `memmory`", "did you mean `memory`?"]),
        ("x = 1\n".into(), ["`x` stands outside of a block", "locals"]),
        (vm("labels {\n}"), ["`labels` in vm \"web\" is a key, not a block", "`labels = …`"]),
        (vm("nic = 1"), ["`nic` in vm \"web\" is a block", "`nic \"NETWORK\" { … }`"]),
        ("host {\n  ssh = \"a\"\n}\n".into(), ["a block `host` has one label", "host \"NAME\""]),
        ("locals \"a\" {\n}\n".into(), ["a block `locals` has no label", "`locals { … }`"]),
    ] {
        refuses(&text, &fragments);
    }
}

#[test]
fn says_what_is_not_supported_yet() {
    for word in ["module \"a\"", "output \"a\"", "record \"a\"", "pool \"a\"", "import"] {
        refuses(&format!("{word} {{\n}}\n"), &["is not supported yet"]);
    }
    let network = |lines: &str| format!("network \"n\" {{\n{lines}\n}}\n");
    for text in [
        vm("for_each = []"),
        vm("xml = \"\""),
        vm("dns {\n  zone = zone.home\n  aliases = []\n}"),
        vm("nic \"lan\" {\n}\nwait = \"address\""),
        vm("nic \"lan\" {\n}\nwait = \"cloud-init\""),
        network("kind = \"routed\""),
        network("kind = \"isolated\""),
        network("kind = \"macvtap\""),
        network("kind = \"nat\"\nsubnet = \"fd00::/64\""),
        vm("").replace("size = \"20GiB\" }", "\nsize = \"20GiB\"\nkeep = true\n}"),
        vm("cpus = each.value"),
    ] {
        refuses(&text, &["not supported yet"]);
    }
}

#[test]
fn refuses_a_fleet_without_its_block() {
    let none = Bed::new().problems().render();
    assert!(none.contains("no file *.hcl") && none.contains("freehold init"), "{none}");
    let empty = Bed::new().file("a.hcl", "").problems().render();
    assert!(empty.contains("no file has a `fleet` block"), "{empty}");
    refuses(
        "fleet \"b\" {\n  id = \"0123456789abcdef0123456789abcdef\"\n}\n",
        &["there is more than one `fleet`", "note: first at fleet.hcl:2:1"],
    );
    let id = BASE.replace("0123456789abcdef0123456789abcdef", "f7c1");
    let id = Bed::new().file("fleet.hcl", &id).problems().render();
    assert!(id.contains("`f7c1` is no fleet id"), "{id}");
}

#[test]
fn refuses_what_is_declared_twice() {
    refuses(
        "host \"rack1\" {\n  ssh = \"a\"\n}\n",
        &["host \"rack1\" stands twice", "--> fleet.hcl:35:1", "note: first at fleet.hcl:5:1"],
    );
    refuses(&vm("cpus = 1\ncpus = 2"), &["`cpus` is given twice in vm \"web\"", "note: first at"]);
    refuses("locals {\n  a = 1\n}\nlocals {\n  a = 2\n}\n", &["local `a` is given twice"]);
    refuses("locals {\n  a = 1\n  a = 2\n}\n", &["`a` is given twice in locals"]);
    refuses(&vm("disk \"root\" { size = \"1GiB\" }"), &["disk \"root\" stands twice", "first at"]);
    let metrics = "metrics \"node\" {\n  port = 1\n}\n";
    refuses(&vm(&metrics.repeat(2)), &["metrics \"node\" stands twice"]);
    refuses(&vm(&"dns { zone = zone.home }\n".repeat(2)), &["zone \"home\" stands twice"]);
    refuses(&vm(&"ansible {\n}\n".repeat(2)), &["ansible stands twice"]);
}

#[test]
fn refuses_wrong_values_of_a_vm() {
    for (lines, fragments) in [
        ("cpus = 0", ["`cpus` must be a whole number from 1 to 1024", "^"]),
        ("cpus = 1.5", ["`cpus` must be a whole number", "^^^"]),
        ("cpus = \"two\"", ["`cpus` must be a number, this is a text", "it takes 1 to 1024"]),
        ("count = 1001", ["`count` must be a whole number from 0 to 1000", "1001"]),
        ("count = -1", ["`count` must be a whole number from 0 to 1000", "-1"]),
        ("autostart = \"yes\"", ["`autostart` must be true or false", "this is a text"]),
        ("firmware = \"efi\"", ["`firmware` cannot be \"efi\"", "did you mean `uefi`?"]),
        ("wait = \"port:0\"", ["`wait` cannot be \"port:0\"", "port:N"]),
        ("wait = \"ssh\"", ["no nic has a known address", "hint: give a nic an `address`"]),
        ("wait_timeout = \"5\"", ["`5` is no time", "60s"]),
        ("wait_timeout = \"0s\"", ["`wait_timeout` must be from 1s", "24h"]),
        ("labels = { \"a-b\" = 1 }", ["`a-b` cannot be a label", "underscores"]),
        ("labels = [1]", ["`labels` must be an object of texts", "this is a list"]),
        ("ansible {\ngroups = [\"a-b\"]\n}", ["`a-b` is no group", "^^^^^"]),
        ("metrics \"n\" {\nport = 65536\n}", ["`port` must be a whole number", "65535"]),
        ("metrics \"n\" {\n}", ["metrics \"n\" has no `port`", "it takes 1 to 65535"]),
        ("metrics \"n\" {\nport = 1\npath = \"m\"\n}", ["`m` is no path", "begins with `/`"]),
        ("disk \"seed\" { size = \"1GiB\" }", ["a disk cannot be called \"seed\"", "^^^^^^"]),
        ("disk \"a\" { size = \"2G1B\" }", ["`2G1B` is no size", "20GiB"]),
        ("disk \"a\" { size = \"2GB\" }", ["write `2GiB`", "^^^^^"]),
        ("disk \"a\" { size = \"700B\" }", ["700B is no size of a disk", "1MiB"]),
        ("cloud_init {\nuser = \"A b\"\n}", ["`A b` is no login name", "^"]),
        ("cloud_init {\nssh_keys = [\"x\"]\n}", ["no OpenSSH public key", "id_ed25519.pub"]),
        ("dns {\nzone = zone.home\nttl = \"0s\"\n}", ["a TTL of 0 is not allowed", "resolvers"]),
        ("dns {\n}", ["dns has no `zone`", "it takes `zone.x`"]),
    ] {
        refuses(&vm(lines), &fragments);
    }
    refuses(&vm("").replace("1GiB", "15MiB"), &["`memory` must be at least 16MiB, this is 15MiB"]);
    refuses(&vm("").replace("memory = \"1GiB\"", ""), &["vm \"web\" has no `memory`"]);
    refuses(&vm("").replace("\"1GiB\"", "null"), &["`memory` in vm \"web\" must not be null"]);
    refuses(&vm("").replace("\"root\"", "\"data\""), &["vm \"web\" has no `disk \"root\"`"]);
}

#[test]
fn refuses_names_that_are_no_dns_labels() {
    refuses(&vm("").replace("\"web\"", "\"Web\""), &["`Web` has `W`", "--> fleet.hcl:35:4"]);
    refuses(&vm("").replace("\"web\"", "\"web-\""), &["begins or ends with a hyphen"]);
    let long = "a".repeat(62);
    let text = vm("count = 11").replace("\"web\"", &format!("\"{long}\""));
    refuses(&text, &["has 65 characters, a name may have 63"]);
    refuses("host \"rack_3\" {\n  ssh = \"a\"\n}\n", &["`rack_3` has `_`"]);
    refuses(
        &(vm("count = 1") + &vm("").replace("\"web\"", "\"web-0\"")),
        &[
            "two VMs would be called \"web-0\"",
            "--> fleet.hcl:42:1",
            "note: vm \"web\" at fleet.hcl:35:1 makes the other",
        ],
    );
}

#[test]
fn refuses_references_that_lead_nowhere() {
    for (from, to, fragments) in [
        ("host.rack1", "host.rack9", ["host \"rack9\" is not declared", "did you mean `rack1`?"]),
        ("host.rack1", "[host.rack1, host.x]", ["host \"x\" is not declared", "`rack1`, `rack2`"]),
        ("host.rack1", "[]", ["`host` names no host", "^^^^"]),
        ("host.rack1", "[host.rack1, host.rack1]", ["host \"rack1\" stands twice", "^"]),
        ("host.rack1", "\"rack1\"", ["`host` must be a reference like", "write `host.rack1`"]),
        ("host.rack1", "rack1", ["`rack1` is no value", "did you mean `host.rack1`?"]),
        ("host.rack1", "image.debian", ["must be a reference like `host.NAME`", "`image.debian`"]),
        ("host.rack1", "hst.rack1", ["there is no `hst` to refer to", "did you mean `host`?"]),
        ("image.debian", "image.debain", ["image \"debain\" is not", "did you mean `debian`?"]),
        ("\"1GiB\"", "var.memory", ["`var.memory` is not declared", "^^^^^^^^^^"]),
        ("\"1GiB\"", "local.memory", ["`local.memory` is not declared", "^^^^^^^^^^^^"]),
        ("\"1GiB\"", "network.lan.subnet", ["only `network.lan` itself can", "`locals`"]),
        ("\"1GiB\"", "lwer(\"A\")", ["there is no function `lwer`", "did you mean `lower`?"]),
        ("\"1GiB\"", "lower()", ["lower: it is called as lower(TEXT)", "not with 0"]),
        ("\"1GiB\"", "lower([1])", ["lower: expected a text, got a list", "^^^^^^^^^^"]),
        ("\"1GiB\"", "env(\"NIX\")", ["the environment variable NIX is not set", "^^^"]),
        ("\"1GiB\"", "file(\"nix\")", ["cannot read nix", "No such file"]),
        ("\"1GiB\"", "1 + true", ["`+` cannot be applied to a number and true", "^^^^^^^^"]),
        ("\"1GiB\"", "1 / 0", ["division by zero", "^^^^^"]),
        ("\"1GiB\"", "\"${[1]}GiB\"", ["a list cannot be part of a text", "^^^"]),
        ("\"1GiB\"", "[1][3]", ["the list has 1 elements", "^"]),
        ("\"1GiB\"", "{ ab = 1 }.ac", ["no `ac` in this object", "did you mean `ab`?"]),
        ("\"1GiB\"", "count.index", ["`count.index` is known in a vm with `count`", "^^^"]),
    ] {
        refuses(&vm("").replace(from, to), &fragments);
    }
    refuses(&vm("nic \"lna\" {\n}"), &["network \"lna\" is not declared", "did you mean `lan`?"]);
    refuses(
        &vm("labels = { a = vm.web.address }"),
        &["`vm.web.address` cannot be used here", "not known while the text is read"],
    );
}

#[test]
fn refuses_wrong_variables_and_locals() {
    refuses(
        "variable \"size\" {\n  description = \"of disks\"\n}\n",
        &[
            "variable \"size\" has no value (of disks)",
            "`--var size=…`, FREEHOLD_VAR_size, or a `default`",
        ],
    );
    let cycle = "locals {\n  a = local.b\n  b = \"${local.c}\"\n  c = local.a\n}\n";
    refuses(cycle, &["`local.a` depends on itself, by way of `local.a` and `local.b`"]);
    let var = "variable \"a\" {\n  default = local.a\n}\nlocals {\n  a = var.a\n}\n";
    refuses(var, &["depends on itself"]);
    let given = Bed::with("variable \"n\" {\n  default = 1\n}\n").var("n", "x").var("m", "1");
    let shown = given.problems().render();
    assert!(shown.contains("variable \"n\" must be a number, as its default is"), "{shown}");
    assert!(shown.contains("the fleet has no variable `m`"), "{shown}");
}

#[test]
fn refuses_wrong_hosts_and_images() {
    let host = |lines: &str| format!("host \"h\" {{\n{lines}\n}}\n");
    for (lines, fragment) in [
        ("", "does not say how it is reached"),
        ("ssh = \"a\"\nconnection = \"local\"", "has both `ssh` and `connection`"),
        ("ssh = \"a@b@c\"", "`a@b@c` is no SSH target"),
        ("ssh = \"a;reboot\"", "`a;reboot` is no SSH target"),
        ("ssh = \"a$(id)\"", "`a$(id)` is no SSH target"),
        ("ssh = \"u&x@a\"", "`u&x@a` is no SSH target"),
        ("connection = \"remote\"", "`connection` cannot be \"remote\""),
        ("ssh = \"a\"\naccel = \"xen\"", "`accel` cannot be \"xen\""),
        ("ssh = \"a\"\nlibvirt = \"user\"", "`libvirt` cannot be \"user\""),
        ("ssh = \"a\"\nlibvirt = \"session\"", "has `libvirt = \"session\"` and no `pool`"),
        ("ssh = \"a\"\nlibvirt = \"session\"\npool = \"data\"", "is no absolute path"),
        ("ssh = \"a\"\npool = \"data\"", "`data` is no absolute path"),
        ("ssh = \"a\"\npool = \"/a/../b\"", "is no plain path"),
    ] {
        refuses(&host(lines), &[fragment]);
    }
    let sum = "a".repeat(64);
    let image = |lines: &str| format!("image \"i\" {{\n{lines}\n}}\n");
    for (lines, fragment) in [
        ("source = \"debian.qcow2\"".to_owned(), "debian.qcow2` prints it"),
        ("source = \"https://a/b\"".to_owned(), "has no `sha256` or `sha512`"),
        ("source = \"debian.qcow2\"\nsha256 = \"aa\"".to_owned(), "64 hexadecimal digits"),
        (format!("source = \"debian.qcow2\"\nsha512 = \"{sum}\""), "128 hexadecimal digits"),
        (format!("source = \"nix.qcow2\"\nsha256 = \"{sum}\""), "nix.qcow2 does not exist"),
        (format!("source = \"ftp://a/b\"\nsha256 = \"{sum}\""), "begins with http:// or https://"),
        (format!("source = \".\"\nsha256 = \"{sum}\""), "is no file"),
        (format!("sha256 = \"{sum}\""), "image \"i\" has no `source`"),
    ] {
        refuses(&image(&lines), &[fragment]);
    }
}

#[test]
fn refuses_wrong_networks() {
    let nat = "kind = \"nat\"\nsubnet = \"10.9.0.0/24\"\n";
    for (lines, fragment) in [
        ("kind = \"brigde\"", "did you mean `bridge`?"),
        ("kind = \"bridge\"", "network \"n\" does not name its `bridge`"),
        ("kind = \"bridge\"\nbridge = \"a/b\"", "is no name of a bridge"),
        ("kind = \"nat\"", "is a `nat` network without `subnet`"),
        ("kind = \"nat\"\nbridge = \"b\"\nsubnet = \"10.9.0.0/24\"", "goes with `kind = \"bridge"),
        ("kind = \"nat\"\nsubnet = \"10.9.0.1/24\"", "has host bits: the subnet is `10.9.0.0/24`"),
        ("kind = \"nat\"\nsubnet = \"10.9.0.0/31\"", "has no room for hosts"),
        ("kind = \"nat\"\nsubnet = \"lan\"", "`lan` is no subnet"),
        ("kind = \"nat\"\nsubnet = \"10.77.0.0/16\"", "share addresses"),
        ("kind = \"nat\"\nsubnet = \"10.77.0.0/24\"", "note: 10.77.0.0/24 at fleet.hcl:11:1"),
        (&format!("{nat}gateway = \"10.8.0.1\""), "10.8.0.1 is not in the subnet 10.9.0.0/24"),
        (&format!("{nat}gateway = \"10.9.0.255\""), "is the broadcast address"),
        (&format!("{nat}gateway = \"x\""), "`x` is no IPv4 address"),
        (&format!("{nat}dns = [\"x\"]"), "`x` is no address"),
        (&format!("{nat}dns = \"10.9.0.1\""), "`dns` must be a list"),
        (&format!("{nat}addresses = \"10.9.0.5\""), "is no range of addresses"),
        (&format!("{nat}addresses = \"10.9.0.9-10.9.0.5\""), "ends before it begins"),
        (&format!("{nat}addresses = \"10.9.0.0-10.9.0.5\""), "is the subnet 10.9.0.0/24 itself"),
        (&format!("{nat}addresses = \"10.9.0.9-10.9.1.5\""), "10.9.1.5 is not in the subnet"),
        (&format!("{nat}addresses = \"10.9.0.1-10.9.0.5\""), "holds the gateway 10.9.0.1"),
        (
            &format!("{nat}addresses = [\"10.9.0.2-10.9.0.5\", \"10.9.0.5-10.9.0.9\"]"),
            "10.9.0.5-10.9.0.9 overlaps 10.9.0.2-10.9.0.5",
        ),
        (
            "kind = \"bridge\"\nbridge = \"b\"\naddresses = \"10.9.0.1-10.9.0.5\"",
            "`addresses` need a `subnet`",
        ),
    ] {
        refuses(&format!("network \"n\" {{\n{lines}\n}}\n"), &[fragment]);
    }
}

#[test]
fn refuses_wrong_addresses_of_nics() {
    let nic = |network: &str, lines: &str| vm(&format!("nic \"{network}\" {{\n{lines}\n}}"));
    for (network, lines, fragment) in [
        ("lan", "address = \"10.78.0.5\"", "10.78.0.5 is not in the subnet 10.77.0.0/24"),
        ("lan", "address = \"10.77.0.0\"", "is the subnet 10.77.0.0/24 itself"),
        ("lan", "address = \"10.77.0.255\"", "is the broadcast address"),
        ("lan", "address = \"10.77.0.1\"", "is the gateway of network \"lan\""),
        ("lan", "address = \"10.77.0.5\"\ndhcp = true", "has both `address` and `dhcp`"),
        ("bare", "", "network \"bare\" has no `addresses` to hand out"),
        ("bare", "address = \"10.77.0.5\"", "network \"bare\" has no `subnet`"),
        ("lan", "publish = 1", "`publish` must be true or false"),
    ] {
        refuses(&nic(network, lines), &[fragment]);
    }
    let fixed = nic("lan", "address = \"10.77.0.5\"");
    refuses(
        &(fixed.clone() + &fixed.replace("\"web\"", "\"db\"")),
        &["10.77.0.5 is the address of two nics", "note: vm \"web\" has it at fleet.hcl:41:11"],
    );
    let counted = fixed.replace("memory", "count = 2\nmemory");
    refuses(&counted, &["every VM of the `count` would have the address", "count.index"]);
    let wraps = counted.replace("\"10.77.0.5\"", "cidrhost(\"10.77.0.0/24\", 254 + count.index)");
    refuses(&wraps, &["10.77.0.255 is the broadcast address"]);
    let unknown = "nic \"lan\" {\n  dhcp = true\n}\ndns {\n  zone = zone.home\n}";
    refuses(&vm(unknown), &["vm \"web\" has `dns` or `metrics` and no address to publish"]);
}

#[test]
fn refuses_wrong_publishing() {
    let block = |kind: &str, lines: &str| format!("{kind} \"x\" {{\n{lines}\n}}\n");
    let dns = "kind = \"powerdns\"\napi_key = \"k\"\n";
    let zone = "name = \"a.example.org\"\nserver = dns.main\n";
    let here = "path = \"x.json\"\n";
    for (kind, lines, fragment) in [
        ("dns", "kind = \"bind9\"\nurl = \"http://a\"\napi_key = \"k\"", "`kind` cannot be"),
        ("dns", &format!("{dns}url = \"a:1\""), "begins with http:// or https://"),
        ("dns", &format!("{dns}url = \"http://a\"\nask = \"a\""), "is no `host:port`"),
        ("zone", "name = \"a b\"\nserver = dns.main", "is no domain name"),
        ("zone", "name = \"a\"\nserver = zone.home", "must be a reference like `dns.NAME`"),
        ("zone", &format!("{zone}ttl = \"0s\""), "a TTL of 0 is not allowed"),
        ("zone", &format!("{zone}ttl = \"2147483648s\""), "a TTL is at most 2147483647s"),
        ("zone", &format!("{zone}nameservers = [\"ns1.a\"]"), "those of a zone we make"),
        ("zone", &format!("{zone}create = true\nnameservers = []"), "at least one name server"),
        ("prometheus", "path = \"x.yml\"", "does not end in .json"),
        ("prometheus", "path = \"*.json\"", "is one file, without wildcards"),
        ("prometheus", &format!("{here}on = host.rack1"), "must be absolute"),
        ("prometheus", &format!("{here}on = network.lan"), "`host.NAME` or `vm.NAME`"),
        ("prometheus", &format!("{here}url = \"x\""), "begins with http:// or https://"),
    ] {
        refuses(&block(kind, lines), &[fragment]);
    }
    let again = "zone \"x\" {\n  name = \"Home.example.org\"\n  server = dns.main\n}\n";
    refuses(again, &["zone \"home\" and zone \"x\" write the same", "note: first at"]);
    let file = "prometheus \"x\" {\n  path = \"x.json\"\n}\n";
    let both = file.to_owned() + &file.replace("\"x\"", "\"y\"");
    refuses(&both, &["prometheus \"x\" and prometheus \"y\" write the same"]);
    let on = |vm: &str| format!("prometheus \"x\" {{\n  path = \"/x.json\"\n  on   = {vm}\n}}\n");
    refuses(&(vm("count = 2") + &on("vm.web")), &["vm \"web\" has a `count`", "`vm.web[0]`"]);
    refuses(&(vm("count = 2") + &on("vm.web[2]")), &["vm \"web-2\", which is not declared"]);
    refuses(&(vm("") + &on("vm.web[0]")), &["vm \"web\" is one, it takes no index"]);
}

#[test]
fn tells_all_mistakes_of_all_files_in_one_run() {
    let more = "vm \"Web\" {\n  host = host.rack9\n  image = image.debian\n  memory = \"2GB\"\n  \
                cpsu = 2\n  cpus = \"x\"\n  disk \"root\" { size = \"1\" }\n  nic \"lan\" { \
                address = \"10.78.0.1\" }\n}\n";
    let bed = Bed::with(more).file("z.hcl", "zone \"z\" {\n  name = \"a b\"\n}\nhots \"a\" {\n}\n");
    let problems = bed.problems();
    let shown = problems.render();
    assert_eq!(problems.list.len(), 10, "{shown}");
    let lines: Vec<_> = problems.list.iter().map(|p| (p.file.as_str(), p.line)).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
}

#[test]
fn a_file_that_cannot_be_read_makes_no_noise_elsewhere() {
    let broken = "host \"rack3\" {\n  ssh = \n}\nvariable \"size\" {\n";
    let more = vm("labels = { a = var.size }").replace("rack1", "rack3");
    let bed = Bed::with(&more).file("hosts.hcl", broken).file("z.hcl", "hots \"a\" {\n}\n");
    let problems = bed.problems();
    let shown = problems.render();
    assert_eq!(problems.list.len(), 2, "{shown}");
    assert!(shown.contains("--> hosts.hcl:2:"), "{shown}");
    assert!(shown.contains("unknown block `hots`"), "{shown}");
}

#[test]
fn a_template_has_its_own_places() {
    let text = vm("cloud_init {\n  user_data = templatefile(\"t.yaml\", { a = 1 })\n}");
    let bed = Bed::with(&text).file("t.yaml", "#cloud-config\nb: ${a} ${bb}\n");
    let shown = bed.problems().render();
    assert!(shown.contains("the template is not given `bb`"), "{shown}");
    assert!(shown.contains("--> t.yaml:2:11"), "{shown}");
    let endless = Bed::with(&text).file("t.yaml", "${templatefile(\"t.yaml\", {})}");
    assert!(endless.problems().render().contains("more than 8 deep"));
}

#[test]
fn refuses_nat_where_a_users_own_libvirt_makes_no_networks() {
    let session =
        "host \"own\" {\n  ssh = \"a\"\n  libvirt = \"session\"\n  pool = \"/home/a\"\n}\n";
    let nat = "network \"inner\" {\n  kind = \"nat\"\n  subnet = \"10.9.0.0/24\"\n}\n";
    let on = |network: &str| {
        let vm = vm(&format!("count = 2\nnic \"{network}\" {{\n  dhcp = true\n}}"));
        format!("{session}{nat}{}", vm.replace("host.rack1", "host.own"))
    };
    let text = on("inner");
    refuses(&text, &["vm \"web\" is on network \"inner\"", "host \"own\" makes no networks"]);
    Bed::with(&on("bare")).fleet();
}
