//! Ways to a host that `ssh_config` tells: through other hosts, through commands, under other names.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{fs, net::TcpListener};

use acceptance::{bed::Bed, lab::Lab, sshd::Sshd};
use common::{
    lab,
    small::{RACK1, bed, idle, says},
};

/// A bed with one VM on rack1, and an `ssh_config` of these lines before the lab's.
fn reached_by(lab: &Lab, name: &str, lines: &str) -> Bed {
    let bed = bed(lab, name, &(RACK1.to_owned() + &idle(name, "host.rack1", "")));
    let usual = fs::read_to_string(lab.ssh_config()).unwrap();
    bed.write("ssh_config", &format!("{lines}\n{usual}")).unwrap();
    let path = bed.path().join("ssh_config");
    bed.with_env("FREEHOLD_SSH_CONFIG", path)
}

/// The plan is made from what rack1 tells: one VM is missing there.
fn is_reached(bed: &Bed) {
    says(&bed.expect(0, &["plan"]).unwrap(), &["host rack1", "+ vm"]);
}

#[test]
fn a_host_is_reached_through_others() {
    let lab = lab();
    is_reached(&reached_by(&lab, "jump", "Host rack1\n ProxyJump rack2\n"));
    // rack1 twice, so that there is a chain.
    is_reached(&reached_by(&lab, "chain", "Host rack1\n ProxyJump root@10.77.0.11,rack2\n"));
    let usual = lab.ssh_config();
    let command = format!("Host rack1\n ProxyCommand ssh -F {} -W %h:%p rack2\n", usual.display());
    is_reached(&reached_by(&lab, "command", &command));
}

#[test]
fn each_host_on_the_way_must_be_there_and_prove_its_key() {
    let lab = lab();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lines =
        format!("Host rack1\n ProxyJump hop\nHost hop\n HostName 127.0.0.1\n Port {closed}\n");
    let bed = reached_by(&lab, "hopdown", &lines);
    let place = format!("127.0.0.1:{closed}");
    says(&bed.expect(3, &["plan"]).unwrap(), &["on the way, at", &place, "Connection refused"]);

    let bed = reached_by(
        &lab,
        "hopkey",
        "Host rack1\n ProxyJump rack2\nHost rack2\n UserKnownHostsFile /dev/null\n",
    );
    let said = bed.expect(1, &["plan"]).unwrap();
    says(&said, &["on the way, at 10.77.0.12:22", "its host key is not known", "SHA256:"]);

    let bed = reached_by(
        &lab,
        "nowhere",
        "Host rack1\n HostName 10.77.0.11\n Port 9\n ProxyJump rack2\n",
    );
    says(
        &bed.expect(3, &["plan"]).unwrap(),
        &["nothing answers at 10.77.0.11:9, seen from 10.77.0.12:22"],
    );
}

#[test]
fn what_a_proxy_command_complains_about_is_told() {
    let lab = lab();
    let lines = "Host rack1\n ProxyCommand echo 'no such way to %h' >&2; exit 1\n";
    let bed = reached_by(&lab, "complaint", lines);
    says(
        &bed.expect(3, &["plan"]).unwrap(),
        &["through ProxyCommand", "no such way to 10.77.0.11"],
    );
    let bed = reached_by(&lab, "loop", "Host *\n ProxyJump rack2\n");
    says(&bed.expect(1, &["plan"]).unwrap(), &["ssh_config:2: ", "ProxyJump leads"]);
}

#[test]
fn a_key_is_known_under_another_name() {
    let lab = lab();
    let all = fs::read_to_string(lab.known_hosts()).unwrap();
    let key = all.lines().find(|line| line.starts_with("rack1")).unwrap();
    let key = key.split_once(' ').unwrap().1;
    let folder = tempfile::TempDir::new().unwrap();
    let known = folder.path().join("known");
    fs::write(&known, format!("farm-1 {key}\n")).unwrap();
    let lines = |alias: &str| {
        format!("Host rack1\n HostKeyAlias {alias}\n UserKnownHostsFile {}\n", known.display())
    };
    is_reached(&reached_by(&lab, "alias", &lines("farm-1")));
    let said = reached_by(&lab, "otheralias", &lines("farm-2")).expect(1, &["plan"]).unwrap();
    says(&said, &["its host key is not known", "farm-2 ssh-"]);
}

#[test]
fn where_sshd_forwards_no_sockets_a_command_brings_the_bytes() {
    let lab = lab();
    for rack in [lab.rack1(), lab.rack2()] {
        let sshd = Sshd::on(&lab, &rack, "AllowStreamLocalForwarding no").unwrap();
        is_reached(&reached_by(&lab, "shut", &sshd.config("rack1").unwrap()));
    }
}
