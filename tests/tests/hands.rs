//! Hands laid on what is ours, behind our back: before a plan is made, and between the plan and its apply. And
//! things of others that have our names.
//!
//! Addresses from 10.77.0.224 to 10.77.0.225 belong to this file.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

mod common;

use acceptance::lab::command::Output;
use common::{
    lab,
    oracle::script,
    pair::Pair,
    picture::POOL,
    small::{says, volume_prefix},
    virsh,
};
use serde_json::json;

/// What somebody does to a VM, and what mends it where apply does not.
struct Hand {
    name: &'static str,
    /// A script on its host; `$d` is the VM, `$v` is virsh.
    does: &'static str,
    /// What then says so, and how it ends; a plan ends with 3 where the VM is held back.
    seen: (&'static str, i32),
    said: &'static [&'static str],
    /// What the messages told to do: a script as above.
    mends: &'static str,
    /// What of it is freehold's business.
    asks: &'static [&'static str],
}

const HANDS: [Hand; 7] = [
    Hand {
        name: "edited",
        does: "$v setmaxmem $d 32M --config; $v desc $d --config by hand",
        seen: ("plan", 0),
        said: &["memory: 32MiB -> "],
        mends: "",
        asks: &[],
    },
    Hand {
        name: "stopped and renamed",
        does: "$v destroy $d; $v domrename $d hand-other",
        seen: ("verify", 5),
        said: &["domain-renamed", "virsh domrename hand-other hand-a"],
        mends: "$v domrename hand-other $d",
        asks: &[],
    },
    Hand {
        name: "deleted",
        does: "$v destroy $d; $v undefine $d",
        seen: ("plan", 0),
        said: &["vm hand-a"],
        mends: "",
        asks: &[],
    },
    Hand {
        name: "given an external snapshot",
        does: "$v snapshot-create-as $d ext --disk-only --diskspec vda,snapshot=external,file=/var/lib/libvirt/hand.ext --no-metadata",
        seen: ("plan", 3),
        said: &["snapshot"],
        mends: "$v blockcommit $d vda --active --pivot --wait; rm -f /var/lib/libvirt/hand.ext",
        asks: &[],
    },
    Hand {
        name: "given an internal snapshot",
        does: "$v destroy $d; $v snapshot-create-as $d int",
        seen: ("verify", 5),
        said: &["snapshots"],
        mends: "$v snapshot-delete $d int",
        asks: &[],
    },
    Hand {
        name: "redefined without our mark",
        does: "$v metadata $d urn:freehold:mark:1 --config --remove",
        seen: ("plan", 3),
        said: &["lost our mark", "freehold adopt hand-a --mark"],
        mends: "",
        asks: &["adopt", "hand-a", "--mark", "--yes"],
    },
    Hand {
        name: "made of nobody's XML",
        does: "$v destroy $d; u=$($v domuuid $d | head -1); $v undefine $d; \
               echo \"<domain type='qemu'><name>$d</name><uuid>$u</uuid><memory>16384</memory><os><type>hvm</type></os></domain>\" \
               >/tmp/hand.xml; $v define /tmp/hand.xml",
        seen: ("plan", 3),
        said: &["lost our mark"],
        mends: "$v undefine $d",
        asks: &[],
    },
];

impl Hand {
    /// Does what was told, and all is well.
    fn mended(&self, pair: &Pair, when: &str) {
        by_hand(pair, self.mends);
        if !self.asks.is_empty() {
            pair.bed.expect(0, self.asks).unwrap();
        }
        pair.converges(&format!("it was {} {when}", self.name));
    }
}

fn by_hand(pair: &Pair, what: &str) {
    let head = "v='virsh -q -c qemu:///system'; d=hand-a";
    script(&pair.lab, "rack1", &format!("set -e; {head}; {what}"));
}

/// What rack1 has under such names.
fn seen(pair: &Pair) -> String {
    let look = "v='virsh -q -c qemu:///system'; $v list --all --name | grep ^hand- | while read -r d; do \
                $v dumpxml --inactive $d; done";
    script(&pair.lab, "rack1", look)
}

