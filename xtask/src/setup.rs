//! Installs the Debian or Ubuntu packages that a chore needs and the machine lacks.

use std::fs;
use std::path::Path;

use acceptance::lab::command::Run;
use anyhow::{Context, Result, bail};

use crate::{root, screen};

/// What a chore wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Compile, and test without hosts.
    Build,
    /// Start an sshd and a database, too.
    Stores,
    /// Bring the lab up, too.
    Lab,
    /// Compare with other clients, too.
    Bench,
}

const BUILD: [&str; 4] = ["gcc", "libvirt-dev", "openssh-client", "pkg-config"];
const STORES: [&str; 2] = ["openssh-server", "postgresql"];
const LAB: [&str; 26] = [
    "bind9-dnsutils",
    "busybox-static",
    "curl",
    "dnsmasq-base",
    "fish",
    "grub-common",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "iproute2",
    "iptables",
    "libvirt-clients",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-system",
    "mtools",
    "openssh-client",
    "openssh-server",
    "ovmf",
    "pdns-backend-sqlite3",
    "pdns-server",
    "postgresql",
    "prometheus",
    "qemu-system-x86",
    "qemu-utils",
    "sqlite3",
    "util-linux",
    "zstd",
];
/// Of one source package with these, or bound to their version: they must come from one suite.
const HYPERVISOR: [&str; 3] = ["libvirt", "qemu", "ovmf"];

const POLICY: &str = "/usr/sbin/policy-rc.d";
/// 101 means "action forbidden by policy": the daemons belong into the lab, not on this machine's ports.
const NO_SERVICES: &str =
    "#!/bin/sh\n# Written by `cargo xtask`, which removes it again.\nexit 101\n";

/// Installs what is missing; quick when nothing is.
pub(crate) fn setup(needs: Needs) -> Result<()> {
    let missing = missing(needs)?;
    if missing.is_empty() {
        return Ok(());
    }
    screen::say(format_args!("missing packages: {}", missing.join(" ")));
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this machine has no apt-get\n\nhint: install them by hand, the names are Debian's");
    }
    if !screen::agreed("Install them?") {
        bail!("nothing was installed");
    }
    let quiet = ForbiddenServices::begin()?;
    let installed = install(&missing);
    drop(quiet);
    installed
}

fn missing(needs: Needs) -> Result<Vec<&'static str>> {
    let wanted = match needs {
        Needs::Build => BUILD.to_vec(),
        Needs::Stores => [&BUILD[..], &STORES].concat(),
        Needs::Lab => [&BUILD[..], &LAB[..]].concat(),
        Needs::Bench => [&BUILD[..], &LAB[..], &["python3-libvirt"]].concat(),
    };
    let format = "-f=${Package} ${db:Status-Status}\n";
    let asked = Run::new("dpkg-query").args(["-W", format]).args(&wanted).output()?;
    let have =
        |name: &str| asked.stdout.lines().any(|line| line.strip_suffix(" installed") == Some(name));
    Ok(wanted.into_iter().filter(|name| !have(name)).collect())
}

fn install(missing: &[&str]) -> Result<()> {
    let suite = backports()?;
    if let Some(suite) = &suite {
        add_suite(suite)?;
    }
    apt_get(&["update", "-qq"])?;
    let (bound, free): (Vec<&str>, Vec<&str>) =
        missing.iter().partition(|name| HYPERVISOR.iter().any(|part| name.contains(part)));
    let install = ["install", "-y", "-q", "--no-install-recommends"];
    if let Some(suite) = &suite {
        if !bound.is_empty() {
            apt_get(&[&install[..], &["-t", suite], &bound].concat())?;
        }
        if free.is_empty() {
            return Ok(());
        }
        return apt_get(&[&install[..], &free].concat());
    }
    apt_get(&[&install[..], missing].concat())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let patience = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"];
    root::run(&[&["env"], &patience[..], arguments].concat())
}

