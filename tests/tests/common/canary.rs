//! What is not ours, and stays byte for byte whatever happens to a run: a VM, a volume in our pool, a
//! record in our zone, a target file beside ours, a file of the host with its owner and mode.

use std::fmt::Write as _;

use acceptance::lab::{Lab, RACKS};
use serde_json::json;

use super::oracle::script;

/// They are made with the value, and taken away with it.
pub(crate) struct Canaries {
    lab: Lab,
    name: &'static str,
    /// What they are, in words, by place.
    were: Vec<String>,
}

impl Canaries {
    /// Makes them for the fleet of this name, whose zone must be there.
    pub(crate) fn new(lab: &Lab, name: &'static str) -> Self {
        let mut canaries = Self { lab: lab.clone(), name, were: Vec::new() };
        for rack in RACKS {
            let (domain, [volume, targets, file]) = (canaries.domain(), canaries.files());
            let xml = format!(
                "<domain type='qemu'><name>{domain}</name><memory>16384</memory><os><type>hvm</type></os>\
                 <devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='{volume}'/>\
                 <target dev='vda' bus='virtio'/></disk></devices></domain>"
            );
            let made = format!(
                "set -e; qemu-img create -q -f qcow2 {volume} 1M; chmod 0604 {volume}\n\
                 echo '[{{\"targets\":[\"10.77.0.9:9100\"]}}]' >{targets}; chmod 0640 {targets}\n\
                 head -c 5000 /dev/urandom >{file}; chmod 0461 {file}\n\
                 test \"$(id -u)\" != 0 || chown 4243:4242 {file}\n\
                 echo \"{xml}\" >/tmp/{domain}.xml; virsh -q -c qemu:///system define /tmp/{domain}.xml"
            );
            script(lab, rack.name, &made);
        }
        let record = json!({ "rrsets": [{ "name": canaries.record(), "type": "A", "ttl": 77,
            "changetype": "REPLACE", "records": [{ "content": "10.77.0.9", "disabled": false }],
            "comments": [{ "content": "somebody's", "account": "somebody" }] }] });
        lab.powerdns_api("PATCH", &canaries.zone(), Some(&record)).unwrap();
        canaries.were = canaries.are();
        canaries
    }

    fn domain(&self) -> String {
        format!("canary-{}", self.name)
    }

    fn record(&self) -> String {
        format!("canary.{}.example.org.", self.name)
    }

    fn zone(&self) -> String {
        format!("/api/v1/servers/localhost/zones/{}.example.org.", self.name)
    }

    /// In our pool, beside our target file, and anywhere.
    fn files(&self) -> [String; 3] {
        let name = self.name;
        [
            format!("/var/lib/libvirt/freehold/canary-{name}.qcow2"),
            format!("/etc/prometheus/targets/canary-{name}.json"),
            format!("/var/tmp/canary-{name}"),
        ]
    }

    fn are(&self) -> Vec<String> {
        let look = |rack: &str| {
            let (domain, files) = (self.domain(), self.files().join(" "));
            let look = format!(
                "virsh -q -c qemu:///system dumpxml --inactive {domain}\n\
                 stat -c '%n %u %g %a %s %Y' {files}; sha256sum {files}"
            );
            script(&self.lab, rack, &look)
        };
        let mut are: Vec<_> = std::thread::scope(|scope| {
            let looks = RACKS.map(|rack| scope.spawn(move || look(rack.name)));
            looks.map(|look| look.join().unwrap()).to_vec()
        });
        let zone = self.lab.powerdns_api("GET", &self.zone(), None).unwrap();
        let rrsets = zone["rrsets"].as_array().unwrap();
        let record = rrsets.iter().find(|rrset| rrset["name"] == *self.record());
        are.push(record.map(ToString::to_string).unwrap_or_default());
        are
    }

    /// Returns what of them is not as it was, in words.
    pub(crate) fn changed(&self) -> Vec<String> {
        let are = self.are();
        let pairs = self.were.iter().zip(&are).filter(|(was, is)| was != is);
        pairs.map(|(was, is)| format!("was {was}\nis {is}")).collect()
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        let (domain, files) = (self.domain(), self.files().join(" "));
        let mut gone = format!("virsh -q -c qemu:///system undefine {domain}; ");
        write!(gone, "rm -f /tmp/{domain}.xml {files}; :").unwrap();
        for rack in RACKS {
            drop(self.lab.ssh(rack.name, &gone));
        }
    }
}
