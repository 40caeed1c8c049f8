//! The boot disk: one FAT partition that GRUB finds from a BIOS's boot sector as well as from UEFI.
//!
//! Written without a loop device: the partition table by hand, the file system with mtools.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::lab::command::Run;

const SECTOR: usize = 512;
const MIB: usize = 1 << 20;
/// The partition starts here; GRUB's BIOS core lives in the gap before it.
const START: usize = MIB;
const GRUB_BIOS: &str = "/usr/lib/grub/i386-pc";

/// Read by GRUB's rescue parser, which knows plain commands only. Started by UEFI, GRUB already stands on
/// our partition; started by a BIOS it knows the disk only, and searching would cost most of a second.
const FROM_BIOS: &str = "set root=(hd0,msdos1)\n";
const START_LINUX: &str = "\
linux /freehold/vmlinuz console=ttyS0 quiet loglevel=4 panic=5 mitigations=off no_timer_check
initrd /freehold/initrd
boot
";

/// Writes the raw boot disk `disk`, with `scratch` for what is needed on the way.
pub(super) fn write_boot_disk(
    disk: &Path,
    scratch: &Path,
    kernel: &Path,
    initrd: &Path,
) -> Result<()> {
    let efi = scratch.join("bootx64.efi");
    let core = scratch.join("core.img");
    grub_image("x86_64-efi", START_LINUX, &efi, &[])?;
    grub_image("i386-pc", &format!("{FROM_BIOS}{START_LINUX}"), &core, &["biosdisk"])?;
    let content = [kernel, initrd, &efi].iter().map(|path| size(path)).sum::<Result<usize>>()?;
    let length = (content + 4 * MIB).next_multiple_of(MIB);
    let head = disk_head(&core, length)?;
    fs::write(disk, head).with_context(|| format!("writing {}", disk.display()))?;
    let file = fs::OpenOptions::new().write(true).open(disk)?;
    file.set_len((START + length) as u64)?;
    fill(disk, length, kernel, initrd, &efi)
}

fn grub_image(platform: &str, script: &str, output: &Path, more: &[&str]) -> Result<()> {
    let config = output.with_extension("cfg");
    fs::write(&config, script).with_context(|| format!("writing {}", config.display()))?;
    Run::new("grub-mkimage")
        .args(["-O", platform, "-p", "/freehold", "-c"])
        .arg(&config)
        .arg("-o")
        .arg(output)
        .args(["part_msdos", "fat", "linux"])
        .args(more)
        .ok()?;
    Ok(())
}

/// Returns the first mebibyte: GRUB's boot sector with our partition table, then GRUB's core, which
/// by default looks for itself from sector 1 on.
fn disk_head(core: &Path, length: usize) -> Result<Vec<u8>> {
    let boot = fs::read(format!("{GRUB_BIOS}/boot.img")).context("reading GRUB's boot.img")?;
    let core = fs::read(core).with_context(|| format!("reading {}", core.display()))?;
    if boot.len() != SECTOR || core.len() > START - SECTOR {
        bail!("GRUB's boot sector has {} bytes, its core {}", boot.len(), core.len());
    }
    let mut head = boot;
    let sectors = |bytes: usize| u32::try_from(bytes / SECTOR).expect("the disk is small");
    let mut entry = [0u8; 16];
    entry[0] = 0x80; // bootable, which some BIOSes insist on
    entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[4] = 0xef; // EFI system partition
    entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&sectors(START).to_le_bytes());
    entry[12..16].copy_from_slice(&sectors(length).to_le_bytes());
    head[446..510].fill(0);
    head[446..462].copy_from_slice(&entry);
    head[510..512].copy_from_slice(&[0x55, 0xaa]);
    head.extend_from_slice(&core);
    Ok(head)
}

fn fill(disk: &Path, length: usize, kernel: &Path, initrd: &Path, efi: &Path) -> Result<()> {
    let image = format!("{}@@{START}", disk.display());
    let sectors = (length / SECTOR).to_string();
    let mtool = |name: &str| Run::new(name).env("MTOOLS_SKIP_CHECK", "1").args(["-i", &image]);
    mtool("mformat")
        .args(["-T", &sectors, "-h", "16", "-s", "63", "-H", "2048", "-v", "FREEHOLD"])
        .arg("::")
        .ok()?;
    mtool("mmd").args(["::/freehold", "::/EFI", "::/EFI/BOOT"]).ok()?;
    mtool("mcopy").arg(kernel).arg("::/freehold/vmlinuz").ok()?;
    mtool("mcopy").arg(initrd).arg("::/freehold/initrd").ok()?;
    mtool("mcopy").arg(efi).arg("::/EFI/BOOT/BOOTX64.EFI").ok()?;
    Ok(())
}

fn size(path: &Path) -> Result<usize> {
    let length = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len();
    usize::try_from(length).context("a file of the guest is too large")
}
