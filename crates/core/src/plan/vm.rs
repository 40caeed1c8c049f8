//! What must be done about one VM that is declared.

use std::cell::OnceCell;

use super::{
    Action, Change, Object, Reason, VmRemoval, VmWork, Withheld, Work, World,
    differ::{self, Difference, differences, is_kept, pending_restart, recorded_keep},
    make::{missing_work, replaced, with_changes},
    proof,
    removal::removal_of,
    wanted::{domain_spec, image_volume},
};
use crate::{
    model::{Accel, DomainSpec, DomainView, HostView, Impact, Vm, VmName, volume_prefix},
    state::{KeptDisk, VmDecision, VmRecord},
};

/// Everything there is to see of one declared VM.
pub(super) struct Look<'a> {
    pub(super) world: &'a World<'a>,
    pub(super) vm: &'a Vm,
    pub(super) decision: &'a VmDecision,
    pub(super) view: &'a HostView,
    /// The domain with its UUID.
    pub(super) found: Option<&'a DomainView>,
    /// What the state knows of it, perhaps under an earlier name.
    pub(super) record: Option<&'a VmRecord>,
    spec: OnceCell<DomainSpec>,
}

/// What a look at one declared VM says.
pub(super) enum Verdict {
    Same,
    Change(Box<Change>),
    Held(Withheld),
}

impl<'a> Look<'a> {
    pub(super) fn at(
        world: &'a World<'a>,
        vm: &'a Vm,
        decision: &'a VmDecision,
        view: &'a HostView,
    ) -> Self {
        let found = view.domains.iter().find(|domain| domain.uuid == decision.uuid);
        let record = world.snapshot.vms.get(world.recorded_name(&vm.name));
        Self { world, vm, decision, view, found, record, spec: OnceCell::new() }
    }

    /// Returns the domain as it is declared and decided.
    pub(super) fn spec(&self) -> &DomainSpec {
        let spec = || domain_spec(self.world, self.vm, self.decision, resolved_accel(self));
        self.spec.get_or_init(spec)
    }

    /// Returns the name that the state knows it by.
    pub(super) fn recorded_name(&self) -> &'a VmName {
        self.world.recorded_name(&self.vm.name)
    }

    /// Returns its name and those it had.
    fn names(&self) -> Vec<&'a VmName> {
        let before = self.world.fleet.moved.get(&self.vm.name).into_iter().flatten();
        std::iter::once(&self.vm.name).chain(before).collect()
    }

    /// Returns the file of its image.
    pub(super) fn image(&self) -> String {
        image_volume(&self.world.fleet.images[&self.vm.image])
    }

    /// Says whether a volume of its lies in the pool.
    pub(super) fn is_there(&self, volume: &str) -> bool {
        self.view.pool.as_ref().is_some_and(|pool| pool.volumes.contains_key(volume))
    }

    pub(super) fn runs(&self) -> bool {
        self.found.is_some_and(|found| found.state.runs())
    }

    /// Says whether it must not be taken away, as the state or its own mark says.
    pub(super) fn is_protected(&self) -> bool {
        let marked = self.found.and_then(|found| found.mark.as_ref());
        self.record.is_some_and(|record| record.protect) || marked.is_some_and(|mark| mark.protect)
    }

    /// Says that a rebuild was begun: the state is further than the domain.
    pub(super) fn is_half_rebuilt(&self) -> bool {
        let marked = self.found.and_then(|found| found.mark.as_ref());
        let recorded = self.record.map(|record| record.incarnation);
        let mut disks = self.record.into_iter().flat_map(|record| &record.disks);
        marked.is_some_and(|mark| recorded.is_some_and(|recorded| recorded > mark.incarnation))
            || disks.any(|disk| disk.old && self.is_there(&disk.volume))
    }
}

/// Compares one VM with its host.
pub(super) fn vm_verdict(look: &Look<'_>) -> Verdict {
    match judge(look) {
        Ok(Some(change)) => Verdict::Change(Box::new(change)),
        Ok(None) => Verdict::Same,
        Err(why) => Verdict::Held(why),
    }
}

