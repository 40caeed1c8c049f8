//! Hosts whose libvirt is the login's own, `qemu:///session`.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use acceptance::{
    bed::{Bed, binary},
    lab::{
        Lab,
        command::{Output, Run},
    },
    sshd::Sshd,
};
use common::{
    lab,
    small::{bed, idle, says},
    virsh,
};
use rustix::process::{Pid, Signal, kill_process};

/// A home of the test's own, so that the login's libvirt is, too.
const HOME: &str =
    "mount -t tmpfs -o mode=755,uid=$(id -u admin),gid=$(id -g admin) none /home/admin";
/// What systemd gives to those who log in, and what keeps it when they log out.
const LOGIND: &str = "mkdir -p /run/user; mount -t tmpfs -o mode=755 none /run/user
install -d -o admin -m 700 /run/user/$(id -u admin)";
const LINGER: &str = "mkdir -p /var/lib/systemd; mount -t tmpfs -o mode=755 none /var/lib/systemd
mkdir /var/lib/systemd/linger; touch /var/lib/systemd/linger/admin";
/// What an administrator does for bridges. The rack's own files lie over `/etc`, and an overlay does not show
/// them.
const HELPER: &str = "\
mount -t tmpfs -o mode=755 none /mnt
mkdir /mnt/etc /mnt/work
cp /etc/passwd /etc/group /etc/hosts /etc/resolv.conf /mnt/etc
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/work none /etc
mkdir -p /etc/qemu
echo allow br0 > /etc/qemu/bridge.conf
cp /usr/lib/qemu/qemu-bridge-helper /mnt/helper
chmod 4755 /mnt/helper
mount --bind /mnt/helper /usr/lib/qemu/qemu-bridge-helper
mknod -m 666 /mnt/tun c 10 200
mount --bind /mnt/tun /dev/net/tun";
const LAN: &str = "network \"lan\" {\n  kind = \"bridge\"\n  bridge = \"br0\"\n}\n";
const OWN: &str = "host \"own\" {\n  ssh = \"own\"\n  accel = \"tcg\"\n  libvirt = \"session\"\n  \
                   pool = \"/home/admin/freehold\"\n}\n";

/// An account on rack2 that sees these mounts.
fn account(lab: &Lab, more: &str, mounts: &[&str]) -> Sshd {
    Sshd::among(lab, &lab.rack2(), more, &mounts.join("\n")).unwrap()
}

/// A fleet whose `ssh_config` leads `own` to that account.
fn reached(lab: &Lab, sshd: &Sshd, name: &str, blocks: &str) -> Bed {
    let bed = bed(lab, name, blocks);
    let key = lab.user_key();
    let lines = format!("{}  IdentityFile {}\n", sshd.config("own").unwrap(), key.display());
    bed.write("ssh_config", &lines).unwrap();
    let path = bed.path().join("ssh_config");
    bed.with_env("FREEHOLD_SSH_CONFIG", path)
}

/// Runs a command on `own`, as outsiders do.
fn there(bed: &Bed, command: &str) -> Output {
    let config = bed.path().join("ssh_config");
    Run::new("ssh").arg("-F").arg(config).args(["own", command]).ok().unwrap()
}

/// Destroys the domains, which have no ear for ACPI, and takes away what was made.
struct Gone<'a>(&'a Bed);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let off = "for d in $(virsh -c qemu:///session list --name); do
                     virsh -c qemu:///session destroy $d; done";
        let config = self.0.path().join("ssh_config");
        drop(Run::new("ssh").arg("-F").arg(config).args(["own", off]).output());
        let ended = self.0.freehold(&["destroy", "--yes"]).output();
        let gone = ended.as_ref().is_ok_and(Output::success);
        assert!(gone || std::thread::panicking(), "destroy: {ended:?}");
    }
}

