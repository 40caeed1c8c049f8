//! What bad input gets: a clear word, the right exit code, and nothing half-made.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use acceptance::{
    bed::Bed,
    lab::{Lab, command::Run, sha256},
};
use common::{
    all_domains, lab,
    small::{
        Gone, RACK1, RACK2, bed, blank, fleet, idle, image, nothing_was_made, pool_files, says,
    },
    virsh,
};

const MISTAKES: &str = r#"
host "rack1" {
  ssh  = "rack1"
  acel = "tcg"
}
host "rack1" {
  ssh = "rack2"
}
network "lan" {
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  addresses = "10.77.0.120-10.77.0.129"
}
image "blank" {
  source = "blank.qcow2"
  sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
}
vm "one" {
  host   = host.rack1
  image  = image.blank
  memory = "2G1B"
  disk "root" {
    size = "1GiB"
  }
  nic "lan" {
    address = "10.78.0.5"
  }
}
vm "two" {
  host = host.rack9
  image  = image.blank
  disk "root" {
    size = "1GiB"
  }
}
vm "Not_A_Label" {
  host   = host.rack1
  image  = image.blank
  memory = "1GiB"
  disk "root" {
    size = "1GiB"
  }
}
"#;

#[test]
fn every_mistake_of_a_fleet_is_shown_at_its_line_in_one_run() {
    let lab = lab();
    let bed = Bed::new(&lab, &fleet("mistakes", MISTAKES)).unwrap();
    for command in ["check", "plan", "status"] {
        let said = bed.expect(1, &[command]).unwrap();
        says(&said, &["acel", "`accel`", "2G1B", "rack9", "Not_A_Label", "10.78.0.5", "memory"]);
        for line in [7, 9, 25, 30, 33, 34, 40] {
            says(&said, &[&format!("--> fleet.hcl:{line}:")]);
        }
        says(&said, &["rack1\" stands twice", "did you mean `rack1`?", "^^^^"]);
        assert_eq!(said.stdout, "", "mistakes are no data");
    }
    let said = bed.expect(1, &["apply", "--yes"]).unwrap();
    says(&said, &["2G1B"]);
    assert!(!bed.path().join("freehold.lock").exists(), "nothing was decided");
}

#[test]
fn an_address_used_twice_names_both_places() {
    let lab = lab();
    let lan = "network \"lan\" {\n  kind = \"bridge\"\n  bridge = \"br0\"\n  \
               subnet = \"10.77.0.0/24\"\n}\n";
    let nic = "nic \"lan\" {\n    address = \"10.77.0.125\"\n  }";
    let blocks = [
        RACK1.to_owned(),
        lan.to_owned(),
        idle("twice-a", "host.rack1", nic),
        idle("twice-b", "host.rack1", nic),
    ];
    let bed = bed(&lab, "twice", &blocks.concat());
    let said = bed.expect(1, &["apply", "--yes"]).unwrap();
    says(&said, &["10.77.0.125", "two nics", "fleet.hcl:26:", "fleet.hcl:38:", "^^^^"]);
    nothing_was_made(&lab, "twice");
}

#[test]
fn the_command_line_is_checked_before_anything_else() {
    let lab = lab();
    let bed = Bed::new(&lab, &fleet("usage", "")).unwrap();
    says(&bed.expect(2, &["aply"]).unwrap(), &["apply"]);
    let said = bed.expect(2, &["apply", "--allow", "nonsense"]).unwrap();
    says(&said, &["nonsense", "data-loss"]);
    bed.expect(2, &["apply", "--deletes", "many"]).unwrap();
    bed.expect(2, &["destroy", "Not_A_Label"]).unwrap();
    bed.expect(2, &[]).unwrap();
    let said = bed.expect(1, &["destroy", "--yes", "nobody"]).unwrap();
    says(&said, &["no vm is named nobody", "hint: "]);
    let said = bed.expect(1, &["ssh", "nobody"]).unwrap();
    says(&said, &["nobody", "hint: "]);
    let elsewhere = Bed::new(&lab, &fleet("usage", "")).unwrap();
    elsewhere.write("fleet.hcl", "").unwrap();
    says(&elsewhere.expect(1, &["plan"]).unwrap(), &["no file has a `fleet` block", "hint: "]);
}

