//! What is done to the trash: everything apply must know.

use serde::{Deserialize, Serialize};

use super::TrashKey;
use crate::{
    model::{DiskName, VmName},
    state::{Applied, DiskRecord, Fact, VmDecision, VmRecord},
};

/// Brings a VM back as it was, switched off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRestoral {
    /// Its name.
    pub vm: VmName,
    /// What is decided about it from now on: its incarnation is the one that was put away.
    pub decision: VmDecision,
    /// The removal that it comes from, as its names in the trash have it.
    pub run: String,
    /// Its disks, those included that never left the pool.
    pub disks: Vec<RestoredDisk>,
    /// Names in the trash, and the names they get back: disks and the UEFI variables.
    pub moves: Vec<(String, String)>,
    /// Its last XML; `None` where the domain is defined from it already.
    pub xml: Option<KeptXml>,
    /// The volume that its definition names as its seed.
    pub seed: String,
    /// Whether that seed is to be written.
    pub write_seed: bool,
    /// Whether it must not be taken away.
    pub protect: bool,
    /// What it is once it is back.
    pub applied: Applied,
}

/// A disk of a VM that comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredDisk {
    /// Its name in the VM.
    pub name: DiskName,
    /// Its volume.
    pub volume: String,
    /// Whether it outlives the VM.
    pub keep: bool,
}

/// A definition in the trash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptXml {
    /// Its volume.
    pub volume: String,
    /// Where that lies on the host.
    pub path: String,
}

/// Brings one disk back into the pool, as one that outlived its VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRestoral {
    /// The VM it belonged to.
    pub vm: VmName,
    /// Its name there.
    pub disk: DiskName,
    /// Its name in the trash.
    pub from: String,
    /// The name it gets back.
    pub to: String,
}

/// Destroys an entry of the trash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashEmptying {
    /// Which.
    pub key: TrashKey,
    /// What it holds, in words.
    pub holds: String,
    /// Its volumes: the definition last, so that half an entry still says whose it is.
    pub volumes: Vec<String>,
}

impl VmRestoral {
    /// Returns what the state knows from the moment it may have begun.
    pub(super) fn claim(&self) -> Fact {
        let disk = |disk: &RestoredDisk| DiskRecord {
            name: disk.name.clone(),
            volume: disk.volume.clone(),
            keep: disk.keep,
            there: false,
            old: false,
        };
        let decision = &self.decision;
        let record = VmRecord {
            uuid: decision.uuid,
            host: decision.host.clone(),
            incarnation: decision.incarnation,
            disks: self.disks.iter().map(disk).collect(),
            seed: self.seed.clone(),
            made: false,
            unready: false,
            protect: self.protect,
            applied: Some(self.applied.clone()),
            restoring: Some(self.run.clone()),
        };
        Fact::Vm { vm: self.vm.clone(), record, decision: decision.clone() }
    }

    /// Returns what is true once it is back.
    pub(super) fn outcome(&self) -> Fact {
        let kept = self.disks.iter().filter(|disk| disk.keep);
        Fact::VmAs {
            vm: self.vm.clone(),
            protect: self.protect,
            keep: kept.map(|disk| disk.name.clone()).collect(),
            applied: Box::new(self.applied.clone()),
        }
    }
}
