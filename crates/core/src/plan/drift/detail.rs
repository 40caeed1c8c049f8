//! Fields in which something differs.

use std::fmt;

use serde::Serialize;

/// A field of a domain's definition that we manage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShapeField {
    /// How many virtual CPUs.
    Cpus,
    /// How much memory.
    Memory,
    /// BIOS or UEFI.
    Firmware,
    /// What runs its code: `kvm`, `qemu`.
    Accel,
    /// A disk that is attached.
    Disk,
    /// A medium in a CD-ROM drive; the first is the seed.
    Cdrom,
    /// An interface on a bridge or network.
    Nic,
    /// How many interfaces there are of kinds we do not make.
    OtherNics,
}

impl fmt::Display for ShapeField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpus => "cpus",
            Self::Memory => "memory",
            Self::Firmware => "firmware",
            Self::Accel => "accel",
            Self::Disk => "disk",
            Self::Cdrom => "cdrom",
            Self::Nic => "nic",
            Self::OtherNics => "other-nics",
        })
    }
}

/// A field that is no longer as it was; files of our pool go by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Which.
    pub field: ShapeField,
    /// What it was; `None` where something was added.
    pub from: Option<String>,
    /// What it is; `None` where something was taken away.
    pub to: Option<String>,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "{}: {} -> {}", self.field, word(&self.from), word(&self.to))
    }
}

/// A field of our mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkField {
    /// The VM's or network's name in the fleet.
    Name,
    /// How often the VM was made.
    Incarnation,
    /// Whether it must not be taken away.
    Protect,
    /// Its disks that outlive it.
    Keep,
}

impl fmt::Display for MarkField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "name",
            Self::Incarnation => "incarnation",
            Self::Protect => "protect",
            Self::Keep => "keep",
        })
    }
}

/// A field of a mark that is not what the state says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MarkChange {
    /// Which.
    pub field: MarkField,
    /// What the state says.
    pub from: String,
    /// What the mark says.
    pub to: String,
}

impl fmt::Display for MarkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.field, self.from, self.to)
    }
}
