//! What the check makes: specs, and images written by hand.

use std::path::{Path, PathBuf};

use freehold_core::model::{
    Accel, Checksum, Digest, DiskSpec, DomainSpec, Firmware, ImageForm, ImageSpec, Mac, Mark,
    NicSource, NicSpec, Size, VolumeSpec,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Outcome;

pub(super) fn mark(name: &str) -> Mark {
    Mark {
        fleet: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        name: name.to_owned(),
        incarnation: 1,
        digest: Digest::of([name.as_bytes()]),
        network: Digest::default(),
        protect: false,
        keep: Vec::new(),
    }
}

pub(super) fn spec(name: &str, image: &ImageSpec, firmware: Firmware) -> DomainSpec {
    let bytes = *Uuid::new_v4().as_bytes();
    let mac = Mac::local([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]);
    DomainSpec {
        uuid: Uuid::new_v4(),
        name: name.to_owned(),
        mark: mark(name),
        cpus: 1,
        memory: Size::from_mib(128),
        firmware,
        nvram: (firmware == Firmware::Uefi).then(|| format!("{name}.nvram")),
        accel: Accel::Tcg,
        autostart: true,
        disks: vec![DiskSpec {
            volume: format!("{name}.root.0"),
            backing: Some(image.volume.clone()),
        }],
        seed: Some(format!("{name}.seed.1")),
        nics: vec![NicSpec { mac, source: NicSource::Bridge("br0".to_owned()) }],
    }
}

pub(super) fn volume(name: &str, image: &ImageSpec) -> VolumeSpec {
    let backing = Some(image.volume.clone());
    VolumeSpec { name: name.to_owned(), size: Size::from_mib(64), backing }
}

/// A boot sector that writes a line to the first serial port and sleeps.
fn boot_sector() -> Vec<u8> {
    // cli; xor ax,ax; mov ds,ax; mov si,0x7c00+text; mov dx,0x3f8; cld
    // next: lodsb; test al,al; jz end; out dx,al; jmp next; end: hlt; jmp end
    let mut sector = vec![
        0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x40, 0x7c, 0xba, 0xf8, 0x03, 0xfc, 0xac, 0x84, 0xc0,
        0x74, 0x03, 0xee, 0xeb, 0xf8, 0xf4, 0xeb, 0xfd,
    ];
    sector.resize(0x40, 0);
    sector.extend(b"\r\nfreehold boots\r\n\0");
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

/// Writes a qcow2 of 1 MiB by hand: header, refcounts, L1, L2, one cluster of data.
pub(super) fn make_image(dir: &Path) -> Outcome<(ImageSpec, PathBuf)> {
    const CLUSTER: usize = 1 << 16;
    let mut bytes = vec![0; 6 * CLUSTER];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let cluster = |n: usize| ((n * CLUSTER) as u64).to_be_bytes();
    put(0, b"QFI\xfb\0\0\0\x03");
    put(20, &16_u32.to_be_bytes());
    put(24, &(1_u64 << 20).to_be_bytes());
    put(36, &1_u32.to_be_bytes());
    put(40, &cluster(3));
    put(48, &cluster(1));
    put(56, &1_u32.to_be_bytes());
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    put(CLUSTER, &cluster(2));
    for n in 0..6 {
        put(2 * CLUSTER + 2 * n, &1_u16.to_be_bytes());
    }
    let copied = 1_u64 << 63;
    put(3 * CLUSTER, &(copied | (4 * CLUSTER) as u64).to_be_bytes());
    put(4 * CLUSTER, &(copied | (5 * CLUSTER) as u64).to_be_bytes());
    put(5 * CLUSTER, &boot_sector());
    let file = dir.join("image.qcow2");
    std::fs::write(&file, &bytes)?;
    let spec = ImageSpec {
        name: "tiny".parse()?,
        volume: "image.tiny.qcow2".to_owned(),
        checksum: Checksum::sha256(&hex(&Sha256::digest(&bytes)))?,
        form: ImageForm::default(),
        most: Size::default(),
    };
    Ok((spec, file))
}

/// Writes 387 MB behind a good header and returns their digest.
pub(super) fn make_big(file: &Path) -> Outcome<String> {
    use std::io::Write as _;
    let mut head = vec![0; 512];
    head[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    head[20..24].copy_from_slice(&16_u32.to_be_bytes());
    head[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
    let mut out = std::fs::File::create(file)?;
    let mut hash = Sha256::new();
    let mut write = |bytes: &[u8]| -> Outcome {
        hash.update(bytes);
        Ok(out.write_all(bytes)?)
    };
    write(&head)?;
    let mut piece: Vec<u8> =
        (0..1_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for n in 0..369_u16 {
        piece[..2].copy_from_slice(&n.to_le_bytes());
        write(&piece)?;
    }
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _written = write!(text, "{byte:02x}");
        text
    })
}
