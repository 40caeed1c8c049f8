//! The language as a table: which blocks there are, what keys they take. It drives the checks for
//! unknown words and the reference page.

/// A kind of block.
#[derive(Debug)]
pub(super) struct Schema {
    /// Its word.
    pub(super) kind: &'static str,
    /// What its label is, if it takes one: `NAME`.
    pub(super) label: Option<&'static str>,
    /// Whether it may stand more than once in its place (with another label, if it has one).
    pub(super) many: bool,
    /// Whether its keys are the user's own.
    pub(super) free: bool,
    /// What it is for.
    pub(super) about: &'static str,
    /// Its keys.
    pub(super) keys: &'static [Key],
    /// Blocks within it.
    pub(super) blocks: &'static [Self],
    /// Words it will know later.
    pub(super) later: &'static [&'static str],
}

/// A key of a block.
#[derive(Debug)]
pub(super) struct Key {
    /// Its word.
    pub(super) name: &'static str,
    /// What its value is.
    pub(super) holds: &'static str,
    /// What holds where it is left out.
    pub(super) default: Absent,
    /// What it means.
    pub(super) about: &'static str,
}

/// What holds where a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// It must not be.
    Required,
    /// Nothing.
    Nothing,
    /// This.
    Is(&'static str),
}

use Absent::{Is, Nothing, Required};

const fn key(name: &'static str, holds: &'static str, default: Absent, about: &'static str) -> Key {
    Key { name, holds, default, about }
}

const PLAIN: Schema = Schema {
    kind: "",
    label: None,
    many: true,
    free: false,
    about: "",
    keys: &[],
    blocks: &[],
    later: &[],
};

impl Schema {
    /// Returns the key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Returns the inner block of this kind.
    pub(super) fn block(&self, kind: &str) -> Option<&'static Self> {
        self.blocks.iter().find(|block| block.kind == kind)
    }

    /// Returns how a block of this kind begins: `vm "NAME"`.
    pub(super) fn head(&self) -> String {
        match self.label {
            Some(label) => format!("{} \"{label}\"", self.kind),
            None => self.kind.to_owned(),
        }
    }
}

/// The whole language; its blocks are those of a file.
pub(super) const LANGUAGE: Schema = Schema {
    blocks: &[
        FLEET, STATE, VARIABLE, LOCALS, HOST, NETWORK, IMAGE, VM, DNS_SERVER, ZONE, PROMETHEUS,
        MOVED,
    ],
    later: &[
        "output",
        "module",
        "record",
        "pool",
        "import",
        "removed",
        "terraform",
        "provider",
        "resource",
        "data",
        "rfc2136",
        "consul",
    ],
    ..PLAIN
};

const FLEET: Schema = Schema {
    kind: "fleet",
    label: Some("NAME"),
    about: "The fleet itself; there is exactly one.",
    keys: &[
        key(
            "id",
            "32 hexadecimal digits",
            Required,
            "Random, made by `freehold init`; every hash, mark and name derives from it.",
        ),
        key(
            "retain",
            "time",
            Is("\"30d\""),
            "How long what was removed stays in the trash: `trash empty` leaves what is younger.",
        ),
    ],
    later: &["protect", "identity"],
    ..PLAIN
};

const STATE: Schema = Schema {
    kind: "state",
    label: Some("KIND"),
    about: "Where the state is kept, for people who share a fleet; without it `.freehold/` beside \
            the fleet. KIND is `ssh`, with `host`, or `postgres`, with `url`. See \
            [Sharing a fleet](../guide/sharing.md).",
    keys: &[
        key("host", "`host.x`", Nothing, "`ssh`: the host whose files it is."),
        key("copy", "`host.x`", Nothing, "`ssh`: another host that gets a copy after each run."),
        key(
            "path",
            "absolute path",
            Is("`.freehold-state-FLEET` in the pool"),
            "`ssh`: its directory, on both.",
        ),
        key(
            "url",
            "`postgres://…`",
            Nothing,
            "`postgres`: the database, login included, never shown; best `env(\"…\")`.",
        ),
    ],
    ..PLAIN
};

const VARIABLE: Schema = Schema {
    kind: "variable",
    label: Some("NAME"),
    about: "A value given from outside, by `--var NAME=VALUE` or the environment variable \
            `FREEHOLD_VAR_NAME`; used as `var.NAME`.",
    keys: &[
        key("default", "any", Nothing, "Its value where none is given; without it one must be."),
        key("description", "text", Nothing, "What it is, shown when it is missing."),
    ],
    later: &["type", "validation", "sensitive", "nullable"],
    ..PLAIN
};

const LOCALS: Schema = Schema {
    kind: "locals",
    free: true,
    about: "Names for values: each key is one, used as `local.KEY`, in any order.",
    ..PLAIN
};

