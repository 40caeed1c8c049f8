//! The forms of the state's files: separate from the values, versioned, without surprises.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Applied, Decisions, DiskDecision, DiskRecord, KeptDisk, NicDecision, Pending, Snapshot,
    VmDecision, VmRecord,
};
use crate::model::{DiskName, Edit, EditKey, FleetId, HostName, Mac, NetworkName, VmName};

/// The format of `state.json` written today.
pub(super) const STATE_FORMAT: u32 = 1;

/// The format of `freehold.lock` written today. Format 1 names no fleet and has no last line.
pub(super) const LOCK_FORMAT: u32 = 2;

/// `freehold.lock`, as TOML.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockWire {
    pub format: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    #[serde(default)]
    pub vm: BTreeMap<VmName, VmDecisionWire>,
}

/// One VM of `freehold.lock`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VmDecisionWire {
    pub uuid: Uuid,
    pub host: HostName,
    pub incarnation: u32,
    pub key_epoch: u32,
    pub host_key: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<VmName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nic: Vec<NicDecisionWire>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disk: Vec<DiskDecisionWire>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NicDecisionWire {
    pub network: NetworkName,
    pub mac: Mac,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiskDecisionWire {
    pub name: DiskName,
    pub volume: String,
}

impl LockWire {
    pub(super) fn of(decisions: &Decisions, fleet: FleetId) -> Self {
        Self {
            format: LOCK_FORMAT,
            fleet: Some(fleet),
            identity: decisions.identity.clone(),
            vm: vms_of(decisions),
        }
    }
}

impl From<LockWire> for Decisions {
    fn from(wire: LockWire) -> Self {
        decisions_of(wire.identity, wire.vm)
    }
}

impl From<VmDecision> for VmDecisionWire {
    fn from(vm: VmDecision) -> Self {
        Self::from(&vm)
    }
}

fn vms_of(decisions: &Decisions) -> BTreeMap<VmName, VmDecisionWire> {
    decisions.vms.iter().map(|(name, vm)| (name.clone(), vm.into())).collect()
}

fn decisions_of(identity: Option<String>, vms: BTreeMap<VmName, VmDecisionWire>) -> Decisions {
    let vms = vms.into_iter().map(|(name, vm)| (name, vm.into())).collect();
    Decisions { identity, vms }
}

impl From<&VmDecision> for VmDecisionWire {
    fn from(vm: &VmDecision) -> Self {
        Self {
            uuid: vm.uuid,
            host: vm.host.clone(),
            incarnation: vm.incarnation,
            key_epoch: vm.key_epoch,
            host_key: vm.host_key.clone(),
            removed: vm.removed,
            forgotten: vm.forgotten,
            born: vm.born.clone(),
            nic: vm
                .nics
                .iter()
                .map(|nic| NicDecisionWire {
                    network: nic.network.clone(),
                    mac: nic.mac,
                    address: nic.address,
                })
                .collect(),
            disk: vm
                .disks
                .iter()
                .map(|disk| DiskDecisionWire {
                    name: disk.name.clone(),
                    volume: disk.volume.clone(),
                })
                .collect(),
        }
    }
}

impl From<VmDecisionWire> for VmDecision {
    fn from(wire: VmDecisionWire) -> Self {
        Self {
            uuid: wire.uuid,
            host: wire.host,
            incarnation: wire.incarnation,
            key_epoch: wire.key_epoch,
            host_key: wire.host_key,
            removed: wire.removed,
            forgotten: wire.forgotten,
            born: wire.born,
            nics: wire
                .nic
                .into_iter()
                .map(|nic| NicDecision { network: nic.network, mac: nic.mac, address: nic.address })
                .collect(),
            disks: wire
                .disk
                .into_iter()
                .map(|disk| DiskDecision { name: disk.name, volume: disk.volume })
                .collect(),
        }
    }
}

/// `state.json`: the body, and what makes it believable.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateWire {
    pub format: u32,
    /// SHA-256 of the body as compact JSON.
    pub checksum: String,
    pub body: BodyWire,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BodyWire {
    pub lineage: Uuid,
    pub serial: u64,
    pub fleet: FleetId,
    pub identity: Option<String>,
    pub decisions: BTreeMap<VmName, VmDecisionWire>,
    pub hosts: BTreeMap<HostName, Uuid>,
    pub vms: BTreeMap<VmName, VmRecordWire>,
    pub networks: BTreeMap<HostName, BTreeMap<NetworkName, Uuid>>,
    pub kept: Vec<KeptDiskWire>,
    pub published: Vec<PublishedWire>,
    pub pending: Vec<PendingWire>,
}

/// A VM of `state.json` and `journal.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VmRecordWire {
    pub uuid: Uuid,
    pub host: HostName,
    pub incarnation: u32,
    pub disks: Vec<DiskRecordWire>,
    pub seed: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unready: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protect: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restoring: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DiskRecordWire {
    pub name: DiskName,
    pub volume: String,
    pub keep: bool,
    #[serde(default)]
    pub there: Option<bool>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub old: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptDiskWire {
    pub vm: VmName,
    pub disk: DiskName,
    pub host: HostName,
    pub volume: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishedWire {
    pub plugin: String,
    pub key: EditKey,
    pub values: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PendingWire {
    pub plugin: String,
    pub why: Vec<String>,
    pub edits: Vec<Edit>,
}

impl From<&VmRecord> for VmRecordWire {
    fn from(record: &VmRecord) -> Self {
        let disks = record.disks.iter().map(|disk| DiskRecordWire {
            name: disk.name.clone(),
            volume: disk.volume.clone(),
            keep: disk.keep,
            there: Some(disk.there),
            old: disk.old,
        });
        Self {
            uuid: record.uuid,
            host: record.host.clone(),
            incarnation: record.incarnation,
            disks: disks.collect(),
            seed: record.seed.clone(),
            made: record.made,
            unready: record.unready,
            protect: record.protect,
            applied: record.applied.clone(),
            restoring: record.restoring.clone(),
        }
    }
}

impl From<VmRecordWire> for VmRecord {
    fn from(wire: VmRecordWire) -> Self {
        // An older state knew only of the whole VM.
        let made = wire.made;
        let disks = wire.disks.into_iter().map(|disk| DiskRecord {
            name: disk.name,
            volume: disk.volume,
            keep: disk.keep,
            there: disk.there.unwrap_or(made),
            old: disk.old,
        });
        Self {
            uuid: wire.uuid,
            host: wire.host,
            incarnation: wire.incarnation,
            disks: disks.collect(),
            seed: wire.seed,
            made: wire.made,
            unready: wire.unready,
            protect: wire.protect,
            applied: wire.applied,
            restoring: wire.restoring,
        }
    }
}

impl From<&Snapshot> for BodyWire {
    fn from(state: &Snapshot) -> Self {
        let kept = state.kept.iter().map(|kept| KeptDiskWire {
            vm: kept.vm.clone(),
            disk: kept.disk.clone(),
            host: kept.host.clone(),
            volume: kept.volume.clone(),
        });
        let published = state.published.iter().map(|((plugin, key), values)| PublishedWire {
            plugin: plugin.clone(),
            key: key.clone(),
            values: values.clone(),
        });
        let pending = state.pending.iter().map(|pending| PendingWire {
            plugin: pending.plugin.clone(),
            why: pending.why.clone(),
            edits: pending.edits.clone(),
        });
        Self {
            lineage: state.lineage,
            serial: state.serial,
            fleet: state.fleet,
            identity: state.decisions.identity.clone(),
            decisions: vms_of(&state.decisions),
            hosts: state.hosts.clone(),
            vms: state.vms.iter().map(|(name, vm)| (name.clone(), vm.into())).collect(),
            networks: state.networks.clone(),
            kept: kept.collect(),
            published: published.collect(),
            pending: pending.collect(),
        }
    }
}

impl From<BodyWire> for Snapshot {
    fn from(wire: BodyWire) -> Self {
        let kept = wire.kept.into_iter().map(|kept| KeptDisk {
            vm: kept.vm,
            disk: kept.disk,
            host: kept.host,
            volume: kept.volume,
        });
        let pending = wire.pending.into_iter().map(|pending| Pending {
            plugin: pending.plugin,
            why: pending.why,
            edits: pending.edits,
        });
        Self {
            lineage: wire.lineage,
            serial: wire.serial,
            fleet: wire.fleet,
            decisions: decisions_of(wire.identity, wire.decisions),
            hosts: wire.hosts,
            vms: wire.vms.into_iter().map(|(name, vm)| (name, vm.into())).collect(),
            networks: wire.networks,
            kept: kept.collect(),
            published: wire
                .published
                .into_iter()
                .map(|entry| ((entry.plugin, entry.key), entry.values))
                .collect(),
            pending: pending.collect(),
        }
    }
}
