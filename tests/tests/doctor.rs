//! `freehold doctor` on a host that is well, and on hosts with one fault each; `freehold host add`.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{fs, net::TcpListener, path::Path, time::Duration};

use acceptance::{
    bed::{Bed, eventually},
    lab::{Lab, command::Output},
    old_libvirt::pretend_version,
    sshd::Sshd,
    workshop::Workshop,
};
use common::{
    lab,
    small::{bed, idle, says},
    virsh,
};

/// A fleet with one host, reached as these lines of `ssh_config` say.
fn host(lab: &Lab, name: &str, more: &str, config: &str) -> Bed {
    let block = format!("host \"patient\" {{\n  ssh = \"patient\"\n  accel = \"tcg\"\n{more}}}\n");
    let bed = bed(lab, name, &block);
    let usual = fs::read_to_string(lab.ssh_config()).unwrap();
    bed.write("ssh_config", &format!("{config}\n{usual}")).unwrap();
    let path = bed.path().join("ssh_config");
    bed.with_env("FREEHOLD_SSH_CONFIG", path)
}

/// `ssh_config` lines that lead `patient` to a rack's own sshd.
fn at(lab: &Lab, rack: &str) -> String {
    let rack = lab.racks().iter().find(|spec| spec.name == rack).unwrap();
    format!(
        "Host patient\n  HostName {}\n  User {}\n  UserKnownHostsFile {}\n  IdentityFile {}\n",
        rack.address,
        rack.user,
        lab.known_hosts().display(),
        lab.user_key().display()
    )
}

/// `ssh_config` lines that lead `patient` to an sshd of the test's own.
fn to(lab: &Lab, sshd: &Sshd) -> String {
    format!("{}  IdentityFile {}\n", sshd.config("patient").unwrap(), lab.user_key().display())
}

/// The lines of steps that are not as they should be, with what mends them.
fn wrong(output: &Output) -> Vec<&str> {
    let lines = output.stdout.lines().skip_while(|line| !line.starts_with("  "));
    let is_fine = |line: &&str| line.starts_with("  ok ") || !line.starts_with("  ");
    lines.filter(|line| !is_fine(line)).collect()
}

/// One step is bad, says this, and is mended by that.
fn one_fault(bed: &Bed, step: &str, said: &str, fix: &str) {
    let output = bed.expect(3, &["doctor"]).unwrap();
    let bad: Vec<_> = wrong(&output).into_iter().filter(|l| l.starts_with("  BAD")).collect();
    assert!(bad.len() == 1 && bad[0].starts_with(&format!("  BAD   {step}")), "{output}");
    assert!(output.stdout.contains("→ try:"), "{output}");
    says(&output, &[said, fix, "1 thing is wrong"]);
}

#[test]
fn a_host_that_is_well_is_found_well() {
    let lab = lab();
    for rack in ["rack1", "rack2"] {
        let bed = host(&lab, "docwell", "", &at(&lab, rack));
        let output = bed.expect(0, &["doctor"]).unwrap();
        assert_eq!(wrong(&output), [""; 0], "{output}");
        for step in [
            "ok    name",
            "ok    tcp",
            "ok    host key",
            "ok    login",
            "ok    shell",
            "ok    clock",
            "ok    forwarding",
            "ok    sftp",
            "ok    libvirt",
            "ok    guest",
            "ok    firmware",
            "ok    pool",
            "ok    nat",
            "ok    tools",
            "(accepted)",
            "1 host: all is well",
        ] {
            assert!(output.stdout.contains(step), "{step}: {output}");
        }
        // Other tests' doctors may be there.
        let gone = || Ok(!virsh(&lab, rack, "list --all --name").contains("freehold-doctor"));
        eventually("its guest is gone", Duration::from_secs(20), gone).unwrap();
        let json = bed.expect(0, &["doctor", "patient", "--json"]).unwrap();
        let json: serde_json::Value = serde_json::from_str(json.text()).unwrap();
        let checks = json["hosts"][0]["checks"].as_array().unwrap();
        assert!(
            checks.len() >= 14 && checks.iter().all(|check| check["verdict"] == "ok"),
            "{json}"
        );
    }
}

