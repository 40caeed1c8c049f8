//! What must be done to take one VM away, and the proof that it is ours.

use super::{VmRemoval, Withheld, World};
use crate::{
    model::{HostView, VmName, nvram_name},
    state::VmRecord,
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
        let ours = domain
            .mark
            .as_ref()
            .is_some_and(|mark| mark.fleet == world.fleet.id && mark.name == vm.as_str());
        if !ours {
            let words = format!("domain {} with its UUID does not bear its mark", domain.name);
            return Err(Withheld::Foreign(words));
        }
    }
    let pool = view.pool.as_ref();
    let indexed = pool
        .and_then(|pool| pool.card.as_ref())
        .and_then(|card| card.volumes.get(&world.fleet.id.to_string()));
    // Ours is what lies in our pool under our name and stands in the host's index.
    let is_there = |volume: &String| pool.is_some_and(|pool| pool.volumes.contains_key(volume));
    let is_listed = |volume: &String| indexed.is_some_and(|names| names.contains(volume));
    let mut volumes = record.disks.iter().map(|disk| &disk.volume).chain([&record.seed]);
    if let Some(unproven) = volumes.find(|name| is_there(name) && !is_listed(name)) {
        return Err(Withheld::NotInIndex(unproven.clone()));
    }
    // With the serial this run will write: two removals may fall into one second.
    let serial = world.snapshot.serial + 1;
    let trash_name = |volume: &str| format!("trash.{}.{serial}.{volume}", world.stamp);
    let nvram = nvram_name(world.fleet.id, record.uuid);
    // libvirt makes it when the VM starts, which may be after the index was last written; then the
    // domain proves whose it is.
    let has_nvram = is_there(&nvram) && (is_listed(&nvram) || found.is_some());
    let declared = world.fleet.vms.get(vm);
    let keeps = |disk: &&crate::state::DiskRecord| {
        let wanted = declared.map(|vm| vm.disks.as_slice()).unwrap_or_default();
        disk.keep || wanted.iter().any(|wanted| wanted.name == disk.name && wanted.keep)
    };
    let there = record.disks.iter().filter(|disk| is_there(&disk.volume));
    let (kept, trash): (Vec<_>, Vec<_>) = there.partition(keeps);
    Ok(VmRemoval {
        vm: vm.clone(),
        uuid: record.uuid,
        defined: found.is_some(),
        trash: trash.iter().map(|d| (d.volume.clone(), trash_name(&d.volume))).collect(),
        kept: kept.iter().map(|disk| disk.volume.clone()).collect(),
        discard: Some(&record.seed).filter(|seed| is_there(seed)).into_iter().cloned().collect(),
        nvram: has_nvram.then(|| (nvram.clone(), trash_name(&nvram))),
        xml: trash_name(&format!("{}.xml", record.uuid)),
    })
}
