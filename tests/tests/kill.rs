//! `kill -9` of a run at every step, on real hosts: whatever it was about to do, doing or had done, the next
//! run finds nothing twice and nothing lost, and leaves alone what is not ours.
//!
//! Addresses from 10.77.0.210 to 10.77.0.219 and 10.91.40.0/24 belong to this file. Each step is killed at one
//! [`Moment`], in turn; at each of them with `FREEHOLD_FULL=1` (`cargo xtask test --only kill --full`).
//! `FREEHOLD_SEED` gives the first turn, which is said at the end.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

mod common;

use std::{fs, time::Instant};

use acceptance::{bed::Bed, lab::Lab};
use common::{
    button::button,
    canary::Canaries,
    lab,
    oracle::{AGAIN, Oracle, Want, script},
    reaper::{Moment, Wires, full, killed_at, seed},
    small::{RACK1, RACK2, fleet, idle, image, volume_prefix},
};
use serde_json::Value;

const OUTSIDE: &str = r#"
network "reap" {
  kind      = "nat"
  subnet    = "10.91.40.0/24"
  addresses = "10.91.40.10-10.91.40.19"
}
network "lan" {
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  addresses = "10.77.0.210-10.77.0.219"
}
dns "main" {
  kind    = "powerdns"
  url     = "http://10.77.0.1:8081"
  api_key = env("PDNS_API_KEY")
}
zone "own" {
  name    = "reap.example.org"
  server  = dns.main
  reverse = true
}
prometheus "there" {
  on   = host.rack1
  path = "/etc/prometheus/targets/reap.json"
}
"#;

const NAMED: &str = "nic \"lan\" {}\n  dns {\n    zone = zone.own\n  }\n  metrics \"node\" {\n    \
                     port = 9100\n  }\n";

const CREATED: Want = Want {
    domains: &["rack1 reap-a", "rack2 reap-b"],
    records: &["reap-a", "reap-b"],
    targets: &["10.77.0.210:9100", "10.77.0.211:9100"],
    kept: &[".data."],
};
const CHANGED: Want = Want {
    domains: &["rack1 reap-a", "rack2 reap-c"],
    records: &["reap-a", "reap-c"],
    targets: &["10.77.0.210:9200", "10.77.0.211:9100"],
    kept: &[".data."],
};

/// What is in the trash of a fleet that was changed and destroyed.
const TRASH: [&str; 6] = [
    "reap-a definition",
    "reap-a new",
    "reap-a root",
    "reap-c definition",
    "reap-c old",
    "reap-c root",
];

/// The texts that follow one another.
struct Texts {
    created: String,
    changed: String,
    /// Hosts alone, so that images and decisions are nobody's any more.
    bare: String,
}

impl Texts {
    fn of(digest: &str) -> Self {
        let disk = |name: &str, size: &str, more: &str| {
            format!("disk \"{name}\" {{\n    size = \"{size}\"\n    {more}\n  }}\n  ")
        };
        let head = [RACK1, RACK2, OUTSIDE, &image("blank.qcow2", digest)].concat();
        let kept = disk("data", "8MiB", "keep = true");
        let one = idle("reap-a", "host.rack1", &(kept.clone() + NAMED));
        let inner = format!("nic \"reap\" {{}}\n  {NAMED}");
        let two = idle("reap-b", "host.rack2", &(disk("old", "8MiB", "") + &inner));
        let created = fleet("reap", &[&*head, &one, &two].concat());
        // Live, restart, a disk that comes, one that goes, another name and another port.
        let one =
            one.replace("\"root\" {\n    size = \"16MiB\"", "\"root\" {\n    size = \"24MiB\"");
        let one = one.replace("memory = \"16MiB\"", "memory = \"24MiB\"");
        let one = one.replace("port = 9100", "port = 9200");
        let one = one.replace(&kept, &(kept.clone() + &disk("new", "8MiB", "")));
        let two = idle("reap-c", "host.rack2", &inner);
        let moved = "moved {\n  from = \"reap-b\"\n  to = \"reap-c\"\n}\n";
        let changed = fleet("reap", &[&*head, &one, &two, moved].concat());
        let bare = fleet("reap", &[RACK1, RACK2].concat());
        Self { created, changed, bare }
    }
}

/// Takes away what is left, also when the test failed half-way.
struct Clean<'a> {
    lab: &'a Lab,
    bed: &'a Bed,
}

impl Drop for Clean<'_> {
    fn drop(&mut self) {
        for arguments in [
            &["destroy", "--yes"][..],
            &["forget", "reap-a", "--yes"],
            &["trash", "empty", "--older-than", "0s", "--yes"],
        ] {
            drop(self.bed.freehold(arguments).output());
        }
        let gone = format!("rm -f /var/lib/libvirt/freehold/{}*.data.*", volume_prefix("reap"));
        drop(self.lab.ssh("rack1", &gone));
        drop(self.lab.powerdns().delete_zone("reap.example.org"));
        drop(fs::remove_file(self.lab.rack1().targets().join("reap.json")));
    }
}