#[test]
fn what_leads_to_no_host_is_named() {
    let lab = lab();
    let bed = host(&lab, "docname", "", "Host patient\n  HostName no.such.host.invalid\n");
    one_fault(&bed, "name", "no.such.host.invalid", "/etc/hosts");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!("Host patient\n  HostName 127.0.0.1\n  Port {closed}\n");
    one_fault(
        &host(&lab, "doctcp", "", &config),
        "tcp",
        "Connection refused",
        "systemctl status ssh",
    );
    let sshd = Sshd::here(&lab, "").unwrap();
    let strange = to(&lab, &sshd).replace("UserKnownHostsFile", "UserKnownHostsFile /dev/null #");
    let add = "freehold host add patient --name patient";
    one_fault(&host(&lab, "dockey", "", &strange), "host key", "is not known", add);
    let other = fs::read_to_string(lab.known_hosts()).unwrap();
    let key = other.lines().next().unwrap().split_once(' ').unwrap().1;
    let bed = host(&lab, "docchanged", "", &to(&lab, &sshd));
    bed.write("known_hosts", &format!("[127.0.0.1]:{} {key}\n", sshd.port())).unwrap();
    one_fault(&bed, "host key", "is not the one in", "ssh-keygen -R");
    let refusing = Sshd::here(&lab, "AllowUsers nobody").unwrap();
    let bed = host(&lab, "doclogin", "", &to(&lab, &refusing));
    one_fault(&bed, "login", "no login as root: tried: ", "ssh-copy-id");
    let hop =
        "Host patient\n  HostName 10.77.0.11\n  ProxyJump hop\nHost hop\n  HostName 10.77.0.12\n";
    let bed = host(&lab, "dochop", "", &format!("{hop}  UserKnownHostsFile /dev/null\n"));
    one_fault(&bed, "tcp", "on the way, at 10.77.0.12:22", "mend the way");
}

#[test]
fn a_host_with_one_fault_is_told_what_mends_it() {
    let lab = lab();
    let stock = |more: &str, mounts: &str| Sshd::among(&lab, &lab.rack2(), more, mounts).unwrap();
    // No daemon.
    let sshd = stock("", "mount -t tmpfs none /run/libvirt");
    let bed = host(&lab, "docdaemon", "", &to(&lab, &sshd));
    one_fault(&bed, "libvirt", "libvirt does not listen there", "libvirtd.socket");
    // No right to it.
    let sshd = stock("", "true");
    let visitor = to(&lab, &sshd).replace("User admin", "User visitor");
    let bed = host(&lab, "docright", "", &visitor);
    one_fault(
        &bed,
        "libvirt",
        "visitor may not use libvirt's socket",
        "usermod -aG libvirt visitor",
    );
    // No way to it.
    let hide = "for f in virt-ssh-helper nc; do if [ -e /usr/bin/$f ]; then \
                mount --bind /dev/null /usr/bin/$f; fi; done";
    let sshd = stock("AllowStreamLocalForwarding no", hide);
    let bed = host(&lab, "docway", "", &to(&lab, &sshd));
    one_fault(&bed, "libvirt", "sshd forwards no sockets", "AllowStreamLocalForwarding yes");
    // No room.
    let sshd = stock("", "mount -t tmpfs -o size=1m none /var/lib/libvirt/freehold");
    let bed = host(&lab, "docroom", "", &to(&lab, &sshd));
    one_fault(&bed, "pool", "tmpfs, ", "make room there");
    // No way for QEMU's user.
    let shut = "mount -t tmpfs -o mode=0700,uid=4242 none /var/lib/libvirt; \
                mkdir -m 0755 /var/lib/libvirt/freehold; chown 4242 /var/lib/libvirt/freehold";
    let sshd = stock("", shut);
    let bed = host(&lab, "docshut", "", &to(&lab, &sshd));
    one_fault(&bed, "pool", "does not get through /var/lib/libvirt", "chmod o+x /var/lib/libvirt");
    // Another time.
    let date = "mount -t tmpfs none /mnt; printf '#!/bin/sh\\necho 1000000000\\n' > /mnt/date; \
                chmod 755 /mnt/date; mount --bind /mnt/date /usr/bin/date";
    let sshd = stock("", date);
    let bed = host(&lab, "docclock", "", &to(&lab, &sshd));
    one_fault(&bed, "clock", "s behind ours", "timedatectl set-ntp true");
}

