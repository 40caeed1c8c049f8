//! What changes in VMs that are there, seen by virsh, dig and the guests themselves.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::time::{Duration, Instant};

use acceptance::{
    bed::Bed,
    lab::{Lab, command::Run},
};
use common::{
    CleanUp, PUBLISHED, Text, domains, lab,
    small::{self, Gone, RACK1, RACK2, idle, says},
    virsh, vm, volumes,
};

/// Applies with this consent; without it the change is held back and nothing happens.
fn changes(bed: &Bed, class: &str, words: &str) {
    let held = bed.expect(5, &["apply", "--yes"]).unwrap();
    says(&held, &[words, &format!("--allow {class}")]);
    bed.expect(0, &["apply", "--yes", "--allow", class]).unwrap();
    let plan = bed.expect(0, &["plan"]).unwrap();
    says(&plan, &["nothing to do: 1 unchanged"]);
}

fn partitions(bed: &Bed, name: &str) -> String {
    bed.expect(0, &["ssh", name, "--", "cat /proc/partitions"]).unwrap().stdout
}

#[test]
fn a_living_vm_changes_and_keeps_what_others_added() {
    let lab = lab();
    let data = "disk \"data\" {\n    size = \"64MiB\"\n  }";
    let vms = vm(&lab, "delta", "host.rack2", PUBLISHED);
    let text = Text { name: "delta", tens: 17, vms }.whole(&lab);
    let bed = Bed::new(&lab, &text).unwrap();
    let _clean = CleanUp(&bed);
    bed.expect(0, &["apply", "--yes"]).unwrap();
    let uuid = virsh(&lab, "rack2", "domuuid delta");
    virsh(&lab, "rack2", "desc delta --config --live written by hand");
    virsh(&lab, "rack2", "metadata delta urn:tool --config --key tool --set '<note>x</note>'");

    bed.edit("memory = \"192MiB\"", "memory = \"256MiB\"").unwrap();
    changes(&bed, "restart", "memory: 192MiB -> 256MiB");
    assert!(virsh(&lab, "rack2", "dominfo delta").contains("262144 KiB"));
    let memory = bed.expect(0, &["ssh", "delta", "--", "grep MemTotal /proc/meminfo"]).unwrap();
    let kib: u64 = memory.text().split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib > 200_000, "the guest has it: {memory}");

    bed.edit("nic \"lan\" {}", &format!("{data}\n  nic \"lan\" {{}}")).unwrap();
    changes(&bed, "restart", "disk: none -> data of 64MiB");
    assert!(partitions(&bed, "delta").contains("65536 vdb"));

    bed.edit("size = \"64MiB\"", "size = \"128MiB\"").unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert!(partitions(&bed, "delta").contains("131072 vdb"), "grown while it runs");

    let text = bed.read("fleet.hcl").unwrap().replace("vm \"delta\"", "vm \"deltb\"");
    let text = text + "\nmoved {\n  from = \"delta\"\n  to = \"deltb\"\n}\n";
    bed.write("fleet.hcl", &text).unwrap();
    changes(&bed, "restart", "was delta");
    assert_eq!(domains(&lab, "rack2", "delt"), ["deltb"]);
    assert_eq!(virsh(&lab, "rack2", "domuuid deltb"), uuid, "renamed, not made again");
    assert_eq!(lab.dig("deltb.delta.example.org", "A").unwrap(), ["10.77.0.170"]);
    assert_eq!(lab.dig("delta.delta.example.org", "A").unwrap(), [""; 0]);
    assert_eq!(lab.dig("170.0.77.10.in-addr.arpa", "PTR").unwrap(), ["deltb.delta.example.org."]);

    let xml = virsh(&lab, "rack2", "dumpxml --inactive deltb");
    for kept in ["written by hand", "urn:tool"] {
        assert!(xml.contains(kept), "{kept} stays: {xml}");
    }
    is_made_again(&bed, &lab);
}

/// `replace` makes it again: its disk is fresh, its name, address and key are the same.
fn is_made_again(bed: &Bed, lab: &Lab) {
    let uuid = virsh(lab, "rack2", "domuuid deltb");
    bed.expect(0, &["ssh", "deltb", "--", "hostname"]).unwrap();
    let done = bed.expect(0, &["replace", "deltb", "--yes"]).unwrap();
    says(&done, &["± vm deltb: 2 disks to the trash"]);
    assert_eq!(virsh(lab, "rack2", "domuuid deltb"), uuid);
    assert_eq!(lab.dig("deltb.delta.example.org", "A").unwrap(), ["10.77.0.170"]);
    let name = bed.expect(0, &["ssh", "deltb", "--", "hostname"]).unwrap();
    assert_eq!(name.text(), "deltb", "its host key is known still: {name}");
    let prefix = small::volume_prefix("delta");
    let trash = volumes(lab, "rack2", "trash.");
    let ours: Vec<_> = trash.iter().filter(|name| name.contains(&prefix)).collect();
    assert!(ours.iter().any(|name| name.contains(".root.")), "{ours:?}");
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
}