/// Returns the backports suite if this machine's QEMU or libvirt came from there: stable's packages of
/// the same sources cannot be installed beside them.
fn backports() -> Result<Option<String>> {
    let names = ["qemu-utils", "qemu-system-common", "libvirt0", "libvirt-dev"];
    let asked = Run::new("dpkg-query").args(["-W", "-f=${Version}\n"]).args(names).output()?;
    if !asked.stdout.lines().any(|version| version.contains("~bpo")) {
        return Ok(None);
    }
    Ok(Some(format!("{}-backports", codename()?)))
}

fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("/etc/os-release names no VERSION_CODENAME")?.trim_matches('"').to_owned())
}

/// Adds `suite` from where this machine gets its distribution, whichever mirror that is.
fn add_suite(suite: &str) -> Result<()> {
    let policy = Run::new("apt-cache").arg("policy").ok()?;
    if policy.stdout.contains(&format!("{suite}/main")) {
        return Ok(());
    }
    let stable = codename()?;
    let (content, ending) = sources(&stable, suite)?;
    let path = format!("/etc/apt/sources.list.d/{suite}.{ending}");
    screen::say(format_args!("adding {path}"));
    root::write(&path, &content)
}

fn sources(stable: &str, suite: &str) -> Result<(String, &'static str)> {
    let mut files = vec!["/etc/apt/sources.list".into()];
    let listed = fs::read_dir("/etc/apt/sources.list.d").context("reading apt's sources")?;
    files.extend(listed.flatten().map(|entry| entry.path()));
    let contents = files.iter().filter_map(|path| fs::read_to_string(path).ok());
    for content in contents {
        if let Some(stanza) = stanza_of(&content, stable, suite) {
            return Ok((stanza, "sources"));
        }
        if let Some(line) = line_of(&content, stable, suite) {
            return Ok((line, "list"));
        }
    }
    bail!("no source of apt has the suite {stable}")
}

fn stanza_of(content: &str, stable: &str, suite: &str) -> Option<String> {
    let names = |line: &str| {
        line.strip_prefix("Suites:")
            .is_some_and(|suites| suites.split_whitespace().any(|name| name == stable))
    };
    let stanza = content.split("\n\n").find(|stanza| stanza.lines().any(names))?;
    let renamed =
        |line: &str| if names(line) { format!("Suites: {suite}\n") } else { format!("{line}\n") };
    Some(stanza.lines().map(renamed).collect())
}

fn line_of(content: &str, stable: &str, suite: &str) -> Option<String> {
    let line = content.lines().find(|line| {
        line.starts_with("deb ") && line.split_whitespace().any(|word| word == stable)
    })?;
    let words = line.split_whitespace().map(|word| if word == stable { suite } else { word });
    Some(format!("{}\n", words.collect::<Vec<_>>().join(" ")))
}

/// While it lives, packages do not start their services; a policy that was there before stays.
#[derive(Debug)]
struct ForbiddenServices {
    ours: bool,
}

impl ForbiddenServices {
    fn begin() -> Result<Self> {
        let ours = fs::read_to_string(POLICY).map_or(true, |found| found == NO_SERVICES);
        if ours {
            root::write(POLICY, NO_SERVICES)?;
            root::run(&["chmod", "0755", POLICY])?;
        }
        Ok(Self { ours })
    }
}

impl Drop for ForbiddenServices {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        if let Err(error) = root::run(&["rm", "-f", POLICY]) {
            screen::failure(&error.context(format!("{POLICY} is still there, remove it")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backports_come_from_the_mirror_in_use() {
        let content = "Types: deb\nURIs: http://mirror/debian\nSuites: bookworm bookworm-updates\nComponents: main\n";
        let stanza = stanza_of(content, "bookworm", "bookworm-backports").unwrap();
        assert!(stanza.contains("URIs: http://mirror/debian\nSuites: bookworm-backports\n"));
        let line =
            line_of("deb [a=b] http://m/debian bookworm main", "bookworm", "bookworm-backports");
        assert_eq!(line.unwrap(), "deb [a=b] http://m/debian bookworm-backports main\n");
    }
}
