//! Names, each parsed once at the border.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Says why a text is no name of its kind; the text is part of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty text.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than a DNS label may be (RFC 1035 §2.3.4).
    #[error("`{0}` has {1} characters, a name may have 63")]
    Long(String, usize),
    /// A character that no DNS label has (RFC 1123 §2.1).
    #[error("`{0}` has `{1}`: a name has lower-case letters, digits and inner hyphens only")]
    Character(String, char),
    /// Hyphen at an end.
    #[error("`{0}` begins or ends with a hyphen")]
    Hyphen(String),
    /// Not a whole domain name.
    #[error("`{0}` is no domain name: {1}")]
    Domain(String, String),
    /// Not 32 hexadecimal digits.
    #[error("`{0}` is no fleet id: 32 hexadecimal digits, made by `freehold init`")]
    FleetId(String),
}

fn check_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(odd) =
        text.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-'))
    {
        return Err(NameError::Character(text.to_owned(), odd));
    }
    if text.len() > 63 {
        return Err(NameError::Long(text.to_owned(), text.len()));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Hyphen(text.to_owned()));
    }
    Ok(())
}

macro_rules! label {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_label(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                check_label(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

label! {
    /// The name of a physical host, as its block has it.
    HostName;
    /// The name of a network.
    NetworkName;
    /// The name of an image.
    ImageName;
    /// The name of a VM: with `count`, block name, hyphen, index. It is the guest's host name.
    VmName;
    /// The name of a disk within its VM.
    DiskName;
    /// The name of a DNS server block.
    DnsServerName;
    /// The name of a zone block (not the zone's domain name).
    ZoneName;
    /// The name of a `prometheus` block.
    TargetFileName;
    /// The name of an exporter within its VM.
    ExporterName;
}

/// A whole domain name, lower case, without the final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

impl DomainName {
    /// Returns the name without the final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name with the final dot, as name servers' APIs want it.
    pub fn fqdn(&self) -> String {
        format!("{}.", self.0)
    }

    /// Says whether this name is `zone` or lies below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        self.0 == zone.0 || self.0.ends_with(&format!(".{}", zone.0))
    }

    /// Returns the name one label below this one.
    pub fn child(&self, label: &str) -> Result<Self, NameError> {
        format!("{label}.{}", self.0).parse()
    }
}

impl FromStr for DomainName {
    type Err = NameError;

    /// Parses a name of letters, digits, hyphens and underscores; upper case is folded.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = |why: &str| NameError::Domain(text.to_owned(), why.to_owned());
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() {
            return Err(bad("it is empty"));
        }
        if name.len() > 253 {
            return Err(bad("it is longer than 253 characters"));
        }
        for label in name.split('.') {
            if label.is_empty() || label.len() > 63 {
                return Err(bad("each label has 1 to 63 characters"));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(bad("a label begins or ends with a hyphen"));
            }
            if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                return Err(bad("labels have letters, digits and hyphens only"));
            }
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for DomainName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The fleet's random identity; every hash, mark and derived name begins with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FleetId([u8; 16]);

impl FleetId {
    /// Makes an id of 16 random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the first eight hexadecimal digits, which begin the names of our volumes.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FleetId({self})")
    }
}

impl FromStr for FleetId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::FleetId(text.to_owned());
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad());
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for FleetId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<FleetId> for String {
    fn from(id: FleetId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_dns_labels_only() {
        assert!("web-0".parse::<VmName>().is_ok());
        for bad in ["", "Web", "web_0", "-web", "web-", "we b", "wäb", &"a".repeat(64)] {
            assert!(bad.parse::<VmName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn folds_and_bounds_domain_names() {
        let name: DomainName = "Home.Example.org.".parse().unwrap();
        assert_eq!(name.fqdn(), "home.example.org.");
        assert!(name.child("web").unwrap().is_within(&name));
        assert!(!"ahome.example.org".parse::<DomainName>().unwrap().is_within(&name));
        for bad in ["", ".", "a..b", "-a.b", "a b.c"] {
            assert!(bad.parse::<DomainName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reads_back_the_fleet_id_it_writes() {
        let id = FleetId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse::<FleetId>(), Ok(id));
        assert!("f7c1".parse::<FleetId>().is_err());
    }
}
