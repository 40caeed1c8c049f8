//! State lost, host burnt, host back again: `freehold recover` and `freehold rebuild`.
//!
//! Addresses from 10.77.0.160 to 10.77.0.169 belong to this file. It takes rack1's whole pool away for
//! a while, so its tests are one after another.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{collections::BTreeMap, fs, time::Duration};

use acceptance::{
    bed::{Bed, Place, eventually},
    burnt::{Burnt, POOL},
    lab::Lab,
};
use common::{
    CleanUp, PUBLISHED, Text, lab,
    small::{says, volume_prefix},
    virsh, vm,
};
use serde_json::Value;

/// A guest that boots and one that is off and keeps a disk, both of which may live on either rack.
fn text(lab: &Lab, name: &'static str) -> String {
    let hosts = "[host.rack1, host.rack2]";
    let data = "disk \"data\" {\n    size = \"8MiB\"\n    keep = true\n  }\n  running = false";
    let web = vm(lab, &format!("{name}web"), hosts, PUBLISHED);
    let db = vm(lab, &format!("{name}db"), hosts, &format!("{data}\n{PUBLISHED}"));
    Text { name, tens: 16, vms: web + &db }.whole(lab)
}

/// A fleet on rack1, both VMs of it decided there.
fn on_rack1(lab: &Lab, name: &'static str) -> Bed {
    let bed = Bed::new(lab, &text(lab, name)).unwrap();
    fs::copy(lab.known_hosts(), bed.path().join("known_hosts")).unwrap();
    let only = bed.read("fleet.hcl").unwrap();
    bed.write("fleet.hcl", &only.replace("[host.rack1, host.rack2]", "[host.rack1]")).unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    bed.write("fleet.hcl", &only).unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    bed
}

/// What outsiders know a VM by.
fn face(bed: &Bed, rack: &str, name: &str) -> BTreeMap<&'static str, String> {
    let lab = bed.lab();
    let zone = bed.read("fleet.hcl").unwrap();
    let zone = zone.split("name    = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mac = virsh(lab, rack, &format!("domiflist {name}"));
    let mac =
        mac.split_whitespace().find(|word| word.matches(':').count() == 5).unwrap().to_owned();
    BTreeMap::from([
        ("uuid", virsh(lab, rack, &format!("domuuid {name}"))),
        ("mac", mac),
        ("address", lab.dig(&format!("{name}.{zone}"), "A").unwrap().join(" ")),
    ])
}

/// The guest proves the key that was known before its first boot.
fn answers(bed: &Bed, name: &str) {
    let said = bed.freehold(&["ssh", name, "--", "hostname"]).output().unwrap();
    assert_eq!((said.status, said.text()), (0, name), "{said}");
}

/// What the state says, less what tells one state from another.
fn state(bed: &Bed) -> Value {
    let text = bed.read(".freehold/state.json").unwrap();
    let mut state = serde_json::from_str::<Value>(&text).unwrap()["body"].take();
    for of_itself in ["lineage", "serial", "pending"] {
        state.as_object_mut().unwrap().remove(of_itself).unwrap();
    }
    // Its card may know the fleet of an earlier run of this test.
    state["hosts"].as_object_mut().unwrap().remove("rack2");
    // That we made a zone stands nowhere else.
    let published = state["published"].as_array_mut().unwrap();
    published.retain(|entry| entry["key"]["what"] != "zone");
    state
}

fn settled(bed: &Bed) {
    says(&bed.expect(0, &["plan", "--check"]).unwrap(), &["nothing to do"]);
    bed.expect(0, &["verify"]).unwrap();
}

fn lose_state(bed: &Bed) {
    for name in ["state.json", "journal.jsonl"] {
        fs::remove_file(bed.path().join(".freehold").join(name)).unwrap();
    }
    fs::remove_dir_all(bed.path().join(".freehold/history")).unwrap();
}