fn judge(look: &Look<'_>) -> Result<Option<Change>, Withheld> {
    refuse_strangers(look)?;
    let spec = look.spec();
    if let Some(found) = look.found {
        let volumes = spec.disks.iter().map(|disk| disk.volume.as_str());
        proof::uncovered(look.view, found, volumes)?;
    }
    refuse_losses(look)?;
    let asked = look.world.goal.replaces(&look.vm.name);
    if look.is_half_rebuilt() || (asked && look.record.is_some()) {
        let why = if asked { Reason::Asked } else { Reason::Unfinished(vec!["rebuild".into()]) };
        return rebuild(look, vec![why]).map(Some);
    }
    let differences = match look.found {
        Some(_) => differences(look, spec),
        None => volumes_before_the_domain(look)?,
    };
    refuse_impossible(look, &differences)?;
    if look.found.is_some() && differences.iter().any(|one| one.impact == Impact::Rebuild) {
        return rebuild(look, changed(&differences)).map(Some);
    }
    let mut work = missing_work(look, spec.clone());
    let unfinished = missing_parts(look, &work);
    let stale = pending_restart(look);
    with_changes(look, &mut work, &differences, !stale.is_empty());
    refuse_saved(look, &work)?;
    Ok(change(look, work, reasons(look, &differences, unfinished, stale), &differences))
}

/// Says why a VM must not be touched: whose the thing in its place is.
fn refuse_strangers(look: &Look<'_>) -> Result<(), Withheld> {
    // Where the state does not know it, the lock says where it may have been made all the same.
    let lives = look.record.map_or(&look.decision.host, |record| &record.host);
    if !look.vm.hosts.contains(lives) {
        let names: Vec<_> = look.vm.hosts.iter().map(ToString::to_string).collect();
        let (from, to) = (lives.to_string(), names.join(" or "));
        return Err(Withheld::NotYet { field: "host".into(), impact: Impact::Rebuild, from, to });
    }
    proof::domain_name(look.world, look.view, look.vm.name.as_str(), look.decision.uuid)?;
    refuse_forgotten(look)?;
    match look.found {
        Some(found) => proof::domain(look.world, &look.names(), look.record, found),
        None => Ok(()),
    }
}

/// What was forgotten may live on; where nothing of it is left it is as one that was removed.
fn refuse_forgotten(look: &Look<'_>) -> Result<(), Withheld> {
    if !look.decision.forgotten || look.record.is_some() {
        return Ok(());
    }
    if look.found.is_some() {
        return Err(Withheld::Forgotten);
    }
    let prefix = volume_prefix(look.world.fleet.id, look.decision.uuid);
    let mut volumes = look.view.pool.iter().flat_map(|pool| pool.volumes.keys());
    match volumes.find(|name| name.starts_with(&prefix)) {
        Some(volume) => Err(Withheld::ForgottenVolume(volume.clone())),
        None => Ok(()),
    }
}

/// A disk that was there once and is gone is a loss, not work to do.
fn refuse_losses(look: &Look<'_>) -> Result<(), Withheld> {
    if look.view.pool.is_none() && look.record.is_none() {
        return Ok(());
    }
    let snapshot = look.world.snapshot;
    let was_there = |disk: &crate::state::DiskDecision| {
        let recorded = look.record.into_iter().flat_map(|record| &record.disks);
        let mut recorded = recorded.filter(|recorded| recorded.volume == disk.volume);
        recorded.any(|recorded| recorded.there)
            || snapshot.kept.iter().any(|kept| is_here(look, kept) && kept.volume == disk.volume)
    };
    let lost = |disk: &&crate::state::DiskDecision| was_there(disk) && !look.is_there(&disk.volume);
    // What a rebuild that was begun took away already is not lost.
    let rebuilt = look.is_half_rebuilt();
    match look.decision.disks.iter().filter(|_| !rebuilt).find(lost) {
        Some(disk) => Err(Withheld::DiskMissing(disk.volume.clone())),
        None => Ok(()),
    }
}

/// A host that was given up may have one of the same name.
fn is_here(look: &Look<'_>, kept: &KeptDisk) -> bool {
    kept.host == look.decision.host
}

/// Where no domain is, its volumes may be: those that a run of this state began, or kept ones.
fn volumes_before_the_domain(look: &Look<'_>) -> Result<Vec<Difference>, Withheld> {
    let Some(pool) = &look.view.pool else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (disk, decided) in look.vm.disks.iter().zip(&look.decision.disks) {
        let Some(volume) = pool.volumes.get(&decided.volume) else { continue };
        refuse_unfit_volume(look, &decided.volume)?;
        all.extend(differ::volume_differences(look, disk, volume));
    }
    Ok(all)
}

