//! Hosts that are not as they should be, and hosts of other kinds than the usual.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{fmt::Write as _, fs, net::TcpListener, path::Path, time::Duration};

use acceptance::{
    bed::{Bed, Place, binary},
    lab::{Lab, command::Run},
    sshd::Sshd,
};
use common::{
    all_domains, domains, lab,
    small::{Gone, RACK1, bed, blank, fleet, idle, image, nothing_was_made, says},
    virsh, vm,
};
use tempfile::TempDir;

/// An ssh/config of the bed's own that begins with these lines.
fn with_config(bed: Bed, lines: &str) -> Bed {
    let lab = fs::read_to_string(bed.lab().ssh_config()).unwrap();
    bed.write("ssh_config", &format!("{lines}{lab}")).unwrap();
    let path = bed.path().join("ssh_config");
    bed.with_env("FREEHOLD_SSH_CONFIG", path)
}

/// A bed with one VM on rack1, reached as these lines say.
fn one_vm(lab: &Lab, name: &str, config: &str) -> Bed {
    with_config(bed(lab, name, &(RACK1.to_owned() + &idle(name, "host.rack1", ""))), config)
}

/// `ssh_config` lines for rack1 with its keys known in this file only.
fn knows(file: &Path) -> String {
    format!(
        "Host rack1\n  HostName 10.77.0.11\n  User root\n  UserKnownHostsFile {}\n\
         GlobalKnownHostsFile /dev/null\n",
        file.display()
    )
}

fn key_of(line: &str) -> String {
    line.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_unknown_host_key_comes_with_its_fingerprint_and_the_line_to_add() {
    let lab = lab();
    let folder = TempDir::new().unwrap();
    let known = folder.path().join("known");
    fs::write(&known, "").unwrap();
    let bed = one_vm(&lab, "unknown", &knows(&known));
    let _gone = Gone(&bed, "unknown");
    let public = lab.dir().join("rack1/ssh/host_key.pub");
    let shown = Run::new("ssh-keygen").arg("-lf").arg(&public).ok().unwrap();
    let fingerprint = shown.text().split_whitespace().nth(1).unwrap().to_owned();
    let key = fs::read_to_string(public).unwrap();
    let line =
        format!("10.77.0.11 {}", key.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
    for command in [&["plan"][..], &["apply", "--yes"], &["status"]] {
        let said = bed.expect(1, command).unwrap();
        says(&said, &["rack1", "its host key is not known", &fingerprint, &line]);
        says(&said, &[known.to_str().unwrap(), "ssh-keygen -lf"]);
    }
    nothing_was_made(&lab, "unknown");
    fs::write(&known, line + "\n").unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
}

#[test]
fn a_changed_host_key_is_refused_with_the_place_it_was_known_from() {
    let lab = lab();
    let folder = TempDir::new().unwrap();
    let known = folder.path().join("known");
    let all = fs::read_to_string(lab.known_hosts()).unwrap();
    let other = key_of(all.lines().find(|line| line.starts_with("rack2")).unwrap());
    fs::write(&known, format!("# what we know\n10.77.0.11 {other}\n")).unwrap();
    let bed = one_vm(&lab, "changed", &knows(&known));
    let place = format!("{}:2", known.display());
    let said = bed.expect(1, &["apply", "--yes"]).unwrap();
    says(&said, &["rack1", "its host key is not the one in", &place, "SHA256:"]);
    nothing_was_made(&lab, "changed");

    // The repository's own file decides where it knows the host.
    bed.write("known_hosts", &format!("10.77.0.11 {other}\n")).unwrap();
    let lax =
        knows(&lab.known_hosts()).replace("GlobalKnown", "StrictHostKeyChecking no\nGlobalKnown");
    let bed = with_config(bed, &lax);
    let place = format!("{}:1", bed.path().join("known_hosts").display());
    says(&bed.expect(1, &["plan"]).unwrap(), &[&place, "hint: StrictHostKeyChecking"]);
}

#[test]
fn a_login_that_is_refused_says_what_was_tried() {
    let lab = lab();
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("stranger");
    let make = Run::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]);
    make.arg(&key).ok().unwrap();
    let mut config = knows(&lab.known_hosts());
    write!(config, "Host rack1\n  IdentityFile {}\n  IdentitiesOnly yes\n", key.display()).unwrap();
    let bed = bed(&lab, "login", &(RACK1.to_owned() + &idle("login", "host.rack1", "")));
    bed.write("ssh_config", &config).unwrap();
    let path = bed.path().join("ssh_config");
    let bed = bed.with_env("FREEHOLD_SSH_CONFIG", path);
    let said = bed.expect(3, &["apply", "--yes"]).unwrap();
    says(&said, &["rack1", "no login as root", "stranger", "(refused)", "hint: "]);
    nothing_was_made(&lab, "login");
}

