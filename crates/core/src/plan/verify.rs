//! Whether everything is as the state, the text and the laws say: drift, and what drift does not look at.
//!
//! Decides nothing and makes no plan: what differs is told, with a stable code.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Advised, Drift, Finding, Proposals, Subject, Trouble, TroubleKind, World,
    decide::spread_host,
    drift::{drift, volumes_listed},
    held::abandoned_by,
    make::readiness,
};
use crate::{
    model::{Edit, HostName, HostView, NetworkKind, PoolView, Seen, VmName},
    state::{Snapshot, VmRecord},
};

/// How far clocks may be apart, in seconds: certificates and signed records bear more.
const CLOCKS: i64 = 5;
/// How long a chain of files may be before it is taken for a circle.
const LONGEST: usize = 200;

/// What was seen besides the hosts' objects.
#[derive(Debug, Default)]
pub struct Looks {
    /// By how many seconds hosts' clocks are ahead of ours.
    pub clocks: BTreeMap<HostName, i64>,
    /// Hosts whose keys a clone of the repository does not know, and where they are.
    pub unpinned: BTreeMap<HostName, String>,
    /// The plugins that are declared.
    pub plugins: BTreeSet<String>,
    /// What plugins would change so that what is declared is published.
    pub proposals: Proposals,
}

/// Returns everything that is not as it should be, by host and object, what is outside of hosts last.
pub fn verify(world: &World<'_>, looks: &Looks) -> Vec<Finding> {
    let mut findings = drift(world.snapshot, world.observed);
    let is_strange = |finding: &&Finding| {
        matches!(finding.drift, Drift::HostStranger { .. } | Drift::StateOld { .. })
    };
    let strange: BTreeSet<_> =
        findings.iter().filter(is_strange).filter_map(|finding| finding.host.clone()).collect();
    let mut sound = BTreeSet::new();
    for (host, seen) in world.observed {
        let Seen::Whole(view) = seen else { continue };
        let mut found = of_host(host, looks);
        // Of another machine, or with an old state, nothing of ours can be said.
        if !strange.contains(host) {
            found.extend(chains(world.snapshot, world.fleet.id, host, view));
            found.extend(names(world, host, view));
            sound.insert(host);
        }
        let finding = |(object, drift)| Finding { host: Some(host.clone()), object, drift };
        findings.extend(found.into_iter().map(finding));
    }
    findings.extend(unfinished(world));
    findings.sort_by(|one, other| (&one.host, &one.object).cmp(&(&other.host, &other.object)));
    let stays = |edit: &&Edit| is_told(world, edit.vm.as_ref(), &sound, strange.is_empty());
    findings.extend(outside(world.snapshot, looks, stays));
    findings
}

fn of_host(host: &HostName, looks: &Looks) -> Vec<(Subject, Drift)> {
    let clock = looks.clocks.get(host).filter(|seconds| seconds.abs() > CLOCKS);
    let clock = clock.map(|seconds| Drift::ClockOff { seconds: *seconds });
    let key = looks.unpinned.get(host);
    let key = key.map(|target| Drift::KeyUnpinned { target: target.clone() });
    clock.into_iter().chain(key).map(|drift| (Subject::Host(host.clone()), drift)).collect()
}

/// Follows what every volume of ours stands on: disks and what lies over them, kept ones, the trash.
fn chains(
    snapshot: &Snapshot,
    fleet: crate::model::FleetId,
    host: &HostName,
    view: &HostView,
) -> Vec<(Subject, Drift)> {
    let Some(pool) = view.pool.as_ref().filter(|pool| pool.active) else { return Vec::new() };
    let mut starts: BTreeMap<String, Subject> = BTreeMap::new();
    let kept = snapshot.kept.iter().filter(|kept| kept.host == *host).map(|kept| &kept.volume);
    for name in volumes_listed(pool, fleet).iter().chain(kept) {
        starts.insert(name.clone(), Subject::Volume(name.clone()));
    }
    for (vm, record) in snapshot.vms.iter().filter(|(_, record)| record.host == *host) {
        let domains = view.domains.iter().filter(|domain| domain.uuid == record.uuid);
        let shapes =
            domains.flat_map(|domain| std::iter::once(&domain.defined).chain(&domain.live));
        let used = shapes.flat_map(|shape| &shape.disks).filter_map(|file| inside(pool, file));
        let disks = record.disks.iter().map(|disk| disk.volume.as_str());
        for name in disks.chain(used) {
            starts.insert(name.to_owned(), Subject::Vm(vm.clone()));
        }
    }
    starts.retain(|name, _| pool.volumes.contains_key(name));
    let broken = |(name, subject): (String, Subject)| Some((subject, chain(pool, &name)?));
    starts.into_iter().filter_map(broken).collect()
}

/// Returns the name of a file right in our pool; what lies deeper, or hidden, was not looked at.
fn inside<'a>(pool: &PoolView, file: &'a str) -> Option<&'a str> {
    let name = file.strip_prefix(&pool.path)?.strip_prefix('/')?;
    (!name.contains('/') && !name.starts_with('.')).then_some(name)
}

fn chain(pool: &PoolView, volume: &str) -> Option<Drift> {
    let mut name = volume.to_owned();
    let volume = volume.to_owned();
    for _ in 0..LONGEST {
        let backing = pool.volumes.get(&name)?.backing.clone()?;
        match inside(pool, &backing) {
            Some(under) if pool.volumes.contains_key(under) => under.clone_into(&mut name),
            Some(under) => {
                return Some(Drift::ChainBroken { volume, missing: Some(under.to_owned()) });
            }
            None => return Some(Drift::ChainOutside { volume, backing }),
        }
    }
    Some(Drift::ChainBroken { volume, missing: None })
}

