//! The order of work on one VM.

use super::{
    Act, Detached, VmRemoval, VmWork,
    order::{Ground, Order},
    wanted::vm_record,
};
use crate::{
    model::{NicSource, Ours, VmName},
    state::Fact,
};

/// The steps of one VM as they are added.
pub(super) struct Chain<'a, 'b> {
    pub(super) order: &'a mut Order<'b>,
    pub(super) host: &'a crate::model::HostName,
    pub(super) vm: &'a VmName,
    /// What is true for the state as soon as any of them may have begun.
    pub(super) claims: Vec<Fact>,
}

impl Chain<'_, '_> {
    pub(super) fn act(&mut self, act: Act, needs: &[usize]) -> usize {
        let step = self.order.on(self.host, act, needs);
        self.order.steps[step].vm = Some(self.vm.clone());
        self.order.steps[step].claims.clone_from(&self.claims);
        step
    }

    pub(super) fn settle(&mut self, step: usize, fact: Fact) {
        self.order.steps[step].settles.push(fact);
    }
}

impl Order<'_> {
    /// Makes, finishes or changes a VM.
    pub(super) fn make_vm(&mut self, work: &VmWork, ground: &mut Ground<'_>, fleet_wide: &[usize]) {
        self.make_after(work, &[], ground, fleet_wide);
    }

    /// Takes away what a VM was, then makes it again. Its image is there before anything goes.
    pub(super) fn make_again(
        &mut self,
        removal: &VmRemoval,
        work: &VmWork,
        ground: &mut Ground<'_>,
        fleet_wide: &[usize],
    ) {
        let image = work.volumes.iter().filter_map(|volume| volume.backing.as_ref());
        let images: Vec<_> = image.filter_map(|image| ground.images.get(image)).copied().collect();
        let needs = [ground.base.clone(), images].concat();
        let claims = self.claims_of(work);
        let mut chain = Chain { order: self, host: ground.host, vm: &work.vm, claims };
        let gone = taken_apart(&mut chain, removal, &needs, &[]);
        ground.written.extend(&gone);
        self.make_after(work, &gone, ground, fleet_wide);
    }

    fn make_after(
        &mut self,
        work: &VmWork,
        before: &[usize],
        ground: &mut Ground<'_>,
        fleet_wide: &[usize],
    ) {
        let for_good = work.stop && !work.start;
        // A VM that is to stay off loses its names and targets first.
        let taken_away = if for_good { self.publish(Some(&work.vm), &[], &[]) } else { Vec::new() };
        let claims = self.claims_of(work);
        let first = self.steps.len();
        let mut chain = Chain { order: self, host: ground.host, vm: &work.vm, claims };
        let parts = parts(&mut chain, work, before, ground);
        let (parts, whole) = definition(&mut chain, work, parts, &taken_away);
        let mut parts = detached(&mut chain, work, parts, ground);
        let domain = work.spec.ours();
        if work.start {
            parts = vec![chain.act(Act::StartDomain { domain }, &parts)];
        }
        let ready = work.wait.clone().map(|wait| chain.act(Act::AwaitReady(wait), &parts));
        if let Some(ready) = ready {
            chain.settle(ready, Fact::VmReady { vm: work.vm.clone() });
        }
        if chain.order.steps.len() == first {
            // Nothing but the record changes.
            parts = vec![chain.act(Act::Note, &parts)];
        }
        let last = parts.first().copied().filter(|step| *step >= first);
        if let Some(step) = whole.or(last) {
            settle_whole(&mut chain, step, work);
        }
        if for_good {
            return;
        }
        // Published once it is ready or its deadline passed.
        let mut ended: Vec<_> = ready.into_iter().collect();
        ended.extend(fleet_wide);
        let published = self.publish(Some(&work.vm), &parts, &ended);
        if let Some(before) = &work.renamed {
            // The old name goes when the new one answers.
            self.publish(Some(before), &parts, &published);
        }
    }

    /// Takes a VM into the state as it is.
    pub(super) fn adopt_vm(&mut self, work: &VmWork, ground: &Ground<'_>, fleet_wide: &[usize]) {
        let claims = self.claim(work, &work.vm).into_iter().collect();
        let mut chain = Chain { order: self, host: ground.host, vm: &work.vm, claims };
        let (uuid, name) = (work.spec.uuid, work.spec.name.clone());
        let act = match work.remark {
            true => Act::MarkDomain { uuid, name, mark: work.spec.mark.clone() },
            false => Act::Note,
        };
        let step = chain.act(act, &ground.base);
        settle_whole(&mut chain, step, work);
        self.publish(Some(&work.vm), &[step], fleet_wide);
    }

    /// Returns what the state knows from the moment a VM's work may have begun: under its old name
    /// as long as it was not renamed.
    fn claims_of(&self, work: &VmWork) -> Vec<Fact> {
        self.claims_as(work, work.name_before())
    }

    fn claims_as(&self, work: &VmWork, name: &VmName) -> Vec<Fact> {
        let mut claims: Vec<_> = self.claim(work, name).into_iter().collect();
        if !work.define && work.volumes.is_empty() {
            claims.push(Fact::VmMade { vm: name.clone(), made: true });
        }
        claims
    }

    fn claim(&self, work: &VmWork, name: &VmName) -> Option<Fact> {
        let wanted = self.world.fleet.vms.get(&work.vm)?;
        let (vm, decision) = (name.clone(), work.decision.clone());
        Some(Fact::Vm { vm, record: vm_record(wanted, work), decision })
    }

    /// Takes away what is left of a VM that lives elsewhere: the state knows nothing of it, and what
    /// is published is about the other one.
    pub(super) fn remove_copy(
        &mut self,
        removal: &VmRemoval,
        ground: &mut Ground<'_>,
    ) -> Vec<usize> {
        let mut chain =
            Chain { order: self, host: ground.host, vm: &removal.vm, claims: Vec::new() };
        let first = chain.order.steps.len();
        let gone = taken_apart(&mut chain, removal, &ground.base, &[]);
        for step in &mut self.steps[first..] {
            step.settles.clear();
        }
        ground.written.extend(&gone);
        gone
    }

    pub(super) fn remove_vm(&mut self, removal: &VmRemoval, ground: &mut Ground<'_>) -> usize {
        let taken_away = self.publish(Some(&removal.vm), &[], &[]);
        let claims = vec![Fact::VmMade { vm: removal.vm.clone(), made: false }];
        let mut chain = Chain { order: self, host: ground.host, vm: &removal.vm, claims };
        let gone = taken_apart(&mut chain, removal, &ground.base, &taken_away);
        ground.written.extend(&gone);
        let forget = chain.act(Act::Forget, &gone);
        let kept = Some(removal.kept.clone());
        chain.settle(forget, Fact::VmGone { vm: removal.vm.clone(), kept });
        self.steps[forget].after = taken_away;
        forget
    }
}

