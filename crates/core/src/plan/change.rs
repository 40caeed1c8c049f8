//! One change on a host.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DiskRestoral, TrashEmptying, VmRemoval, VmRestoral, VmWork};
use crate::{
    model::{
        DiskName, HostName, ImageName, ImageSpec, Impact, NetworkName, NetworkSpec, Size, VmName,
    },
    state::VmDecision,
};

/// One change on a host: what, why, how much it hurts, and the work it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub host: HostName,
    /// To what.
    pub object: Object,
    /// Which way.
    pub action: Action,
    /// What it does to what runs.
    pub impact: Impact,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Everything apply must know.
    pub work: Work,
}

impl Change {
    /// Returns the VM it is about.
    pub fn vm(&self) -> Option<&VmName> {
        match &self.object {
            Object::Vm(vm) => Some(vm),
            _ => None,
        }
    }

    /// Says whether it is about a VM.
    pub fn is_of_vm(&self) -> bool {
        self.vm().is_some()
    }

    /// Returns what is made of a VM.
    pub fn making(&self) -> Option<&VmWork> {
        match &self.work {
            Work::Vm(work) | Work::VmAnew(_, work) | Work::VmAdopted(work) => Some(work),
            _ => None,
        }
    }

    /// Returns what is decided about a VM that is made, changed or brought back.
    pub fn decided(&self) -> Option<(&VmName, &VmDecision)> {
        match &self.work {
            Work::VmRestored(work) => Some((&work.vm, &work.decision)),
            _ => self.making().map(|work| (&work.vm, &work.decision)),
        }
    }

    /// Returns what is taken away of a VM.
    pub fn removal(&self) -> Option<&VmRemoval> {
        match &self.work {
            Work::VmGone(removal) | Work::VmAnew(removal, _) => Some(removal),
            _ => None,
        }
    }
}

/// What a change is about; the order is the order of the plan's text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A host as a whole.
    Host(HostName),
    /// Our pool.
    Pool,
    /// A network.
    Network(NetworkName),
    /// An image in the pool.
    Image(ImageName),
    /// An image in the pool that no text names any more, by its file.
    Stored(String),
    /// A VM with its volumes.
    Vm(VmName),
    /// What a host has of a VM that was made again on another one.
    Copy(VmName),
    /// An entry of the trash.
    Trash(String),
    /// What a plugin publishes.
    Outside(String),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "host {name}"),
            Self::Pool => f.write_str("pool"),
            Self::Network(name) => write!(f, "network {name}"),
            Self::Image(name) => write!(f, "image {name}"),
            Self::Stored(file) => write!(f, "file {file}"),
            Self::Vm(name) => write!(f, "vm {name}"),
            Self::Copy(name) => write!(f, "old copy of vm {name}"),
            Self::Trash(id) => write!(f, "trash {id}"),
            Self::Outside(plugin) => f.write_str(plugin),
        }
    }
}

/// Which way a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is taken away.
    Remove,
    /// It is taken away and made again.
    Replace,
    /// It is made.
    Create,
    /// It is changed, or what was begun is finished.
    Update,
    /// It is there, and taken into the state or given its mark back.
    Adopt,
}

impl Action {
    /// Returns the sign that begins its line.
    pub fn sign(self) -> char {
        match self {
            Self::Remove => '-',
            Self::Replace => '±',
            Self::Create => '+',
            Self::Update => '~',
            Self::Adopt => '=',
        }
    }
}

/// Why a change is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is declared and not there.
    New,
    /// It was begun and not finished; what is missing.
    Unfinished(Vec<String>),
    /// It is there and does not run.
    NotRunning,
    /// It runs and has not been seen ready.
    NotReady,
    /// It runs and shall not.
    Running,
    /// A field differs.
    Changed {
        /// The field, as the text names it.
        field: String,
        /// What is there.
        from: String,
        /// What is wanted.
        to: String,
    },
    /// What runs is not what is defined, in these fields.
    PendingRestart(Vec<String>),
    /// It was called so.
    Renamed(VmName),
    /// It must not be taken away from now on.
    Protect,
    /// It may be taken away from now on.
    Unprotect,
    /// This disk no longer outlives its VM.
    Unkeep(DiskName),
    /// Its mark was lost.
    MarkLost,
    /// It bears our mark and the state does not know it.
    NotInState,
    /// `autostart` differs.
    Autostart(bool),
    /// This disk shall outlive its VM from now on.
    Keep(DiskName),
    /// It was made and is no longer declared.
    NotDeclared,
    /// The command line asks for it by name.
    Asked,
    /// It was made again on another host.
    OldCopy {
        /// Which incarnation this is.
        incarnation: u32,
        /// Where it lives now, or is to.
        lives_on: HostName,
        /// Whether it is there.
        made: bool,
    },
}

