//! Texts of fleets.

use std::fmt;

/// The text of a fleet, in parts that tests change.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) id: &'static str,
    pub(crate) hosts: usize,
    pub(crate) addresses: &'static str,
    pub(crate) vms: Vec<VmText>,
    /// Anything else.
    pub(crate) more: String,
}

/// One `vm` block.
#[derive(Debug, Clone)]
pub(crate) struct VmText {
    pub(crate) name: String,
    pub(crate) count: Option<usize>,
    /// The hosts it may run on, by number.
    pub(crate) hosts: Vec<usize>,
    pub(crate) memory: &'static str,
    pub(crate) data: Option<Data>,
    pub(crate) lan: Option<&'static str>,
    pub(crate) nat: bool,
    pub(crate) uefi: bool,
    pub(crate) running: bool,
    pub(crate) autostart: bool,
    /// Anything else.
    pub(crate) more: String,
}

/// A second disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) size: &'static str,
    pub(crate) keep: bool,
}

impl VmText {
    /// A VM on the first host with a root disk and a planned address.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            count: None,
            hosts: vec![1],
            memory: "256MiB",
            data: None,
            lan: Some(""),
            nat: false,
            uefi: false,
            running: true,
            autostart: true,
            more: String::new(),
        }
    }

    pub(crate) fn on(mut self, hosts: &[usize]) -> Self {
        self.hosts = hosts.to_vec();
        self
    }

    pub(crate) fn count(mut self, count: usize) -> Self {
        self.count = Some(count);
        self
    }

    pub(crate) fn data(mut self, keep: bool) -> Self {
        self.data = Some(Data { size: "2GiB", keep });
        self
    }

    pub(crate) fn nat(mut self) -> Self {
        self.nat = true;
        self
    }

    pub(crate) fn uefi(mut self) -> Self {
        self.uefi = true;
        self
    }

    pub(crate) fn fixed(mut self, nic: &'static str) -> Self {
        self.lan = Some(nic);
        self
    }

    pub(crate) fn more(mut self, more: &str) -> Self {
        more.clone_into(&mut self.more);
        self
    }
}

impl Text {
    pub(crate) fn new(hosts: usize, vms: Vec<VmText>) -> Self {
        Self {
            id: "f7c10b8e5a2d4c93b6e1f04a7d825c39",
            hosts,
            addresses: "127.77.0.100-127.77.0.199",
            vms,
            more: String::new(),
        }
    }

    /// Two hosts; two spread VMs with kept disks, one behind NAT with UEFI and a disk that is not
    /// kept.
    pub(crate) fn usual() -> Self {
        let web = VmText::new("web").count(2).on(&[1, 2]).data(true);
        Self::new(2, vec![web, VmText::new("db").data(false).nat().uefi()])
    }

    /// The same less one block.
    pub(crate) fn without(&self, vm: &str) -> Self {
        let mut text = self.clone();
        text.vms.retain(|block| block.name != vm);
        text
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "fleet \"home\" {{\n  id = \"{}\"\n}}\n", self.id)?;
        for host in 1..=self.hosts {
            writeln!(f, "host \"rack{host}\" {{\n  ssh = \"root@rack{host}.example.org\"\n}}")?;
        }
        let subnet = self.addresses.split('.').take(3).collect::<Vec<_>>().join(".");
        writeln!(
            f,
            "\nnetwork \"lan\" {{\n  kind      = \"bridge\"\n  bridge    = \"br0\"\n  \
             subnet    = \"{subnet}.0/24\"\n  gateway   = \"{subnet}.1\"\n  \
             addresses = \"{}\"\n}}",
            self.addresses
        )?;
        if self.vms.iter().any(|vm| vm.nat) {
            writeln!(
                f,
                "network \"back\" {{\n  kind      = \"nat\"\n  subnet    = \"10.99.0.0/24\"\n  \
                 addresses = \"10.99.0.100-10.99.0.199\"\n}}"
            )?;
        }
        let digits = "0123456789abcdef".repeat(4);
        writeln!(f, "\nimage \"base\" {{\n  source = \"base.qcow2\"\n  sha256 = \"{digits}\"\n}}")?;
        for vm in &self.vms {
            write!(f, "\n{vm}")?;
        }
        f.write_str(&self.more)
    }
}

impl fmt::Display for VmText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "vm \"{}\" {{", self.name)?;
        if let Some(count) = self.count {
            writeln!(f, "  count  = {count}")?;
        }
        let hosts: Vec<_> = self.hosts.iter().map(|host| format!("host.rack{host}")).collect();
        writeln!(f, "  host   = [{}]", hosts.join(", "))?;
        writeln!(f, "  image  = image.base\n  cpus   = 1\n  memory = \"{}\"", self.memory)?;
        if !self.more.contains("wait ") {
            writeln!(f, "  wait   = \"none\"")?;
        }
        writeln!(f, "\n  disk \"root\" {{\n    size = \"1GiB\"\n  }}")?;
        if let Some(Data { size, keep }) = self.data {
            writeln!(f, "  disk \"data\" {{\n    size = \"{size}\"\n    keep = {keep}\n  }}")?;
        }
        if let Some(lan) = self.lan {
            writeln!(f, "  nic \"lan\" {{{lan}}}")?;
        }
        if self.nat {
            writeln!(f, "  nic \"back\" {{}}")?;
        }
        if self.uefi {
            writeln!(f, "  firmware = \"uefi\"")?;
        }
        for (field, holds) in [("running", self.running), ("autostart", self.autostart)] {
            if !holds {
                writeln!(f, "  {field} = false")?;
            }
        }
        writeln!(f, "{}}}", self.more)
    }
}