#[test]
fn one_host_down_is_one_host_down() {
    let lab = lab();
    let blocks = "host \"rack1\" {\n  ssh = \"rack1\"\n  accel = \"tcg\"\n}\n\
                  host \"far\" {\n  ssh = \"far\"\n  accel = \"tcg\"\n}\n"
        .to_owned()
        + &idle("down-near", "host.rack1", "")
        + &idle("down-far", "host.far", "");
    let bed = bed(&lab, "down", &blocks);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let known = fs::read_to_string(lab.known_hosts()).unwrap();
    let key = key_of(known.lines().find(|line| line.starts_with("rack2")).unwrap());
    bed.write("known", &format!("[127.0.0.1]:{closed} {key}\n")).unwrap();
    let down = format!(
        "Host far\n  HostName 127.0.0.1\n  Port {closed}\n  User admin\n  UserKnownHostsFile {}\n",
        bed.path().join("known").display()
    );
    let bed = with_config(bed, &down);
    let _gone = Gone(&bed, "down");
    let said = bed.expect(3, &["apply", "--yes"]).unwrap();
    says(&said, &["host far: unreachable", "vm down-far on far", "Connection refused", "hint: "]);
    assert_eq!(all_domains(&lab, "down"), ["down-near"]);
    says(&bed.expect(3, &["status"]).unwrap(), &["down-near  rack1  running", "host unreachable"]);
    let said = bed.expect(3, &["destroy", "--yes", "down-far"]).unwrap();
    says(&said, &["far"]);

    let lines = fs::read_to_string(lab.ssh_config()).unwrap();
    let up = format!("Host far\n  HostName 10.77.0.12\n  User admin\n{lines}");
    bed.write("ssh_config", &up).unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert_eq!(domains(&lab, "rack2", "down"), ["down-far"]);
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 2 unchanged"]);
    common::small::turn_off(&lab, "down");
    bed.expect(0, &["destroy", "--yes"]).unwrap();
}

#[test]
fn a_host_without_libvirt_says_so() {
    let lab = lab();
    assert!(!Path::new("/run/libvirt/libvirt-sock").exists(), "this machine has no libvirtd");
    for more in ["", "AllowStreamLocalForwarding no\n"] {
        let sshd = Sshd::here(&lab, more).unwrap();
        let bed = one_vm(&lab, "nolibvirt", &sshd.config("rack1").unwrap());
        let said = bed.expect(3, &["apply", "--yes"]).unwrap();
        says(&said, &["host rack1: unreachable", "libvirt", "hint: "]);
        assert!(said.stderr.contains("libvirt-sock") || said.stderr.contains("libvirtd"), "{said}");
    }
    nothing_was_made(&lab, "nolibvirt");
}

#[test]
fn an_sshd_that_never_greets_is_given_up() {
    let lab = lab();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let known = fs::read_to_string(lab.known_hosts()).unwrap();
    let key = key_of(known.lines().next().unwrap());
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("known");
    fs::write(&file, format!("[127.0.0.1]:{port} {key}\n")).unwrap();
    let config = format!(
        "Host rack1\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  UserKnownHostsFile {}\n",
        file.display()
    );
    let bed = one_vm(&lab, "silent", &config);
    let begun = std::time::Instant::now();
    says(&bed.expect(3, &["plan"]).unwrap(), &["rack1", "did not answer within"]);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}