#[test]
fn what_is_lost_comes_back() {
    let lab = lab();
    let rack1 = Burnt::to_be(&lab, "rb[dn]", volume_prefix("rbd")).unwrap();
    let bed = on_rack1(&lab, "rbd");
    let _clean = CleanUp(&bed);
    let (web, db) = (face(&bed, "rack1", "rbdweb"), face(&bed, "rack1", "rbddb"));
    settled(&bed);

    let stranger = Stranger::settles(&lab);
    a_lost_state(&bed, &stranger);
    a_burnt_host(&bed, &rack1, &web, &db);
    a_host_that_comes_back(&bed, &stranger, &web);
    from_nothing(&rack1, &lab);
}

fn a_lost_state(bed: &Bed, stranger: &Stranger<'_>) {
    let (lost, foreign) = (state(bed), stranger.is());
    lose_state(bed);
    let said = bed.expect(3, &["apply", "--yes"]).unwrap();
    says(&said, &["host rack1: it has objects of this fleet", "freehold recover"]);
    let empty = bed.read(".freehold/state.json").unwrap();
    bed.expect(0, &["recover", "--dry-run"]).unwrap();
    assert_eq!(bed.read(".freehold/state.json").unwrap(), empty, "a dry run writes nothing");
    let said = bed.expect(0, &["recover"]).unwrap();
    says(&said, &["2 VMs", "vm rbdweb on rack1: 1 disk", "vm rbddb on rack1: 2 disks"]);
    assert_eq!(state(bed), lost);
    settled(bed);
    assert_eq!(stranger.is(), foreign, "it only looks");
    says(&bed.expect(1, &["recover"]).unwrap(), &["is there, with serial", "nothing was lost"]);

    // Damaged is no other thing: what is left is kept.
    fs::write(bed.path().join(".freehold/state.json"), "{").unwrap();
    says(&bed.expect(1, &["plan"]).unwrap(), &["state.json is damaged"]);
    let said = bed.expect(0, &["recover"]).unwrap();
    says(&said, &["the state cannot be read", "put aside"]);
    assert_eq!(state(bed), lost);
}

fn a_burnt_host(
    bed: &Bed,
    rack1: &Burnt<'_>,
    web: &BTreeMap<&'static str, String>,
    db: &BTreeMap<&'static str, String>,
) {
    let lab = bed.lab();
    let volume = format!("{}{}.data.0", volume_prefix("rbd"), &db["uuid"][..8]);
    rack1.run(&format!("qemu-io -f qcow2 -c 'write -P 0x5a 0 64k' {POOL}/{volume}")).unwrap();
    rack1.burn().unwrap();
    let said = bed.expect(3, &["apply", "--yes"]).unwrap();
    says(&said, &["host rack1: not the host we knew"]);
    let (lock, before) = (bed.read("freehold.lock").unwrap(), state(bed));
    let said = bed.expect(5, &["rebuild", "rack1", "--dry-run"]).unwrap();
    says(
        &said,
        &["rack1 is given up; on its new machine: 1 VM: rbdweb", "+ vm rbdweb", "+ image guest"],
    );
    says(&said, &["not made: vm rbddb: its kept disk data was on rack1", &volume, "memory:"]);
    assert_eq!((bed.read("freehold.lock").unwrap(), state(bed)), (lock, before));

    // What nobody gave up waits; what can be made is there.
    bed.expect(5, &["rebuild", "rack1", "--yes"]).unwrap();
    assert_eq!(face(bed, "rack1", "rbdweb"), *web);
    answers(bed, "rbdweb");
    assert_eq!(virsh(lab, "rack1", "list --all --name | grep ^rbd"), "rbdweb");
    // Its backup is put where the hint says.
    rack1.run(&format!("cp {POOL}.burnt/{volume} {POOL}/{volume}")).unwrap();
    let said = bed.expect(0, &["rebuild", "rack1", "--yes"]).unwrap();
    says(&said, &["kept disk data of vm rbddb lies in the pool: it is attached"]);
    assert_eq!(face(bed, "rack1", "rbddb"), *db);
    rack1.run(&format!("qemu-io -f qcow2 -c 'read -P 0x5a 0 64k' {POOL}/{volume}")).unwrap();
    settled(bed);
    says(
        &bed.expect(1, &["rebuild", "rack1", "--yes"]).unwrap(),
        &["nothing of rack1 is to be made"],
    );
}

