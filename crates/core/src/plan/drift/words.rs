//! Findings in words, and what the user can do.

use std::fmt;

use super::{Drift, Finding, Subject, short_size};

/// What helps with what the text decides.
const SEE_PLAN: &str = "`freehold plan` shows what of it apply would put back";

impl Finding {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let name = self.object.name();
        Some(match &self.drift {
            Drift::HostStranger { .. } => {
                "is its pool mounted? is it another machine under this name?".into()
            }
            Drift::StateOld { .. } => "is .freehold/ an old copy? put the newest one back".into(),
            Drift::DomainMissing { taken_by: Some(_), .. }
            | Drift::DomainForeign { .. }
            | Drift::NetworkMissing { taken_by: Some(_) }
            | Drift::NetworkForeign { .. } => {
                "nothing of it is touched: rename ours, or remove the other one by hand".into()
            }
            Drift::MarkLost if matches!(self.object, Subject::Vm(_)) => {
                format!("if it is that VM: freehold adopt {name} --mark")
            }
            Drift::MarkLost => "nothing of it is touched without its mark".into(),
            Drift::PendingRestart { .. } => {
                format!("it becomes so at its next start: apply --allow restart={name}")
            }
            Drift::VolumeMissing { .. } | Drift::KeptDiskMissing { .. } => {
                "is the pool mounted? has somebody moved the file?".into()
            }
            Drift::VolumeUnlisted { .. } => {
                "was freehold-host.json put back from an old copy? add the volume to its list once \
                 you know that it is ours"
                    .into()
            }
            Drift::VolumeShared { .. } => {
                "two machines that write to one disk destroy it: detach it from the other".into()
            }
            Drift::OrphanDomain { lives_on: Some(host), .. } => format!(
                "is it an old copy? the state has it on {host}; see to it that one of them runs"
            ),
            Drift::OrphanDomain { .. } | Drift::OrphanNetwork { .. } => {
                "was .freehold/ lost? put it back; else remove it by hand once you know it".into()
            }
            Drift::OrphanVolume { .. } => "remove it by hand once you know what it is".into(),
            Drift::ChainBroken { .. } => {
                "put that file back from a backup: without it the disk cannot be read".into()
            }
            Drift::Unfinished { .. } => "`freehold plan` shows how it goes on".into(),
            Drift::ChainOutside { .. } => {
                "qemu-img rebase makes it independent, once its VM is off".into()
            }
            Drift::NameTaken { .. } => {
                "rename ours, or remove the other one by hand: apply takes no name from it".into()
            }
            Drift::ClockOff { .. } => "on the host: timedatectl set-ntp true".into(),
            Drift::KeyUnpinned { target } => format!("freehold host add {target} --name {name}"),
            Drift::NotPublished { .. } => "`freehold apply` publishes it".into(),
            Drift::InTheWay(advised)
            | Drift::Unpublishable(advised)
            | Drift::ServerUnread(advised) => {
                return advised.hint.clone();
            }
            Drift::Abandoned { .. } => {
                "put its block back, or take what it published away by hand".into()
            }
            Drift::DomainMissing { .. }
            | Drift::DomainOff
            | Drift::DomainRunning
            | Drift::MarkChanged(_)
            | Drift::AutostartChanged { .. }
            | Drift::FieldChanged(_)
            | Drift::NetworkMissing { .. }
            | Drift::NetworkRenamed { .. }
            | Drift::NetworkInactive => SEE_PLAN.into(),
            drift => return drift.by_hand(name),
        })
    }
}

impl Subject {
    /// Returns its name without what it is.
    fn name(&self) -> &str {
        match self {
            Self::Host(host) => host.as_str(),
            Self::Vm(vm) => vm.as_str(),
            Self::Network(name) | Self::Domain(name) | Self::Volume(name) | Self::Plugin(name) => {
                name
            }
        }
    }
}