/// Applies a fleet whose image is the file that `make` leaves; it must be refused with these words.
fn refused_image(name: &str, make: impl Fn(&Path) -> String, words: &[&str]) {
    let lab = lab();
    let bed = bed(&lab, name, &(RACK1.to_owned() + &idle(name, "host.rack1", "")));
    let sha256 = make(bed.path());
    let text = RACK1.to_owned() + &idle(name, "host.rack1", "");
    bed.write("fleet.hcl", &fleet(name, &(image("blank.qcow2", &sha256) + &text))).unwrap();
    let _gone = Gone(&bed, name);
    let said = bed.expect(1, &["apply", "--yes"]).unwrap();
    says(&said, words);
    nothing_was_made(&lab, name);
    assert_eq!(pool_files(&lab, "rack1", &sha256[..32]), [""; 0], "no image, no staging file");

    let sha256 = blank(bed.path(), "8M");
    bed.write("fleet.hcl", &fleet(name, &(image("blank.qcow2", &sha256) + &text))).unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert_eq!(all_domains(&lab, name), [name]);
}

#[test]
fn an_image_with_another_checksum_is_refused_with_both() {
    let wrong = "12".repeat(32);
    let make = |folder: &Path| {
        blank(folder, "8M");
        wrong.clone()
    };
    let right = {
        let folder = tempfile::tempdir().unwrap();
        blank(folder.path(), "8M")
    };
    refused_image("sumwrong", make, &["image blank", &right, &wrong, "rack1"]);
}

#[test]
fn a_text_file_is_no_image() {
    let make = |folder: &Path| {
        std::fs::write(folder.join("blank.qcow2"), "no image at all\n").unwrap();
        sha256(&folder.join("blank.qcow2")).unwrap()
    };
    refused_image("textfile", make, &["image blank", "it is no qcow2 image", "qemu-img convert"]);
}

#[test]
fn an_image_on_a_backing_file_is_refused() {
    let make = |folder: &Path| {
        let path = folder.join("blank.qcow2");
        std::fs::remove_file(&path).unwrap();
        let create = Run::new("qemu-img").args(["create", "-q", "-f", "qcow2"]);
        create.args(["-b", "/etc/passwd", "-F", "raw"]).arg(&path).ok().unwrap();
        sha256(&path).unwrap()
    };
    refused_image("backing", make, &["image blank", "it has a backing file", "qemu-img convert"]);
}

#[test]
fn an_image_with_its_data_elsewhere_is_refused() {
    let make = |folder: &Path| {
        let path = folder.join("blank.qcow2");
        let data = format!("data_file={}", folder.join("data.raw").display());
        let create = Run::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-o", &data]);
        create.arg(&path).arg("8M").ok().unwrap();
        sha256(&path).unwrap()
    };
    refused_image("datafile", make, &["image blank", "keeps its data in another file"]);
}

#[test]
fn an_image_that_is_not_there_is_named() {
    let make = |folder: &Path| {
        std::fs::remove_file(folder.join("blank.qcow2")).unwrap();
        "34".repeat(32)
    };
    refused_image("nofile", make, &["blank.qcow2 does not exist", "fleet.hcl:5:"]);
}

