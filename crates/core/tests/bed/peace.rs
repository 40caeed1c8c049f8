//! Runs until nothing is left to do, with whatever went wrong being over.

use std::sync::atomic::Ordering;

use freehold_core::plan::Consent;

use super::{Bed, all};

impl Bed {
    /// Applies until nothing is left, at most `runs` times, and checks what came of it.
    pub(crate) async fn converges(&self, runs: usize, context: &str) {
        self.heal();
        for _ in 0..runs {
            if self.apply(&all()).await.plan.is_empty() {
                return self.check(context).await;
            }
        }
        let plan = self.plan().await;
        assert!(plan.is_empty(), "{context}: still to do:\n{}", plan.text());
        self.check(context).await;
    }

    /// The same, where changes that cannot be made yet, or were not agreed to, stay held back.
    pub(crate) async fn settles(&self, runs: usize, consent: &Consent, context: &str) {
        self.heal();
        for _ in 0..runs {
            if self.apply(consent).await.plan.is_empty() {
                break;
            }
        }
        self.check_but_refused(consent, context).await;
    }

    /// Applies until nothing is left to do but what is held back; `what` goes on meanwhile.
    pub(crate) async fn rests(&self, consent: &Consent, what: &str) {
        self.heal();
        for _ in 0..4 {
            if self.apply(consent).await.plan.is_empty() {
                return;
            }
        }
        let plan = self.plan().await.permitted(consent);
        let rests = plan.is_empty() || self.hands.stand_in_the_way();
        assert!(rests, "{what}: it does not rest:\n{}", plan.text());
    }

    /// Agrees to everything, and where told so to losing what was to be kept.
    pub(crate) fn agreed(&self, lets_go: bool) -> Consent {
        let (fleet, snapshot) = (self.fleet(), self.snapshot());
        let names = fleet.vms.keys().chain(snapshot.vms.keys()).filter(|_| lets_go);
        Consent { unprotect: names.cloned().collect(), ..all() }
    }

    /// Puts back what was done by hand, so far as somebody still wants it.
    pub(crate) fn put_back(&self) {
        let snapshot = self.snapshot();
        let of_vms = snapshot.vms.values().flat_map(|vm| &vm.disks).map(|disk| &disk.volume);
        let wanted: Vec<_> = of_vms.chain(snapshot.kept.iter().map(|kept| &kept.volume)).collect();
        self.hands.put_back(|volume| wanted.iter().any(|name| *name == volume));
    }

    /// Returns everything the next run can know, in words: hosts, server, state, lock.
    pub(crate) fn place(&self) -> String {
        let (snapshot, decided, records) = (self.snapshot(), self.decided(), self.server.records());
        format!("{}{records:?}\n{snapshot:?}\n{decided:?}", self.witness.shown())
    }

    /// Returns how often the fleet was looked at, to plan or to apply.
    pub(crate) fn runs(&self) -> usize {
        usize::try_from(self.runs.load(Ordering::Relaxed)).unwrap()
    }
}
