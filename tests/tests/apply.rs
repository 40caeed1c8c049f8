//! The main job: one apply, and what hosts, name server, Prometheus and guests then show.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use acceptance::{bed::Bed, lab::command::Run};
use common::{
    CleanUp, PUBLISHED, Text, all_domains, domains, lab, targets_become, virsh, vm, volumes,
};

#[test]
fn one_apply_makes_vms_names_and_targets_and_destroy_takes_them_away() {
    let lab = lab();
    let data = "disk \"data\" {\n size = \"1GiB\"\n keep = true\n }";
    let web = vm(&lab, "alpha", "[host.rack1, host.rack2]", &format!("count = 2\n{PUBLISHED}"));
    let db = vm(&lab, "alphadb", "host.rack2", &format!("{data}\n{PUBLISHED}"));
    let text = Text { name: "alpha", tens: 10, vms: web + &db };
    let bed = Bed::new(&lab, &text.whole(&lab)).unwrap();
    let _clean = CleanUp(&bed);

    bed.expect(0, &["check"]).unwrap();
    let plan = bed.expect(0, &["plan"]).unwrap().stdout;
    for line in [
        "+ vm alpha-0",
        "+ vm alphadb",
        "+ dns alpha-0.alpha.example.org A 10.77.0.100",
        "+ target alpha-1:9100 node",
    ] {
        assert!(plan.contains(line), "{line}\n{plan}");
    }
    assert_eq!(all_domains(&lab, "alpha"), [""; 0], "plan changes nothing");

    bed.expect(0, &["apply", "--yes"]).unwrap();
    hosts_have_them(&lab);
    names_answer(&lab);
    targets_become(&lab, "alpha", &["alpha-0 up", "alpha-1 up", "alphadb up"]);
    guest_is_reached(&bed);

    let again = bed.expect(0, &["plan"]).unwrap().stdout;
    assert!(again.contains("nothing to do: 3 unchanged"), "{again}");
    let status = bed.expect(0, &["status"]).unwrap().stdout;
    assert!(status.contains("alpha-1  rack2  running  10.77.0.101"), "{status}");

    one_less(&bed);
    bed.expect(0, &["destroy", "--yes"]).unwrap();
    assert_eq!(all_domains(&lab, "alpha"), [""; 0]);
    assert_eq!(lab.dig("alpha-0.alpha.example.org", "A").unwrap(), [""; 0]);
    targets_become(&lab, "alpha", &[]);
    let kept = volumes(&lab, "rack2", ".data.");
    let ours: Vec<_> = kept.iter().filter(|name| name.starts_with("616c7068.")).collect();
    assert_eq!(ours.len(), 1, "a kept disk stays in its place: {kept:?}");
}

fn hosts_have_them(lab: &acceptance::lab::Lab) {
    assert_eq!(domains(lab, "rack1", "alpha"), ["alpha-0"]);
    assert_eq!(domains(lab, "rack2", "alpha"), ["alpha-1", "alphadb"]);
    for (rack, name) in [("rack1", "alpha-0"), ("rack2", "alphadb")] {
        let info = virsh(lab, rack, &format!("dominfo {name}"));
        assert!(info.contains("State:          running"), "{info}");
        assert!(info.contains("Autostart:      enable"), "{info}");
        assert!(info.contains("Persistent:     yes"), "{info}");
        let xml = virsh(lab, rack, &format!("dumpxml --inactive {name}"));
        assert!(xml.contains("616c706861616c706861616c70686161"), "our mark: {xml}");
        assert!(xml.contains("<backingStore/>"), "the chain is closed: {xml}");
    }
    let disks = virsh(lab, "rack2", "domblklist alphadb");
    assert!(disks.contains(".root.0") && disks.contains(".data.0"), "{disks}");
}

fn names_answer(lab: &acceptance::lab::Lab) {
    assert_eq!(lab.dig("alpha-0.alpha.example.org", "A").unwrap(), ["10.77.0.100"]);
    assert_eq!(lab.dig("alpha-1.alpha.example.org", "A").unwrap(), ["10.77.0.101"]);
    assert_eq!(lab.dig("101.0.77.10.in-addr.arpa", "PTR").unwrap(), ["alpha-1.alpha.example.org."]);
    let zone = lab
        .powerdns_api("GET", "/api/v1/servers/localhost/zones/alpha.example.org.", None)
        .unwrap();
    let rrsets = zone["rrsets"].as_array().unwrap();
    let ours = rrsets.iter().find(|rrset| rrset["name"] == "alpha-0.alpha.example.org.").unwrap();
    assert_eq!(ours["comments"][0]["account"], "freehold", "{ours}");
}