#[test]
fn what_is_protected_stays_and_a_lost_mark_is_put_back_by_name() {
    let lab = lab();
    let block = idle("guard", "host.rack1", "protect = true\n  running = false");
    let bed = small::bed(&lab, "guard", &format!("{RACK1}{block}"));
    bed.expect(0, &["apply", "--yes"]).unwrap();
    let declared = bed.read("fleet.hcl").unwrap();

    says(&bed.expect(3, &["destroy", "--yes"]).unwrap(), &["it is protected"]);
    bed.write("fleet.hcl", &declared.replace(&block, "")).unwrap();
    let gone = ["apply", "--yes", "--allow", "data-loss", "--deletes", "9"];
    says(&bed.expect(3, &gone).unwrap(), &["it is protected"]);
    assert_eq!(domains(&lab, "rack1", "guard"), ["guard"]);

    bed.write("fleet.hcl", &declared).unwrap();
    virsh(&lab, "rack1", "metadata guard urn:freehold:mark:1 --config --remove");
    let held = bed.expect(3, &["apply", "--yes"]).unwrap();
    says(&held, &["lost our mark", "freehold adopt guard --mark"]);
    says(&bed.expect(3, &["destroy", "guard", "--yes"]).unwrap(), &["it is protected"]);
    bed.expect(0, &["adopt", "guard", "--mark", "--yes"]).unwrap();
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
    let xml = virsh(&lab, "rack1", "dumpxml --inactive guard");
    assert!(xml.contains("protect=\"true\"") || xml.contains("protect='true'"), "{xml}");

    bed.write("fleet.hcl", &declared.replace("protect = true\n", "")).unwrap();
    says(&bed.expect(5, &["apply", "--yes"]).unwrap(), &["--unprotect guard"]);
    bed.expect(0, &["apply", "--yes", "--unprotect", "guard"]).unwrap();
    bed.expect(0, &["destroy", "--yes"]).unwrap();
    assert_eq!(domains(&lab, "rack1", "guard"), [""; 0]);
}

#[test]
fn a_saved_plan_is_carried_out_as_it_was_or_not_at_all() {
    let lab = lab();
    let vms = |memory: &str| {
        let one = idle("saved", "[host.rack1, host.rack2]", "count = 2\n  running = false");
        one.replace("16MiB\"\n  wait", &format!("{memory}\"\n  wait"))
    };
    let bed = small::bed(&lab, "saved", &format!("{RACK1}{RACK2}{}", vms("16MiB")));
    let _gone = Gone(&bed, "saved");
    bed.expect(0, &["plan", "-o", "./first.plan"]).unwrap();
    assert_eq!(common::all_domains(&lab, "saved"), [""; 0]);
    bed.expect(0, &["apply", "./first.plan", "--yes"]).unwrap();
    assert_eq!(common::all_domains(&lab, "saved"), ["saved-0", "saved-1"]);
    let stale = bed.expect(4, &["apply", "./first.plan", "--yes"]).unwrap();
    says(&stale, &["it was made from serial", "plan again"]);

    bed.edit("memory = \"16MiB\"", "memory = \"32MiB\"").unwrap();
    bed.expect(5, &["plan", "--check", "-o", "./next.plan"]).unwrap();
    let text = bed.read("next.plan").unwrap();
    bed.write("edited.plan", &text.replace("\"cpus\": 1", "\"cpus\": 9")).unwrap();
    says(&bed.expect(1, &["apply", "./edited.plan", "--yes"]).unwrap(), &["was it edited?"]);

    virsh(&lab, "rack2", "desc saved-1 --config somebody was here");
    let changed = bed.expect(4, &["apply", "./next.plan", "--yes"]).unwrap();
    says(&changed, &["changed since it was made: vm saved-1 on rack2"]);
    bed.expect(0, &["plan", "-o", "./next.plan"]).unwrap();
    bed.edit("memory = \"32MiB\"", "memory = \"48MiB\"").unwrap();
    let other = bed.expect(4, &["apply", "./next.plan", "--yes"]).unwrap();
    says(&other, &["the fleet's text"]);
    bed.edit("memory = \"48MiB\"", "memory = \"32MiB\"").unwrap();
    bed.expect(0, &["apply", "./next.plan", "--yes"]).unwrap();
    assert!(virsh(&lab, "rack1", "dominfo saved-0").contains("32768 KiB"));
    assert!(virsh(&lab, "rack2", "dumpxml saved-1").contains("somebody was here"));
}

