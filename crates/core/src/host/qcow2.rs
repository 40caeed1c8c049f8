//! Looks at a disk image before libvirt or QEMU see it.
//!
//! A qcow2 header may name a backing file or an external data file, and QEMU would open that path
//! of the host for the guest. What passes here names no other file and has no feature unknown to us.

use crate::model::Size;

/// How many bytes from the file's beginning [`Header::read`] wants at most.
pub(crate) const HEADER_LENGTH: usize = 512;

/// What we need of a qcow2 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Size of the disk as a guest sees it.
    pub(crate) virtual_size: Size,
    /// Where the backing file's name stands, and its length.
    pub(crate) backing: Option<(u64, u32)>,
    version: u32,
    crypt: u32,
    cluster_bits: u32,
    incompatible: u64,
}

/// Says why a file is refused as an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Another kind of file.
    #[error("it is no qcow2 image but {0}")]
    Kind(&'static str),
    /// Too short or out of its own bounds.
    #[error("its qcow2 header is damaged: {0}")]
    Damaged(&'static str),
    /// A version of the format that QEMU has not had for years, or does not have yet.
    #[error("its qcow2 header has version {0}; 2 and 3 are known")]
    Version(u32),
    /// It names another file, which would be served to the guest.
    #[error("it has a backing file")]
    BackingFile,
    /// It names another file, which would be served to the guest.
    #[error("it keeps its data in another file")]
    DataFile,
    /// It needs a key.
    #[error("it is encrypted")]
    Encrypted,
    /// Features we do not know.
    #[error("it has features unknown to us (incompatible bits {0:#x})")]
    Features(u64),
    /// No sane size.
    #[error("it says to be {0} bytes large; at most 64 TiB are taken")]
    Size(u64),
}

impl ImageError {
    /// Returns what the user can do.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Kind(_) => "convert it: qemu-img convert -O qcow2 IN OUT.qcow2",
            Self::BackingFile | Self::DataFile => {
                "make it whole: qemu-img convert -O qcow2 IN OUT.qcow2"
            }
            Self::Damaged(_) => "was it downloaded completely?",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

const MAGIC: [u8; 4] = *b"QFI\xfb";
const MOST: u64 = 64 << 40;
/// Dirty, corrupt (QEMU refuses to write it), external data file, compression type, extended L2.
const DATA_FILE: u64 = 1 << 2;
const KNOWN: u64 = 0b1_1001;

impl Header {
    /// Reads a header from a file's first bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        if bytes.get(..4) != Some(&MAGIC) {
            return Err(ImageError::Kind(kind_of(bytes)));
        }
        let short = ImageError::Damaged("it ends early");
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
        };
        let long = |at: usize| -> Option<u64> {
            Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        let version = word(4).ok_or_else(|| short.clone())?;
        if !(2..=3).contains(&version) {
            return Err(ImageError::Version(version));
        }
        let read = || -> Option<Self> {
            let (offset, length) = (long(8)?, word(16)?);
            Some(Self {
                virtual_size: Size::from_bytes(long(24)?),
                backing: (offset != 0 && length != 0).then_some((offset, length)),
                version,
                crypt: word(32)?,
                cluster_bits: word(20)?,
                incompatible: if version == 3 { long(72)? } else { 0 },
            })
        };
        let header = read().ok_or(short)?;
        // QEMU takes a name only where the offset is set, whatever the length says.
        if header.backing.is_none() && long(8) != Some(0) {
            return Err(ImageError::BackingFile);
        }
        Ok(header)
    }

    /// Reads the header of an image that VMs will be cloned from, and refuses what is not whole.
    pub(crate) fn of_image(bytes: &[u8]) -> Result<Self, ImageError> {
        let header = Self::read(bytes)?;
        if header.backing.is_some() {
            return Err(ImageError::BackingFile);
        }
        if header.incompatible & DATA_FILE != 0 {
            return Err(ImageError::DataFile);
        }
        if header.incompatible & !KNOWN != 0 {
            return Err(ImageError::Features(header.incompatible & !KNOWN));
        }
        if header.crypt != 0 {
            return Err(ImageError::Encrypted);
        }
        if !(9..=21).contains(&header.cluster_bits) {
            return Err(ImageError::Damaged("its cluster size is out of bounds"));
        }
        if !(1..=MOST).contains(&header.virtual_size.bytes()) {
            return Err(ImageError::Size(header.virtual_size.bytes()));
        }
        Ok(header)
    }

    /// Returns the name of the file under this one, when the bytes reach that far.
    pub(crate) fn backing_name<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        let (offset, _) = self.backing?;
        let (start, end) =
            (usize::try_from(offset).ok()?, usize::try_from(self.backing_end()).ok()?);
        std::str::from_utf8(bytes.get(start..end)?).ok()
    }

    /// Returns where that name ends; 0 where there is none.
    pub(crate) fn backing_end(&self) -> u64 {
        self.backing.map_or(0, |(offset, length)| offset.saturating_add(u64::from(length)))
    }
}