fn a_host_that_comes_back(
    bed: &Bed,
    stranger: &Stranger<'_>,
    web: &BTreeMap<&'static str, String>,
) {
    let lab = bed.lab();
    says(
        &bed.expect(1, &["rebuild", "rack1", "--as", "rack2"]).unwrap(),
        &["rack1 answers, and has what is ours"],
    );
    says(
        &bed.expect(1, &["rebuild", "rack1", "--as", "rack9"]).unwrap(),
        &["no host is named rack9"],
    );
    lab.rack1().cut().unwrap();
    let said = bed.expect(3, &["rebuild", "rack1", "--yes"]);
    let moved =
        bed.expect(0, &["rebuild", "rack1", "--as", "rack2", "--yes", "--allow", "data-loss"]);
    lab.rack1().mend().unwrap();
    says(&said.unwrap(), &["rack1 was not read", "--as NEW"]);
    says(&moved.unwrap(), &["rack1 is given up; on rack2: 2 VMs: rbddb, rbdweb"]);
    assert_eq!(face(bed, "rack2", "rbdweb"), *web);
    eventually("rack1 is back", Duration::from_secs(30), || {
        Ok(lab.ssh("rack1", "true")?.success())
    })
    .unwrap();

    // Both run now: nothing is touched without consent, and it is said.
    let said = bed.expect(5, &["apply", "--yes"]).unwrap();
    says(&said, &["old copy of vm rbdweb", "incarnation 2; it lives on rack2", "data-loss"]);
    assert_eq!(virsh(lab, "rack1", "list --name | grep ^rbd"), "rbdweb");
    bed.expect(5, &["verify"]).unwrap();
    let foreign = stranger.is();
    let said = bed.freehold(&["apply", "--yes", "--allow", "data-loss"]).output().unwrap();
    assert_eq!(said.status, 0, "{said}");
    let none = lab.ssh("rack1", "virsh list --all --name | grep -c ^rbd").unwrap();
    assert_eq!(none.text(), "0");
    assert_eq!(stranger.is(), foreign, "what is not ours is as it was");
    assert_eq!(face(bed, "rack2", "rbdweb"), *web);
    answers(bed, "rbdweb");
    settled(bed);
}

/// The repository, the identity secret and a fresh host.
fn from_nothing(rack1: &Burnt<'_>, lab: &Lab) {
    // The addresses of the other fleet are in use.
    let text = text(lab, "rbn").replace("[host.rack1, host.rack2]", "host.rack1");
    let bed = Bed::new(lab, &text.replace("10.77.0.160-", "10.77.0.165-")).unwrap();
    fs::copy(lab.known_hosts(), bed.path().join("known_hosts")).unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    let faces = ["rbnweb", "rbndb"].map(|name| (name, face(&bed, "rack1", name)));
    rack1.burn().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".freehold")).unwrap();
    for name in ["fleet.hcl", "freehold.lock", "known_hosts", ".freehold/identity.key"] {
        fs::copy(bed.path().join(name), folder.path().join(name)).unwrap();
    }
    let clone = Bed::at(lab, Place::Folder(folder.path().to_owned()));
    let _clean = CleanUp(&clone);
    let said = clone.freehold(&["apply", "--yes"]).output().unwrap();
    assert_eq!(said.status, 0, "{said}");
    for (name, before) in faces {
        assert_eq!(face(&clone, "rack1", name), before);
    }
    answers(&clone, "rbnweb");
    settled(&clone);
}

/// A VM of somebody else's, off.
struct Stranger<'a>(&'a Lab);

impl<'a> Stranger<'a> {
    const NAME: &'static str = "strangerbd";

    fn settles(lab: &'a Lab) -> Self {
        let xml = format!(
            "<domain type=\"qemu\"><name>{}</name><memory>16384</memory><os><type>hvm</type></os></domain>",
            Self::NAME
        );
        let define = format!("echo '{xml}' | virsh define /dev/stdin");
        assert!(lab.ssh("rack1", &define).unwrap().success());
        Self(lab)
    }

    fn is(&self) -> String {
        virsh(self.0, "rack1", &format!("dumpxml --inactive {}", Self::NAME))
    }
}

impl Drop for Stranger<'_> {
    fn drop(&mut self) {
        drop(self.0.ssh("rack1", &format!("virsh undefine {}", Self::NAME)));
    }
}
