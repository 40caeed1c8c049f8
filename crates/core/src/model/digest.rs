//! Digests: of images, and of what we made.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Says why a text is no checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not the right number of hexadecimal digits.
    #[error("a {kind} has {want} hexadecimal digits, this has {have}")]
    Length {
        /// `sha256` or `sha512`.
        kind: &'static str,
        /// How many it must have.
        want: usize,
        /// How many it has.
        have: usize,
    },
    /// Another character.
    #[error("`{0}` is no hexadecimal digit")]
    Character(char),
    /// Neither `sha256:…` nor `sha512:…`.
    #[error("`{0}` is no checksum: `sha256:…` or `sha512:…`")]
    Kind(String),
}

/// The checksum of an image, as its publisher gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Checksum {
    /// SHA-256, 64 lower-case hexadecimal digits.
    Sha256(String),
    /// SHA-512, 128 lower-case hexadecimal digits.
    Sha512(String),
}

impl Checksum {
    /// Parses the digits of a SHA-256.
    pub fn sha256(digits: &str) -> Result<Self, DigestError> {
        hex_digits(digits, "sha256", 64).map(Self::Sha256)
    }

    /// Parses the digits of a SHA-512.
    pub fn sha512(digits: &str) -> Result<Self, DigestError> {
        hex_digits(digits, "sha512", 128).map(Self::Sha512)
    }

    /// Returns the digits.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Sha512(hex) => hex,
        }
    }

    /// Returns its kind: `sha256`, `sha512`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }
}

fn hex_digits(digits: &str, kind: &'static str, want: usize) -> Result<String, DigestError> {
    if let Some(odd) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(DigestError::Character(odd));
    }
    if digits.len() != want {
        return Err(DigestError::Length { kind, want, have: digits.len() });
    }
    Ok(digits.to_ascii_lowercase())
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hex) => write!(f, "sha256:{hex}"),
            Self::Sha512(hex) => write!(f, "sha512:{hex}"),
        }
    }
}

impl FromStr for Checksum {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(':') {
            Some(("sha256", hex)) => Self::sha256(hex),
            Some(("sha512", hex)) => Self::sha512(hex),
            _ => Err(DigestError::Kind(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Checksum {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.to_string()
    }
}

/// A short digest by which we see that something changed: 128 bits of a SHA-256, in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// Returns the digest of these parts; their borders count.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(hex_of(&hash_of(parts)[..16]))
    }

    /// Takes a digest as it was written earlier.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns the hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns bytes as lower-case hexadecimal digits.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the SHA-256 of the parts, each preceded by its length, so that borders count.
pub(crate) fn hash_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_count() {
        assert_ne!(Digest::of([b"ab".as_slice(), b"c"]), Digest::of([b"a".as_slice(), b"bc"]));
    }

    #[test]
    fn refuses_a_checksum_of_wrong_length() {
        assert!(Checksum::sha256(&"a".repeat(63)).is_err());
        assert!(Checksum::sha512(&"g".repeat(128)).is_err());
        let sum = Checksum::sha256(&"A".repeat(64)).unwrap();
        assert_eq!(sum.to_string().parse::<Checksum>(), Ok(sum));
    }
}