#[test]
fn hands_are_seen_and_what_they_did_is_mended_or_left() {
    let _alone = common::alone();
    let pair = Pair::new(&lab(), "hand", 224).applied();
    let mut memory = ["16MiB", "24MiB"];
    for hand in &HANDS {
        println!("{} before a plan", hand.name);
        by_hand(&pair, hand.does);
        let (command, status) = hand.seen;
        let told = pair.bed.freehold(&[command]).output().unwrap();
        assert_eq!(told.status, status, "{}: {told}", hand.name);
        says(&told, hand.said);
        if status == 3 {
            let before = seen(&pair);
            assert_eq!(pair.apply().status, 3, "{}", hand.name);
            assert_eq!(seen(&pair), before, "{}: it is held back", hand.name);
        }
        hand.mended(&pair, "before a plan");

        println!("{} between a plan and its apply", hand.name);
        pair.grow(memory[0], memory[1]);
        memory.reverse();
        pair.bed.expect(0, &["plan", "-o", "./hand.plan"]).unwrap();
        by_hand(&pair, hand.does);
        let before = seen(&pair);
        let stale = ["apply", "./hand.plan", "--yes", "--allow", "restart"];
        let said: Output = pair.bed.freehold(&stale).output().unwrap();
        assert_eq!(said.status, 4, "{}: {said}", hand.name);
        says(&said, &["changed since it was made", "hand-a"]);
        assert_eq!(seen(&pair), before, "{}: nothing was done", hand.name);
        hand.mended(&pair, "between a plan and its apply");
    }
}

#[test]
fn what_others_have_under_our_names_is_left_alone() {
    let _alone = common::alone();
    let pair = Pair::new(&lab(), "hans", 224);
    let lock = pair.bed.read("freehold.lock").unwrap();
    let root = lock.split('"').filter(|word| word.ends_with(".root.0")).nth(1).unwrap();
    assert!(root.starts_with(&volume_prefix("hans")), "{root}");
    let xml = "<domain type='qemu'><name>hans-a</name><memory>16384</memory><os><type>hvm</type></os></domain>";
    let domain =
        format!("echo \"{xml}\" >/tmp/hans.xml; virsh -q -c qemu:///system define /tmp/hans.xml");
    script(&pair.lab, "rack1", &domain);
    script(
        &pair.lab,
        "rack2",
        &format!("head -c 4000 /dev/urandom >{POOL}/{root}; chmod 0640 {POOL}/{root}"),
    );
    let zone = "/api/v1/servers/localhost/zones/hans.example.org.";
    let record = |kind: &str, records: serde_json::Value| {
        let change = json!({ "rrsets": [{ "name": "hans-b.hans.example.org.", "type": "A", "ttl": 9,
            "changetype": kind, "records": records }] });
        pair.lab.powerdns_api("PATCH", zone, Some(&change)).unwrap();
    };
    record("REPLACE", json!([{ "content": "10.77.0.9", "disabled": false }]));
    let look = || {
        let domain = virsh(&pair.lab, "rack1", "dumpxml --inactive hans-a");
        let file = script(
            &pair.lab,
            "rack2",
            &format!("cd {POOL}; sha256sum {root}; stat -c '%u %g %a %Y' {root}"),
        );
        (domain, file, pair.lab.dig("hans-b.hans.example.org", "A").unwrap())
    };
    let before = look();
    for _ in 0..2 {
        let said = pair.apply();
        assert_eq!(said.status, 3, "{said}");
        says(&said, &["vm hans-a on rack1", "not made by freehold", root]);
        assert_eq!(look(), before, "{said}");
    }
    let said = pair.bed.freehold(&["destroy", "--yes"]).output().unwrap();
    assert_eq!(look(), before, "{said}");
    script(&pair.lab, "rack1", "virsh -q -c qemu:///system undefine hans-a");
    script(&pair.lab, "rack2", &format!("rm {POOL}/{root}"));
    let said = pair.apply();
    assert_eq!(said.status, 3, "{said}");
    says(&said, &["hans-b.hans.example.org"]);
    assert_eq!(pair.lab.dig("hans-b.hans.example.org", "A").unwrap(), ["10.77.0.9"]);
    record("DELETE", json!([]));
    pair.converges("what others had was taken away by them");
}