/// What a domain is made of: volumes, its seed, its networks.
fn parts(
    chain: &mut Chain<'_, '_>,
    work: &VmWork,
    before: &[usize],
    ground: &mut Ground<'_>,
) -> Vec<usize> {
    let base = [ground.base.clone(), before.to_vec()].concat();
    let mut parts = base.clone();
    // The root disk comes first: nothing else is made of a VM whose image is refused.
    let mut root = Vec::new();
    for volume in &work.volumes {
        let image = volume.backing.as_ref().and_then(|image| ground.images.get(image));
        let needs: Vec<_> = base.iter().chain(&root).chain(image).copied().collect();
        let step = chain.act(Act::CreateVolume(volume.clone()), &needs);
        // Nothing of that name is there, so an old one of it is away.
        let away = Fact::DiskAway { vm: work.name_before().clone(), volume: volume.name.clone() };
        chain.order.steps[step].claims.push(away);
        if volume.backing.is_some() {
            root = vec![step];
        }
        parts.push(step);
    }
    if let Some(volume) = work.spec.seed.clone().filter(|_| work.seed) {
        let needs = [base, root].concat();
        let seed = chain.act(Act::WriteSeed { volume }, &needs);
        ground.written.push(seed);
        parts.push(seed);
    }
    for nic in &work.spec.nics {
        if let NicSource::Network(name) = &nic.source {
            parts.extend(ground.networks.get(name));
        }
    }
    parts
}