/// A volume under our name that no run of this state began is not taken for an empty disk. One that
/// another domain uses, or that an overlay lies over, is not attached: the guest would write under
/// somebody, or go back in time.
fn refuse_unfit_volume(look: &Look<'_>, volume: &str) -> Result<(), Withheld> {
    let mut all = look.world.snapshot.kept.iter();
    let kept = all.any(|kept| is_here(look, kept) && kept.volume == volume);
    let mut begun = look.record.into_iter().flat_map(|record| &record.disks);
    if !kept && !begun.any(|disk| disk.volume == volume) {
        return Err(Withheld::NotInState(format!("volume {volume}")));
    }
    proof::volume(look.world, look.view, volume, Some(look.decision.uuid)).map(drop)
}

/// Refuses what cannot be done, by name: a disk does not shrink, and without its domain a volume on
/// another image is no disk of it.
fn refuse_impossible(look: &Look<'_>, differences: &[Difference]) -> Result<(), Withheld> {
    let refuse = |one: &Difference| {
        let (field, from, to) = (one.field.to_owned(), one.from.clone(), one.to.clone());
        Withheld::NotYet { field, impact: one.impact, from, to }
    };
    let shrinks = |one: &&Difference| {
        let sizes = (one.from.parse::<crate::model::Size>(), one.to.parse::<crate::model::Size>());
        one.field == "disk.size" && matches!(sizes, (Ok(from), Ok(to)) if to < from)
    };
    if let Some(one) = differences.iter().find(shrinks) {
        return Err(refuse(one));
    }
    let lone = |one: &&Difference| look.found.is_none() && one.field == "image";
    if let Some(one) = differences.iter().find(lone) {
        return Err(refuse(one));
    }
    let Some((found, pool)) = look.found.zip(look.view.pool.as_ref()) else { return Ok(()) };
    for decided in &look.decision.disks {
        let attached = found.defined.disks.contains(&format!("{}/{}", pool.path, decided.volume));
        if !attached && look.is_there(&decided.volume) {
            refuse_unfit_volume(look, &decided.volume)?;
        }
    }
    Ok(())
}

/// A run that was saved goes on as it was, whatever is defined; snapshots hold its name and disks.
fn refuse_saved(look: &Look<'_>, work: &VmWork) -> Result<(), Withheld> {
    let Some(found) = look.found else { return Ok(()) };
    let touched = work.update || work.renamed.is_some();
    if found.saved && touched {
        return Err(Withheld::Saved(found.name.clone()));
    }
    if found.snapshots && (work.renamed.is_some() || !work.detach.is_empty()) {
        return Err(Withheld::Snapshots(found.name.clone()));
    }
    Ok(())
}

/// Returns the change that makes a VM again: what it was goes to the trash, kept disks stay.
fn rebuild(look: &Look<'_>, mut why: Vec<Reason>) -> Result<Change, Withheld> {
    if look.is_protected() || look.vm.protect {
        return Err(Withheld::Protected);
    }
    let record = look.record.expect("only what was made is made again");
    let removal: VmRemoval = removal_of(look.world, look.recorded_name(), record, look.view)?;
    let work = replaced(look, resolved_accel(look), &removal);
    why.extend(promises(look));
    why.dedup();
    let work = Work::VmAnew(Box::new(removal), Box::new(work));
    Ok(finished(look, Action::Replace, Impact::Rebuild, why, work))
}

/// Returns the change that all this comes to, if it is one.
fn change(
    look: &Look<'_>,
    work: VmWork,
    reasons: Vec<Reason>,
    differences: &[Difference],
) -> Option<Change> {
    if reasons.is_empty() {
        return None;
    }
    let begun = look.found.is_some() || look.record.is_some();
    let hurts = |one: &Difference| match one.impact {
        Impact::DataLoss => Impact::DataLoss,
        impact if look.runs() => impact,
        _ => Impact::Live,
    };
    let of_fields = differences.iter().filter(|_| look.found.is_some()).map(hurts).max();
    let of_stop = if work.stop { Impact::Restart } else { Impact::Live };
    let impact = of_fields.unwrap_or(Impact::Live).max(of_stop);
    let action = if begun { Action::Update } else { Action::Create };
    Some(finished(look, action, impact, reasons, Work::Vm(Box::new(work))))
}

