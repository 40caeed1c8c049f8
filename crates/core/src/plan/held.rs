//! What is not done, and why.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{Object, Unrestorable};
use crate::{
    model::{DomainName, EditKey, HostName, Impact, VmName},
    state::Snapshot,
};

/// A change that is not made now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Where; `None` is outside the hosts.
    pub host: Option<HostName>,
    /// What.
    pub object: Object,
    /// Why.
    pub why: Withheld,
}

/// Why a change is not made now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Withheld {
    /// Its host was not read.
    Unreachable(String),
    /// The host shows no card, or another one, where we had made objects.
    Stranger(String),
    /// Another host shows the same card: two blocks name one machine, or a pool was copied.
    SameMachine(HostName),
    /// The host's card tells of later runs than the state: somebody put an old state back.
    OldState {
        /// The serial on the card.
        card: u64,
        /// The serial of the state.
        state: u64,
    },
    /// The host has objects of this fleet, and the state knows nothing of the host.
    StateLost,
    /// Our pool is there and does not run: its directory may not be mounted.
    PoolInactive(String),
    /// The bridge of a network is missing on the host.
    NoBridge(String),
    /// A domain has our name and UUID, and lost our mark.
    MarkLost {
        /// The VM.
        vm: String,
        /// The domain's name.
        domain: String,
    },
    /// A domain runs and is not defined: it vanishes when it stops.
    Transient(String),
    /// A domain with its UUID is on another host.
    Elsewhere {
        /// The domain's name there.
        domain: String,
        /// The other host.
        host: HostName,
    },
    /// Somebody's snapshot put an overlay on a disk: what was written since lies there.
    SnapshotOver {
        /// The disk's volume.
        volume: String,
        /// The overlay.
        overlay: String,
    },
    /// A domain's run is saved to disk: it goes on as it was, whatever it is defined as.
    Saved(String),
    /// libvirt has snapshots or checkpoints of a domain.
    Snapshots(String),
    /// It must not be taken away or made again.
    Protected,
    /// `forget` was said of it, and it is declared.
    Forgotten,
    /// `forget` was said of it, it is declared, and this volume of its is still there.
    ForgottenVolume(String),
    /// It lets go of a promise, which is asked for by name.
    Unprotect(VmName),
    /// Something of that name or UUID is somebody else's.
    Foreign(String),
    /// It bears our mark and the state does not know it.
    NotInState(String),
    /// A volume of ours lies in the pool, and the host's card does not list it.
    NotInIndex(String),
    /// A field changed that cannot be changed yet.
    NotYet {
        /// The field, as the text names it.
        field: String,
        /// What changing it would do.
        impact: Impact,
        /// What is there.
        from: String,
        /// What is wanted.
        to: String,
    },
    /// A kept disk is missing where the VM had one; making an empty one would hide the loss.
    DiskMissing(String),
    /// It needs a consent that was not given.
    Consent(Impact),
    /// More VMs and networks would vanish than the budget allows.
    Budget {
        /// How many would.
        wanted: usize,
        /// How many may.
        allowed: usize,
    },
    /// More of our records in a zone would go than may go at once.
    Records {
        /// The zone.
        zone: DomainName,
        /// How many would.
        wanted: usize,
        /// Of how many.
        of: usize,
    },
    /// It does not come back from the trash, or must not be touched while it does.
    NotRestored(Unrestorable),
    /// It needs something that is held back.
    Needs(Object),
    /// What a plugin published is still there, and its block is no longer declared.
    Abandoned(usize),
    /// A plugin refuses a change: a foreign record, a missing zone.
    Refused {
        /// The causes, outermost first.
        causes: Vec<String>,
        /// What the user can do.
        hint: Option<String>,
    },
    /// A plugin's server could not be read; its edits are pending.
    ServerDown {
        /// The causes, outermost first.
        causes: Vec<String>,
        /// What the user can do.
        hint: Option<String>,
    },
}

/// Returns what plugins published that nobody follows any more; `plugins` are those declared.
pub fn abandoned(snapshot: &Snapshot, plugins: &BTreeSet<String>) -> Vec<Held> {
    let held = |(plugin, count): (&String, usize)| Held {
        host: None,
        object: Object::Outside(plugin.clone()),
        why: Withheld::Abandoned(count),
    };
    abandoned_by(snapshot, plugins).into_iter().map(held).collect()
}

