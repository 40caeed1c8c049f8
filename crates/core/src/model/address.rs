//! Addresses of the link and the internet layer.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// Says why a text is no address or range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `FIRST-LAST`.
    #[error("`{0}` is no range of addresses, as in \"10.77.0.100-10.77.0.199\"")]
    Range(String),
    /// The last lies before the first.
    #[error("`{0}` ends before it begins")]
    Backwards(String),
    /// Not six octets.
    #[error("`{0}` is no MAC address")]
    Mac(String),
}

/// A range of IPv4 addresses, both ends inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AddressRange {
    /// The first address.
    pub first: Ipv4Addr,
    /// The last address.
    pub last: Ipv4Addr,
}

impl AddressRange {
    /// Says whether the address lies in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Returns all addresses of the range, in order.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        (u32::from(self.first)..=u32::from(self.last)).map(Ipv4Addr::from)
    }
}

impl FromStr for AddressRange {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let form = || AddressError::Range(text.to_owned());
        let (first, last) = text.split_once('-').ok_or_else(form)?;
        let parse = |end: &str| end.trim().parse::<Ipv4Addr>().map_err(|_| form());
        let range = Self { first: parse(first)?, last: parse(last)? };
        if range.last < range.first {
            return Err(AddressError::Backwards(text.to_owned()));
        }
        Ok(range)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// Says whether it is a unicast, locally administered one.
    pub fn is_local(&self) -> bool {
        self.0[0] & 0x03 == 0x02
    }

    /// Makes a unicast, locally administered address (IEEE 802 §8.2) that keeps 46 bits of `bytes`.
    pub fn local(mut bytes: [u8; 6]) -> Self {
        bytes[0] = (bytes[0] & 0xfc) | 0x02;
        Self(bytes)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.0.map(|octet| format!("{octet:02x}"));
        f.write_str(&octets.join(":"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

impl FromStr for Mac {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError::Mac(text.to_owned());
        let mut bytes = [0; 6];
        let mut octets = text.split(':');
        for byte in &mut bytes {
            let octet = octets.next().filter(|octet| octet.len() == 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(octet, 16).map_err(|_| bad())?;
        }
        if octets.next().is_some() {
            return Err(bad());
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_a_mac() {
        let mac = Mac::local([0xff, 1, 2, 3, 4, 0xab]);
        assert_eq!(mac.to_string(), "fe:01:02:03:04:ab");
        assert_eq!(mac.to_string().parse::<Mac>(), Ok(mac));
        assert!("fe:01:02:03:04".parse::<Mac>().is_err());
        assert!("fe:01:02:03:04:ab:cd".parse::<Mac>().is_err());
    }

    #[test]
    fn walks_a_range_with_both_ends() {
        let range: AddressRange = "10.0.0.254-10.0.1.1".parse().unwrap();
        assert_eq!(range.addresses().count(), 4);
        assert!("10.0.0.2-10.0.0.1".parse::<AddressRange>().is_err());
        assert!("10.0.0.2".parse::<AddressRange>().is_err());
    }
}