#[test]
fn what_the_fleet_wants_of_a_host_is_looked_for() {
    let lab = lab();
    let bed = host(&lab, "docbridge", "", &at(&lab, "rack1"));
    let text = bed.read("fleet.hcl").unwrap();
    let network = "network \"far\" {\n  kind = \"bridge\"\n  bridge = \"br9\"\n}\n";
    let vm = idle("docbridge", "host.patient", "nic \"far\" {\n    dhcp = true\n  }");
    bed.write("fleet.hcl", &(text + network + &vm)).unwrap();
    one_fault(&bed, "bridges", "br9 is not there", "ip link add br9 type bridge");
    bed.edit("br9", "br0").unwrap();
    says(&bed.expect(0, &["doctor"]).unwrap(), &["ok    bridges     br0"]);
    says(&bed.expect(1, &["doctor", "rock"]).unwrap(), &["no host named rock", "patient"]);
}

#[test]
fn what_is_missing_and_not_needed_is_a_note() {
    let lab = lab();
    let more = "AllowStreamLocalForwarding no\nAllowTcpForwarding no\n# Subsystem: none";
    let hide = "for f in curl wget; do if [ -e /usr/bin/$f ]; then \
                mount --bind /dev/null /usr/bin/$f; fi; done";
    let sshd = Sshd::among(&lab, &lab.rack2(), more, hide).unwrap();
    let bed = host(&lab, "docnotes", "", &to(&lab, &sshd));
    let output = bed.expect(0, &["doctor"]).unwrap();
    says(&output, &["note forwarding", "AllowTcpForwarding yes", "note sftp", "note tools"]);
    says(&output, &["images come through this machine", "all works; 3 notes"]);
}

#[test]
fn a_shell_that_talks_is_found_out() {
    let lab = lab();
    // The visitor's home is /tmp, and bash reads ~/.bashrc for commands of an sshd.
    let talk = "mount -t tmpfs -o mode=1777 none /tmp; echo 'echo Welcome' > /tmp/.bashrc";
    let sshd = Sshd::among(&lab, &lab.rack2(), "", talk).unwrap();
    let visitor = to(&lab, &sshd).replace("User admin", "User visitor");
    let bed = host(&lab, "doctalk", "", &visitor);
    one_fault(&bed, "shell", "prints before a command: \"Welcome\"", "interactive shells only");
}

#[test]
fn a_shell_that_is_not_posix_is_as_good() {
    let lab = lab();
    let sshd = Sshd::on(&lab, &lab.rack2(), "").unwrap();
    let fisher = to(&lab, &sshd).replace("User admin", "User fisher");
    let bed = host(&lab, "docfish", "", &fisher);
    let output = bed.expect(0, &["doctor"]).unwrap();
    says(&output, &["ok    shell       /usr/bin/fish", "all is well"]);
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do"]);
}

