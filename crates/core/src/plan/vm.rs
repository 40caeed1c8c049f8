//! What must be done about one VM that is declared.

use std::{fmt::Display, net::Ipv4Addr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Action, AskedFrom, Await, Change, Object, Reason, Withheld, Work, World,
    wanted::{domain_spec, image_spec, volume_specs},
};
use crate::{
    model::{
        Accel, Disk, DomainShape, DomainSpec, DomainState, DomainView, Field, Fleet, HostView,
        Impact, Mark, NicSource, Vm, VmName, VolumeSpec, Wait,
    },
    state::{VmDecision, VmRecord},
};

/// Makes a VM, or what is missing of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmWork {
    /// Its name.
    pub vm: VmName,
    /// The whole domain.
    pub spec: DomainSpec,
    /// Its addresses, for the eye; the seed tells them to the guest.
    pub addresses: Vec<Ipv4Addr>,
    /// Volumes to make.
    pub volumes: Vec<VolumeSpec>,
    /// Whether the seed is to be written.
    pub seed: bool,
    /// Whether the domain is to be defined.
    pub define: bool,
    /// What autostart is to be set to, when it differs on a domain that is there.
    pub autostart: Option<bool>,
    /// Whether it is to be shut down.
    pub stop: bool,
    /// Whether it is to be started.
    pub start: bool,
    /// What is waited for after the start, or as it was not seen ready after an earlier one.
    pub wait: Option<Await>,
}

/// Takes a VM away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRemoval {
    /// Its name.
    pub vm: VmName,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether libvirt has a domain of it.
    pub defined: bool,
    /// Volumes that go to the trash, and the names they get there.
    pub trash: Vec<(String, String)>,
    /// Volumes that stay because they are kept.
    pub kept: Vec<String>,
    /// Volumes without data of the user's that are removed: the seed.
    pub discard: Vec<String>,
    /// The file of its UEFI variables, and the name it gets in the trash.
    pub nvram: Option<(String, String)>,
    /// The name its last XML gets in the trash.
    pub xml: String,
}

/// What a look at one declared VM says.
pub(super) enum Verdict {
    Same,
    Change(Box<Change>),
    Held(Withheld),
}

/// Compares one VM with its host.
pub(super) fn vm_verdict(
    world: &World<'_>,
    vm: &Vm,
    decision: &VmDecision,
    view: &HostView,
) -> Verdict {
    let found = view.domains.iter().find(|domain| domain.uuid == decision.uuid);
    let record = world.snapshot.vms.get(&vm.name);
    if let Some(why) = refusal(world, vm, decision, view, found, record) {
        return Verdict::Held(why);
    }
    let accel = resolved_accel(world, decision, view, found);
    let spec = domain_spec(world, vm, decision, accel);
    let why = match found {
        Some(found) => changed_field(vm, &spec, found, view, record),
        None => {
            unknown_volume(world, &spec, view, record).or_else(|| changed_volume(vm, &spec, view))
        }
    };
    if let Some(why) = why {
        return Verdict::Held(why);
    }
    if let Some(why) = lost_disk(world, decision, view, found, record) {
        return Verdict::Held(why);
    }
    let mut work = missing_work(vm, decision, spec, view, found);
    // A run that was killed or gave up waiting has not seen it ready; this one looks again.
    let unseen = vm.running && record.is_some_and(|record| record.unready);
    if work.start || unseen {
        work.wait = wait_of(world, vm, decision);
    }
    verdict_of(vm, decision, work, found, record)
}

fn verdict_of(
    vm: &Vm,
    decision: &VmDecision,
    work: VmWork,
    found: Option<&DomainView>,
    record: Option<&VmRecord>,
) -> Verdict {
    let mut reasons = Vec::new();
    let (missing, begun) = (missing_parts(&work), found.is_some() || record.is_some());
    if !begun {
        reasons.push(Reason::New);
    } else if !missing.is_empty() {
        reasons.push(Reason::Unfinished(missing));
    } else if work.start {
        reasons.push(Reason::NotRunning);
    } else if work.stop {
        reasons.push(Reason::Running);
    } else if work.wait.is_some() {
        reasons.push(Reason::NotReady);
    }
    reasons.extend(work.autostart.map(Reason::Autostart));
    let raised =
        vm.disks.iter().filter(|disk| disk.keep && recorded_keep(record, disk) == Some(false));
    reasons.extend(raised.map(|disk| Reason::Keep(disk.name.clone())).filter(|_| begun));
    if reasons.is_empty() {
        return Verdict::Same;
    }
    Verdict::Change(Box::new(Change {
        host: decision.host.clone(),
        object: Object::Vm(vm.name.clone()),
        action: if begun { Action::Update } else { Action::Create },
        impact: if work.stop { Impact::Restart } else { Impact::Live },
        reasons,
        work: Work::Vm(Box::new(work)),
    }))
}

