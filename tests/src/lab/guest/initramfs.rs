//! The guest's whole root file system: busybox, OpenSSH, modules and our four scripts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::archive::Archive;
use super::kernel::{Kernel, Module};
use crate::lab::command::Run;

/// Needed before the guest can be ready.
const EARLY: [&str; 12] = [
    "button",
    "evdev",
    "virtio_pci",
    "virtio_rng",
    "virtio_blk",
    "virtio_net",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_utf8",
    "nls_iso8859_1",
    "isofs",
];
/// Loaded when the seed was not found, else after the guest is ready.
const LATE: [&str; 8] = [
    "virtio_scsi",
    "sr_mod",
    "sd_mod",
    "ata_piix",
    "ahci",
    "virtio_console",
    "virtio_balloon",
    "e1000",
];

/// Our own files: path, mode, content.
pub(super) const SCRIPTS: [(&str, u32, &str); 7] = [
    ("/init", 0o755, include_str!("init.sh")),
    ("/bin/lease", 0o755, include_str!("lease.sh")),
    ("/bin/metrics", 0o755, include_str!("metrics.sh")),
    ("/etc/network.awk", 0o644, include_str!("network.awk")),
    ("/etc/ssh/sshd_config", 0o600, include_str!("sshd_config")),
    ("/etc/passwd", 0o644, "root:*:0:0:root:/root:/bin/sh\nsshd:*:100:100::/run/sshd:/bin/false\n"),
    ("/etc/group", 0o644, "root:x:0:\nsshd:x:100:\n"),
];

/// Programs taken from this machine, with their libraries; the last two exist from OpenSSH 9.8 on.
const PROGRAMS: [&str; 4] = [
    "/usr/sbin/sshd",
    "/usr/bin/ssh-keygen",
    "/usr/lib/openssh/sshd-session",
    "/usr/lib/openssh/sshd-auth",
];

/// Where busybox-static puts its one file, before and after the merge of `/usr`.
const BUSYBOX: [&str; 2] = ["/usr/bin/busybox", "/bin/busybox"];

/// Returns the initramfs as a cpio archive.
pub(super) fn initramfs(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["/proc", "/sys", "/tmp", "/run", "/mnt", "/root"] {
        archive.directory(directory);
    }
    for (path, mode, content) in SCRIPTS {
        archive.file(path, mode, content.as_bytes());
    }
    archive.file("/bin/busybox", 0o755, &busybox()?);
    add_programs(&mut archive)?;
    let mut seen = BTreeSet::new();
    add_modules(&mut archive, "early", &kernel.modules(&EARLY, &mut seen)?);
    add_modules(&mut archive, "late", &kernel.modules(&LATE, &mut seen)?);
    Ok(archive.finish())
}

/// Returns the files of this machine that end up in the image, for its digest.
pub(super) fn borrowed_files() -> Result<Vec<Vec<u8>>> {
    let mut contents = vec![busybox()?];
    for program in PROGRAMS.into_iter().filter(|path| Path::new(path).exists()) {
        contents.push(read(program)?);
    }
    Ok(contents)
}

fn busybox() -> Result<Vec<u8>> {
    let path = BUSYBOX.into_iter().find(|path| Path::new(path).exists());
    read(path.context("busybox is missing (package busybox-static)")?)
}

fn add_programs(archive: &mut Archive) -> Result<()> {
    let mut libraries = BTreeSet::new();
    for program in PROGRAMS.into_iter().filter(|path| Path::new(path).exists()) {
        archive.file(program, 0o755, &read(program)?);
        let linked = Run::new("ldd").arg(program).ok()?;
        libraries.extend(
            linked.stdout.split_whitespace().filter(|w| w.starts_with('/')).map(str::to_owned),
        );
    }
    for library in libraries {
        archive.file(&library, 0o755, &read(&library)?);
    }
    Ok(())
}

fn add_modules(archive: &mut Archive, list: &str, modules: &[Module]) {
    let mut names = String::new();
    for module in modules {
        archive.file(&format!("/modules/{}", module.name), 0o644, &module.content);
        names.push_str(&module.name);
        names.push('\n');
    }
    archive.file(&format!("/modules/{list}"), 0o644, names.as_bytes());
}

fn read(path: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {path}"))
}
