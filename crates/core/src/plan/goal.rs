//! What a run is for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::trash::{Restore, TrashKey};
use crate::model::{ImageName, VmName};

/// What a run is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// Make the fleet as declared.
    Converge,
    /// Take these VMs away; `None`: everything.
    Destroy(Option<BTreeSet<VmName>>),
    /// Make these VMs again, whether or not they differ.
    Replace(BTreeSet<VmName>),
    /// Take these VMs, which are there, into the state; `mark` gives back lost marks.
    Adopt {
        /// The VMs.
        vms: BTreeSet<VmName>,
        /// Whether to write marks.
        mark: bool,
    },
    /// Bring back what lies in the trash.
    Restore(Box<Restore>),
    /// Destroy these entries of the trash.
    Empty(BTreeSet<TrashKey>),
    /// Bring these images to hosts.
    Pull(BTreeSet<ImageName>),
    /// Remove images that nobody needs.
    Prune,
}

impl Goal {
    /// Says whether a VM is to be taken away by name.
    pub fn destroys(&self, vm: &VmName) -> bool {
        match self {
            Self::Destroy(None) => true,
            Self::Destroy(Some(names)) => names.contains(vm),
            _ => false,
        }
    }

    /// Says whether a VM is to be made again by name.
    pub fn replaces(&self, vm: &VmName) -> bool {
        matches!(self, Self::Replace(names) if names.contains(vm))
    }

    /// Says whether a VM is its business at all.
    pub fn is_about(&self, vm: &VmName) -> bool {
        match self {
            Self::Converge | Self::Destroy(None) => true,
            Self::Destroy(Some(vms)) | Self::Replace(vms) | Self::Adopt { vms, .. } => {
                vms.contains(vm)
            }
            Self::Restore(_) | Self::Empty(_) | Self::Pull(_) | Self::Prune => false,
        }
    }

    /// Says whether it is about what is declared, rather than about taking away.
    pub fn is_to_make(&self) -> bool {
        !matches!(self, Self::Destroy(_)) && !self.is_of_files()
    }

    /// Says whether it is about the trash or images alone: no server is asked then, and what is pending
    /// stays.
    pub fn is_of_files(&self) -> bool {
        matches!(self, Self::Restore(_) | Self::Empty(_) | Self::Pull(_) | Self::Prune)
    }
}
