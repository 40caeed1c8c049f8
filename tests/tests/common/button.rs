//! An image whose system is one sector: it waits for the power button and turns itself off. So guests of
//! 16 MiB run, stop and start as real ones do, in a blink.

use std::{fs, path::Path};

use acceptance::lab::{command::Run, sha256};

/// Enables the power button (q35: PM1 at 0x600), halts until it is pressed, and goes to S5.
const BOOT: [u8; 28] = [
    0xfb, // sti
    0xba, 0x02, 0x06, 0xb8, 0x00, 0x01, 0xef, // PM1_EN: the power button
    0xf4, // again: hlt
    0xba, 0x00, 0x06, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf6, // PM1_STS: not pressed, again
    0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, // PM1_CNT: S5
    0xf4, 0xeb, 0xfd, // off
];

/// Makes `blank.qcow2` in a folder: this system on a disk of 8 MiB, which no other fleet has, as `salt` is in it.
/// Returns its digest.
pub(crate) fn button(folder: &Path, salt: &str) -> String {
    let mut disk = vec![0; 8 << 20];
    disk[..BOOT.len()].copy_from_slice(&BOOT);
    disk[64..64 + salt.len()].copy_from_slice(salt.as_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let (raw, made) = (folder.join("blank.raw"), folder.join("blank.qcow2"));
    fs::write(&raw, disk).unwrap();
    Run::new("qemu-img")
        .args(["convert", "-O", "qcow2", "-f", "raw"])
        .arg(&raw)
        .arg(&made)
        .ok()
        .unwrap();
    fs::remove_file(raw).unwrap();
    sha256(&made).unwrap()
}