#[test]
fn a_login_without_rights_is_a_host_of_its_own_libvirt() {
    let lab = lab();
    let id = lab.ssh("rack2", "id -u").unwrap();
    let environment = format!("SetEnv XDG_RUNTIME_DIR=/run/user/{}", id.text());
    let sshd = account(&lab, &environment, &[HOME, LOGIND, LINGER, HELPER]);
    let bed = reached(&lab, &sshd, "vmfses", "");
    let add = ["host", "add", "own", "--session"];
    says(&bed.expect(2, &add).unwrap(), &["--pool"]);
    let all = [&add[..], &["--pool", "/home/admin/freehold"]].concat();
    let said = bed.expect(0, &all).unwrap();
    says(&said, &["its pool in /home/admin/freehold", "wrote host own to fleet.hcl"]);
    let block = "host \"own\" {\n  ssh     = \"own\"\n  libvirt = \"session\"\n  pool    = \
                 \"/home/admin/freehold\"\n}\n";
    let text = bed.read("fleet.hcl").unwrap();
    assert!(text.ends_with(block), "{text}");
    let vm = idle("vmfses", "host.own", "nic \"lan\" {\n    dhcp = true\n  }");
    let tcg = text.replace("\"session\"\n", "\"session\"\n  accel = \"tcg\"\n");
    bed.write("fleet.hcl", &format!("{tcg}{LAN}{vm}")).unwrap();
    let _gone = Gone(&bed);
    bed.expect(0, &["apply", "--yes"]).unwrap();

    let shown = there(
        &bed,
        "virsh -c qemu:///session list --name; virsh -c qemu:///session domiflist vmfses",
    );
    says(&shown, &["vmfses", "bridge br0"]);
    assert!(!virsh(&lab, "rack2", "list --all --name").contains("vmfses"));
    assert!(there(&bed, "ls /sys/class/net/br0/brif").text().contains("tap"));
    let owners =
        there(&bed, "stat -c %U /home/admin/freehold/*.root.* /home/admin/freehold/*.json");
    assert_eq!(owners.text(), "admin\nadmin");
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
    let said = bed.expect(0, &["doctor"]).unwrap();
    says(&said, &["qemu:///session as admin", "br0, by /usr/lib/qemu/qemu-bridge-helper"]);
    assert!(!said.stdout.contains("BAD") && !said.stdout.contains("  nat "), "{said}");

    // It ends when it is idle, or dies; guests go on, and the next question starts it.
    let end = "kill $(cat $XDG_RUNTIME_DIR/libvirt/libvirtd.pid)";
    there(&bed, end);
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
    says(&there(&bed, "virsh -c qemu:///session domstate vmfses"), &["running"]);
    // After a reboot, which clears where it notes what runs, the first question has it start them.
    let gone = "rm -r $XDG_RUNTIME_DIR/libvirt";
    there(&bed, &format!("virsh -c qemu:///session destroy vmfses; {end}; {gone}"));
    bed.expect(0, &["status"]).unwrap();
    says(&there(&bed, "virsh -c qemu:///session domstate vmfses"), &["running"]);

    // The host's own libvirt knows no such guest, and must not make it again.
    bed.edit("\"session\"", "\"system\"").unwrap();
    let said = bed.expect(3, &["apply", "--yes"]).unwrap();
    says(&said, &["/home/admin/freehold is the pool of its qemu:///session", "set `libvirt`"]);
    bed.edit("\"system\"", "\"session\"").unwrap();
}

/// What a host that cannot do it is told.
fn refused(sshd: &Sshd, lab: &Lab, name: &str, step: &str, said: &[&str]) {
    let nic = if step == "bridges" { "nic \"lan\" {\n    dhcp = true\n  }" } else { "" };
    let vm = idle(name, "host.own", nic);
    let bed = reached(lab, sshd, name, &[OWN, LAN, &vm].concat());
    let output = bed.expect(3, &["doctor"]).unwrap();
    says(&output, said);
    let bad: Vec<_> = output.stdout.lines().filter(|line| line.contains("BAD")).collect();
    assert!(bad.len() == 1 && bad[0].contains(step), "{output}");
    if step == "libvirt" {
        says(&bed.expect(3, &["apply", "--yes"]).unwrap(), said);
        let left = there(&bed, "ls -A /home/admin | grep -v .cache; true");
        assert_eq!(left.text(), "", "nothing was started");
    }
}

