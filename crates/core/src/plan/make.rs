//! The work that makes a VM, finishes one, changes one, or makes one again.

use std::net::Ipv4Addr;

use super::{
    AskedFrom, Await, Detached, SeenDomain, VmRemoval, VmWork,
    differ::{Difference, is_kept, leaving},
    removal::{seeds, trash_name},
    vm::Look,
    wanted::{domain_spec, volume_specs},
};
use crate::{
    model::{Accel, DomainShape, DomainSpec, DomainView, Fleet, Impact, Vm, Wait},
    state::{Applied, VmDecision},
};

/// Returns what is missing of a VM, all of it where there is none.
pub(super) fn missing_work(look: &Look<'_>, spec: DomainSpec) -> VmWork {
    let (vm, found) = (look.vm, look.found);
    let mut volumes = volume_specs(&spec, vm);
    volumes.retain(|volume| !look.is_there(&volume.name));
    let runs = look.runs();
    let start = vm.running && !runs;
    let unseen = vm.running && look.record.is_some_and(|record| record.unready);
    let renamed = (look.recorded_name() != &vm.name).then(|| look.recorded_name().clone());
    let wait = if start || unseen { wait_of(look, look.decision) } else { None };
    VmWork {
        vm: vm.name.clone(),
        decision: look.decision.clone(),
        addresses: addresses(look.decision),
        volumes,
        // A seed is written again as long as no domain was defined with it: its digest is in the
        // domain's mark.
        seed: found.is_none() || !spec.seed.as_ref().is_some_and(|seed| look.is_there(seed)),
        define: found.is_none(),
        seen: found.and_then(seen),
        update: false,
        remark: found.is_some_and(|found| found.mark.as_ref() != Some(&spec.mark)),
        renamed,
        grow: Vec::new(),
        detach: Vec::new(),
        discard: old_seeds(look, &spec),
        autostart: found.filter(|found| found.autostart != vm.autostart).map(|_| vm.autostart),
        stop: !vm.running && runs,
        start,
        wait,
        applied: applied(look, &spec),
        spec,
    }
}

/// Adds what makes a VM that is there as it is wanted.
pub(super) fn with_changes(
    look: &Look<'_>,
    work: &mut VmWork,
    differences: &[Difference],
    is_stale: bool,
) {
    let pool = look.view.pool.as_ref();
    for (disk, decided) in look.vm.disks.iter().zip(&look.decision.disks) {
        let volume = pool.and_then(|pool| pool.volumes.get(&decided.volume));
        if volume.is_some_and(|volume| volume.capacity < disk.size) {
            work.grow.push((decided.volume.clone(), disk.size));
        }
    }
    if look.found.is_none() {
        return;
    }
    for disk in leaving(look) {
        let end = match (look.is_there(&disk.volume), is_kept(look, &disk.name)) {
            (false, _) => Detached::Gone,
            (true, true) => Detached::Kept,
            (true, false) => Detached::Trashed(trash_name(look.world, &disk.volume)),
        };
        work.detach.push((disk.volume.clone(), end));
    }
    work.update = differences.iter().any(|one| one.field != "disk.size");
    // What a guest is told about its interfaces lies in its seed.
    work.seed |= differences.iter().any(|one| matches!(one.field, "nic" | "nic.address"));
    work.remark &= !work.update && work.renamed.is_none();
    let hurts = differences.iter().any(|one| one.impact >= Impact::Restart);
    if look.runs() && (hurts || is_stale || work.renamed.is_some()) {
        work.stop = true;
        work.start = look.vm.running;
        if work.start {
            work.wait = wait_of(look, look.decision);
        }
    }
}

/// Returns the work that makes a VM again once a removal took away what it was.
pub(super) fn replaced(look: &Look<'_>, accel: Accel, removal: &VmRemoval) -> VmWork {
    let recorded = look.record.map_or(look.decision.incarnation, |record| record.incarnation);
    // A rebuild that was begun goes on as the same.
    let incarnation = if look.is_half_rebuilt() { recorded } else { recorded + 1 };
    let decision = VmDecision { incarnation, ..look.decision.clone() };
    let spec = domain_spec(look.world, look.vm, &decision, accel);
    let stays = |volume: &String| removal.kept.contains(volume);
    let mut volumes = volume_specs(&spec, look.vm);
    volumes.retain(|volume| !stays(&volume.name));
    let renamed = (look.recorded_name() != &look.vm.name).then(|| look.recorded_name().clone());
    VmWork {
        vm: look.vm.name.clone(),
        addresses: addresses(&decision),
        volumes,
        seed: true,
        define: true,
        seen: None,
        update: false,
        remark: false,
        renamed,
        grow: grown_while_kept(look, removal),
        detach: leaving(look).map(|disk| left_behind(&disk.volume, removal)).collect(),
        discard: Vec::new(),
        autostart: None,
        stop: false,
        start: look.vm.running,
        wait: look.vm.running.then(|| wait_of(look, &decision)).flatten(),
        applied: applied(look, &spec),
        decision,
        spec,
    }
}