#[test]
fn a_part_of_the_fleet_is_applied_alone() {
    let lab = lab();
    let block = |name: &str, host: &str| idle(name, host, "running = false");
    let blocks = block("parta", "host.rack1") + &block("partb", "host.rack2");
    let bed = small::bed(&lab, "parts", &format!("{RACK1}{RACK2}{blocks}"));
    let _gone = Gone(&bed, "part");
    bed.expect(0, &["apply", "parta", "--yes"]).unwrap();
    assert_eq!(common::all_domains(&lab, "part"), ["parta"]);
    bed.expect(0, &["apply", "--host", "rack1", "--yes"]).unwrap();
    assert_eq!(common::all_domains(&lab, "part"), ["parta"]);
    says(&bed.expect(1, &["apply", "partc", "--yes"]).unwrap(), &["no vm is named partc"]);
    says(&bed.expect(1, &["plan", "--host", "rack9"]).unwrap(), &["no host is named rack9"]);
    let json = bed.expect(0, &["plan", "--json"]).unwrap().stdout;
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&plan["format"], &plan["counts"]["unchanged"]), (&1.into(), &1.into()), "{json}");
    let changes = plan["changes"].as_array().unwrap();
    let made = changes.iter().any(|change| change["object"]["name"] == "partb");
    assert!(made && changes.iter().all(|change| change["action"] == "create"), "{json}");
    let events = bed.expect(0, &["apply", "--host", "rack2", "--yes", "--json"]).unwrap().stdout;
    let last: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["failed"]), (&"run-ended".into(), &0.into()), "{events}");
    assert_eq!(common::all_domains(&lab, "part"), ["parta", "partb"]);
    bed.expect(0, &["forget", "parta", "--yes"]).unwrap();
    says(&bed.expect(3, &["plan"]).unwrap(), &["it was forgotten"]);
    assert_eq!(common::all_domains(&lab, "part"), ["parta", "partb"], "it lives on");
    bed.expect(0, &["adopt", "parta", "--yes"]).unwrap();
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 2 unchanged"]);
}

#[test]
fn ctrl_c_ends_downloads_at_once_and_says_what_is_left() {
    let lab = lab();
    // A server that takes a minute to answer.
    let place = small::serve("10.77.0.1", Vec::new(), Duration::from_mins(1));
    let (url, sha256) = (format!("http://{place}/slow.qcow2"), "5c".repeat(32));
    let blocks = small::image(&url, &sha256) + RACK1 + &idle("ctrlc", "host.rack1", "");
    let bed = Bed::new(&lab, &small::fleet("ctrlc", &blocks)).unwrap();
    bed.decide().unwrap();
    let pause = Duration::from_secs(4);
    for ended in [Run::interrupted_after, Run::terminated_after] {
        let begun = Instant::now();
        let run = ended(bed.freehold(&["apply", "--yes"]), pause).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(15), "{run}");
        assert_eq!(run.status, 130, "{run}");
        says(&run, &["ending:", "interrupted", "left out: define domain ctrlc"]);
        small::nothing_was_made(&lab, "ctrlc");
    }
    // The state was written: nothing is left to be settled, and the next plan begins anew.
    let plan = bed.expect(0, &["plan"]).unwrap();
    says(&plan, &["+ image blank", "+ vm ctrlc"]);
    assert_eq!(small::pool_files(&lab, "rack1", &sha256[..32]), [""; 0]);
}

#[test]
fn ctrl_c_once_finishes_a_call_and_twice_stops_now() {
    let lab = lab();
    let bed = small::bed(&lab, "twice", &format!("{RACK1}{}", idle("twice", "host.rack1", "")));
    let _gone = Gone(&bed, "twice");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    // A machine without a system never shuts down: it is turned off after a minute.
    let destroy = || bed.freehold(&["destroy", "twice", "--yes"]);
    let (begun, second) = (Instant::now(), Duration::from_secs(2));
    let run = destroy().interrupted_at(&[Duration::from_secs(3), second]).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "{run}");
    assert_eq!(run.status, 130, "{run}");
    says(&run, &["ending:", "stopped; the next apply settles what was under way"]);
    assert_eq!(domains(&lab, "rack1", "twice"), ["twice"], "nothing was undefined");
    let run = destroy().interrupted_after(Duration::from_secs(3)).unwrap();
    assert_eq!(run.status, 130, "{run}");
    says(&run, &["shut down twice: done", "left out: undefine twice"]);
    assert_eq!(domains(&lab, "rack1", "twice"), ["twice"], "off, and defined as it was");
    assert!(virsh(&lab, "rack1", "domstate twice").contains("shut off"));
    bed.expect(0, &["destroy", "twice", "--yes"]).unwrap();
    assert_eq!(domains(&lab, "rack1", "twice"), [""; 0]);
}