/// Returns how much each plugin published that is declared no more.
pub(super) fn abandoned_by<'a>(
    snapshot: &'a Snapshot,
    plugins: &BTreeSet<String>,
) -> BTreeMap<&'a String, usize> {
    let mut counts = BTreeMap::new();
    // A zone is never taken away, so it is nobody's to follow.
    let followed =
        snapshot.published.keys().filter(|(_, key)| !matches!(key, EditKey::Zone { .. }));
    for (plugin, _) in followed.filter(|(plugin, _)| !plugins.contains(plugin)) {
        *counts.entry(plugin).or_default() += 1;
    }
    counts
}

impl Withheld {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable(_) => "it is done by the next apply once the host answers".into(),
            Self::Stranger(_) => {
                "is its pool mounted? if another machine has this name now: freehold rebuild HOST"
                    .into()
            }
            Self::SameMachine(_) => {
                "leave one `host` block of a machine; of a copied pool, remove freehold-host.json \
                 in the copy"
                    .into()
            }
            Self::OldState { .. } => {
                "is .freehold/ an old copy? put the newest one back before you apply".into()
            }
            Self::StateLost => {
                "was .freehold/ lost? put it back, or make it again: freehold recover".into()
            }
            Self::PoolInactive(path) => {
                format!("mount {path}, then `virsh pool-start freehold` on the host")
            }
            Self::NoBridge(_) => "make the bridge on the host, or name the right one".into(),
            Self::MarkLost { vm, .. } => {
                format!("if it is that VM: freehold adopt {vm} --mark")
            }
            // Without the flags its console would ask for no password any more.
            Self::Transient(domain) => format!(
                "on the host: virsh dumpxml --inactive --security-info {domain} | virsh define \
                 /dev/stdin; its mark is in it"
            ),
            Self::Elsewhere { domain, host } => format!(
                "if it was migrated, migrate it back; if {host} has an old copy: virsh undefine \
                 {domain} there"
            ),
            Self::SnapshotOver { .. } => {
                "merge it: virsh blockcommit DOMAIN DISK --active --pivot, then remove the overlay"
                    .into()
            }
            Self::Saved(domain) => {
                format!("on the host: virsh start {domain}, or virsh managedsave-remove {domain}")
            }
            Self::Snapshots(domain) => format!(
                "on the host: virsh snapshot-list {domain}; virsh snapshot-delete {domain} …"
            ),
            Self::Protected => {
                "say `protect = false` in its block and apply with --unprotect NAME first".into()
            }
            Self::Forgotten => "take it back: freehold adopt NAME; or remove its block".into(),
            Self::ForgottenVolume(_) => {
                "to begin anew, move its files out of the pool; to have it back, define its domain \
                 on the host, then freehold adopt NAME"
                    .into()
            }
            Self::Unprotect(vm) => format!("if that is meant: --unprotect {vm}"),
            Self::Foreign(_) => "rename the VM or network, or remove the other one by hand".into(),
            Self::NotInState(_) => {
                "is freehold.lock the newest one? put it back; or take it in: freehold adopt NAME"
                    .into()
            }
            Self::NotInIndex(_) => {
                "was freehold-host.json put back from an old copy? add the volume to its list once \
                 you know that it is this VM's"
                    .into()
            }
            Self::NotYet { .. } => "put the old value back, or destroy and apply the VM".into(),
            Self::DiskMissing(_) => "is the pool mounted? has somebody moved the file?".into(),
            Self::Consent(impact) => format!("give it with --allow {impact}"),
            Self::Budget { wanted, .. } => format!("if that is right: --deletes {wanted}"),
            Self::Records { wanted, .. } => format!("if that is right: --deletes {wanted}"),
            Self::NotRestored(why) => why.hint(),
            Self::Needs(_) => return None,
            Self::Abandoned(_) => {
                "put the block back, take its part out of the VMs, apply, then remove it".into()
            }
            Self::Refused { hint, .. } | Self::ServerDown { hint, .. } => return hint.clone(),
        })
    }

    /// Returns its word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Stranger(_) => "stranger",
            Self::SameMachine(_) => "same-machine",
            Self::OldState { .. } => "old-state",
            Self::StateLost => "state-lost",
            Self::PoolInactive(_) => "pool-inactive",
            Self::NoBridge(_) => "no-bridge",
            Self::MarkLost { .. } => "mark-lost",
            Self::Transient(_) => "transient",
            Self::Elsewhere { .. } => "elsewhere",
            Self::SnapshotOver { .. } => "external-snapshot",
            Self::Saved(_) => "managed-save",
            Self::Snapshots(_) => "snapshots",
            Self::Protected => "protected",
            Self::Forgotten => "forgotten",
            Self::ForgottenVolume(_) => "forgotten-volume",
            Self::Unprotect(_) => "unprotect",
            Self::Foreign(_) => "foreign",
            Self::NotInState(_) => "not-in-state",
            Self::NotInIndex(_) => "not-in-card",
            Self::NotYet { .. } => "not-yet",
            Self::DiskMissing(_) => "disk-missing",
            Self::Consent(_) => "consent",
            Self::Budget { .. } => "budget",
            Self::Records { .. } => "records",
            Self::NotRestored(_) => "not-restored",
            Self::Needs(_) => "needs",
            Self::Abandoned(_) => "abandoned",
            Self::Refused { .. } => "refused",
            Self::ServerDown { .. } => "server-down",
        }
    }

    /// Returns why, outermost cause first.
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::Refused { causes, .. } | Self::ServerDown { causes, .. } => causes.clone(),
            why => vec![why.to_string()],
        }
    }

    /// Says whether the user must consent, rather than something be missing.
    pub fn is_consent(&self) -> bool {
        matches!(
            self,
            Self::Consent(_) | Self::Unprotect(_) | Self::Budget { .. } | Self::Records { .. }
        )
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::Stranger(why) => write!(f, "not the host we knew: {why}"),
            Self::SameMachine(other) => write!(f, "it shows the same card as host {other}"),
            Self::OldState { card, state } => {
                write!(f, "its card knows serial {card} of this fleet, the state is at {state}")
            }
            Self::StateLost => {
                f.write_str("it has objects of this fleet, and the state does not know it")
            }
            Self::PoolInactive(path) => write!(f, "pool freehold at {path} does not run"),
            Self::NoBridge(bridge) => write!(f, "no bridge {bridge} on the host"),
            Self::Foreign(whose) => f.write_str(whose),
            Self::MarkLost { domain, .. } => {
                write!(f, "domain {domain} has our UUID and lost our mark")
            }
            Self::Transient(domain) => {
                write!(f, "domain {domain} runs and is not defined: it vanishes when it stops")
            }
            Self::Elsewhere { domain, host } => {
                write!(f, "domain {domain} with its UUID is on {host}")
            }
            Self::SnapshotOver { volume, overlay } => {
                write!(f, "external-snapshot: {overlay} lies over {volume}")
            }
            Self::Saved(domain) => write!(f, "domain {domain} is saved to disk (managed save)"),
            Self::Snapshots(domain) => write!(f, "domain {domain} has snapshots or checkpoints"),
            Self::Protected => f.write_str("it is protected"),
            Self::Forgotten => f.write_str("it was forgotten, and may live on"),
            Self::ForgottenVolume(volume) => {
                write!(f, "it was forgotten, and its volume {volume} is there")
            }
            Self::Unprotect(_) => f.write_str("lets go of its protection or of a kept disk"),
            Self::NotInState(what) => {
                write!(f, "{what} bears our mark, the state does not know it")
            }
            Self::NotInIndex(volume) => write!(f, "the host's card does not list {volume}"),
            Self::NotYet { field, impact, from, to } => {
                write!(f, "{field}: {from} -> {to} ({impact}) cannot be changed yet")
            }
            Self::DiskMissing(volume) => write!(f, "disk {volume} is gone from the pool"),
            Self::Consent(impact) => write!(f, "needs consent: {impact}"),
            Self::Budget { wanted, allowed } => {
                write!(f, "{wanted} would vanish, {allowed} may")
            }
            Self::Records { zone, wanted, of } => {
                write!(f, "{wanted} of our {of} records in {zone} would go at once")
            }
            Self::NotRestored(why) => why.fmt(f),
            Self::Needs(object) => write!(f, "needs {object}"),
            Self::Abandoned(count) => {
                write!(f, "no longer declared, and {count} of what it published is still there")
            }
            Self::Refused { causes, .. } | Self::ServerDown { causes, .. } => {
                f.write_str(&causes.join(": "))
            }
        }
    }
}