#[test]
fn what_stands_in_the_way_of_a_login_is_told() {
    let lab = lab();
    let fleeting = account(&lab, "", &[HOME, LOGIND]);
    let said = "admin's libvirt would forget its running guests when admin logs out";
    refused(&fleeting, &lab, "seslog", "libvirt", &[said, "loginctl enable-linger admin"]);

    let unhelped = account(&lab, "", &[HOME, "mount --bind /dev/null /usr/bin/virt-ssh-helper"]);
    let said = ["there is no virt-ssh-helper", "install libvirt 6.8"];
    refused(&unhelped, &lab, "seshlp", "libvirt", &said);

    // It starts, and says why it does not.
    let broken = "mkdir -m 700 /home/admin/.cache; chown root /home/admin/.cache";
    let broken = account(&lab, "", &[HOME, broken]);
    refused(&broken, &lab, "sesbrk", "libvirt", &["virt-ssh-helper: ", "Permission denied"]);

    let unbridged = account(&lab, "", &[HOME]);
    let said = ["not root's by setuid: admin gets to no bridge", "dpkg-statoverride"];
    refused(&unbridged, &lab, "sesbr", "bridges", &said);
}

#[test]
fn a_directory_that_shows_its_card_and_nothing_else_is_not_taken() {
    let lab = lab();
    let theirs = "install -d -m 711 /home/admin/freehold
                  cp /var/lib/libvirt/freehold/freehold-host.json /home/admin/freehold/";
    let sshd = account(&lab, "", &[HOME, theirs]);
    let bed = reached(&lab, &sshd, "sesown", &(OWN.to_owned() + &idle("sesown", "host.own", "")));
    says(&bed.expect(3, &["apply", "--yes"]).unwrap(), &["cannot open directory", "set `pool`"]);
    says(&bed.expect(3, &["doctor"]).unwrap(), &["BAD pool", "cannot open directory"]);
    let mode = "stat -c '%U %a' /home/admin/freehold";
    assert_eq!(there(&bed, mode).text(), "root 711");
}

/// The same binary as another user, whose libvirt notes everything in this folder.
fn as_another_user(home: &Path, bed: Bed) -> Bed {
    fs::copy(binary(), home.join("freehold")).unwrap();
    let places = ["CONFIG_HOME", "CACHE_HOME", "DATA_HOME"];
    let places: String =
        places.iter().map(|name| format!("export XDG_{name}={}\n", home.display())).collect();
    let become_nobody = "exec setpriv --reuid=65534 --regid=65534 --clear-groups --";
    let script = |name: &str, program: &str| {
        let path = home.join(name);
        let text = format!("#!/bin/sh\n{places}{become_nobody} {program} \"$@\"\n");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    script("virsh", "virsh -c qemu:///session");
    let freehold = script("as-nobody", &home.join("freehold").display().to_string());
    fs::set_permissions(home, fs::Permissions::from_mode(0o777)).unwrap();
    Run::new("chown").args(["-R", "65534:65534"]).arg(bed.path()).ok().unwrap();
    bed.with_binary(freehold)
}

#[test]
fn a_user_of_this_machine_has_one_too() {
    let lab = lab();
    let home = tempfile::tempdir().unwrap();
    let pool = home.path().join("pool");
    let host = format!(
        "host \"here\" {{\n  connection = \"local\"\n  libvirt = \"session\"\n  accel = \"tcg\"\n  pool = \
         \"{}\"\n}}\n",
        pool.display()
    );
    let bed = bed(&lab, "seshere", &(host + &idle("seshere", "host.here", "")));
    let said = bed.expect(3, &["apply", "--yes"]).unwrap();
    says(&said, &["root has no libvirt but the host's", "log in as another user"]);
    let bed = as_another_user(home.path(), bed);
    let virsh = |words: &[&str]| Run::new(home.path().join("virsh")).args(words).ok().unwrap();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    says(&virsh(&["list", "--name"]), &["seshere"]);
    says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
    virsh(&["destroy", "seshere"]);
    bed.expect(0, &["destroy", "--yes"]).unwrap();
    assert_eq!(virsh(&["list", "--all", "--name"]).text(), "");
    let pid = fs::read_to_string(home.path().join("libvirt/libvirtd.pid")).unwrap();
    kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), Signal::TERM).unwrap();
}