#[test]
fn a_disk_smaller_than_its_image_is_refused_before_anything_is_made() {
    let lab = lab();
    let bed = bed(&lab, "dwarf", &(RACK1.to_owned() + &idle("dwarf", "host.rack1", "")));
    let _gone = Gone(&bed, "dwarf");
    let sha256 = blank(bed.path(), "24M");
    let text = RACK1.to_owned() + &idle("dwarf", "host.rack1", "");
    bed.write("fleet.hcl", &fleet("dwarf", &(image("blank.qcow2", &sha256) + &text))).unwrap();
    for _again in 0..2 {
        let said = bed.expect(1, &["apply", "--yes"]).unwrap();
        says(&said, &["dwarf", "16MiB", "24MiB", "image", "hint: "]);
        nothing_was_made(&lab, "dwarf");
    }
    bed.edit("16MiB\"\n  }", "32MiB\"\n  }").unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert_eq!(all_domains(&lab, "dwarf"), ["dwarf"]);
}

#[test]
fn a_bad_image_stops_only_who_needs_it() {
    let lab = lab();
    let other = "image \"other\" {\n  source = \"other.qcow2\"\n  sha256 = \"".to_owned()
        + &"56".repeat(32)
        + "\"\n}\n";
    let bad = idle("partly-bad", "host.rack1", "").replace("image.blank", "image.other");
    let good = idle("partly-good", "host.rack1", "");
    let bed = bed(&lab, "partly", &(RACK1.to_owned() + &other + &bad + &good));
    std::fs::copy(bed.path().join("blank.qcow2"), bed.path().join("other.qcow2")).unwrap();
    let _gone = Gone(&bed, "partly");
    says(&bed.expect(1, &["apply", "--yes"]).unwrap(), &["image other", &"56".repeat(32)]);
    assert_eq!(all_domains(&lab, "partly"), ["partly-good"]);
}

#[test]
fn a_domain_of_that_name_made_by_hand_is_left_as_it_is() {
    let lab = lab();
    let bed = bed(&lab, "byhand", &(RACK1.to_owned() + &idle("byhand", "host.rack1", "")));
    let xml = "<domain type=\"qemu\"><name>byhand</name><memory>16384</memory>\
               <os><type>hvm</type></os></domain>";
    let define = "cat > /tmp/byhand.xml && virsh -c qemu:///system define /tmp/byhand.xml";
    let config = lab.ssh_config();
    Run::new("ssh").arg("-F").arg(config).args(["rack1", define]).input(xml).ok().unwrap();
    let before = virsh(&lab, "rack1", "dumpxml byhand");
    let ended = std::panic::catch_unwind(|| {
        for arguments in [&["apply", "--yes"][..], &["apply", "--yes", "--allow", "data-loss"]] {
            let said = bed.expect(3, arguments).unwrap();
            says(&said, &["vm byhand on rack1", "not made by freehold", "hint: "]);
        }
        bed.expect(0, &["destroy", "--yes"]).unwrap();
        assert_eq!(virsh(&lab, "rack1", "dumpxml byhand"), before);
    });
    virsh(&lab, "rack1", "undefine byhand");
    ended.unwrap();
    let _gone = Gone(&bed, "byhand");
    bed.expect(0, &["apply", "--yes"]).unwrap();
}

#[test]
fn a_closed_pipe_is_the_readers_wish_and_a_pipe_gets_no_colour() {
    let lab = lab();
    let vms = idle("piped", "host.rack1", "count = 500");
    let bed = bed(&lab, "piped", &(RACK1.to_owned() + &vms));
    let binary = acceptance::bed::binary();
    let config = lab.ssh_config();
    let line = format!(
        "set -o pipefail; FREEHOLD_SSH_CONFIG={} {} plan 2>said | head -1; cat said",
        config.display(),
        binary.display()
    );
    let piped = Run::new("bash").args(["-c", &line]).within(bed.path()).output().unwrap();
    assert!(!piped.stdout.contains("panic") && !piped.stdout.contains("bug"), "{piped}");
    assert_eq!(piped.stdout.lines().count(), 1, "{piped}");
    let plan = bed.expect(0, &["plan"]).unwrap();
    assert!(!format!("{plan}").contains("\\u{1b}"), "{plan}");
    assert!(plan.stdout.lines().all(|line| line.chars().count() <= 80), "{}", plan.stdout);
    says(&plan, &["500 to create", "0 unchanged"]);
}