impl Reason {
    /// Returns its word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Unfinished(_) => "unfinished",
            Self::NotRunning => "not-running",
            Self::NotReady => "not-ready",
            Self::Running => "running",
            Self::Changed { .. } => "changed",
            Self::PendingRestart(_) => "pending-restart",
            Self::Renamed(_) => "renamed",
            Self::Protect => "protect",
            Self::Unprotect => "unprotect",
            Self::Keep(_) => "keep",
            Self::Unkeep(_) => "unkeep",
            Self::MarkLost => "mark-lost",
            Self::NotInState => "not-in-state",
            Self::Autostart(_) => "autostart",
            Self::NotDeclared => "not-declared",
            Self::Asked => "asked",
            Self::OldCopy { .. } => "old-copy",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("new"),
            Self::Unfinished(missing) => write!(f, "missing: {}", missing.join(", ")),
            Self::NotRunning => f.write_str("not running: start"),
            Self::NotReady => f.write_str("not ready yet: wait"),
            Self::Running => f.write_str("running: shut down"),
            Self::Changed { field, from, to } => write!(f, "{field}: {from} -> {to}"),
            Self::PendingRestart(fields) => {
                write!(f, "runs as it was before: {}", fields.join(", "))
            }
            Self::Renamed(from) => write!(f, "was {from}"),
            Self::Protect => f.write_str("protect = true"),
            Self::Unprotect => f.write_str("protect = false"),
            Self::Unkeep(disk) => write!(f, "disk {disk}: keep = false"),
            Self::MarkLost => f.write_str("its mark was lost"),
            Self::NotInState => f.write_str("not in the state"),
            Self::Autostart(wanted) => write!(f, "autostart = {wanted}"),
            Self::Keep(disk) => write!(f, "disk {disk}: keep = true"),
            Self::NotDeclared => f.write_str("no longer declared"),
            Self::Asked => f.write_str("asked for"),
            Self::OldCopy { incarnation, lives_on, made } => {
                let there = if *made { "it lives" } else { "it is still to be made" };
                write!(f, "incarnation {incarnation}; {there} on {lives_on}")
            }
        }
    }
}

/// Everything apply must know to make a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Make the pool.
    Pool,
    /// Define and start a network.
    Network(NetworkSpec),
    /// Remove a network.
    NetworkGone {
        /// Its UUID.
        uuid: Uuid,
        /// VMs on it that go in the same plan: it stays as long as one of them does.
        users: Vec<VmName>,
    },
    /// Bring an image.
    Image(ImageSpec),
    /// Remove an image.
    ImageGone {
        /// Its file.
        volume: String,
        /// Whether the file goes; otherwise it is taken off this fleet's list only.
        remove: bool,
        /// What it takes.
        used: Size,
    },
    /// Make a VM, or what is missing of it.
    Vm(Box<VmWork>),
    /// Take a VM away and make it again.
    VmAnew(Box<VmRemoval>, Box<VmWork>),
    /// Take a VM that is there into the state, and give it its mark.
    VmAdopted(Box<VmWork>),
    /// Remove a VM.
    VmGone(Box<VmRemoval>),
    /// Remove what is left of a VM that was made again on another host.
    CopyGone(Box<VmRemoval>),
    /// Bring a VM back from the trash.
    VmRestored(Box<VmRestoral>),
    /// Bring a disk back from the trash.
    DiskRestored(Box<DiskRestoral>),
    /// Destroy an entry of the trash.
    TrashEmptied(Box<TrashEmptying>),
}