const HOST: Schema = Schema {
    kind: "host",
    label: Some("NAME"),
    about: "A physical host with sshd and libvirt. Exactly one of `ssh` and `connection` is given.",
    keys: &[
        key("ssh", "`[user@]host[:port]`", Nothing, "How it is reached; `~/.ssh/config` counts."),
        key("connection", "`\"local\"`", Nothing, "This machine's own libvirtd."),
        key("accel", "`auto`, `kvm` or `tcg`", Is("\"auto\""), "What runs guests' code."),
        key("pool", "absolute path", Is("\"/var/lib/libvirt/freehold\""), "Where our disks lie."),
        key(
            "libvirt",
            "`system` or `session`",
            Is("\"system\""),
            "The host's libvirt, or the login's own, which has no networks and needs a `pool`.",
        ),
        key("labels", "object of texts", Is("{}"), "Labels for targets."),
    ],
    later: &["protect", "limits", "known_hosts", "proxy_jump"],
    ..PLAIN
};

const NETWORK: Schema = Schema {
    kind: "network",
    label: Some("NAME"),
    about: "A network that VMs are attached to.",
    keys: &[
        key("kind", "`bridge` or `nat`", Required, "A bridge of the host, or a network behind it."),
        key("bridge", "text", Nothing, "The host's bridge; with `kind = \"bridge\"` only."),
        key("subnet", "IPv4 CIDR", Nothing, "Its addresses; required by `nat`."),
        key("gateway", "address", Is("for `nat` the first address"), "The router."),
        key("dns", "list of addresses", Is("[]"), "Name servers told to guests."),
        key("addresses", "`FIRST-LAST`, or a list", Is("[]"), "What freehold may hand out."),
    ],
    later: &["vlan", "mtu", "dhcp", "domain", "protect", "ipv6", "subnet6", "host", "device"],
    ..PLAIN
};

const IMAGE: Schema = Schema {
    kind: "image",
    label: Some("NAME"),
    about: "A disk image that VMs begin as. Exactly one of `sha256` and `sha512` is given.",
    keys: &[
        key("source", "path or http(s) URL", Required, "Where it is; paths begin at the fleet."),
        key("sha256", "64 hexadecimal digits", Nothing, "What its bytes must hash to."),
        key("sha512", "128 hexadecimal digits", Nothing, "What its bytes must hash to."),
        key(
            "format",
            "`qcow2` or `raw`",
            Is("by its name: `raw` for `.raw`"),
            "What it is, unpacked.",
        ),
        key(
            "compression",
            "`none`, `gzip`, `xz`, `zstd`, `bzip2`",
            Is("by its name: `.gz .xz .zst .bz2`"),
            "What it is packed with; the checksum is that of the file as it is published.",
        ),
    ],
    later: &["protect", "signature"],
    ..PLAIN
};

const VM: Schema = Schema {
    kind: "vm",
    label: Some("NAME"),
    about: "A virtual machine, or `count` of them.",
    keys: &[
        key("count", "0 to 1000", Nothing, "How many: NAME-0, NAME-1, …; without it one, NAME."),
        key("host", "`host.x`, or a list", Required, "Where it runs; a list spreads and sticks."),
        key("image", "`image.x`", Required, "What its root disk begins as."),
        key("cpus", "1 to 1024", Is("1"), "Virtual CPUs."),
        key("memory", "size, at least 16MiB", Required, "Memory."),
        key("firmware", "`bios` or `uefi`", Is("\"bios\""), "What starts it."),
        key("autostart", "true or false", Is("true"), "Whether it starts with its host."),
        key(
            "running",
            "true or false",
            Is("true"),
            "Whether it runs; one that is stopped on purpose has no names and no targets.",
        ),
        key(
            "wait",
            "`none`, `ssh` or `port:N`",
            Is("\"ssh\" with a known address, else \"none\""),
            "What `apply` waits for.",
        ),
        key("wait_timeout", "time", Is("\"300s\""), "How long it waits, in `s` or `m`."),
        key(
            "protect",
            "true or false",
            Is("false"),
            "Whether it must not be taken away or made again. Sticky: it holds when the block is \
             gone, and `false` lifts it only with `--unprotect NAME`.",
        ),
        key("labels", "object of texts", Is("{}"), "Labels for targets."),
    ],
    blocks: &[DISK, NIC, CLOUD_INIT, VM_DNS, METRICS, ANSIBLE],
    later: &[
        "for_each",
        "xml",
        "machine",
        "tpm",
        "depends_on",
        "lifecycle",
        "on_change",
        "console",
        "graphics",
        "cpu",
        "placement",
        "hostname",
        "anti_affinity",
        "stop_timeout",
    ],
    ..PLAIN
};

