//! Facts: what the journal says became true, and their form in it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    VmDecision, VmRecord,
    wire::{VmDecisionWire, VmRecordWire},
};
use crate::model::{EditKey, HostName, NetworkName, VmName};

/// Something that became true, in the terms of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// We know this host by this id.
    Host {
        /// The host.
        host: HostName,
        /// The id on its card.
        id: Uuid,
    },
    /// A network is ours.
    Network {
        /// Its host.
        host: HostName,
        /// Its name.
        network: NetworkName,
        /// Its UUID.
        uuid: Uuid,
    },
    /// A network is gone.
    NetworkGone {
        /// Its host.
        host: HostName,
        /// Its name.
        network: NetworkName,
    },
    /// A VM is ours, begun at least.
    Vm {
        /// Its name.
        vm: VmName,
        /// What was begun.
        record: VmRecord,
        /// What was decided about it.
        decision: VmDecision,
    },
    /// A VM is whole, or is about to be taken apart.
    VmMade {
        /// Its name.
        vm: VmName,
        /// Which.
        made: bool,
    },
    /// A VM was seen ready.
    VmReady {
        /// Its name.
        vm: VmName,
    },
    /// A VM is gone.
    VmGone {
        /// Its name.
        vm: VmName,
        /// Volumes that were left in the pool as they are to be kept; `None`, of an older journal,
        /// is what its record says.
        kept: Option<Vec<String>>,
    },
    /// A plugin published these values; none means they were taken away.
    Published {
        /// The plugin.
        plugin: String,
        /// What they are about.
        key: EditKey,
        /// The values.
        values: Vec<String>,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub(super) enum FactWire {
    Host { host: HostName, id: Uuid },
    Network { host: HostName, network: NetworkName, uuid: Uuid },
    NetworkGone { host: HostName, network: NetworkName },
    Vm { vm: VmName, record: VmRecordWire, decision: Box<VmDecisionWire> },
    VmMade { vm: VmName, made: bool },
    VmReady { vm: VmName },
    VmGone { vm: VmName, kept: Option<Vec<String>> },
    Published { plugin: String, key: EditKey, values: Vec<String> },
}

impl From<&Fact> for FactWire {
    fn from(fact: &Fact) -> Self {
        match fact.clone() {
            Fact::Host { host, id } => Self::Host { host, id },
            Fact::Network { host, network, uuid } => Self::Network { host, network, uuid },
            Fact::NetworkGone { host, network } => Self::NetworkGone { host, network },
            Fact::Vm { vm, record, decision } => {
                let decision = Box::new(VmDecisionWire::from(&decision));
                Self::Vm { vm, record: VmRecordWire::from(&record), decision }
            }
            Fact::VmMade { vm, made } => Self::VmMade { vm, made },
            Fact::VmReady { vm } => Self::VmReady { vm },
            Fact::VmGone { vm, kept } => Self::VmGone { vm, kept },
            Fact::Published { plugin, key, values } => Self::Published { plugin, key, values },
        }
    }
}

impl From<FactWire> for Fact {
    fn from(wire: FactWire) -> Self {
        match wire {
            FactWire::Host { host, id } => Self::Host { host, id },
            FactWire::Network { host, network, uuid } => Self::Network { host, network, uuid },
            FactWire::NetworkGone { host, network } => Self::NetworkGone { host, network },
            FactWire::Vm { vm, record, decision } => {
                Self::Vm { vm, record: record.into(), decision: (*decision).into() }
            }
            FactWire::VmMade { vm, made } => Self::VmMade { vm, made },
            FactWire::VmReady { vm } => Self::VmReady { vm },
            FactWire::VmGone { vm, kept } => Self::VmGone { vm, kept },
            FactWire::Published { plugin, key, values } => Self::Published { plugin, key, values },
        }
    }
}
