//! `kill -9` of runs over guests that boot, answer to SSH and shut down: at steps drawn by a seed, which is said at
//! the end and can be given (`FREEHOLD_SEED`); with `FREEHOLD_FULL=1` at all of them.
//!
//! Addresses from 10.77.0.228 to 10.77.0.229 belong to this file.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

mod common;

use std::time::Instant;

use acceptance::bed::Bed;
use common::{
    CleanUp, PUBLISHED,
    canary::Canaries,
    lab,
    oracle::{AGAIN, Oracle, Want},
    reaper::{Moment, Wires, full, killed_at, seed},
    vm,
};

const TEXT: &str = r#"
fleet "boot" {
  id = "626f6f74626f6f74626f6f74626f6f74"
}
host "rack1" {
  ssh   = "rack1"
  accel = "tcg"
}
host "rack2" {
  ssh   = "rack2"
  accel = "tcg"
}
network "lan" {
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  gateway   = "10.77.0.1"
  dns       = ["10.77.0.1"]
  addresses = "10.77.0.228-10.77.0.229"
}
dns "main" {
  kind    = "powerdns"
  url     = "http://10.77.0.1:8081"
  api_key = env("PDNS_API_KEY")
}
zone "home" {
  name   = "boot.example.org"
  server = dns.main
}
prometheus "there" {
  on   = host.rack1
  path = "/etc/prometheus/targets/boot.json"
}
"#;

const THERE: Want = Want {
    domains: &["rack1 boot-a", "rack2 boot-b"],
    records: &["boot-a", "boot-b"],
    targets: &["10.77.0.228:9100", "10.77.0.229:9100"],
    kept: &[],
};

/// How many runs are killed of each kind: create, a change that nobody notices, a restart, destroy.
const ROUNDS: usize = 5;
/// How many steps every create and every destroy has at least.
const STEPS: usize = 16;

/// Numbers that look drawn, and are the same for the same seed (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

#[test]
fn runs_over_booted_guests_killed_at_drawn_steps_are_finished_by_the_next() {
    let (lab, wires, begun) = (lab(), Wires::new(), Instant::now());
    drop(lab.powerdns().delete_zone("boot.example.org"));
    lab.create_zone("boot.example.org").unwrap();
    let picture =
        common::small::image(&lab.image().display().to_string(), &lab.image_sha256().unwrap());
    let vms =
        vm(&lab, "boot-a", "host.rack1", PUBLISHED) + &vm(&lab, "boot-b", "host.rack2", PUBLISHED);
    let text = TEXT.to_owned() + &picture.replace("blank", "guest") + &vms;
    let bed = wires.lead(Bed::new(&lab, &text).unwrap(), &lab);
    let _clean = CleanUp(&bed);
    let canaries = Canaries::new(&lab, "boot");
    let mut oracle = Oracle::new(&bed, "boot", &canaries);
    let seed = seed();
    println!("FREEHOLD_SEED={seed}");
    let mut draw = Draw(seed);
    let mut killed = 0;
    // Never past the last step: what is drawn is killed.
    let mut kill = |arguments: &[&str], steps: usize, round: usize| {
        let drawn = draw.below(steps);
        let step = if full() { round % steps } else { drawn };
        let moment = Moment::ALL[draw.below(3)];
        let words = killed_at((&bed, &wires), arguments, step, moment).expect("it has that step");
        killed += 1;
        let said = format!("{} {step} ({words}), {moment:?}", arguments[0]);
        println!("{:6.1} s  {said}", begun.elapsed().as_secs_f64());
        said
    };
    let live = text.replace("size = \"1GiB\"", "size = \"2GiB\"");
    let (first, last) = live.split_at(live.find("vm \"boot-b\"").unwrap());
    let restart = first.to_owned() + &last.replace("192MiB", "208MiB");
    for round in 0..if full() { STEPS } else { ROUNDS } {
        for (text, steps) in [(&text, STEPS), (&live, 2), (&restart, 4)] {
            bed.write("fleet.hcl", text).unwrap();
            bed.decide().unwrap();
            let at = kill(&AGAIN, steps, round);
            oracle.applies(&at, &THERE);
        }
        let at = kill(&["destroy", "--yes"], STEPS, round);
        oracle.destroys(&at, &[]);
    }
    bed.expect(0, &["trash", "empty", "--older-than", "0s", "--yes"]).unwrap();
    let words = oracle.tally.words();
    println!(
        "killed over booted guests: {killed} steps tried, {words} ({:.0} s, FREEHOLD_SEED={seed})",
        begun.elapsed().as_secs_f64()
    );
    drop(lab.powerdns().delete_zone("boot.example.org"));
    drop(std::fs::remove_file(lab.rack1().targets().join("boot.json")));
    assert!(killed >= 20, "{killed}");
}
