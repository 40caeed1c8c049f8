//! A small fleet for faults: a VM on each rack whose guest hears the power button, names in a zone of its own, a
//! target file on rack1, and what is not ours all around.

use std::{fs, path::Path, time::Instant};

use acceptance::{
    bed::Bed,
    lab::{Lab, RACKS, command::Output},
    relay::Relay,
    walk::Walk,
};

use super::{
    button::button,
    canary::Canaries,
    oracle::{AGAIN, Oracle, Want},
    reaper::{Wires, held_at},
    small::{RACK1, RACK2, fleet, idle, image, turn_off},
};

/// The fleet's VMs are `<name>-a` on rack1 and `<name>-b` on rack2.
pub(crate) struct Pair {
    pub(crate) lab: Lab,
    pub(crate) name: &'static str,
    pub(crate) bed: Bed,
    pub(crate) wires: Wires,
    pub(crate) canaries: Canaries,
    want: Want,
}

impl Pair {
    /// Lays it out with the addresses from `10.77.0.<first>` on; nothing is applied yet.
    pub(crate) fn new(lab: &Lab, name: &'static str, first: u8) -> Self {
        Self::with(lab, name, first, |_, text| text)
    }

    /// The same; whoever is given its folder changes the text before anything is decided.
    pub(crate) fn with(
        lab: &Lab,
        name: &'static str,
        first: u8,
        change: impl FnOnce(&Path, String) -> String,
    ) -> Self {
        let wires = Wires::new();
        drop(lab.powerdns().delete_zone(&format!("{name}.example.org")));
        lab.create_zone(&format!("{name}.example.org")).unwrap();
        let bed = wires.lead(Bed::new(lab, &fleet(name, "")).unwrap(), lab);
        let digest = button(bed.path(), name);
        bed.write("fleet.hcl", &change(bed.path(), text(name, first, &digest))).unwrap();
        let decided = bed.decide().unwrap();
        assert!(decided.success(), "{decided}");
        // Few, and as long as the tests' process: a leak is no matter.
        let all = |words: [String; 2]| -> &'static [&'static str] {
            words.map(|word| &*word.leak()).to_vec().leak()
        };
        let want = Want {
            domains: all([format!("rack1 {name}-a"), format!("rack2 {name}-b")]),
            records: all([format!("{name}-a"), format!("{name}-b")]),
            targets: all([first, first + 1].map(|last| format!("10.77.0.{last}:9100"))),
            kept: &[],
        };
        let canaries = Canaries::new(lab, name);
        Self { lab: lab.clone(), name, bed, wires, canaries, want }
    }

    /// One that was applied, and whose next apply restarts both VMs.
    pub(crate) fn changing(name: &'static str, first: u8) -> Self {
        let pair = Self::new(&super::lab(), name, first).applied();
        pair.grow("16MiB", "24MiB");
        pair
    }

    /// Lets a run go on to its end, which must be one of these; returns what it said.
    pub(crate) fn ends(&self, walk: Walk, statuses: &[i32], meanwhile: impl FnOnce()) -> String {
        self.wires.each(Relay::release);
        let begun = Instant::now();
        let (status, said) = walk.finish_while(meanwhile).unwrap();
        println!("{}: ended with {status} after {:.1} s", self.name, begun.elapsed().as_secs_f64());
        assert!(statuses.contains(&status), "{status}: {said}");
        said
    }

    /// Applies, and nothing is amiss.
    pub(crate) fn applied(self) -> Self {
        self.converges("the first apply");
        self
    }

    /// Writes what makes a restart of both.
    pub(crate) fn grow(&self, from: &str, to: &str) {
        self.bed.edit(&format!("memory = \"{from}\""), &format!("memory = \"{to}\"")).unwrap();
    }

    /// Begins an apply that stands in the midst of a step of these words; the wires are held.
    pub(crate) fn held_at(&self, words: &str) -> Walk {
        held_at((&self.bed, &self.wires), &AGAIN, words)
    }

    /// Applies with everything consented to.
    pub(crate) fn apply(&self) -> Output {
        self.bed.freehold(&AGAIN).output().unwrap()
    }

    /// Applies again: all is as declared, and what is not ours as it was.
    pub(crate) fn converges(&self, after: &str) {
        Oracle::new(&self.bed, self.name, &self.canaries).applies(after, &self.want);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        turn_off(&self.lab, &format!("{}-", self.name));
        for arguments in
            [&["destroy", "--yes"][..], &["trash", "empty", "--older-than", "0s", "--yes"]]
        {
            drop(self.bed.freehold(arguments).output());
        }
        // Declared by nobody its image goes, too.
        drop(self.bed.write("fleet.hcl", &fleet(self.name, &[RACK1, RACK2].concat())));
        drop(self.bed.freehold(&["image", "prune", "--yes"]).output());
        drop(self.lab.powerdns().delete_zone(&format!("{}.example.org", self.name)));
        drop(fs::remove_file(self.lab.rack1().targets().join(format!("{}.json", self.name))));
    }
}

fn text(name: &str, first: u8, digest: &str) -> String {
    let last = first + 1;
    let outside = format!(
        r#"
network "lan" {{
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  addresses = "10.77.0.{first}-10.77.0.{last}"
}}
dns "main" {{
  kind    = "powerdns"
  url     = "http://10.77.0.1:8081"
  api_key = env("PDNS_API_KEY")
}}
zone "own" {{
  name   = "{name}.example.org"
  server = dns.main
}}
prometheus "there" {{
  on   = host.rack1
  path = "/etc/prometheus/targets/{name}.json"
}}
"#
    );
    let more = "nic \"lan\" {}\n  dns {\n    zone = zone.own\n  }\n  metrics \"node\" {\n    \
                port = 9100\n  }\n";
    let vms = RACKS.iter().zip(["a", "b"]).map(|(rack, letter)| {
        idle(&format!("{name}-{letter}"), &format!("host.{}", rack.name), more)
    });
    let vms: String = vms.collect();
    fleet(name, &[RACK1, RACK2, &*outside, &image("blank.qcow2", digest), &vms].concat())
}
