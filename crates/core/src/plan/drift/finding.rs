//! One thing that is not as it was made.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::{FieldChange, MarkChange};
use crate::model::{DiskName, FleetId, HostName, Size, VmName};

/// One thing that is not as it was made, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its host; `None` for what is outside of all.
    pub host: Option<HostName>,
    /// What it is about.
    pub object: Subject,
    /// In what it differs.
    pub drift: Drift,
}

/// What a finding is about; the order is the order of the report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum Subject {
    /// A host as a whole.
    Host(HostName),
    /// A network.
    Network(String),
    /// A VM of the state.
    Vm(VmName),
    /// A domain that the state does not know, by libvirt's name.
    Domain(String),
    /// A file of our pool that is no VM's.
    Volume(String),
    /// A server or file that follows the fleet: `dns main`.
    Plugin(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "host {name}"),
            Self::Network(name) => write!(f, "network {name}"),
            Self::Vm(name) => write!(f, "vm {name}"),
            Self::Domain(name) => write!(f, "domain {name}"),
            Self::Volume(name) => write!(f, "volume {name}"),
            Self::Plugin(name) => f.write_str(name),
        }
    }
}

/// In what something differs from what was made. The words of `code` never change their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "code", content = "detail", rename_all = "kebab-case")]
pub enum Drift {
    /// The host was not read; nothing is said about what is on it.
    HostUnreachable {
        /// Why.
        why: String,
    },
    /// The host shows no card, or another one, where we had made objects.
    HostStranger {
        /// The id we know it by.
        known: Uuid,
        /// The id on its card.
        found: Option<Uuid>,
    },
    /// The host's card tells of later runs than the state: the state is an old copy.
    StateOld {
        /// The serial on the card.
        card: u64,
        /// The serial of the state.
        state: u64,
    },
    /// Our pool does not run: nothing is said about its volumes.
    PoolInactive {
        /// Its directory.
        path: String,
    },
    /// libvirt has no domain with the VM's UUID.
    DomainMissing {
        /// A domain of its name with another UUID.
        taken_by: Option<Uuid>,
        /// The host where a domain with its UUID was seen.
        seen_on: Option<HostName>,
    },
    /// The domain with the VM's UUID bears another fleet's mark.
    DomainForeign {
        /// Which fleet's.
        fleet: FleetId,
        /// The name in that mark.
        name: String,
    },
    /// The domain has another name.
    DomainRenamed {
        /// Which.
        to: String,
    },
    /// The domain runs and is not defined: it vanishes when it stops.
    DomainTransient,
    /// It was made to run and is off.
    DomainOff,
    /// It was made to be off and runs.
    DomainRunning,
    /// It is paused.
    DomainPaused,
    /// It crashed.
    DomainCrashed,
    /// It does not bear our mark.
    MarkLost,
    /// Its mark says something else than the state.
    MarkChanged(MarkChange),
    /// Whether it starts with its host changed.
    AutostartChanged {
        /// What it is.
        to: bool,
    },
    /// A field of its definition is not as it was made.
    FieldChanged(FieldChange),
    /// What runs is not what is defined: it becomes so at its next start.
    PendingRestart {
        /// From what runs to what is defined.
        fields: Vec<FieldChange>,
    },
    /// Somebody's snapshot put an overlay on a disk: what was written since lies there.
    ExternalSnapshot {
        /// The disk's volume.
        volume: String,
        /// The file that lies on top, where it is known.
        overlay: Option<String>,
    },
    /// Its run is saved to disk: it goes on as it was, whatever it is defined as.
    ManagedSave,
    /// libvirt has snapshots or checkpoints of it.
    Snapshots,
    /// A volume that was there is gone.
    VolumeMissing {
        /// Which.
        volume: String,
        /// The disk it was; `None` for the seed.
        disk: Option<DiskName>,
    },
    /// The host's card does not list a volume of ours.
    VolumeUnlisted {
        /// Which.
        volume: String,
    },
    /// Another domain names a volume of the VM.
    VolumeShared {
        /// Which.
        volume: String,
        /// The other domain.
        domain: String,
    },
    /// A disk that outlived its VM is gone.
    KeptDiskMissing {
        /// The VM it belonged to.
        vm: VmName,
        /// Its name there.
        disk: DiskName,
    },
    /// libvirt has no network with its UUID.
    NetworkMissing {
        /// A network of its name with another UUID.
        taken_by: Option<Uuid>,
    },
    /// The network with its UUID bears another fleet's mark.
    NetworkForeign {
        /// Which fleet's.
        fleet: FleetId,
        /// The name in that mark.
        name: String,
    },
    /// The network has another name.
    NetworkRenamed {
        /// Which.
        to: String,
    },
    /// The network does not run.
    NetworkInactive,
    /// A domain bears our mark and the state does not know it on this host.
    OrphanDomain {
        /// Its UUID.
        uuid: Uuid,
        /// The VM its mark names.
        vm: String,
        /// The incarnation its mark names.
        incarnation: u32,
        /// The host where the state has that VM.
        lives_on: Option<HostName>,
    },
    /// A network bears our mark and the state does not know it.
    OrphanNetwork {
        /// Its UUID.
        uuid: Uuid,
    },
    /// A file of our pool is ours by name or by the host's card, and the state does not know it.
    OrphanVolume {
        /// Its size as a guest sees it, in bytes.
        size: Size,
        /// What it takes of the pool's file system, in bytes.
        used: Size,
        /// Whether the host's card lists it as ours.
        listed: bool,
    },
    /// What a volume of ours stands on is not there.
    ChainBroken {
        /// The volume.
        volume: String,
        /// The file that is missing under it; `None` where the files stand on one another.
        missing: Option<String>,
    },
    /// What a volume of ours stands on lies outside of our pool: somebody may remove it.
    ChainOutside {
        /// The volume.
        volume: String,
        /// The file under it.
        backing: String,
    },
    /// A run did not come to its end: the next apply goes on.
    Unfinished {
        /// What is left, in words.
        what: Vec<String>,
    },
    /// A domain or network that is not ours has the name of a VM or network that is to come.
    NameTaken {
        /// Its UUID.
        by: Uuid,
    },
    /// The host's clock is not as ours.
    ClockOff {
        /// By how many seconds it is ahead; behind where negative.
        seconds: i64,
    },
    /// The repository's `known_hosts` does not have the host's key: a clone does not know it.
    KeyUnpinned {
        /// Where it is.
        target: String,
    },
    /// A server or file does not hold what is declared.
    NotPublished {
        /// What is to be changed there, one in words each.
        edits: Vec<String>,
    },
    /// Something that is not ours stands in the way there.
    InTheWay(Advised),
    /// What is declared cannot be published there.
    Unpublishable(Advised),
    /// A server or file was not read.
    ServerUnread(Advised),
    /// Something was published by a block that is no longer declared: nobody follows it.
    Abandoned {
        /// How many names or groups.
        published: usize,
    },
}

