//! Sizes of memory and disks.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A size in bytes, written with a binary unit: `512MiB`, `20GiB`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Size(u64);

const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Says why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No whole number followed by one unit.
    #[error("`{0}` is no size: a whole number and a unit (KiB, MiB, GiB, TiB), as in \"20GiB\"")]
    Form(String),
    /// A decimal unit, which every tool reads differently.
    #[error("`{0}` has the unit `{1}`, which tools read differently: write `{2}`")]
    Unit(String, String, String),
    /// More than 2^63 bytes.
    #[error("`{0}` is too large")]
    Large(String),
}

impl Size {
    /// Makes a size of this many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Makes a size of this many MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// Returns the bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Returns the size as people read it, rounded down: `12.3 GiB`.
    pub fn rounded(self) -> String {
        let unit = UNITS.iter().find(|(_, factor)| self.0 >= *factor).unwrap_or(&UNITS[4]);
        let (whole, tenths) = (self.0 / unit.1, self.0 % unit.1 * 10 / unit.1);
        let tenths = if tenths == 0 { String::new() } else { format!(".{tenths}") };
        format!("{whole}{tenths} {}", unit.0)
    }

    /// Returns the size in KiB, rounded up, as libvirt counts memory.
    pub const fn kib(self) -> u64 {
        self.0.div_ceil(1024)
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let form = || SizeError::Form(text.to_owned());
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?;
        let (number, unit) = text.split_at(split);
        if let Some(binary) = binary_unit_for(unit) {
            let better = format!("{number}{binary}");
            return Err(SizeError::Unit(text.to_owned(), unit.to_owned(), better));
        }
        let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(form)?.1;
        if number.is_empty() {
            return Err(form());
        }
        let large = || SizeError::Large(text.to_owned());
        // A number of digits only fails to parse when it is too large.
        let number: u64 = number.parse().map_err(|_| large())?;
        let bytes = number.checked_mul(factor).ok_or_else(large)?;
        if bytes > i64::MAX.unsigned_abs() {
            return Err(large());
        }
        Ok(Self(bytes))
    }
}

fn binary_unit_for(unit: &str) -> Option<&'static str> {
    match unit {
        "K" | "k" | "KB" | "kB" => Some("KiB"),
        "M" | "MB" => Some("MiB"),
        "G" | "GB" => Some("GiB"),
        "T" | "TB" => Some("TiB"),
        _ => None,
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&UNITS[4]);
        write!(f, "{}{unit}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        for text in ["0B", "1KiB", "512MiB", "20GiB", "3TiB", "1025B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn is_rounded_for_people() {
        let rounded = [0, 1023, 1 << 20, (12 << 30) + (400 << 20)].map(Size::from_bytes);
        assert_eq!(rounded.map(Size::rounded), ["0 B", "1023 B", "1 MiB", "12.3 GiB"]);
    }

    #[test]
    fn refuses_what_is_no_size() {
        for bad in ["", "20", "GiB", "2G1B", "2 GiB", "-1GiB", "1.5GiB", "99999999999TiB", "2gib"] {
            assert!(bad.parse::<Size>().is_err(), "{bad:?}");
        }
        let error = "2GB".parse::<Size>().unwrap_err().to_string();
        assert!(error.contains("2GiB"), "{error}");
    }
}