#[test]
fn a_disk_under_somebodys_clone_is_not_taken_away() {
    let lab = lab();
    let bed = small::bed(&lab, "under", &format!("{RACK1}{}", idle("under", "host.rack1", "")));
    bed.expect(0, &["apply", "--yes"]).unwrap();
    small::turn_off(&lab, "under");
    let pool = "/var/lib/libvirt/freehold";
    let volumes = || volumes(&lab, "rack1", &small::volume_prefix("under"));
    let root = volumes().into_iter().find(|name| name.contains(".root.")).unwrap();
    // Outside of our pool, of a domain that is off: no XML tells what it stands on.
    let clone = "/var/lib/libvirt/somebodys-clone.qcow2";
    let run = |command: &str| lab.ssh("rack1", command).unwrap();
    let made = format!("qemu-img create -q -f qcow2 -F qcow2 -b {pool}/{root} {clone}");
    assert!(run(&made).success());
    let xml = format!(
        "<domain type='qemu'><name>somebodys</name><memory>65536</memory><os><type>hvm</type></os>\
         <devices><disk type='file'><driver name='qemu' type='qcow2'/><source file='{clone}'/>\
         <target dev='vda' bus='virtio'/></disk></devices></domain>"
    );
    let defined = run(&format!("echo \"{xml}\" | virsh define /dev/stdin"));
    assert!(defined.success(), "{defined}");

    let refused = bed.expect(3, &["destroy", "under", "--yes"]).unwrap();
    says(&refused, &["domain somebodys uses it"]);
    assert!(volumes().contains(&root), "{refused}");
    assert!(run(&format!("virsh undefine somebodys && rm {clone}")).success());
    bed.expect(0, &["destroy", "under", "--yes"]).unwrap();
    assert_eq!(domains(&lab, "rack1", "under"), [""; 0]);
}

#[test]
fn what_was_removed_comes_back_from_the_trash_as_it_was() {
    let lab = lab();
    let block = idle("gonebak", "host.rack2", "firmware = \"uefi\"\n  running = false");
    let bed = small::bed(&lab, "gonebak", &format!("{RACK2}{block}"));
    bed.expect(0, &["apply", "--yes"]).unwrap();
    let uuid = virsh(&lab, "rack2", "domuuid gonebak");
    let prefix = small::volume_prefix("gonebak");
    let root = volumes(&lab, "rack2", &prefix).into_iter().find(|name| name.contains(".root."));
    let root = format!("/var/lib/libvirt/freehold/{}", root.unwrap());
    let written = format!("qemu-io -f qcow2 -c 'write -P 0x5a 0 64k' {root}");
    assert!(lab.ssh("rack2", &written).unwrap().success());
    virsh(&lab, "rack2", "desc gonebak --config written by hand");

    bed.expect(0, &["destroy", "gonebak", "--yes"]).unwrap();
    assert_eq!(domains(&lab, "rack2", "gonebak"), [""; 0]);
    let list = bed.expect(0, &["trash", "list"]).unwrap();
    says(&list, &["gonebak", "root"]);
    // What is younger than `retain` stays.
    bed.expect(0, &["trash", "empty", "--yes"]).unwrap();
    says(&bed.expect(0, &["trash", "list"]).unwrap(), &["gonebak"]);

    bed.expect(0, &["trash", "restore", "gonebak"]).unwrap();
    assert_eq!(virsh(&lab, "rack2", "domuuid gonebak"), uuid);
    let xml = virsh(&lab, "rack2", "dumpxml --inactive gonebak");
    assert!(xml.contains("written by hand"), "{xml}");
    let read = format!("qemu-io -f qcow2 -c 'read -P 0x5a 0 64k' {root}");
    assert!(lab.ssh("rack2", &read).unwrap().success(), "its data is back");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);

    bed.expect(0, &["destroy", "gonebak", "--yes"]).unwrap();
    bed.expect(0, &["trash", "empty", "--older-than", "0s", "--yes"]).unwrap();
    let left = volumes(&lab, "rack2", &prefix);
    assert_eq!(left, [""; 0], "only this destroys data");
}
