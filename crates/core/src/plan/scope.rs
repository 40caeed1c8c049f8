//! A part of the fleet that a command is about.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{HostName, VmName};

/// The part of the fleet that a run looks at; what is outside of it stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// These VMs, and what they need; `None` is all.
    pub vms: Option<BTreeSet<VmName>>,
    /// What is on these hosts; `None` is all.
    pub hosts: Option<BTreeSet<HostName>>,
}

impl Scope {
    /// Says whether a VM is in it.
    pub fn has_vm(&self, vm: &VmName) -> bool {
        self.vms.as_ref().is_none_or(|vms| vms.contains(vm))
    }

    /// Says whether a host is in it.
    pub fn has_host(&self, host: &HostName) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| hosts.contains(host))
    }

    /// Says whether it is the whole fleet.
    pub fn is_all(&self) -> bool {
        self.vms.is_none() && self.hosts.is_none()
    }
}