fn kind_of(bytes: &[u8]) -> &'static str {
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).to_ascii_lowercase();
    let text = text.trim_start();
    if bytes.is_empty() {
        "empty"
    } else if begins(&[0x1f, 0x8b]) {
        "a gzip file"
    } else if begins(b"\xfd7zXZ\0") {
        "an xz file"
    } else if begins(&[0x28, 0xb5, 0x2f, 0xfd]) {
        "a zstd file"
    } else if begins(b"BZh") {
        "a bzip2 file"
    } else if begins(b"PK\x03\x04") {
        "a zip file"
    } else if begins(b"KDMV") || text.starts_with("# disk descriptorfile") {
        "a VMDK image"
    } else if begins(b"vhdxfile") {
        "a VHDX image"
    } else if begins(b"conectix") {
        "a VHD image"
    } else if text.starts_with("<!doctype") || text.starts_with("<html") {
        "a web page"
    } else if text.starts_with("<?xml") {
        "an XML file"
    } else if bytes.get(510..512) == Some(&[0x55, 0xaa]) {
        "a raw disk or a CD-ROM image with a boot sector"
    } else {
        "something else (a raw disk or an ISO?)"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image() -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LENGTH];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&3_u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&16_u32.to_be_bytes());
        bytes[24..32].copy_from_slice(&(2_u64 << 30).to_be_bytes());
        bytes
    }

    #[test]
    fn takes_a_whole_image() {
        let header = Header::of_image(&image()).unwrap();
        assert_eq!(header.virtual_size, Size::from_bytes(2 << 30));
    }

    #[test]
    fn refuses_a_file_that_names_another() {
        let mut backed = image();
        backed[8..16].copy_from_slice(&400_u64.to_be_bytes());
        backed[16..20].copy_from_slice(&4_u32.to_be_bytes());
        backed[400..404].copy_from_slice(b"/etc");
        assert_eq!(Header::of_image(&backed), Err(ImageError::BackingFile));
        assert_eq!(Header::read(&backed).unwrap().backing_name(&backed), Some("/etc"));
        backed[16..20].copy_from_slice(&0_u32.to_be_bytes());
        assert_eq!(Header::of_image(&backed), Err(ImageError::BackingFile));
        let mut data = image();
        data[79] = 4;
        assert_eq!(Header::of_image(&data), Err(ImageError::DataFile));
    }

    #[test]
    fn refuses_the_odd() {
        let odd = |at: usize, value: u8| {
            let mut bytes = image();
            bytes[at] = value;
            Header::of_image(&bytes).unwrap_err()
        };
        assert_eq!(odd(7, 4), ImageError::Version(4));
        assert_eq!(odd(79, 2), ImageError::Features(2));
        assert_eq!(odd(35, 2), ImageError::Encrypted);
        assert_eq!(odd(23, 22), ImageError::Damaged("its cluster size is out of bounds"));
        assert!(matches!(odd(24, 1), ImageError::Size(_)));
    }

    #[test]
    fn says_what_else_it_is() {
        let kind = |bytes: &[u8]| Header::of_image(bytes).unwrap_err().to_string();
        assert!(kind(b"\x1f\x8b\x08").contains("gzip"));
        assert!(kind(b"\n<!DOCTYPE html>").contains("web page"));
        let mut raw = vec![0; 512];
        raw[510..].copy_from_slice(&[0x55, 0xaa]);
        assert!(kind(&raw).contains("raw disk"));
        assert!(kind(b"").contains("empty"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600), valid: bool) {
            let mut bytes = bytes;
            if valid && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
            }
            if let Ok(header) = Header::read(&bytes) {
                let _name = header.backing_name(&bytes);
            }
            let _whole = Header::of_image(&bytes).is_ok();
        }
    }
}
