//! What must be done to take one VM away, and the proof that it is ours.

use uuid::Uuid;

use super::{VmRemoval, Withheld, World, make::seen, proof};
use crate::{
    model::{DomainView, HostView, VmName, nvram_name, seed_prefix},
    state::{DiskRecord, VmRecord},
};

/// Returns how a VM of the state is taken off its host, or why that must not be done.
pub(super) fn removal_of(
    world: &World<'_>,
    vm: &VmName,
    record: &VmRecord,
    view: &HostView,
) -> Result<VmRemoval, Withheld> {
    let found = view.domains.iter().find(|domain| domain.uuid == record.uuid);
    if let Some(domain) = found {
        proof::domain(world, &[vm], Some(record), domain)?;
        refuse_unfinished_business(domain)?;
        proof::uncovered(view, domain, record.disks.iter().map(|disk| disk.volume.as_str()))?;
    }
    let is_there = |name: &str| proof::volume(world, view, name, Some(record.uuid));
    let mut there = Vec::new();
    for disk in &record.disks {
        if is_there(&disk.volume)? {
            there.push(disk);
        }
    }
    let (kept, trash): (Vec<_>, Vec<_>) =
        there.into_iter().partition(|disk| is_kept(world, vm, found, disk));
    // What is half back goes where it came from: one entry holds all that was put away of it.
    let run = record.restoring.clone().unwrap_or_else(|| this_run(world));
    let trashed = |volume: &String| (volume.clone(), trash_name_of(&run, volume));
    Ok(VmRemoval {
        vm: vm.clone(),
        uuid: record.uuid,
        seen: found.and_then(seen),
        trash: trash.iter().map(|disk| trashed(&disk.volume)).collect(),
        kept: kept.iter().map(|disk| disk.volume.clone()).collect(),
        discard: seeds(world, record.uuid, view)?,
        nvram: nvram(world, record, view, found)?.map(|nvram| trashed(&nvram)),
        xml: trash_name_of(&run, &format!("{}.xml", record.uuid)),
    })
}

/// Returns the name something gets in the trash.
pub(super) fn trash_name(world: &World<'_>, volume: &str) -> String {
    trash_name_of(&this_run(world), volume)
}

/// Returns this run as names in the trash have it. With the serial it will write: two removals may
/// fall into one second.
fn this_run(world: &World<'_>) -> String {
    format!("{}.{}", world.stamp, world.snapshot.serial + 1)
}

fn trash_name_of(run: &str, volume: &str) -> String {
    format!("trash.{run}.{volume}")
}

/// What libvirt would not undefine, or what would be lost with it.
fn refuse_unfinished_business(domain: &DomainView) -> Result<(), Withheld> {
    if domain.saved {
        return Err(Withheld::Saved(domain.name.clone()));
    }
    if domain.snapshots {
        return Err(Withheld::Snapshots(domain.name.clone()));
    }
    if !domain.persistent {
        return Err(Withheld::Transient(domain.name.clone()));
    }
    Ok(())
}

/// A VM is protected when the text, the state or the domain's own mark says so.
pub(super) fn is_protected(
    world: &World<'_>,
    vm: &VmName,
    record: &VmRecord,
    found: Option<&DomainView>,
) -> bool {
    let marked = found.and_then(|found| found.mark.as_ref());
    record.protect
        || world.declared_as(vm).is_some_and(|vm| vm.protect)
        || marked.is_some_and(|mark| mark.protect)
}

/// A disk is kept when the text, the state or the domain's own mark says so.
pub(super) fn is_kept(
    world: &World<'_>,
    vm: &VmName,
    found: Option<&DomainView>,
    disk: &DiskRecord,
) -> bool {
    let declared = world.declared_as(vm).map(|vm| vm.disks.as_slice()).unwrap_or_default();
    let marked = found.and_then(|found| found.mark.as_ref());
    disk.keep
        || declared.iter().any(|wanted| wanted.name == disk.name && wanted.keep)
        || marked.is_some_and(|mark| mark.keep.contains(&disk.name))
}

/// The seeds of all its incarnations: a run that was killed may have left one.
pub(super) fn seeds(world: &World<'_>, vm: Uuid, view: &HostView) -> Result<Vec<String>, Withheld> {
    let prefix = seed_prefix(world.fleet.id, vm);
    let volumes = view.pool.iter().flat_map(|pool| pool.volumes.keys());
    let mut seeds = Vec::new();
    for name in volumes.filter(|name| name.starts_with(&prefix)) {
        if proof::volume(world, view, name, Some(vm))? {
            seeds.push(name.clone());
        }
    }
    Ok(seeds)
}

/// libvirt makes the file when the VM starts, which may be after the card was last written; then
/// the domain proves whose it is.
fn nvram(
    world: &World<'_>,
    record: &VmRecord,
    view: &HostView,
    found: Option<&DomainView>,
) -> Result<Option<String>, Withheld> {
    let name = nvram_name(world.fleet.id, record.uuid);
    match proof::volume(world, view, &name, Some(record.uuid)) {
        Ok(there) => Ok(there.then_some(name)),
        Err(Withheld::NotInIndex(_)) => Ok(found.map(|_| name)),
        Err(why) => Err(why),
    }
}