fn missing_parts(work: &VmWork) -> Vec<String> {
    let volumes = work.volumes.iter().map(|volume| format!("volume {}", volume.name));
    let seed = work.seed.then(|| "seed".to_owned());
    let domain = work.define.then(|| "domain".to_owned());
    volumes.chain(seed).chain(domain).collect()
}

/// Says why a VM must not be touched: whose the thing in its place is.
fn refusal(
    world: &World<'_>,
    vm: &Vm,
    decision: &VmDecision,
    view: &HostView,
    found: Option<&DomainView>,
    record: Option<&VmRecord>,
) -> Option<Withheld> {
    // Where the state does not know it, the lock says where it may have been made all the same.
    let lives = record.map_or(&decision.host, |record| &record.host);
    if !vm.hosts.contains(lives) {
        let names: Vec<_> = vm.hosts.iter().map(ToString::to_string).collect();
        return Some(not_yet("host", lives, names.join(" or ")));
    }
    if let Some(other) = view
        .domains
        .iter()
        .find(|domain| domain.name == vm.name.as_str() && domain.uuid != decision.uuid)
    {
        let whose = match &other.mark {
            Some(mark) if mark.fleet != world.fleet.id => format!("fleet {}'s", mark.fleet),
            Some(_) => "ours, with another UUID".to_owned(),
            None => "not made by freehold".to_owned(),
        };
        let uuid = other.uuid;
        return Some(Withheld::Foreign(format!("a domain of that name ({uuid}) is {whose}")));
    }
    let found = found?;
    match &found.mark {
        Some(mark) if is_ours(mark, world, vm) && record.is_some() => None,
        Some(mark) if is_ours(mark, world, vm) => {
            Some(Withheld::NotInState(format!("domain {}", found.name)))
        }
        Some(mark) => Some(Withheld::Foreign(format!(
            "the domain with our UUID is marked as {} of fleet {}",
            mark.name, mark.fleet
        ))),
        None => {
            Some(Withheld::Foreign(format!("domain {} has our UUID and lost our mark", found.name)))
        }
    }
}

fn is_ours(mark: &Mark, world: &World<'_>, vm: &Vm) -> bool {
    mark.fleet == world.fleet.id && mark.name == vm.name.as_str()
}

/// `auto` is what the domain has, or for a new one what the host offers.
fn resolved_accel(
    world: &World<'_>,
    decision: &VmDecision,
    view: &HostView,
    found: Option<&DomainView>,
) -> Accel {
    let has_kvm = found.map_or(view.kvm, |found| found.defined.kind == "kvm");
    match world.fleet.hosts.get(&decision.host).map(|host| host.accel) {
        Some(Accel::Kvm) => Accel::Kvm,
        Some(Accel::Tcg) => Accel::Tcg,
        Some(Accel::Auto) | None if has_kvm => Accel::Kvm,
        Some(Accel::Auto) | None => Accel::Tcg,
    }
}

/// Returns the first field of a domain that is there and differs from what is wanted.
fn changed_field(
    vm: &Vm,
    spec: &DomainSpec,
    found: &DomainView,
    view: &HostView,
    record: Option<&VmRecord>,
) -> Option<Withheld> {
    let pool = view.pool.as_ref()?;
    let want = DomainShape::of(spec, &pool.path);
    let have = &found.defined;
    if have.cpus != want.cpus {
        return Some(not_yet("cpus", have.cpus, want.cpus));
    }
    if have.memory != want.memory {
        return Some(not_yet("memory", have.memory, want.memory));
    }
    if have.uefi != want.uefi {
        let word = |uefi| if uefi { "uefi" } else { "bios" };
        return Some(not_yet("firmware", word(have.uefi), word(want.uefi)));
    }
    if have.kind != want.kind {
        return Some(Withheld::NotYet {
            field: "accel of its host".into(),
            impact: Impact::Restart,
            from: have.kind.clone(),
            to: want.kind.clone(),
        });
    }
    if let Some(why) = changed_disk(vm, spec, have, &want, view, record) {
        return Some(why);
    }
    if have.nics != want.nics || have.other_nics != 0 {
        let (from, to) = (nics_text(have), nics_text(&want));
        return Some(not_yet("nic", from, to));
    }
    let digest = found.mark.as_ref().map(|mark| mark.digest.clone());
    if digest.as_ref() != Some(&spec.mark.digest) {
        let (from, to) = ("as at first boot", "as declared");
        return Some(not_yet("cloud_init", from, to));
    }
    None
}

fn changed_disk(
    vm: &Vm,
    spec: &DomainSpec,
    have: &DomainShape,
    want: &DomainShape,
    view: &HostView,
    record: Option<&VmRecord>,
) -> Option<Withheld> {
    if have.disks != want.disks || have.cdroms != want.cdroms {
        let (from, to) = (have.disks.join(", "), want.disks.join(", "));
        return Some(not_yet("disk", from, to));
    }
    let lowered = |disk: &&Disk| !disk.keep && recorded_keep(record, disk) == Some(true);
    if vm.disks.iter().any(|disk| lowered(&disk)) {
        return Some(not_yet("disk.keep", true, false));
    }
    changed_volume(vm, spec, view)
}