#[test]
fn a_run_killed_at_any_step_is_finished_by_the_next() {
    let (lab, wires, begun) = (lab(), Wires::new(), Instant::now());
    drop(lab.powerdns().delete_zone("reap.example.org"));
    lab.create_zone("reap.example.org").unwrap();
    let bed = wires.lead(Bed::new(&lab, &fleet("reap", "")).unwrap(), &lab);
    let texts = Texts::of(&button(bed.path(), "reap"));
    let _clean = Clean { lab: &lab, bed: &bed };
    let canaries = Canaries::new(&lab, "reap");
    let oracle = Oracle::new(&bed, "reap", &canaries);
    let seed = seed();
    let first = usize::try_from(seed % 3).unwrap();
    println!("FREEHOLD_SEED={seed}");
    let mut reaper = Reaper { wires: &wires, texts, oracle, killed: 0, begun };
    let passes = if full() { Moment::ALL.len() } else { 1 };
    for pass in 0..passes {
        let mut step = 0;
        while reaper.round(step, Moment::ALL[(step + pass + first) % 3]) {
            step += 1;
        }
    }
    let (killed, words) = (reaper.killed, reaper.oracle.tally.words());
    println!(
        "killed at every step: {killed} steps tried, {words} ({:.0} s, FREEHOLD_SEED={seed})",
        begun.elapsed().as_secs_f64()
    );
    assert!(killed > 60 * passes, "{killed}");
}

struct Reaper<'a> {
    wires: &'a Wires,
    texts: Texts,
    oracle: Oracle<'a>,
    killed: usize,
    begun: Instant,
}

impl Reaper<'_> {
    /// Creates, changes, destroys and empties the trash, each killed at this step; says whether any of
    /// them has it.
    fn round(&mut self, step: usize, moment: Moment) -> bool {
        let bed = self.oracle.bed;
        let before = self.killed;
        self.write(&self.texts.created.clone());
        if let Some(at) = self.kill("create", &["apply", "--yes"], step, moment) {
            self.oracle.applies(&at, &CREATED);
        }
        self.write(&self.texts.changed.clone());
        if let Some(at) = self.kill("change", &AGAIN, step, moment) {
            self.oracle.applies(&at, &CHANGED);
        }
        if let Some(at) = self.kill("destroy", &["destroy", "--yes"], step, moment) {
            self.oracle.destroys(&at, CREATED.kept);
            self.pattern(self.killed == 3);
            self.trash_holds_all(&at);
        }
        let empty = ["trash", "empty", "--older-than", "0s", "--yes"];
        if let Some(at) = self.kill("trash empty", &empty, step, moment) {
            bed.expect(0, &empty).unwrap();
            self.oracle.looks(&at, &Want { kept: CREATED.kept, ..Want::default() });
            let list = bed.expect(0, &["trash", "list", "--json"]).unwrap();
            assert_eq!(list.text(), "", "after {at}");
        }
        bed.write("fleet.hcl", &self.texts.bare).unwrap();
        bed.expect(0, &["image", "prune", "--yes"]).unwrap();
        bed.expect(0, &["lock", "prune"]).unwrap();
        self.killed > before
    }

    fn write(&self, text: &str) {
        let bed = self.oracle.bed;
        bed.write("fleet.hcl", text).unwrap();
        let decided = bed.decide().unwrap();
        assert!(decided.success(), "{decided}");
    }

    /// Returns what was killed; `None` where the run has no such step, and so did what it is for.
    fn kill(
        &mut self,
        kind: &str,
        arguments: &[&str],
        step: usize,
        moment: Moment,
    ) -> Option<String> {
        let words = killed_at((self.oracle.bed, self.wires), arguments, step, moment)?;
        self.killed += 1;
        let said = format!("{kind}, killed at step {step} ({words}), {moment:?}");
        println!("{:6.1} s  {said}", self.begun.elapsed().as_secs_f64());
        Some(said)
    }

    /// What was written on the kept disk the first time that nobody had it is there for ever.
    fn pattern(&self, first: bool) {
        let lab = self.oracle.bed.lab();
        let disk = format!("/var/lib/libvirt/freehold/{}*.data.*", volume_prefix("reap"));
        let act = if first { "write" } else { "read" };
        script(lab, "rack1", &format!("qemu-io -f qcow2 -c '{act} -P 0x5a 0 64k' {disk}"));
    }

    /// All disks that went, each once, and what their VMs last were: a run that is killed right before it undefines
    /// one has written that down, and the next one writes it again.
    fn trash_holds_all(&self, after: &str) {
        let list = self.oracle.bed.expect(0, &["trash", "list", "--json"]).unwrap();
        let entries = list.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let word = |value: &Value| value.as_str().unwrap_or("definition").to_owned();
        let parts = |entry: Value| -> Vec<String> {
            let parts = entry["holds"].as_array().unwrap().iter();
            parts.map(|part| word(&entry["vm"]) + " " + &word(&part["disk"])).collect()
        };
        let mut held: Vec<String> = entries.flat_map(parts).collect();
        held.sort();
        let again =
            |later: &mut String, one: &mut String| later == one && one.ends_with(" definition");
        held.dedup_by(again);
        assert_eq!(held, TRASH, "after {after}");
    }
}
