//! A host that means no good costs an error: no panic, no time beyond the deadline, no memory.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{
    fs,
    io::{Read as _, Result},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use acceptance::{
    bed::{Bed, binary},
    hostile::{self, Wire, kex_init, string},
    sshd::Sshd,
    workshop::Workshop,
};
use common::{
    lab,
    small::{bed, idle},
};

/// What a run may hold in memory, in KiB: one that fails at once holds 34 MB in a debug build.
const MOST: u64 = 48 << 10;

/// A host does this; the error of a plan must have these words.
fn costs_an_error(name: &'static str, act: fn(&mut Wire) -> Result<()>, words: &str) {
    fails(name, "plan", act, &["t: cannot connect to t", words]);
}

/// The same, of any command.
fn fails(name: &'static str, command: &str, act: fn(&mut Wire) -> Result<()>, words: &[&str]) {
    let lab = lab();
    let port = hostile::serve(act).unwrap();
    let shop = Workshop::new().unwrap();
    shop.key("key", "ed25519", "").unwrap();
    shop.key("other", "ed25519", "").unwrap();
    shop.write("known", &format!("[127.0.0.1]:{port} {}\n", hostile::key()), 0o644).unwrap();
    let at = |name: &str| shop.at(name).display().to_string();
    let lines = format!(
        "Host t\n HostName 127.0.0.1\n Port {port}\n User root\n UserKnownHostsFile {}\n \
         IdentityFile {}\n IdentityFile {}\n",
        at("known"),
        at("key"),
        at("other")
    );
    shop.write("config", &lines, 0o644).unwrap();
    let host = "host \"t\" {\n  ssh = \"t\"\n  accel = \"tcg\"\n}\n";
    let bed = bed(&lab, name, &(host.to_owned() + &idle(name, "host.t", "")));
    let begun = Instant::now();
    let (said, peak) = watched(&bed, command, &at("config"));
    for words in words {
        assert!(said.contains(words), "{name}: {words:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{name}: {said}");
    assert!(begun.elapsed() < Duration::from_secs(25), "{name}: {:?}", begun.elapsed());
    assert!(peak > 0 && peak < MOST, "{name}: {peak} KiB");
}

/// Runs a command; returns what it said, and the most memory it held at a time, in KiB.
fn watched(bed: &Bed, command: &str, config: &str) -> (String, u64) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut child = Command::new(binary())
        .arg(command)
        .current_dir(bed.path())
        .env_clear()
        .env("HOME", bed.path())
        .env("FREEHOLD_SSH_CONFIG", config)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap();
    let said = thread::spawn(move || {
        let mut said = String::new();
        reader.read_to_string(&mut said).map(|_| said)
    });
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak = peak.max(now.unwrap_or(0));
        if begun.elapsed() > Duration::from_mins(1) {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    (said.join().unwrap().unwrap(), peak)
}

#[test]
fn before_its_name() {
    let endless = |wire: &mut Wire| {
        loop {
            wire.raw(b"welcome, and welcome again\r\n")?;
        }
    };
    costs_an_error("sshfbanner", endless, "no key exchange");
    let long = |wire: &mut Wire| {
        wire.raw(b"SSH-2.0-")?;
        loop {
            wire.raw(&[b'x'; 4096])?;
        }
    };
    costs_an_error("sshfname", long, "no key exchange");
    costs_an_error("sshfgone", |_| Ok(()), "no key exchange");
}

#[test]
fn a_host_that_only_stares() {
    costs_an_error("sshfstare", Wire::stare, "did not answer within 15 s");
}

#[test]
fn a_host_that_stops_in_the_middle() {
    let middle = |wire: &mut Wire| {
        wire.hello()?;
        wire.send(&kex_init("curve25519-sha256", "ssh-ed25519"))?;
        wire.stare()
    };
    costs_an_error("sshfmiddle", middle, "did not answer within 15 s");
}

#[test]
fn in_the_key_exchange() {
    let oversized = |wire: &mut Wire| {
        wire.hello()?;
        wire.raw(&[0xff; 64])?;
        wire.stare()
    };
    costs_an_error("sshfsize", oversized, "no key exchange");
    let garbage = |wire: &mut Wire| {
        wire.hello()?;
        wire.send(&[&[20], &*vec![0xa5; 300]].concat())?;
        wire.stare()
    };
    costs_an_error("sshfgarbage", garbage, "no key exchange");
    let keyless = |wire: &mut Wire| {
        wire.hello()?;
        wire.send(&kex_init("curve25519-sha256", ""))?;
        wire.stare()
    };
    costs_an_error("sshfkeyless", keyless, "no key exchange");
    let leaves = |wire: &mut Wire| {
        wire.hello()?;
        wire.send(&kex_init("curve25519-sha256", "ssh-ed25519"))?;
        wire.receive().map(drop)
    };
    costs_an_error("sshfleaves", leaves, "no key exchange");
    let flood = |wire: &mut Wire| {
        wire.hello()?;
        loop {
            wire.send(&[&[2], &*string(&[b'x'; 1000])].concat())?;
        }
    };
    costs_an_error("sshfignore", flood, "more than 512 KiB before the login");
    let lax = |wire: &mut Wire| {
        wire.exchange("")?;
        wire.stare()
    };
    costs_an_error("sshflax", lax, "knows no strict key exchange");
}

#[test]
fn in_the_login() {
    let leaves = |wire: &mut Wire| wire.asked_to_log_in();
    costs_an_error("sshfhangup", leaves, "the host hung up");
    let banners = |wire: &mut Wire| {
        wire.asked_to_log_in()?;
        loop {
            wire.send(&[&[53], &*string(&[b'x'; 9000]), &string(b"")].concat())?;
        }
    };
    costs_an_error("sshfbanners", banners, "more than 512 KiB before the login");
    let failures = |wire: &mut Wire| {
        wire.asked_to_log_in()?;
        loop {
            wire.send(&[&[51], &*string(b"publickey"), &[0]].concat())?;
        }
    };
    costs_an_error("sshffailures", failures, "no login as root");
    let debug = |wire: &mut Wire| {
        wire.asked_to_log_in()?;
        loop {
            wire.send(&[&[4, 1], &*string(&[b'x'; 9000]), &string(b"")].concat())?;
        }
    };
    costs_an_error("sshfdebug", debug, "more than 512 KiB before the login");
    let prompts = |wire: &mut Wire| {
        wire.asked_to_log_in()?;
        let prompt = [string(b"Password: "), vec![0]].concat();
        let head = [vec![60], string(b""), string(b""), string(b""), vec![0xff; 4]].concat();
        loop {
            wire.send(&[&*head, &prompt.repeat(500)].concat())?;
        }
    };
    costs_an_error("sshfprompts", prompts, "more than 512 KiB before the login");
}

#[test]
fn before_the_doctor() {
    let flood = |wire: &mut Wire| {
        wire.hello()?;
        loop {
            wire.send(&[&[2], &*string(&[b'x'; 1000])].concat())?;
        }
    };
    let words = ["BAD   host key", "its sshd said more than 512 KiB before the login"];
    fails("sshfdocflood", "doctor", flood, &words);
    let words = ["BAD   host key", "its sshd did not answer in time"];
    fails("sshfdocstare", "doctor", Wire::stare, &words);
}

#[test]
fn after_the_login() {
    let lab = lab();
    let sshd = Sshd::here(&lab, "ForceCommand cat /dev/zero").unwrap();
    let config =
        format!("{}  IdentityFile {}\n", sshd.config("t").unwrap(), lab.user_key().display());
    fs::write(sshd.folder().join("ssh_config"), config).unwrap();
    let host = "host \"t\" {\n  ssh = \"t\"\n  accel = \"tcg\"\n}\n";
    let bed = bed(&lab, "sshfzero", &(host.to_owned() + &idle("sshfzero", "host.t", "")));
    let (stderr, peak) =
        watched(&bed, "plan", &sshd.folder().join("ssh_config").display().to_string());
    assert!(stderr.contains("a command wrote more than 64 MiB"), "{stderr}");
    assert!(peak > 0 && peak < 3 * MOST + (64 << 10), "{peak} KiB");
}