/// Looks for others' domains and networks that have the names of what is to come; of what was made drift
/// tells.
fn names(world: &World<'_>, host: &HostName, view: &HostView) -> Vec<(Subject, Drift)> {
    let mut taken = Vec::new();
    let mut networks = BTreeSet::new();
    for vm in world.fleet.vms.values() {
        let decided = world.decisions.vms.get(&vm.name);
        if decided.map_or_else(|| spread_host(vm), |decision| &decision.host) != host {
            continue;
        }
        networks.extend(vm.nics.iter().map(|nic| &nic.network));
        let record = world.snapshot.vms.get(world.recorded_name(&vm.name));
        if record.is_some_and(|record| record.made) {
            continue;
        }
        let uuid = decided.map(|decision| decision.uuid);
        let other = view
            .domains
            .iter()
            .find(|domain| domain.name == vm.name.as_str() && Some(domain.uuid) != uuid);
        taken.extend(
            other.map(|other| (Subject::Vm(vm.name.clone()), Drift::NameTaken { by: other.uuid })),
        );
    }
    let made = world.snapshot.networks.get(host);
    for network in networks.into_iter().filter_map(|name| world.fleet.networks.get(name)) {
        if network.kind != NetworkKind::Nat
            || made.is_some_and(|made| made.contains_key(&network.name))
        {
            continue;
        }
        let other = view.networks.iter().find(|other| {
            let ours = other.mark.as_ref().is_some_and(|mark| mark.fleet == world.fleet.id);
            other.name == network.name.as_str() && !ours
        });
        taken.extend(other.map(|other| {
            (Subject::Network(other.name.clone()), Drift::NameTaken { by: other.uuid })
        }));
    }
    taken
}

/// Returns VMs that a run left half-way: drift says nothing of them.
fn unfinished(world: &World<'_>) -> Vec<Finding> {
    let of_vm = |(vm, record): (&VmName, &VmRecord)| {
        let what = left_of(record, is_waited_for(world, vm));
        (!what.is_empty()).then(|| Finding {
            host: Some(record.host.clone()),
            object: Subject::Vm(vm.clone()),
            drift: Drift::Unfinished { what },
        })
    };
    world.snapshot.vms.iter().filter_map(of_vm).collect()
}

/// Says whether the text wants anybody to wait until a VM is ready.
fn is_waited_for(world: &World<'_>, vm: &VmName) -> bool {
    let declared = world.declared_as(vm).filter(|declared| declared.running);
    declared.is_some_and(|declared| {
        let decided = world.decisions.vms.get(&declared.name);
        decided.is_some_and(|decision| readiness(world.fleet, declared, decision).is_some())
    })
}

fn left_of(record: &VmRecord, is_waited_for: bool) -> Vec<String> {
    let mut what = Vec::new();
    if let Some(run) = &record.restoring {
        what.push(format!("it is being brought back from the removal {run}"));
    } else if !record.made {
        what.push("it was begun and is not whole, or its removal was begun".to_owned());
    } else if record.unready && is_waited_for {
        what.push("it was not seen ready since it was started".to_owned());
    }
    for disk in record.disks.iter().filter(|_| record.made) {
        if disk.old {
            what.push(format!("disk {} is not yet detached", disk.name));
        } else if !disk.there {
            what.push(format!("disk {} is not yet made", disk.name));
        }
    }
    what
}

/// Says whether an edit tells something: of hosts that were not read, or with an old state, nothing is.
fn is_told(
    world: &World<'_>,
    vm: Option<&VmName>,
    sound: &BTreeSet<&HostName>,
    all_are_ours: bool,
) -> bool {
    let record = vm.and_then(|vm| world.snapshot.vms.get(world.recorded_name(vm)));
    match record {
        Some(record) => sound.contains(&record.host),
        None => all_are_ours,
    }
}

fn outside(snapshot: &Snapshot, looks: &Looks, stays: impl Fn(&&Edit) -> bool) -> Vec<Finding> {
    let mut edits: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for edit in looks.proposals.edits.iter().filter(stays) {
        edits.entry(&edit.plugin).or_default().push(edit.to_string());
    }
    let told = |trouble: &Trouble| {
        let advised = Advised { why: trouble.causes.join(": "), hint: trouble.hint.clone() };
        let drift = match trouble.kind {
            TroubleKind::Foreign => Drift::InTheWay(advised),
            TroubleKind::Unread => Drift::ServerUnread(advised),
            TroubleKind::Refused => Drift::Unpublishable(advised),
        };
        (trouble.plugin.clone(), drift)
    };
    // What could not be read at all says nothing, whatever the reason.
    let down = looks
        .proposals
        .down
        .iter()
        .map(|trouble| told(&Trouble { kind: TroubleKind::Unread, ..trouble.clone() }));
    let left = abandoned_by(snapshot, &looks.plugins)
        .into_iter()
        .map(|(plugin, published)| (plugin.clone(), Drift::Abandoned { published }));
    let edits =
        edits.into_iter().map(|(plugin, edits)| (plugin.to_owned(), Drift::NotPublished { edits }));
    let all = edits.chain(looks.proposals.refused.iter().map(told)).chain(down).chain(left);
    let finding = |(plugin, drift)| Finding { host: None, object: Subject::Plugin(plugin), drift };
    let mut findings: Vec<_> = all.map(finding).collect();
    findings.sort_by(|one, other| one.object.cmp(&other.object));
    findings
}
