//! The fleet that `freehold init` writes.

use crate::model::FleetId;

/// Returns a minimal fleet, with the rest as comments; it loads as it is.
pub fn starter(name: &str, id: FleetId) -> String {
    let name = name.replace('\\', "\\\\").replace('"', "\\\"");
    let name = name.replace("${", "$${").replace("%{", "%%{");
    format!("fleet \"{name}\" {{\n  id = \"{id}\"\n}}\n{REST}")
}

const REST: &str = r#"
# A physical host with sshd and libvirt.
#
# host "rack1" {
#   ssh = "root@rack1.example.org"
# }

# Where guests are attached: a bridge the host has.
#
# network "lan" {
#   kind      = "bridge"
#   bridge    = "br0"
#   subnet    = "10.77.0.0/24"
#   gateway   = "10.77.0.1"
#   dns       = ["10.77.0.1"]
#   addresses = "10.77.0.100-10.77.0.199"
# }

# What root disks begin as: a file beside this one, or a URL.
#
# image "debian-12" {
#   source = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2"
#   sha512 = "…"
# }

# A virtual machine; with `count = 2` there are web-0 and web-1.
#
# vm "web" {
#   host   = host.rack1
#   image  = image.debian-12
#   cpus   = 2
#   memory = "2GiB"
#
#   disk "root" {
#     size = "20GiB"
#   }
#   nic "lan" {}
#   cloud_init {
#     ssh_keys = [file("keys/alice.pub")]
#   }
# }
"#;