#[test]
fn a_new_host_is_vouched_for_and_declared() {
    let lab = lab();
    let sshd = Sshd::on(&lab, &lab.rack2(), "").unwrap();
    let bed = bed(&lab, "hostadd", "");
    let reached = to(&lab, &sshd).replace("UserKnownHostsFile", "UserKnownHostsFile /dev/null #");
    bed.write("ssh_config", &reached).unwrap();
    let bed = {
        let path = bed.path().join("ssh_config");
        bed.with_env("FREEHOLD_SSH_CONFIG", path)
    };
    let text = bed.read("fleet.hcl").unwrap();
    // Nobody vouches for it, and then somebody for another one.
    let said = bed.expect(1, &["host", "add", "patient"]).unwrap();
    says(&said, &["its host key is SHA256:", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"]);
    says(&said, &["nobody is there to ask", "--fingerprint SHA256:"]);
    let other = ["host", "add", "patient", "--fingerprint", "SHA256:other"];
    says(&bed.expect(1, &other).unwrap(), &["not SHA256:other"]);
    assert_eq!(bed.read("fleet.hcl").unwrap(), text);
    assert!(!bed.path().join("known_hosts").exists());
    // Somebody has looked.
    let fingerprint = fingerprint(&sshd.folder().join("host.pub"));
    let add = ["host", "add", "patient", "--name", "rack7", "--fingerprint", &fingerprint];
    let said = bed.expect(0, &add).unwrap();
    says(&said, &["wrote it to known_hosts", "its pool in", "wrote host rack7 to fleet.hcl"]);
    assert!(bed.read("known_hosts").unwrap().contains(&sshd.key().unwrap()));
    let now = bed.read("fleet.hcl").unwrap();
    assert_eq!(now, format!("{text}\nhost \"rack7\" {{\n  ssh = \"patient\"\n}}\n"));
    // The repository knows it now: nobody is asked, and nothing is written twice.
    says(&bed.expect(0, &["host", "add", "patient", "--name", "rack7"]).unwrap(), &["known from"]);
    assert_eq!(bed.read("fleet.hcl").unwrap(), now);
    bed.expect(0, &["plan"]).unwrap();
    let taken = ["host", "add", "root@patient", "--name", "rack7", "--fingerprint", &fingerprint];
    says(&bed.expect(1, &taken).unwrap(), &["host rack7 is declared already, as patient"]);
    let twin = bed.expect(1, &["host", "add", "patient"]).unwrap();
    says(&twin, &["patient is declared already, as host rack7", "--name rack7"]);
    let root = bed.expect(2, &["host", "add", "x", "--name", "x", "--pool", "srv/x"]).unwrap();
    says(&root, &["`srv/x` is no absolute path"]);
}

#[test]
fn a_new_host_that_cannot_be_one_is_not_declared() {
    let lab = lab();
    let sshd = Sshd::here(&lab, "").unwrap();
    let bed = bed(&lab, "hostbad", "");
    bed.write("ssh_config", &to(&lab, &sshd)).unwrap();
    let path = bed.path().join("ssh_config");
    let bed = bed.with_env("FREEHOLD_SSH_CONFIG", path);
    let text = bed.read("fleet.hcl").unwrap();
    says(&bed.expect(3, &["host", "add", "patient"]).unwrap(), &["libvirt does not listen there"]);
    says(&bed.expect(1, &["host", "add", "127.0.0.1"]).unwrap(), &["--name rack1"]);
    assert_eq!(bed.read("fleet.hcl").unwrap(), text);
}

#[test]
fn a_certificate_of_another_authority_stops_nobody() {
    let lab = lab();
    let shop = Workshop::new().unwrap();
    shop.key("ours", "ed25519", "").unwrap();
    shop.key("theirs", "ed25519", "").unwrap();
    let sshd = Sshd::prepared(&lab, |folder| {
        shop.sign("theirs", &folder.join("host.pub"), &["-h"])?;
        Ok(format!("HostCertificate {}/host-cert.pub", folder.display()))
    });
    let sshd = sshd.unwrap();
    let strange = to(&lab, &sshd);
    let known = sshd.folder().join("known");
    fs::write(&known, format!("@cert-authority * {}\n", shop.public("ours").unwrap())).unwrap();
    let bed = host(&lab, "sshfca", "", &strange);
    let add = "freehold host add patient --name patient";
    one_fault(&bed, "host key", "no @cert-authority line names its authority", add);
    let fingerprint = fingerprint(&sshd.folder().join("host.pub"));
    let add = ["host", "add", "patient", "--name", "patient", "--fingerprint", &fingerprint];
    let said = bed.expect(3, &add).unwrap();
    says(&said, &["wrote it to known_hosts", "libvirt does not listen there"]);
}

fn fingerprint(key: &Path) -> String {
    let shown = acceptance::lab::command::Run::new("ssh-keygen").arg("-lf").arg(key).ok().unwrap();
    shown.text().split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn a_libvirt_that_is_too_old_is_refused() {
    let lab = lab();
    let rack = lab.rack2();
    let folder = tempfile::Builder::new().prefix("old-").tempdir_in(rack.dir()).unwrap();
    open_to_all(folder.path());
    let inside = rack.inside().unwrap().as_raw_nonzero();
    let real = format!("/proc/{inside}/root/run/libvirt/libvirt-sock").into();
    pretend_version(&folder.path().join("sock"), real, 5_009_000).unwrap();
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let mounts = format!("mount --bind /run/rack/{name}/sock /run/libvirt/libvirt-sock");
    let sshd = Sshd::among(&lab, &rack, "", &mounts).unwrap();
    let bed = host(&lab, "docold", "", &to(&lab, &sshd));
    let said = "the host has libvirt 5.9.0; freehold needs libvirt 6.0.0 or newer";
    one_fault(&bed, "libvirt", said, "newer release");
    says(&bed.expect(3, &["plan"]).unwrap(), &[said]);
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}