#[test]
fn of_two_runs_at_once_one_is_told_of_the_other() {
    let lab = lab();
    let bed = bed(&lab, "ataonce", &(RACK1.to_owned() + &idle("ataonce", "host.rack1", "")));
    let _gone = Gone(&bed, "ataonce");
    bed.expect(0, &["plan", "--lock"]).unwrap();
    let ends = std::thread::scope(|scope| {
        let run = || bed.freehold(&["apply", "--yes"]).output().unwrap();
        let both = [scope.spawn(run), scope.spawn(run)];
        both.map(|thread| thread.join().unwrap())
    });
    let mut codes = ends.each_ref().map(|end| end.status);
    codes.sort_unstable();
    assert_eq!(codes, [0, 4], "{ends:?}");
    let refused = ends.iter().find(|end| end.status == 4).unwrap();
    says(refused, &["locked by", "freehold apply", "hint: "]);
    assert_eq!(all_domains(&lab, "ataonce"), ["ataonce"]);
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
}

#[test]
fn a_killed_destroy_is_finished_by_the_next() {
    let lab = lab();
    let vms = idle("killed", "[host.rack1, host.rack2]", "count = 3");
    let bed = bed(&lab, "killed", &(RACK1.to_owned() + RACK2 + &vms));
    let _gone = Gone(&bed, "killed");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    common::small::turn_off(&lab, "killed");
    for millis in [250, 400, 550, 700] {
        let limit = std::time::Duration::from_millis(millis);
        bed.freehold(&["destroy", "--yes"]).killed_after(limit).unwrap();
    }
    bed.expect(0, &["destroy", "--yes"]).unwrap();
    assert_eq!(all_domains(&lab, "killed"), [""; 0]);
    nothing_was_made(&lab, "killed");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 3 unchanged"]);
}

fn in_folder(lab: &Lab, folder: &Path) -> Bed {
    Bed::at(lab, acceptance::bed::Place::Folder(folder.to_owned()))
}

#[test]
fn init_overwrites_nothing() {
    let lab = lab();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".gitignore"), "*.tmp").unwrap();
    let bed = in_folder(&lab, folder.path());
    bed.expect(0, &["init"]).unwrap();
    assert_eq!(bed.read(".gitignore").unwrap(), "*.tmp\n/.freehold/\n");
    let key = folder.path().join(".freehold/identity.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    bed.expect(0, &["check"]).unwrap();
    let before = (bed.read("fleet.hcl").unwrap(), bed.read(".freehold/identity.key").unwrap());
    says(&bed.expect(1, &["init"]).unwrap(), &["is a fleet already", "hint: "]);
    let after = (bed.read("fleet.hcl").unwrap(), bed.read(".freehold/identity.key").unwrap());
    assert_eq!(before, after);
}

#[test]
fn a_lost_or_another_identity_is_refused() {
    let lab = lab();
    let bed = bed(&lab, "identity", &(RACK1.to_owned() + &idle("identity", "host.rack1", "")));
    let _gone = Gone(&bed, "identity");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    let key = bed.path().join(".freehold/identity.key");
    let own = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    says(&bed.expect(1, &["plan"]).unwrap(), &["identity", "hint: "]);
    says(&bed.expect(1, &["apply", "--yes"]).unwrap(), &["identity", "hint: "]);
    says(&bed.expect(1, &["init"]).unwrap(), &["identity secret", "hint: "]);
    assert!(!key.exists(), "init makes no second secret");

    let stranger = tempfile::tempdir().unwrap();
    in_folder(&lab, stranger.path()).expect(0, &["init"]).unwrap();
    std::fs::copy(stranger.path().join(".freehold/identity.key"), &key).unwrap();
    let said = bed.expect(1, &["apply", "--yes"]).unwrap();
    says(&said, &["the identity secret is", "freehold.lock was made with", "hint: "]);
    std::fs::write(&key, own).unwrap();
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
}