impl Drift {
    /// Returns what is to be typed on the host.
    fn by_hand(&self, name: &str) -> Option<String> {
        Some(match self {
            Self::PoolInactive { path } => {
                format!("mount {path}, then `virsh pool-start freehold` on the host")
            }
            Self::DomainRenamed { to } => format!("on the host: virsh domrename {to} {name}"),
            Self::DomainTransient => format!(
                "on the host: virsh dumpxml --inactive --security-info {name} | virsh define \
                 /dev/stdin; its mark is in it"
            ),
            Self::DomainPaused => format!("on the host: virsh resume {name}"),
            Self::ExternalSnapshot { .. } => {
                "merge it: virsh blockcommit DOMAIN DISK --active --pivot, then remove the overlay"
                    .into()
            }
            Self::ManagedSave => {
                format!("on the host: virsh start {name}, or virsh managedsave-remove {name}")
            }
            Self::Snapshots => {
                format!("on the host: virsh snapshot-list {name}; virsh snapshot-delete {name} …")
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostUnreachable { why } => f.write_str(why),
            Self::HostStranger { known, found: Some(found) } => {
                write!(f, "its card says {found}, we know {known}")
            }
            Self::StateOld { card, state } => {
                write!(f, "its card knows serial {card} of this fleet, the state is at {state}")
            }
            Self::PoolInactive { path } => write!(f, "pool freehold at {path} does not run"),
            Self::DomainMissing { taken_by: Some(other), .. } => {
                write!(f, "libvirt has no such domain, but one of that name ({other})")
            }
            Self::DomainMissing { seen_on: Some(host), .. } => {
                write!(f, "libvirt has no such domain; host {host} has it")
            }
            Self::NetworkMissing { taken_by: Some(other) } => {
                write!(f, "libvirt has no such network, but one of that name ({other})")
            }
            Self::DomainForeign { fleet, name } | Self::NetworkForeign { fleet, name } => {
                write!(f, "it bears the mark of {name} of fleet {fleet}")
            }
            Self::DomainRenamed { to } | Self::NetworkRenamed { to } => {
                write!(f, "it is called {to}")
            }
            Self::MarkChanged(change) => write!(f, "{change}"),
            Self::FieldChanged(change) => write!(f, "{change}"),
            Self::PendingRestart { fields } => {
                let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
                write!(f, "it runs as it was before: {}", fields.join("; "))
            }
            Self::ExternalSnapshot { volume, overlay } => {
                write!(f, "{} lies over {volume}", overlay.as_deref().unwrap_or("another file"))
            }
            Self::VolumeMissing { volume, disk: Some(disk) } => {
                write!(f, "disk {disk} ({volume}) is gone from the pool")
            }
            Self::VolumeMissing { volume, disk: None } => {
                write!(f, "the seed ({volume}) is gone from the pool")
            }
            Self::VolumeUnlisted { volume } => write!(f, "the host's card does not list {volume}"),
            Self::VolumeShared { volume, domain } => write!(f, "domain {domain} uses {volume} too"),
            Self::KeptDiskMissing { vm, disk } => {
                write!(f, "kept disk {disk} of vm {vm} is gone from the pool")
            }
            Self::OrphanDomain { vm, incarnation, .. } => {
                write!(f, "bears our mark as vm {vm}, incarnation {incarnation}; ")?;
                f.write_str("the state does not know it here")
            }
            Self::OrphanVolume { size, used, .. } => {
                write!(f, "{}, takes {}; ", short_size(*size), short_size(*used))?;
                f.write_str("ours, and the state does not know it")
            }
            Self::ChainBroken { volume, missing: Some(missing) } => {
                write!(f, "{volume} stands on {missing}, which is not there")
            }
            Self::ChainBroken { volume, missing: None } => {
                write!(f, "what {volume} stands on stands on itself")
            }
            Self::ChainOutside { volume, backing } => {
                write!(f, "{volume} stands on {backing}, outside of our pool")
            }
            Self::Unfinished { what } => f.write_str(&what.join("; ")),
            Self::NameTaken { by } => write!(f, "another one of that name is there ({by})"),
            Self::ClockOff { seconds } if *seconds < 0 => {
                write!(f, "its clock is {} s behind ours", -seconds)
            }
            Self::ClockOff { seconds } => write!(f, "its clock is {seconds} s ahead of ours"),
            Self::NotPublished { edits } => f.write_str(&edits.join("; ")),
            Self::InTheWay(advised)
            | Self::Unpublishable(advised)
            | Self::ServerUnread(advised) => f.write_str(&advised.why),
            Self::Abandoned { published } => {
                write!(f, "{published} published by a block that is no longer declared")
            }
            plain => f.write_str(plain.plain_words()),
        }
    }
}

impl Drift {
    /// Returns the words of what needs no detail.
    fn plain_words(&self) -> &'static str {
        match self {
            Self::HostStranger { .. } => "its pool has no card of ours",
            Self::DomainMissing { .. } => "libvirt has no such domain",
            Self::DomainTransient => "it runs and is not defined: it vanishes when it stops",
            Self::DomainOff => "it was made to run, and is off",
            Self::DomainRunning => "it was made to be off, and runs",
            Self::DomainPaused => "it is paused",
            Self::DomainCrashed => "it crashed",
            Self::MarkLost => "it lost our mark",
            Self::AutostartChanged { to: true } => "it starts with its host now",
            Self::AutostartChanged { to: false } => "it no longer starts with its host",
            Self::ManagedSave => "its run is saved to disk",
            Self::Snapshots => "libvirt has snapshots or checkpoints of it",
            Self::NetworkMissing { .. } => "libvirt has no such network",
            Self::NetworkInactive => "it does not run",
            Self::KeyUnpinned { .. } => "its key is not in the repository's known_hosts",
            Self::OrphanNetwork { .. } => "bears our mark, and the state does not know it",
            told => told.code(),
        }
    }
}
