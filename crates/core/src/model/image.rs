//! Images: what root disks begin as.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Checksum, ImageName};

/// A disk image that VMs are cloned from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name in the fleet.
    pub name: ImageName,
    /// Where it comes from.
    pub source: ImageSource,
    /// What its bytes must hash to, as it is published.
    pub checksum: Checksum,
    /// How it is published.
    pub form: ImageForm,
}

/// How an image is published; in a pool it lies as plain qcow2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageForm {
    /// What it is packed with.
    pub packing: Packing,
    /// What it is once it is unpacked.
    pub format: ImageFormat,
}

/// What a file is packed with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// Nothing.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
}

/// What an image is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// qcow2.
    #[default]
    Qcow2,
    /// The bytes of a disk, one after the other.
    Raw,
}

impl Packing {
    /// All of them, by the words that name them and the endings of their files.
    pub const ALL: [(Self, &str, &[&str]); 5] = [
        (Self::None, "none", &[]),
        (Self::Gzip, "gzip", &[".gz"]),
        (Self::Xz, "xz", &[".xz"]),
        (Self::Zstd, "zstd", &[".zst", ".zstd"]),
        (Self::Bzip2, "bzip2", &[".bz2"]),
    ];

    /// Returns the word that names it.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(packing, ..)| *packing == self).map_or("none", |(_, word, _)| word)
    }
}

impl ImageForm {
    /// Returns what the name of a file, or the path of an address, says by its ending.
    pub fn of_name(name: &str) -> Self {
        let name = name.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
        let packed = Packing::ALL.iter().find_map(|(packing, _, endings)| {
            let inner = endings.iter().find_map(|ending| name.strip_suffix(ending))?;
            Some((*packing, inner))
        });
        let (packing, inner) = packed.unwrap_or((Packing::None, &name));
        let is_raw = inner.strip_suffix(".raw").is_some();
        Self { packing, format: if is_raw { ImageFormat::Raw } else { ImageFormat::Qcow2 } }
    }

    /// Says whether the file lies in a pool as it is published.
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// Returns what a file's name in a pool says of what was done to it: `xz.raw.`, or nothing.
    pub(crate) fn infix(self) -> String {
        let packing = match self.packing {
            Packing::None => String::new(),
            packing => format!("{}.", packing.word()),
        };
        packing + if self.format == ImageFormat::Raw { "raw." } else { "" }
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A file on this machine, absolute.
    Path(PathBuf),
    /// An `http://` or `https://` address.
    Url(String),
}

/// Returns an address as it may be shown: a query is often a key.
pub(crate) fn without_query(url: &str) -> String {
    match url.split_once(['?', '#']) {
        Some((place, _)) => format!("{place}?…"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_form() {
        let form = |packing, format| ImageForm { packing, format };
        let names = [
            ("debian.qcow2", form(Packing::None, ImageFormat::Qcow2), ""),
            ("noble.img", form(Packing::None, ImageFormat::Qcow2), ""),
            ("https://x.org/a.RAW.xz?key=b.gz", form(Packing::Xz, ImageFormat::Raw), "xz.raw."),
            ("a.qcow2.zst", form(Packing::Zstd, ImageFormat::Qcow2), "zstd."),
            ("a.raw", form(Packing::None, ImageFormat::Raw), "raw."),
            ("a.gz", form(Packing::Gzip, ImageFormat::Qcow2), "gzip."),
        ];
        for (name, want, infix) in names {
            let have = ImageForm::of_name(name);
            assert_eq!((have, have.infix().as_str()), (want, infix), "{name}");
        }
    }
}