/// A plugin's trouble, and what it advises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advised {
    /// What is wrong, outermost cause first.
    pub why: String,
    /// What the user can do.
    pub hint: Option<String>,
}

impl Drift {
    /// Returns its stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::HostUnreachable { .. } => "host-unreachable",
            Self::HostStranger { .. } => "host-stranger",
            Self::StateOld { .. } => "state-old",
            Self::PoolInactive { .. } => "pool-inactive",
            Self::DomainMissing { .. } => "domain-missing",
            Self::DomainForeign { .. } => "domain-foreign",
            Self::DomainRenamed { .. } => "domain-renamed",
            Self::DomainTransient => "domain-transient",
            Self::DomainOff => "domain-off",
            Self::DomainRunning => "domain-running",
            Self::DomainPaused => "domain-paused",
            Self::DomainCrashed => "domain-crashed",
            Self::MarkLost => "mark-lost",
            Self::MarkChanged(_) => "mark-changed",
            Self::AutostartChanged { .. } => "autostart-changed",
            Self::FieldChanged(_) => "field-changed",
            Self::PendingRestart { .. } => "pending-restart",
            Self::ExternalSnapshot { .. } => "external-snapshot",
            Self::ManagedSave => "managed-save",
            Self::Snapshots => "snapshots",
            Self::VolumeMissing { .. } => "volume-missing",
            Self::VolumeUnlisted { .. } => "volume-unlisted",
            Self::VolumeShared { .. } => "volume-shared",
            Self::KeptDiskMissing { .. } => "kept-disk-missing",
            Self::NetworkMissing { .. } => "network-missing",
            Self::NetworkForeign { .. } => "network-foreign",
            Self::NetworkRenamed { .. } => "network-renamed",
            Self::NetworkInactive => "network-inactive",
            Self::OrphanDomain { .. } => "orphan-domain",
            Self::OrphanNetwork { .. } => "orphan-network",
            Self::OrphanVolume { .. } => "orphan-volume",
            Self::ChainBroken { .. } => "chain-broken",
            Self::ChainOutside { .. } => "chain-outside",
            Self::Unfinished { .. } => "unfinished",
            Self::NameTaken { .. } => "name-taken",
            Self::ClockOff { .. } => "clock-off",
            Self::KeyUnpinned { .. } => "key-unpinned",
            Self::NotPublished { .. } => "not-published",
            Self::InTheWay(_) => "in-the-way",
            Self::Unpublishable(_) => "unpublishable",
            Self::ServerUnread(_) => "server-unread",
            Self::Abandoned { .. } => "abandoned",
        }
    }

    /// Says whether a host or server was not read at all.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::HostUnreachable { .. } | Self::ServerUnread(_))
    }
}

#[cfg(test)]
#[path = "finding_tests.rs"]
mod tests;