/// Returns whether the state says that a disk outlives its VM.
fn recorded_keep(record: Option<&VmRecord>, disk: &Disk) -> Option<bool> {
    let recorded = record?.disks.iter().find(|recorded| recorded.name == disk.name)?;
    Some(recorded.keep)
}

/// Returns how a volume that is there differs from what is wanted.
fn changed_volume(vm: &Vm, spec: &DomainSpec, view: &HostView) -> Option<Withheld> {
    let pool = view.pool.as_ref()?;
    for (disk, made) in vm.disks.iter().zip(&spec.disks) {
        let Some(volume) = pool.volumes.get(&made.volume) else { continue };
        if volume.capacity != disk.size {
            return Some(not_yet("disk.size", volume.capacity, disk.size));
        }
        let backing = made.backing.as_ref().map(|image| format!("{}/{image}", pool.path));
        if volume.backing != backing {
            let name = |path: &Option<String>| path.clone().unwrap_or_else(|| "none".into());
            return Some(not_yet("image", name(&volume.backing), name(&backing)));
        }
    }
    None
}

/// A volume under our name that no run of this state began is not taken for an empty disk.
fn unknown_volume(
    world: &World<'_>,
    spec: &DomainSpec,
    view: &HostView,
    record: Option<&VmRecord>,
) -> Option<Withheld> {
    let pool = view.pool.as_ref().filter(|_| record.is_none())?;
    let kept = |volume: &String| world.snapshot.kept.iter().any(|kept| kept.volume == *volume);
    let mut volumes = spec.disks.iter().map(|disk| &disk.volume);
    let unknown = volumes.find(|volume| pool.volumes.contains_key(*volume) && !kept(volume))?;
    Some(Withheld::NotInState(format!("volume {unknown}")))
}

/// A disk of a VM that was whole once, or that was kept, and is gone is a loss, not work to do.
fn lost_disk(
    world: &World<'_>,
    decision: &VmDecision,
    view: &HostView,
    found: Option<&DomainView>,
    record: Option<&VmRecord>,
) -> Option<Withheld> {
    let pool = view.pool.as_ref()?;
    let made = found.is_some() || record.is_some_and(|record| record.made);
    let kept = |volume: &String| world.snapshot.kept.iter().any(|kept| kept.volume == *volume);
    let lost = decision
        .disks
        .iter()
        .filter(|disk| made || kept(&disk.volume))
        .find(|disk| !pool.volumes.contains_key(&disk.volume))?;
    Some(Withheld::DiskMissing(lost.volume.clone()))
}

fn missing_work(
    vm: &Vm,
    decision: &VmDecision,
    spec: DomainSpec,
    view: &HostView,
    found: Option<&DomainView>,
) -> VmWork {
    let there =
        |name: &String| view.pool.as_ref().is_some_and(|pool| pool.volumes.contains_key(name));
    let mut volumes = volume_specs(&spec, vm);
    volumes.retain(|volume| !there(&volume.name));
    let runs = found
        .is_some_and(|found| matches!(found.state, DomainState::Running | DomainState::Paused));
    let start = vm.running && !runs;
    VmWork {
        vm: vm.name.clone(),
        addresses: decision.nics.iter().filter_map(|nic| nic.address).collect(),
        volumes,
        // A seed is written again as long as no domain was defined with it: its digest is in the
        // domain's mark.
        seed: found.is_none() || !spec.seed.as_ref().is_some_and(there),
        define: found.is_none(),
        autostart: found.filter(|found| found.autostart != vm.autostart).map(|_| vm.autostart),
        stop: !vm.running && runs,
        start,
        wait: None,
        spec,
    }
}

fn wait_of(world: &World<'_>, vm: &Vm, decision: &VmDecision) -> Option<Await> {
    let (address, from) = asked_address(world.fleet, decision)?;
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

fn nics_text(shape: &DomainShape) -> String {
    let nic = |nic: &crate::model::NicSpec| match &nic.source {
        NicSource::Bridge(name) | NicSource::Network(name) => format!("{} on {name}", nic.mac),
    };
    let mut words: Vec<_> = shape.nics.iter().map(nic).collect();
    if shape.other_nics > 0 {
        words.push(format!("{} of other kinds", shape.other_nics));
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// Refuses a change of a field by name, with its class from the one table.
fn not_yet(path: &str, from: impl Display, to: impl Display) -> Withheld {
    let field = Field::of(path).expect("the planner names fields of the table");
    let (from, to) = (from.to_string(), to.to_string());
    Withheld::NotYet { field: path.to_owned(), impact: field.impact, from, to }
}

/// Returns the image that a VM's missing root disk needs.
pub(super) fn needed_image(world: &World<'_>, work: &VmWork) -> Option<crate::model::ImageSpec> {
    let needs = work.volumes.iter().any(|volume| volume.backing.is_some());
    let vm = world.fleet.vms.get(&work.vm).filter(|_| needs)?;
    Some(image_spec(world.fleet.id, &world.fleet.images[&vm.image]))
}
