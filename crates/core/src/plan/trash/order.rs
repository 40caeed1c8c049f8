//! The order of work on the trash.

use super::{
    super::{
        Act, Work,
        order::{Ground, Order},
        order_vm::Chain,
    },
    DiskRestoral, TrashEmptying, VmRestoral,
};
use crate::{model::Ours, plan::Change, state::Fact};

impl Order<'_> {
    /// Brings a VM back: volumes first, then the domain that names them, then what is known of it.
    pub(in crate::plan) fn restore_vm(&mut self, work: &VmRestoral, ground: &mut Ground<'_>) {
        let claims = vec![work.claim()];
        let base = ground.base.clone();
        let mut chain = Chain { order: self, host: ground.host, vm: &work.vm, claims };
        let mut written = Vec::new();
        for (from, to) in &work.moves {
            let act = Act::RestoreVolume { from: from.clone(), to: to.clone() };
            written.push(chain.act(act, &base));
        }
        if work.write_seed {
            written.push(chain.act(Act::WriteSeed { volume: work.seed.clone() }, &base));
        }
        let mut last = [base, written.clone()].concat();
        match &work.xml {
            Some(xml) => {
                let (uuid, fleet) = (work.decision.uuid, chain.order.plan.fleet);
                let domain = Ours { uuid, fleet, name: work.vm.to_string(), seen: None };
                let defined = Act::RestoreDomain { domain, xml: xml.path.clone() };
                last = vec![chain.act(defined, &last)];
                // From here on libvirt has it.
                last = vec![chain.act(Act::DiscardVolume { name: xml.volume.clone() }, &last)];
                written.extend(&last);
            }
            None => last = vec![chain.act(Act::Note, &last)],
        }
        for step in last {
            chain.settle(step, work.outcome());
        }
        ground.written.extend(written);
    }

    /// Brings one disk back. The state lists it before it is there: a disk that is not known would
    /// be taken for somebody else's.
    pub(in crate::plan) fn restore_disk(&mut self, work: &DiskRestoral, ground: &mut Ground<'_>) {
        let (vm, disk) = (work.vm.clone(), work.disk.clone());
        let (host, volume) = (ground.host.clone(), work.to.clone());
        let claims = vec![Fact::DiskKept { vm, disk, host, volume }];
        let base = ground.base.clone();
        let mut chain = Chain { order: self, host: ground.host, vm: &work.vm, claims };
        let act = Act::RestoreVolume { from: work.from.clone(), to: work.to.clone() };
        ground.written.push(chain.act(act, &base));
    }

    /// Destroys entries, and removes images; then the host's card lists their volumes no more.
    pub(in crate::plan) fn empty_trash(&mut self, changes: &[&Change], ground: &mut Ground<'_>) {
        let emptied: Vec<&TrashEmptying> = changes
            .iter()
            .filter_map(|change| match &change.work {
                Work::TrashEmptied(work) => Some(work.as_ref()),
                _ => None,
            })
            .collect();
        let images = changes.iter().filter_map(|change| match &change.work {
            Work::ImageGone { volume, remove, .. } => Some((volume, *remove)),
            _ => None,
        });
        let images: Vec<_> = images.collect();
        if emptied.is_empty() && images.is_empty() {
            return;
        }
        let mut gone = Vec::new();
        for work in &emptied {
            let mut before = ground.base.clone();
            for name in &work.volumes {
                before =
                    vec![self.on(ground.host, Act::DiscardVolume { name: name.clone() }, &before)];
                gone.extend(&before);
            }
        }
        let base = ground.base.clone();
        for (name, _) in images.iter().filter(|(_, remove)| *remove) {
            gone.push(self.on(ground.host, Act::DiscardVolume { name: (*name).clone() }, &base));
        }
        let mut card = self.card_with(ground.host, Vec::new());
        let is_gone = |name: &String| {
            emptied.iter().any(|work| work.volumes.contains(name))
                || images.iter().any(|(image, _)| *image == name)
        };
        if let Some(names) = card.volumes.get_mut(&self.plan.fleet.to_string()) {
            names.retain(|name| !is_gone(name));
        }
        // One that could not be destroyed keeps its place in the card: without it nothing would
        // prove it ours.
        let act = Act::WriteCard { fleet: self.plan.fleet, card };
        self.on(ground.host, act, &gone);
        ground.written.extend(gone);
    }
}
