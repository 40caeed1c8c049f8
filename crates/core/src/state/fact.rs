//! Facts: what the journal says became true, and their form in it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Applied, VmDecision, VmRecord,
    wire::{VmDecisionWire, VmRecordWire},
};
use crate::model::{DiskName, EditKey, HostName, NetworkName, VmName};

/// Something that became true, in the terms of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FactWire", into = "FactWire")]
#[expect(clippy::large_enum_variant, reason = "a run has few of them, each for a moment")]
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
    /// A VM is whole, and is as this says.
    VmAs {
        /// Its name.
        vm: VmName,
        /// Whether it must not be taken away.
        protect: bool,
        /// Its disks that outlive it.
        keep: Vec<DiskName>,
        /// What it was made as.
        applied: Box<Applied>,
    },
    /// A VM is called otherwise.
    VmRenamed {
        /// What it was called.
        from: VmName,
        /// What it is called.
        to: VmName,
    },
    /// The volume that a disk had before it is made again is in the trash.
    DiskAway {
        /// The VM.
        vm: VmName,
        /// The volume's name.
        volume: String,
    },
    /// A disk is no longer its VM's.
    DiskGone {
        /// The VM.
        vm: VmName,
        /// Its volume.
        volume: String,
        /// Whether it stays in the pool as it was to be kept; else it is in the trash.
        kept: bool,
    },
    /// A disk lies in the pool and outlives its VM: it came back from the trash.
    DiskKept {
        /// The VM it belonged to.
        vm: VmName,
        /// Its name there.
        disk: DiskName,
        /// Its host.
        host: HostName,
        /// Its volume.
        volume: String,
    },
    /// A VM is no longer managed; it stays as it is.
    VmForgotten {
        /// Its name.
        vm: VmName,
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
    VmAs { vm: VmName, protect: bool, keep: Vec<DiskName>, applied: Box<Applied> },
    VmRenamed { from: VmName, to: VmName },
    DiskAway { vm: VmName, volume: String },
    DiskGone { vm: VmName, volume: String, kept: bool },
    DiskKept { vm: VmName, disk: DiskName, host: HostName, volume: String },
    VmForgotten { vm: VmName },
    VmReady { vm: VmName },
    VmGone { vm: VmName, kept: Option<Vec<String>> },
    Published { plugin: String, key: EditKey, values: Vec<String> },
}

impl From<Fact> for FactWire {
    fn from(fact: Fact) -> Self {
        Self::from(&fact)
    }
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
            Fact::VmAs { vm, protect, keep, applied } => Self::VmAs { vm, protect, keep, applied },
            Fact::VmRenamed { from, to } => Self::VmRenamed { from, to },
            Fact::DiskAway { vm, volume } => Self::DiskAway { vm, volume },
            Fact::DiskGone { vm, volume, kept } => Self::DiskGone { vm, volume, kept },
            Fact::DiskKept { vm, disk, host, volume } => Self::DiskKept { vm, disk, host, volume },
            Fact::VmForgotten { vm } => Self::VmForgotten { vm },
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
            FactWire::VmAs { vm, protect, keep, applied } => {
                Self::VmAs { vm, protect, keep, applied }
            }
            FactWire::VmRenamed { from, to } => Self::VmRenamed { from, to },
            FactWire::DiskAway { vm, volume } => Self::DiskAway { vm, volume },
            FactWire::DiskGone { vm, volume, kept } => Self::DiskGone { vm, volume, kept },
            FactWire::DiskKept { vm, disk, host, volume } => {
                Self::DiskKept { vm, disk, host, volume }
            }
            FactWire::VmForgotten { vm } => Self::VmForgotten { vm },
            FactWire::VmReady { vm } => Self::VmReady { vm },
            FactWire::VmGone { vm, kept } => Self::VmGone { vm, kept },
            FactWire::Published { plugin, key, values } => Self::Published { plugin, key, values },
        }
    }
}
