//! Faults of a host, and of disks, in the midst of an apply: whatever becomes of the run, the next one finishes
//! it, and what is not ours is as it was.
//!
//! Addresses from 10.77.0.222 to 10.77.0.223 belong to this file. Its tests disturb racks, so they run one after
//! another.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

mod common;

use std::{path::PathBuf, thread, time::Duration};

use acceptance::{
    bed::eventually,
    lab::{Lab, Rack, command::Run},
};
use common::{lab, oracle::script, pair::Pair, picture::POOL, small::says, virsh};

fn is_back(rack: &Rack) {
    eventually("the rack answers", Duration::from_secs(40), || rack.answers()).unwrap();
}

#[test]
fn libvirtd_is_killed_and_restarted() {
    let _alone = common::alone();
    let pair = Pair::changing("hvrt", 222);
    let walk = pair.held_at("change hvrt-a");
    pair.lab.rack1().crash_libvirtd();
    pair.ends(walk, &[0, 3], || {});
    is_back(&pair.lab.rack1());
    pair.converges("libvirtd was killed");
}

#[test]
fn libvirtd_is_frozen_before_a_run_connects() {
    let _alone = common::alone();
    let pair = Pair::changing("hfrz", 222);
    pair.lab.rack1().freeze();
    let said = pair.apply();
    pair.lab.rack1().thaw();
    assert_eq!(said.status, 3, "{said}");
    says(&said, &["host rack1: unreachable"]);
    assert!(virsh(&pair.lab, "rack2", "dominfo hfrz-b").contains("24576 KiB"), "{said}");
    pair.converges("libvirtd was frozen");
}

#[test]
fn libvirtd_is_frozen_in_a_call_for_a_while() {
    let _alone = common::alone();
    let pair = Pair::changing("hcal", 222);
    let walk = pair.held_at("change hcal-a");
    pair.lab.rack1().freeze();
    pair.ends(walk, &[0], || {
        thread::sleep(Duration::from_secs(3));
        pair.lab.rack1().thaw();
    });
    pair.converges("libvirtd was frozen in a call");
}

#[test]
fn a_host_loses_its_power_and_comes_back() {
    let _alone = common::alone();
    let pair = Pair::changing("hpow", 222);
    let rack = pair.lab.rack1();
    let walk = pair.held_at("start hpow-a");
    rack.crash().unwrap();
    rack.boot().unwrap();
    is_back(&rack);
    let said = pair.ends(walk, &[3], || {});
    assert!(said.contains("rack1"), "{said}");
    pair.converges("its host lost its power");
}

/// The pool of rack1 on a file system of its own, with 4 MiB of room.
struct Disk<'a>(&'a Lab);

impl<'a> Disk<'a> {
    fn new(lab: &'a Lab) -> Self {
        let mounted = format!(
            "set -e; kib=$(du -sk {POOL} | cut -f1); mkdir -p {POOL}.own; \
             mount -t tmpfs -o mode=711,size=$((kib + 4096))k none {POOL}.own; cp -a {POOL}/. {POOL}.own; \
             mount --move {POOL}.own {POOL}; rmdir {POOL}.own; virsh -q -c qemu:///system pool-refresh freehold"
        );
        script(lab, "rack1", &mounted);
        Self(lab)
    }

    /// Fills it, but for so many KiB.
    fn fill(&self, left: u32) {
        let file = format!("{POOL}/filler");
        let fill =
            format!("dd if=/dev/zero of={file} bs=1k 2>/dev/null; truncate -s -{left}k {file}");
        script(self.0, "rack1", &fill);
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let gone = format!("umount -l {POOL}; virsh -q -c qemu:///system pool-refresh freehold");
        drop(self.0.ssh("rack1", &gone));
    }
}

#[test]
fn a_pool_is_full() {
    let _alone = common::alone();
    let lab = lab();
    let disk = Disk::new(&lab);
    let pair = Pair::new(&lab, "hful", 222);
    let mut done = Vec::new();
    for left in [0, 200, 500, 700] {
        disk.fill(left);
        let said = pair.apply();
        assert!(matches!(said.status, 0 | 3), "{said}");
        let room = ["No space left", "the pool's file system", "no room"];
        let told = room.iter().any(|words| format!("{said}").contains(words));
        assert!(said.status == 0 || told, "{said}");
        done.push(said.status);
        script(&lab, "rack1", &format!("rm {POOL}/filler"));
    }
    println!("hful: {done:?}");
    pair.converges("its pool was full");
}

#[test]
fn a_pool_is_not_mounted() {
    let _alone = common::alone();
    let lab = lab();
    let _disk = Disk::new(&lab);
    let pair = Pair::changing("hmnt", 222);
    script(&lab, "rack1", &format!("mkdir -p {POOL}.empty; mount --bind {POOL}.empty {POOL}"));
    let said = pair.apply();
    let there = script(&lab, "rack1", &format!("ls -A {POOL}; umount {POOL}; rmdir {POOL}.empty"));
    assert_eq!(said.status, 3, "{said}");
    says(&said, &["host rack1", "its pool has no card of ours"]);
    assert_eq!(there, "", "{said}");
    assert!(virsh(&lab, "rack2", "dominfo hmnt-b").contains("24576 KiB"), "{said}");
    pair.converges("its pool was not mounted");
}

#[test]
fn this_machines_disk_is_full() {
    let _alone = common::alone();
    let pair = Pair::changing("hsta", 222);
    let state = pair.bed.path().join(".freehold");
    let small = Small::over(state.clone());
    let filler = state.join("filler");
    let fill = || {
        let of = format!("of={}", filler.display());
        drop(Run::new("dd").args(["if=/dev/zero", &of, "bs=4k"]).output());
    };
    fill();
    let said = pair.apply();
    assert_eq!(said.status, 1, "{said}");
    says(&said, &["No space left", "is the disk full"]);
    assert!(virsh(&pair.lab, "rack1", "dominfo hsta-a").contains("16384 KiB"), "{said}");
    std::fs::remove_file(&filler).unwrap();
    let walk = pair.held_at("change hsta-a");
    fill();
    // Room for its end was set aside.
    pair.ends(walk, &[0], || {});
    std::fs::remove_file(&filler).unwrap();
    pair.converges("this machine's disk was full");
    drop(small);
}

/// A folder on a file system of 6 MiB.
struct Small(PathBuf);

impl Small {
    fn over(folder: PathBuf) -> Self {
        let line = "cp -a \"$1\" \"$1.copy\"; mount -t tmpfs -o size=6m none \"$1\"; cp -a \"$1.copy/.\" \"$1\"; rm -r \"$1.copy\"";
        Run::new("sh").args(["-ec", line, "sh"]).arg(&folder).ok().unwrap();
        Self(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let line = "cp -a \"$1\" \"$1.copy\"; umount \"$1\"; cp -a \"$1.copy/.\" \"$1\"; rm -r \"$1.copy\"";
        drop(Run::new("sh").args(["-ec", line, "sh"]).arg(&self.0).output());
    }
}