/// Says what a removal leaves of a disk that the VM does not have again.
fn left_behind(volume: &str, removal: &VmRemoval) -> (String, Detached) {
    let kept = removal.kept.iter().any(|kept| kept == volume);
    (volume.to_owned(), if kept { Detached::Kept } else { Detached::Gone })
}

/// Kept disks that are wanted larger than they are.
fn grown_while_kept(look: &Look<'_>, removal: &VmRemoval) -> Vec<(String, crate::model::Size)> {
    let Some(pool) = &look.view.pool else { return Vec::new() };
    let pairs = look.vm.disks.iter().zip(&look.decision.disks);
    let kept = pairs.filter(|(_, decided)| removal.kept.contains(&decided.volume));
    let small = kept.filter(|(disk, decided)| {
        pool.volumes.get(&decided.volume).is_some_and(|volume| volume.capacity < disk.size)
    });
    small.map(|(disk, decided)| (decided.volume.clone(), disk.size)).collect()
}

/// Seeds that a rebuild left when it was killed; what cannot be proven ours stays.
fn old_seeds(look: &Look<'_>, spec: &DomainSpec) -> Vec<String> {
    if look.found.is_some() {
        return Vec::new();
    }
    let mut seeds = seeds(look.world, look.decision.uuid, look.view).unwrap_or_default();
    seeds.retain(|seed| Some(seed) != spec.seed.as_ref());
    seeds
}

pub(super) fn seen(found: &DomainView) -> Option<SeenDomain> {
    let name = found.mark.as_ref()?.name.clone();
    Some(SeenDomain { name, fingerprint: found.fingerprint.clone() })
}

fn addresses(decision: &VmDecision) -> Vec<Ipv4Addr> {
    decision.nics.iter().filter_map(|nic| nic.address).collect()
}

/// Returns what a VM is once it is as wanted.
pub(super) fn applied(look: &Look<'_>, spec: &DomainSpec) -> Applied {
    let pool = match &look.view.pool {
        Some(pool) => pool.path.as_str(),
        None => look.world.fleet.hosts[&look.decision.host].pool_path(),
    };
    let shape = DomainShape::of(spec, pool);
    Applied { shape, autostart: look.vm.autostart, running: look.vm.running }
}

impl Look<'_> {
    /// Says whether anybody can be asked whether it is ready.
    pub(super) fn asked_when_ready(&self) -> bool {
        wait_of(self, self.decision).is_some()
    }
}

fn wait_of(look: &Look<'_>, decision: &VmDecision) -> Option<Await> {
    readiness(look.world.fleet, look.vm, decision)
}

/// Returns who is asked what until a VM counts as ready; `None` where nobody is.
pub fn readiness(fleet: &Fleet, vm: &Vm, decision: &VmDecision) -> Option<Await> {
    let (address, from) = asked_address(fleet, decision)?;
    let (port, host_key) = match &vm.wait {
        Wait::None => return None,
        Wait::Port(port) => (*port, None),
        Wait::Ssh => (22, Some(decision.host_key.clone())),
    };
    Some(Await { address, port, host_key, from, timeout: vm.wait_timeout })
}

/// Returns the address a VM is asked at and by whom: one outsiders reach, else any that is known.
pub fn asked_address(fleet: &Fleet, decision: &VmDecision) -> Option<(Ipv4Addr, AskedFrom)> {
    let known = decision.nics.iter().filter_map(|nic| {
        let network = fleet.networks.get(&nic.network);
        let reachable = network.is_some_and(|network| network.kind.is_reachable());
        let from = if reachable { AskedFrom::Anywhere } else { AskedFrom::Host };
        nic.address.map(|address| (address, from))
    });
    let known: Vec<_> = known.collect();
    let best = known.iter().find(|(_, from)| *from == AskedFrom::Anywhere);
    best.or_else(|| known.first()).copied()
}