fn finished(
    look: &Look<'_>,
    action: Action,
    impact: Impact,
    reasons: Vec<Reason>,
    work: Work,
) -> Change {
    let (host, object) = (look.decision.host.clone(), Object::Vm(look.vm.name.clone()));
    Change { host, object, action, impact, reasons, work }
}

fn reasons(
    look: &Look<'_>,
    differences: &[Difference],
    unfinished: Vec<String>,
    stale: Vec<String>,
) -> Vec<Reason> {
    let begun = look.found.is_some() || look.record.is_some();
    let mut reasons = Vec::new();
    if !begun {
        return vec![Reason::New];
    }
    if !unfinished.is_empty() {
        reasons.push(Reason::Unfinished(unfinished));
    } else if look.vm.running && !look.runs() {
        reasons.push(Reason::NotRunning);
    }
    if !look.vm.running && look.runs() {
        reasons.push(Reason::Running);
    }
    let unready = look.record.is_some_and(|record| record.unready);
    if look.vm.running && look.runs() && unready && look.asked_when_ready() {
        reasons.push(Reason::NotReady);
    }
    reasons.extend(changed(differences));
    if differences.is_empty() && !stale.is_empty() {
        reasons.push(Reason::PendingRestart(stale));
    }
    if look.recorded_name() != &look.vm.name {
        reasons.push(Reason::Renamed(look.recorded_name().clone()));
    }
    reasons.extend(promises(look));
    let autostart = look.found.filter(|found| found.autostart != look.vm.autostart);
    reasons.extend(autostart.map(|_| Reason::Autostart(look.vm.autostart)));
    reasons
}

/// Returns what is promised from now on, or no longer. A promise stands when state and mark both
/// say so; either of them alone is enough not to break it in silence.
fn promises(look: &Look<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mark = look.found.and_then(|found| found.mark.as_ref());
    let is_told =
        look.record.is_some_and(|record| record.protect) && mark.is_none_or(|mark| mark.protect);
    match look.vm.protect {
        true if !is_told => reasons.push(Reason::Protect),
        false if look.is_protected() => reasons.push(Reason::Unprotect),
        _ => {}
    }
    for disk in &look.vm.disks {
        let recorded = recorded_keep(look.record, &disk.name);
        let is_told =
            recorded == Some(true) && mark.is_none_or(|mark| mark.keep.contains(&disk.name));
        match disk.keep {
            // A disk that is not attached yet gets its promise with it.
            true if recorded.is_some() && !is_told => reasons.push(Reason::Keep(disk.name.clone())),
            false if is_kept(look, &disk.name) => reasons.push(Reason::Unkeep(disk.name.clone())),
            _ => {}
        }
    }
    reasons
}

fn changed(differences: &[Difference]) -> Vec<Reason> {
    let reason = |one: &Difference| Reason::Changed {
        field: one.field.to_owned(),
        from: one.from.clone(),
        to: one.to.clone(),
    };
    differences.iter().map(reason).collect()
}

/// What was begun and is not whole: disks that come with a change are not missing.
fn missing_parts(look: &Look<'_>, work: &VmWork) -> Vec<String> {
    let parts = work.volumes.iter().map(|volume| format!("volume {}", volume.name));
    let parts = parts.filter(|_| look.found.is_none());
    let seed = work.seed.then(|| "seed".to_owned());
    let domain = work.define.then(|| "domain".to_owned());
    parts.chain(seed).chain(domain).collect()
}

/// `auto` is what the domain has, or for a new one what the host offers.
pub(super) fn resolved_accel(look: &Look<'_>) -> Accel {
    let has_kvm = look.found.map_or(look.view.kvm, |found| found.defined.kind == "kvm");
    match look.world.fleet.hosts.get(&look.decision.host).map(|host| host.accel) {
        Some(Accel::Kvm) => Accel::Kvm,
        Some(Accel::Tcg) => Accel::Tcg,
        Some(Accel::Auto) | None if has_kvm => Accel::Kvm,
        Some(Accel::Auto) | None => Accel::Tcg,
    }
}

/// Says whether a VM's image is needed: its root disk is missing.
pub(super) fn needs_image(work: &VmWork) -> bool {
    work.volumes.iter().any(|volume| volume.backing.is_some())
}