const DISK: Schema = Schema {
    kind: "disk",
    label: Some("NAME"),
    about: "A disk. Exactly one is `\"root\"`, cloned from the image; `\"seed\"` is reserved.",
    keys: &[
        key("size", "size", Required, "Its size as the guest sees it."),
        key(
            "keep",
            "true or false",
            Is("false"),
            "Whether it outlives its VM; not for root yet. `false` takes it back only with \
             `--unprotect NAME`.",
        ),
    ],
    later: &["pool", "bus", "cache", "format", "discard", "image", "serial", "protect"],
    ..PLAIN
};

const NIC: Schema = Schema {
    kind: "nic",
    label: Some("NETWORK"),
    about: "A network interface on the network of its label. With neither `address` nor `dhcp` it \
            gets one of the network's `addresses`, for life.",
    keys: &[
        key("address", "IPv4 address", Nothing, "This very address."),
        key("dhcp", "true or false", Is("false"), "An outside DHCP server gives it one."),
        key(
            "publish",
            "true or false",
            Is("true on a bridge"),
            "Whether its address is published.",
        ),
    ],
    later: &["mac", "model", "address6", "vlan", "mtu", "addresses"],
    ..PLAIN
};

const CLOUD_INIT: Schema = Schema {
    kind: "cloud_init",
    many: false,
    about: "What the guest is told at first boot.",
    keys: &[
        key("ssh_keys", "list of public keys", Is("[]"), "Who may log in."),
        key("user_data", "text", Nothing, "Cloud-init's own `user-data`, untouched."),
        key("user", "text", Is("the image's"), "The login that gets the keys."),
    ],
    later: &["on_change", "network_config", "meta_data", "vendor_data", "packages", "password"],
    ..PLAIN
};

const VM_DNS: Schema = Schema {
    kind: "dns",
    about: "Publishes the VM's name in a zone; once for each zone.",
    keys: &[
        key("zone", "`zone.x`", Required, "The zone."),
        key("ttl", "time", Is("the zone's"), "Time to live of its records."),
    ],
    later: &["aliases", "name", "names", "sshfp", "round_robin", "reverse"],
    ..PLAIN
};

const METRICS: Schema = Schema {
    kind: "metrics",
    label: Some("NAME"),
    about: "Something Prometheus can scrape.",
    keys: &[
        key("port", "1 to 65535", Required, "Its TCP port."),
        key("path", "text", Is("\"/metrics\""), "Its path."),
    ],
    later: &["scheme", "labels", "params", "interval"],
    ..PLAIN
};

const ANSIBLE: Schema = Schema {
    kind: "ansible",
    many: false,
    about: "How the VM stands in Ansible's inventory.",
    keys: &[key("groups", "list of group names", Is("[]"), "The groups it is in.")],
    later: &["vars", "hostname"],
    ..PLAIN
};

const DNS_SERVER: Schema = Schema {
    kind: "dns",
    label: Some("NAME"),
    about: "A name server that takes our records.",
    keys: &[
        key("kind", "`powerdns`", Required, "What it is."),
        key("url", "http(s) URL", Required, "Base of its API, without `/api/v1`."),
        key("api_key", "text", Required, "Its key, never shown; best `env(\"…\")`."),
        key("ask", "`host:port`", Is("the URL's host, port 53"), "Where it answers DNS."),
    ],
    later: &["server_id", "ca", "listen", "tsig"],
    ..PLAIN
};

const ZONE: Schema = Schema {
    kind: "zone",
    label: Some("NAME"),
    about: "A zone we write into.",
    keys: &[
        key("name", "domain name", Required, "The zone's domain name."),
        key("server", "`dns.x`", Required, "The server that takes its records."),
        key("ttl", "time", Is("\"60s\""), "Time to live of our records."),
        key("reverse", "true or false", Is("false"), "Whether PTR records are written."),
        key("create", "true or false", Is("false"), "Whether we make the zone if it is missing."),
        key(
            "nameservers",
            "list of domain names",
            Is("[\"ns1.ZONE\"]"),
            "Name servers of a zone we make.",
        ),
    ],
    later: &["sshfp", "protect", "dnssec", "soa", "srv"],
    ..PLAIN
};

const PROMETHEUS: Schema = Schema {
    kind: "prometheus",
    label: Some("NAME"),
    about: "A file of scrape targets (`file_sd`).",
    keys: &[
        key("on", "`host.x` or `vm.x`", Is("this machine"), "The machine it lies on."),
        key("path", "path ending in .json", Required, "The file; absolute when `on` is given."),
        key("url", "http(s) URL", Nothing, "Prometheus' address, to see that the file was read."),
    ],
    later: &["http_sd", "labels", "listen", "kind"],
    ..PLAIN
};

const MOVED: Schema = Schema {
    kind: "moved",
    about: "A VM that was called otherwise: it is renamed, not made again, and keeps its UUID, \
            addresses, disks and host key. A running one is shut down for it (`restart`).",
    keys: &[
        key("from", "name of a VM", Required, "What it was called; no longer declared."),
        key("to", "name of a VM", Required, "What it is called; with `count` as in \"web-0\"."),
    ],
    ..PLAIN
};
