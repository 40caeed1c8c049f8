//! Faults of the way to a host in the midst of an apply: whatever becomes of the run, the next one finishes
//! it, and what is not ours is as it was.
//!
//! Addresses from 10.77.0.220 to 10.77.0.221 belong to this file. Its tests disturb racks, so they run one after
//! another.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

mod common;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use acceptance::bed::eventually;
use common::{
    lab,
    pair::Pair,
    picture::{MIB, Picture},
};

#[test]
fn sshd_is_killed() {
    let _alone = common::alone();
    let pair = Pair::changing("fssh", 220);
    let walk = pair.held_at("change fssh-a");
    pair.lab.rack1().kill_sshd().unwrap();
    let said = pair.ends(walk, &[3], || {});
    assert!(said.contains("rack1"), "{said}");
    let up = || pair.lab.rack1().answers();
    eventually("its sshd is back", Duration::from_secs(10), up).unwrap();
    pair.converges("sshd was killed");
}

#[test]
fn the_link_is_down_for_a_while() {
    let _alone = common::alone();
    let pair = Pair::changing("flnk", 220);
    let rack = pair.lab.rack1();
    let walk = pair.held_at("change flnk-a");
    rack.cut().unwrap();
    pair.ends(walk, &[0], || {
        thread::sleep(Duration::from_secs(3));
        rack.mend().unwrap();
    });
    pair.converges("the link was down");
}

#[test]
fn packets_are_dropped_in_a_call_until_the_run_gives_up() {
    let _alone = common::alone();
    let pair = Pair::changing("fdrp", 220);
    let rack = pair.lab.rack1();
    let walk = pair.held_at("start fdrp-a");
    let dropped = rack.drop_packets().unwrap();
    let said = pair.ends(walk, &[3], || {});
    drop(dropped);
    assert!(said.contains("rack1"), "{said}");
    pair.converges("its packets were dropped");
}

#[test]
fn packets_are_dropped_in_the_midst_of_a_transfer() {
    let _alone = common::alone();
    let (lab, mib) = (lab(), MIB as u64);
    let picture = Picture::of(&lab, 24);
    let source = picture.block("picture.qcow2", "").replace("blank", "large");
    let pair = Pair::with(&lab, "ftra", 220, |folder, text| {
        fs::write(folder.join("picture.qcow2"), &picture.bytes).unwrap();
        text.replace(
            "vm \"ftra-a\" {\n  host = host.rack1\n  image = image.blank",
            &format!("{source}vm \"ftra-a\" {{\n  host = host.rack1\n  image = image.large"),
        )
        .replace("size = \"16MiB\"", "size = \"32MiB\"")
    });
    pair.wires.rack1().pace(Some(8 * mib));
    let walk = pair.held_at("bring image large");
    pair.ends(walk, &[0, 3], || {
        let begun = || Ok(picture.staged() > 4 * mib);
        eventually("a part came", Duration::from_secs(20), begun).unwrap();
        let _dropped = pair.lab.rack1().drop_packets().unwrap();
        thread::sleep(Duration::from_secs(5));
    });
    pair.wires.rack1().pace(None);
    pair.converges("packets were dropped in a transfer");
}

#[test]
fn a_host_behind_a_thin_wire() {
    let _alone = common::alone();
    let pair = Pair::new(&lab(), "ftbf", 220);
    let thin = pair.lab.rack1().thin_wire("1mbit").unwrap();
    let begun = Instant::now();
    let applied = pair.apply();
    println!("ftbf: applied at 1 Mbit/s in {:.1} s", begun.elapsed().as_secs_f64());
    drop(thin);
    assert_eq!(applied.status, 0, "{applied}");
    pair.converges("its wire was thin");
}

#[test]
fn a_host_that_is_far_away() {
    let _alone = common::alone();
    let pair = Pair::new(&lab(), "ffar", 220);
    pair.wires.each(|relay| relay.delay(Duration::from_millis(100)));
    let begun = Instant::now();
    let applied = pair.apply();
    println!("ffar: applied at 100 ms each way in {:.1} s", begun.elapsed().as_secs_f64());
    pair.wires.each(|relay| relay.delay(Duration::ZERO));
    assert_eq!(applied.status, 0, "{applied}");
    pair.converges("it was far away");
}
