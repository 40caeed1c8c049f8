//! What the acceptance tests share: fleets as text, and looks at the world.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::print_stdout, reason = "what a suite measured is said")]
#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

pub(crate) mod button;
pub(crate) mod canary;
pub(crate) mod oracle;
pub(crate) mod pair;
pub(crate) mod picture;
pub(crate) mod reaper;
pub(crate) mod small;
pub(crate) mod table;

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use acceptance::{
    bed::{Bed, eventually},
    lab::{Lab, RACKS},
};

/// Returns the lab that is up, its racks being hosts of freehold already.
pub(crate) fn lab() -> Lab {
    static KNOWN: OnceLock<()> = OnceLock::new();
    let lab = Lab::attach(&Lab::default_dir()).expect("a lab that is up: cargo xtask lab up");
    KNOWN.get_or_init(|| first_contact(&lab));
    lab
}

/// Lets tests that disturb racks run one after another.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two fleets that meet a fresh host at the same moment both make its id, and one is refused: right
/// for operators, and no use to tests that run at once.
fn first_contact(lab: &Lab) {
    let card = "test -e /var/lib/libvirt/freehold/freehold-host.json";
    if RACKS.iter().all(|rack| lab.ssh(rack.name, card).is_ok_and(|output| output.success())) {
        return;
    }
    let vms = vm(lab, "first", "[host.rack1, host.rack2]", "count = 2\nrunning = false");
    let bed = Bed::new(lab, &Text { name: "first", tens: 20, vms }.whole(lab)).unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    bed.expect(0, &["destroy", "--yes"]).unwrap();
}

/// A fleet's text, made of what tests vary.
pub(crate) struct Text {
    /// Names the fleet, its zone `<name>.example.org` and its target file.
    pub(crate) name: &'static str,
    /// The tens of the addresses it may hand out: `10.77.0.<tens>0-10.77.0.<tens>9`.
    pub(crate) tens: u8,
    /// Its VM blocks.
    pub(crate) vms: String,
}

impl Text {
    /// Returns the whole text: both racks, the LAN, the image, the zone, the target file, the VMs.
    pub(crate) fn whole(&self, lab: &Lab) -> String {
        let (name, tens) = (self.name, self.tens);
        let image = lab.image().display();
        let digest = lab.image_sha256().unwrap();
        let targets = targets_file(lab, name);
        let vms = &self.vms;
        let id = small::id(name);
        format!(
            r#"
fleet "{name}" {{
  id = "{id}"
}}
host "rack1" {{
  ssh   = "rack1"
  accel = "tcg"
}}
host "rack2" {{
  ssh   = "rack2"
  accel = "tcg"
}}
network "lan" {{
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  gateway   = "10.77.0.1"
  dns       = ["10.77.0.1"]
  addresses = "10.77.0.{tens}0-10.77.0.{tens}9"
}}
image "guest" {{
  source = "{image}"
  sha256 = "{digest}"
}}
dns "main" {{
  kind    = "powerdns"
  url     = "http://10.77.0.1:8081"
  api_key = env("PDNS_API_KEY")
}}
zone "home" {{
  name    = "{name}.example.org"
  server  = dns.main
  reverse = true
  create  = true
}}
prometheus "main" {{
  path = "{targets}"
  url  = "http://10.77.0.1:9090"
}}
{vms}
"#
        )
    }
}

/// A VM block; `more` goes into it.
pub(crate) fn vm(lab: &Lab, name: &str, hosts: &str, more: &str) -> String {
    let key = std::fs::read_to_string(lab.user_key().with_extension("pub")).expect("a public key");
    let key = key.trim();
    format!(
        r#"
vm "{name}" {{
  host   = {hosts}
  image  = image.guest
  memory = "192MiB"
  disk "root" {{
    size = "1GiB"
  }}
  nic "lan" {{}}
  cloud_init {{
    user     = "root"
    ssh_keys = ["{key}"]
  }}
  {more}
}}
"#
    )
}

/// What publishes a VM.
pub(crate) const PUBLISHED: &str = r#"
  dns {
    zone = zone.home
  }
  metrics "node" {
    port = 9100
  }
"#;

/// Returns the target file of a fleet, which the lab's Prometheus reads.
pub(crate) fn targets_file(lab: &Lab, name: &str) -> String {
    lab.prometheus().targets_dir().join(format!("{name}.json")).display().to_string()
}

/// Runs virsh on a rack.
pub(crate) fn virsh(lab: &Lab, rack: &str, arguments: &str) -> String {
    let command = format!("virsh -c qemu:///system {arguments}");
    let output = lab.ssh(rack, &command).expect("ssh to the rack");
    assert!(output.success(), "{rack}: {command}: {output}");
    output.text().to_owned()
}

/// Returns the names of all domains of a rack that begin with `prefix`, sorted.
pub(crate) fn domains(lab: &Lab, rack: &str, prefix: &str) -> Vec<String> {
    let mut names: Vec<_> = virsh(lab, rack, "list --all --name")
        .lines()
        .map(str::trim)
        .filter(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// Returns the names of all domains of both racks that begin with `prefix`, sorted.
pub(crate) fn all_domains(lab: &Lab, prefix: &str) -> Vec<String> {
    let mut names: Vec<_> = RACKS.iter().flat_map(|rack| domains(lab, rack.name, prefix)).collect();
    names.sort();
    names
}

/// Returns the files in the pool of a rack that have `word` in their name, sorted.
pub(crate) fn volumes(lab: &Lab, rack: &str, word: &str) -> Vec<String> {
    let output = lab.ssh(rack, "ls -1A /var/lib/libvirt/freehold").expect("ssh to the rack");
    let mut names: Vec<_> =
        output.text().lines().filter(|name| name.contains(word)).map(str::to_owned).collect();
    names.sort();
    names
}

/// Returns the health of every target whose label `vm` begins with `prefix`: `web-0 up`, sorted.
pub(crate) fn targets(lab: &Lab, prefix: &str) -> Vec<String> {
    let data = lab.prometheus_targets().expect("targets of Prometheus");
    let active = data["activeTargets"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<String> = active
        .iter()
        .filter_map(|target| {
            let vm = target["labels"]["vm"].as_str()?;
            let health = target["health"].as_str()?;
            vm.starts_with(prefix).then(|| format!("{vm} {health}"))
        })
        .collect();
    found.sort();
    found
}

/// Waits until the targets are these.
pub(crate) fn targets_become(lab: &Lab, prefix: &str, want: &[&str]) {
    let ask = || {
        let have = targets(lab, prefix);
        anyhow::ensure!(have == want, "targets are {have:?}, want {want:?}");
        Ok(true)
    };
    eventually("targets of Prometheus", Duration::from_secs(40), ask).unwrap();
}

/// Takes away what a test made, also when it failed half-way, and says nothing.
pub(crate) struct CleanUp<'a>(pub(crate) &'a Bed);

impl Drop for CleanUp<'_> {
    fn drop(&mut self) {
        drop(self.0.freehold(&["destroy", "--yes"]).output());
    }
}
