//! The power button of VMs, and what they said.
//!
//! Addresses from 10.77.0.232 to 10.77.0.235 belong to this file.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::fs::File;

use acceptance::{bed::Bed, terminal::Terminal};
use common::{
    CleanUp, lab,
    small::{self, Gone, RACK1, RACK2, fleet, idle, says},
    virsh, vm,
};
use rustix::fs::{FlockOperation, flock};

const NAMES: [(&str, &str); 2] = [("rack1", "vmfpow-0"), ("rack2", "vmfpow-1")];

fn boot(bed: &Bed, name: &str) -> String {
    let command = "cat /proc/sys/kernel/random/boot_id";
    bed.expect(0, &["ssh", name, "--", command]).unwrap().text().to_owned()
}

#[test]
fn vms_are_stopped_started_and_restarted() {
    let lab = lab();
    let image = lab.image().display();
    let image = format!(
        "image \"guest\" {{\n  source = \"{image}\"\n  sha256 = \"{}\"\n}}\n",
        lab.image_sha256().unwrap()
    );
    let network = "network \"lan\" {\n  kind = \"bridge\"\n  bridge = \"br0\"\n  \
                   subnet = \"10.77.0.0/24\"\n  addresses = \"10.77.0.232-10.77.0.235\"\n}\n";
    let vms = vm(&lab, "vmfpow", "[host.rack1, host.rack2]", "count = 2\n  protect = true");
    let text = fleet("vmfpow", &[RACK1, RACK2, network, &image, &vms].concat());
    let bed = Bed::new(&lab, &text).unwrap();
    let _clean = CleanUp(&bed);
    says(&bed.expect(1, &["stop", "vmfpow-0"]).unwrap(), &["was not made yet", "freehold apply"]);
    bed.expect(0, &["apply", "--yes"]).unwrap();
    says(&bed.expect(1, &["stop", "vmfpov"]).unwrap(), &["did you mean `vmfpow`?"]);

    let said = bed.expect(0, &["stop", "vmfpow", "--wait"]).unwrap();
    says(&said, &["2 steps done", "vmfpow-1 is declared to run: the next apply starts it"]);
    for (rack, name) in NAMES {
        assert_eq!(virsh(&lab, rack, &format!("domstate {name}")), "shut off");
    }
    says(&bed.expect(0, &["plan"]).unwrap(), &["vmfpow-0", "start"]);

    // Ready is ready: the first login needs no second try.
    let said = bed.expect(0, &["start", "vmfpow-0", "vmfpow-1", "--wait", "--json"]).unwrap();
    let last = said.text().lines().last().unwrap();
    assert!(last.contains(r#""event":"run-ended","done":2,"failed":0"#), "{said}");
    let first = boot(&bed, "vmfpow-0");
    bed.expect(0, &["restart", "vmfpow-0", "--wait"]).unwrap();
    assert_ne!(boot(&bed, "vmfpow-0"), first);
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 2 unchanged"]);

    said_and_followed(&bed);
    let lock = File::open(bed.path().join(".freehold/apply.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    bed.expect(4, &["stop", "vmfpow-0"]).unwrap();
    drop(lock);
    bed.edit("protect = true", "protect = false").unwrap();
    let all = ["apply", "--yes", "--unprotect", "vmfpow"];
    bed.expect(0, &all).unwrap();
}

/// What a guest says is kept, also when it is off, and can do a terminal no harm.
fn said_and_followed(bed: &Bed) {
    let mut terminal = Terminal::new().unwrap();
    terminal.start(bed.freehold(&["logs", "vmfpow-1", "--follow", "-n", "1"])).unwrap();
    terminal.shows("ready vmfpow-1").unwrap();
    let say = r"printf '\033]0;title\007\033[2Jharmless\033[31m words\n' > /dev/ttyS0";
    bed.expect(0, &["ssh", "vmfpow-1", "--", say]).unwrap();
    terminal.shows("harmless words").unwrap();
    bed.expect(0, &["stop", "vmfpow-1", "--wait"]).unwrap();
    terminal.shows("power button, going off").unwrap();
    assert!(!terminal.shown().contains('\u{1b}'), "{:?}", terminal.shown());

    let said = bed.expect(0, &["logs", "vmfpow-1"]).unwrap();
    says(&said, &["harmless words", "guest: power button, going off"]);
    assert!(!said.stdout.contains('\u{1b}'), "{said}");
    assert_eq!(bed.expect(0, &["logs", "vmfpow-1", "-n", "3"]).unwrap().stdout.lines().count(), 3);
    bed.expect(0, &["start", "vmfpow-1"]).unwrap();
}

#[test]
fn a_vm_that_does_not_obey_is_not_turned_off_and_one_that_is_not_ours_not_touched() {
    let lab = lab();
    let bed = small::bed(&lab, "vmfdeaf", &(RACK1.to_owned() + &idle("vmfdeaf", "host.rack1", "")));
    let _gone = Gone(&bed, "vmfdeaf");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    says(&bed.expect(0, &["stop", "vmfdeaf"]).unwrap(), &["vmfdeaf was asked to shut down"]);
    let said = bed.expect(3, &["stop", "vmfdeaf", "--wait"]).unwrap();
    says(&said, &["vmfdeaf still runs 60 s after it was asked", "stop vmfdeaf --force"]);
    assert_eq!(virsh(&lab, "rack1", "domstate vmfdeaf"), "running");
    bed.expect(0, &["stop", "vmfdeaf", "--force"]).unwrap();
    assert_eq!(virsh(&lab, "rack1", "domstate vmfdeaf"), "shut off");
    bed.expect(0, &["stop", "vmfdeaf"]).unwrap();

    virsh(&lab, "rack1", "metadata vmfdeaf urn:freehold:mark:1 --config --remove");
    let said = bed.expect(3, &["start", "vmfdeaf"]).unwrap();
    says(&said, &["vmfdeaf", "does not bear the mark"]);
    assert_eq!(virsh(&lab, "rack1", "domstate vmfdeaf"), "shut off");
    bed.expect(0, &["adopt", "--mark", "--yes", "vmfdeaf"]).unwrap();
}
