//! What is done to make, change or remove one VM: everything apply must know.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Await;
use crate::{
    model::{Digest, DomainSpec, Mark, Ours, Size, VmName, VolumeSpec},
    state::{Applied, VmDecision},
};

/// Makes a VM, what is missing of it, or changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmWork {
    /// Its name.
    pub vm: VmName,
    /// What was decided about it.
    pub decision: VmDecision,
    /// The whole domain.
    pub spec: DomainSpec,
    /// Its addresses, for the eye; the seed tells them to the guest.
    pub addresses: Vec<Ipv4Addr>,
    /// Volumes to make.
    pub volumes: Vec<VolumeSpec>,
    /// Whether the seed is to be written.
    pub seed: bool,
    /// Whether the domain is to be defined.
    pub define: bool,
    /// The domain as it was seen, where there is one.
    pub seen: Option<SeenDomain>,
    /// Whether its definition is to be patched.
    pub update: bool,
    /// Whether its mark alone is to be written.
    pub remark: bool,
    /// What it was called, where it is to be renamed.
    pub renamed: Option<VmName>,
    /// Volumes to make larger.
    pub grow: Vec<(String, Size)>,
    /// Volumes that are no longer its disks, and what becomes of them.
    pub detach: Vec<(String, Detached)>,
    /// Seeds of earlier incarnations that a run left: they are removed.
    pub discard: Vec<String>,
    /// What autostart is to be set to, when it differs on a domain that is there.
    pub autostart: Option<bool>,
    /// Whether it is to be shut down: for good, or before it is started again.
    pub stop: bool,
    /// Whether it is to be started.
    pub start: bool,
    /// What is waited for after the start, or as it was not seen ready after an earlier one.
    pub wait: Option<Await>,
    /// What it is once all that is done.
    pub applied: Applied,
}

/// What becomes of a volume that its VM no longer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detached {
    /// It goes to the trash under this name.
    Trashed(String),
    /// It stays in the pool, as it is kept.
    Kept,
    /// It is not in the pool, or other work of the same change takes it away.
    Gone,
}

/// A domain as the plan saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenDomain {
    /// The name in its mark.
    pub name: String,
    /// Fingerprint of its definition.
    pub fingerprint: Digest,
}

impl VmWork {
    /// Returns what it is called before this work.
    pub(super) fn name_before(&self) -> &VmName {
        self.renamed.as_ref().unwrap_or(&self.vm)
    }

    /// Returns the domain as it is before this work; the first step that touches it refuses one that
    /// changed since.
    pub(super) fn domain_before(&self) -> Ours {
        let ours = self.spec.ours();
        match &self.seen {
            Some(seen) => Ours { name: seen.name.clone(), ..ours }.seen_as(&seen.fingerprint),
            None => ours,
        }
    }

    /// Returns what a patch makes of its definition: a renaming comes after it.
    pub(super) fn patched(&self) -> DomainSpec {
        let name = self.seen.as_ref().map_or(&self.spec.mark.name, |seen| &seen.name);
        let mark = Mark { name: name.clone(), ..self.spec.mark.clone() };
        DomainSpec { mark, name: name.clone(), ..self.spec.clone() }
    }
}

/// Takes a VM away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRemoval {
    /// Its name.
    pub vm: VmName,
    /// Its UUID.
    pub uuid: Uuid,
    /// The domain, where libvirt has one.
    pub seen: Option<SeenDomain>,
    /// Volumes that go to the trash, and the names they get there.
    pub trash: Vec<(String, String)>,
    /// Volumes that stay because they are kept.
    pub kept: Vec<String>,
    /// Volumes without data of the user's that are removed: the seed.
    pub discard: Vec<String>,
    /// The file of its UEFI variables, and the name it gets in the trash.
    pub nvram: Option<(String, String)>,
    /// The name its last XML gets in the trash.
    pub xml: String,
}