/// What a domain is defined as; returns the last steps, and the one with which it is whole.
fn definition(
    chain: &mut Chain<'_, '_>,
    work: &VmWork,
    mut parts: Vec<usize>,
    taken_away: &[usize],
) -> (Vec<usize>, Option<usize>) {
    let mut whole = None;
    let mut after = |chain: &mut Chain<'_, '_>, act: Act, parts: &mut Vec<usize>| {
        let step = chain.act(act, parts);
        *parts = vec![step];
        whole = Some(step);
    };
    for name in &work.discard {
        after(chain, Act::DiscardVolume { name: name.clone() }, &mut parts);
    }
    let before = work.domain_before();
    if work.define {
        after(chain, Act::DefineDomain(Box::new(work.spec.clone())), &mut parts);
    }
    for (volume, size) in &work.grow {
        let (volume, size) = (volume.clone(), *size);
        after(chain, Act::GrowVolume { domain: before.clone(), volume, size }, &mut parts);
    }
    if work.stop {
        after(chain, Act::StopDomain { domain: before.clone() }, &mut parts);
        chain.order.steps[parts[0]].after = taken_away.to_vec();
    }
    if work.update {
        let spec = Box::new(work.patched());
        after(chain, Act::UpdateDomain { domain: before.clone(), spec }, &mut parts);
    }
    if let Some(from) = &work.renamed {
        // Our own patch came before it, so what was seen is no longer what is there.
        let domain = Ours { seen: before.seen.filter(|_| !work.update), ..before };
        let spec = Box::new(work.spec.clone());
        after(chain, Act::RenameDomain { domain, spec }, &mut parts);
        let (from, to) = (from.clone(), work.vm.clone());
        chain.settle(parts[0], Fact::VmRenamed { from, to });
        chain.claims = chain.order.claims_as(work, &work.vm);
    }
    if work.remark {
        let (uuid, name) = (work.spec.uuid, work.spec.name.clone());
        after(chain, Act::MarkDomain { uuid, name, mark: work.spec.mark.clone() }, &mut parts);
    }
    if let Some(autostart) = work.autostart {
        let domain = work.spec.ours();
        after(chain, Act::SetAutostart { domain, autostart }, &mut parts);
    }
    (parts, whole)
}

/// Disks that are no longer its: away once the machine that used them is off.
fn detached(
    chain: &mut Chain<'_, '_>,
    work: &VmWork,
    mut parts: Vec<usize>,
    ground: &mut Ground<'_>,
) -> Vec<usize> {
    let vm = &work.vm;
    for (volume, end) in &work.detach {
        let act = match end {
            Detached::Trashed(to) => Act::TrashVolume { from: volume.clone(), to: to.clone() },
            Detached::Kept | Detached::Gone => Act::Note,
        };
        let step = chain.act(act, &parts);
        let (volume, kept) = (volume.clone(), *end == Detached::Kept);
        chain.settle(step, Fact::DiskGone { vm: vm.clone(), volume, kept });
        ground.written.extend(matches!(end, Detached::Trashed(_)).then_some(step));
        parts = vec![step];
    }
    parts
}

fn settle_whole(chain: &mut Chain<'_, '_>, step: usize, work: &VmWork) {
    let (vm, applied) = (work.vm.clone(), Box::new(work.applied.clone()));
    let (protect, keep) = (work.spec.mark.protect, work.spec.mark.keep.clone());
    chain.settle(step, Fact::VmAs { vm, protect, keep, applied });
}

/// Takes a VM off its host; returns the last steps.
fn taken_apart(
    chain: &mut Chain<'_, '_>,
    removal: &VmRemoval,
    needs: &[usize],
    taken_away: &[usize],
) -> Vec<usize> {
    let mut gone = needs.to_vec();
    if let Some(seen) = &removal.seen {
        let (uuid, fleet) = (removal.uuid, chain.order.plan.fleet);
        let domain =
            Ours { uuid, fleet, name: seen.name.clone(), seen: None }.seen_as(&seen.fingerprint);
        let stop = chain.act(Act::StopDomain { domain: domain.clone() }, &gone);
        // A server that is down does not keep a VM.
        chain.order.steps[stop].after = taken_away.to_vec();
        let xml = removal.xml.clone();
        gone = vec![chain.act(Act::UndefineDomain { domain, xml }, &[stop])];
    }
    let mut last = gone.clone();
    for (from, to) in removal.trash.iter().chain(&removal.nvram) {
        let step = chain.act(Act::TrashVolume { from: from.clone(), to: to.clone() }, &gone);
        let (vm, volume) = (removal.vm.clone(), from.clone());
        chain.settle(step, Fact::DiskAway { vm, volume });
        last.push(step);
    }
    for name in &removal.discard {
        last.push(chain.act(Act::DiscardVolume { name: name.clone() }, &gone));
    }
    last
}