#[test]
fn a_network_behind_a_host_is_made_used_and_taken_away() {
    let lab = lab();
    let network = "network \"behind\" {\n  kind = \"nat\"\n  subnet = \"10.91.13.0/24\"\n  \
                   dns = [\"10.77.0.1\"]\n  addresses = \"10.91.13.10-10.91.13.19\"\n}\n";
    let inner = vm(&lab, "behind", "host.rack1", "").replace("nic \"lan\" {}", "nic \"behind\" {}");
    let digest = lab.image_sha256().unwrap();
    let picture = image(&lab.image().display().to_string(), &digest).replace("blank", "guest");
    let file = format!(
        "prometheus \"main\" {{\n  path = \"{}\"\n}}\n",
        common::targets_file(&lab, "behind")
    );
    let inner =
        inner.replace("cloud_init {", "metrics \"node\" {\n    port = 9100\n  }\n  cloud_init {");
    let text = fleet("behind", &(RACK1.to_owned() + network + &picture + &file + &inner));
    let bed = Bed::new(&lab, &text).unwrap();
    let _gone = Gone(&bed, "behind");
    // Nobody outside reaches it, so nobody is told of it, unless the fleet says so.
    let said = bed.expect(1, &["apply", "--yes"]).unwrap();
    says(&said, &["no address to publish", "`publish = true`"]);
    let targets = || fs::read_to_string(common::targets_file(&lab, "behind")).unwrap_or_default();
    assert!(!targets().contains("10.91.13.10"), "{}", targets());
    bed.edit("nic \"behind\" {}", "nic \"behind\" {\n    publish = true\n  }").unwrap();
    says(&bed.expect(0, &["plan"]).unwrap(), &["+ network behind: nat 10.91.13.0/24"]);
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert!(targets().contains("10.91.13.10:9100"), "{}", targets());
    let info = virsh(&lab, "rack1", "net-info behind");
    for word in ["Active:         yes", "Persistent:     yes", "Autostart:      yes"] {
        assert!(info.contains(word), "{info}");
    }
    let xml = virsh(&lab, "rack1", "net-dumpxml behind");
    assert!(xml.contains(&common::small::id("behind")), "our mark: {xml}");
    assert!(xml.contains("<forward mode='nat'"), "{xml}");
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
    let name = bed.expect(0, &["ssh", "behind", "--", "hostname"]).unwrap();
    assert_eq!(name.text(), "behind", "{name}");
    bed.expect(0, &["destroy", "--yes"]).unwrap();
    assert!(!virsh(&lab, "rack1", "net-list --all --name").contains("behind"));
}

#[test]
fn a_network_of_that_name_made_by_hand_is_left_as_it_is() {
    let lab = lab();
    let network = "network \"foreignnet\" {\n  kind = \"nat\"\n  subnet = \"10.91.14.0/24\"\n  \
                   addresses = \"10.91.14.10-10.91.14.19\"\n}\n";
    let inner = idle("onforeign", "host.rack1", "nic \"foreignnet\" {}");
    let bed = bed(&lab, "onforeign", &(RACK1.to_owned() + network + &inner));
    let xml = "<network><name>foreignnet</name><bridge name=\"virbrf\"/></network>";
    let define = "cat > /tmp/net.xml && virsh -c qemu:///system net-define /tmp/net.xml";
    let config = lab.ssh_config();
    Run::new("ssh").arg("-F").arg(config).args(["rack1", define]).input(xml).ok().unwrap();
    let before = virsh(&lab, "rack1", "net-dumpxml foreignnet");
    let ended = std::panic::catch_unwind(|| {
        let said = bed.expect(3, &["apply", "--yes"]).unwrap();
        says(&said, &["network foreignnet on rack1", "is not this fleet's", "needs network"]);
        bed.expect(0, &["destroy", "--yes"]).unwrap();
        assert_eq!(virsh(&lab, "rack1", "net-dumpxml foreignnet"), before);
        nothing_was_made(&lab, "onforeign");
    });
    virsh(&lab, "rack1", "net-undefine foreignnet");
    ended.unwrap();
}

#[test]
fn this_machines_own_libvirt_is_a_host_too() {
    let lab = lab();
    // Inside rack1 everything is as on a host whose user runs freehold there.
    let pid = lab.rack1().inside().unwrap().as_raw_nonzero().to_string();
    let folder = lab.dir().join("rack1/root/localfleet");
    let inside = |arguments: &[&str]| {
        let enter = Run::new("nsenter").args(["-t", &pid, "-m", "-u", "-n", "-i", "-p"]);
        let path = std::env::var_os("PATH").unwrap();
        let enter =
            enter.cleared().env("PATH", path).env("HOME", "/root").arg("/root/localfleet/freehold");
        let output = enter.args(["-C", "/root/localfleet"]).args(arguments).output().unwrap();
        assert!(output.success(), "{arguments:?}: {output}");
        output
    };
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    // The rack has a /tmp of its own, which may hide where cargo built it.
    fs::copy(binary(), folder.join("freehold")).unwrap();
    let bed = Bed::at(&lab, Place::Folder(folder.clone()));
    let sha256 = blank(&folder, "8M");
    let host = "host \"here\" {\n  connection = \"local\"\n  accel = \"tcg\"\n}\n".to_owned();
    let blocks = image("blank.qcow2", &sha256) + &host + &idle("local", "host.here", "");
    bed.write("fleet.hcl", &fleet("local", &blocks)).unwrap();
    inside(&["init"]);
    inside(&["plan", "--lock"]);
    inside(&["apply", "--yes"]);
    let shown = domains(&lab, "rack1", "local");
    let plan = inside(&["plan"]);
    common::small::turn_off(&lab, "local");
    inside(&["destroy", "--yes"]);
    assert_eq!(shown, ["local"]);
    says(&plan, &["nothing to do: 1 unchanged"]);
    nothing_was_made(&lab, "local");
    fs::remove_dir_all(&folder).unwrap();
}