fn guest_is_reached(bed: &Bed) {
    let name = bed.expect(0, &["ssh", "alpha-0", "--", "hostname"]).unwrap();
    assert_eq!(name.text(), "alpha-0", "{name}");
    let disks = bed.expect(0, &["ssh", "alphadb", "--", "cat /proc/partitions"]).unwrap().stdout;
    assert!(disks.contains("1048576 vda") && disks.contains("1048576 vdb"), "{disks}");
    let shown = Run::new("ssh-keyscan").args(["-t", "ed25519", "10.77.0.100"]).ok().unwrap();
    let key = shown.text().split_whitespace().nth(2).unwrap();
    assert!(bed.read("freehold.lock").unwrap().contains(key), "the guest shows the key we made");
}

fn one_less(bed: &Bed) {
    let lab = bed.lab();
    bed.edit("count = 2", "count = 1").unwrap();
    let held = bed.expect(5, &["apply", "--yes"]).unwrap();
    assert!(held.stderr.contains("--allow data-loss"), "{held}");
    assert_eq!(domains(lab, "rack2", "alpha-"), ["alpha-1"], "nothing without consent");
    assert_eq!(lab.dig("alpha-1.alpha.example.org", "A").unwrap(), ["10.77.0.101"]);

    bed.expect(0, &["apply", "--yes", "--allow", "data-loss=alpha-1"]).unwrap();
    assert_eq!(domains(lab, "rack2", "alpha-"), [""; 0]);
    assert_eq!(lab.dig("alpha-1.alpha.example.org", "A").unwrap(), [""; 0]);
    assert_eq!(lab.dig("101.0.77.10.in-addr.arpa", "PTR").unwrap(), [""; 0]);
    targets_become(lab, "alpha", &["alpha-0 up", "alphadb up"]);
    let trash = volumes(lab, "rack2", "trash.");
    assert!(trash.iter().any(|name| name.contains("616c7068.")), "{trash:?}");
    assert!(trash.iter().any(|name| name.contains(".xml")), "{trash:?}");
}

#[test]
fn a_killed_apply_is_finished_by_the_next() {
    let lab = lab();
    let vms = vm(&lab, "bravo", "[host.rack1, host.rack2]", "count = 4\nwait = \"none\"");
    let text = Text { name: "bravo", tens: 11, vms };
    let bed = Bed::new(&lab, &text.whole(&lab)).unwrap();
    let _clean = CleanUp(&bed);
    bed.expect(0, &["plan", "--lock"]).unwrap();
    let mut begun = 0;
    // Kills fall on whatever is under way; the image is brought in the first of them.
    for millis in [150, 300, 450, 600, 750, 900] {
        let killed = bed
            .freehold(&["apply", "--yes"])
            .killed_after(std::time::Duration::from_millis(millis))
            .unwrap();
        begun += usize::from(killed);
    }
    assert!(begun >= 2, "kills must hit a run: {begun}");
    let after = bed.expect(0, &["apply", "--yes"]).unwrap();
    let plan = bed.expect(0, &["plan"]).unwrap().stdout;
    assert!(plan.contains("nothing to do: 4 unchanged"), "{plan}\n{after}");
    assert_eq!(domains(&lab, "rack1", "bravo"), ["bravo-0", "bravo-2"]);
    assert_eq!(domains(&lab, "rack2", "bravo"), ["bravo-1", "bravo-3"]);
    bed.expect(0, &["destroy", "--yes"]).unwrap();
    for rack in ["rack1", "rack2"] {
        let left = volumes(&lab, rack, "62726176.");
        let left: Vec<_> = left.iter().filter(|name| !name.starts_with("trash.")).collect();
        assert!(left.is_empty(), "{rack}: {left:?}");
        assert_eq!(volumes(&lab, rack, ".staging"), [""; 0], "{rack}");
    }
}

#[test]
fn a_vm_carries_the_target_file_and_boots_by_uefi() {
    let lab = lab();
    let more = format!("firmware = \"uefi\"\n{PUBLISHED}");
    let vms = vm(&lab, "carry", "host.rack1", &more).replace("192MiB", "256MiB");
    let text = Text { name: "carry", tens: 19, vms }.whole(&lab);
    let on_host = common::targets_file(&lab, "carry");
    let text = text
        .replace(&format!("path = \"{on_host}\""), "on = vm.carry\n  path = \"/tmp/targets.json\"")
        .replace("url  = \"http://10.77.0.1:9090\"", "");
    let bed = Bed::new(&lab, &text).unwrap();
    let _clean = CleanUp(&bed);

    let applied = bed.expect(0, &["apply", "--yes"]).unwrap();
    assert!(applied.stdout.contains("prometheus main"), "it waits for its VM: {applied}");
    let xml = virsh(&lab, "rack1", "dumpxml carry");
    assert!(xml.contains("OVMF"), "{xml}");
    let file = bed.expect(0, &["ssh", "carry", "--", "cat /tmp/targets.json"]).unwrap();
    assert!(file.stdout.contains("10.77.0.190:9100"), "{file}");
    let plan = bed.expect(0, &["plan"]).unwrap().stdout;
    assert!(plan.contains("nothing to do: 1 unchanged"), "{plan}");
}
