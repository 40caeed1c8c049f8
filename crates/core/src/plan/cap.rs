//! A bad run does not empty a zone: most of our records in one do not go at once unasked.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Consent, Held, Object, Plan, Withheld, Work};
use crate::model::{DomainName, Edit, EditKey, VmName};

/// In smaller zones any change is a large part.
const LEAST: usize = 10;
/// How many of a hundred of our records may go.
const PERCENT: usize = 30;

impl Plan {
    /// Holds back the removals in zones that would lose more of our records than may go, less those
    /// of VMs that go or stop with consent.
    pub(super) fn hold_mass_removals(&mut self, consent: &Consent) {
        let leaving: BTreeSet<VmName> = self.changes.iter().filter_map(leaves).collect();
        let mut going: BTreeMap<DomainName, usize> = BTreeMap::new();
        for zone in self.edits.iter().filter_map(|edit| counted(edit, &leaving)) {
            *going.entry(zone.clone()).or_default() += 1;
        }
        let agreed = consent.deletes.unwrap_or(0);
        going.retain(|zone, wanted| {
            let of = self.zones.get(zone).copied().unwrap_or(0);
            of >= LEAST && *wanted * 100 > of * PERCENT && *wanted > agreed
        });
        for (zone, wanted) in &going {
            let of = self.zones.get(zone).copied().unwrap_or(0);
            let first = self.edits.iter().find(|edit| counted(edit, &leaving) == Some(zone));
            let plugin = first.map(|edit| edit.plugin.clone()).unwrap_or_default();
            let why = Withheld::Records { zone: zone.clone(), wanted: *wanted, of };
            self.held.push(Held { host: None, object: Object::Outside(plugin), why });
        }
        let stays =
            |edit: &Edit| counted(edit, &leaving).is_none_or(|zone| !going.contains_key(zone));
        let edits: Vec<Edit> = self.edits.iter().filter(|edit| stays(edit)).cloned().collect();
        self.edits = edits;
    }
}

/// Returns the zone that a removal counts in: one of a VM that leaves goes along with it.
fn counted<'a>(edit: &'a Edit, leaving: &BTreeSet<VmName>) -> Option<&'a DomainName> {
    let with_its_vm = edit.vm.as_ref().is_some_and(|vm| leaving.contains(vm));
    match &edit.key {
        EditKey::Rrset { zone, .. } if edit.new.is_empty() && !with_its_vm => Some(zone),
        _ => None,
    }
}

/// Returns the VM whose names go with a change: it goes, stops for good, or is called otherwise.
fn leaves(change: &Change) -> Option<VmName> {
    if let Work::VmGone(removal) = &change.work {
        return Some(removal.vm.clone());
    }
    let work = change.making()?;
    let stops = work.stop && !work.start;
    work.renamed.clone().or_else(|| stops.then(|| work.vm.clone()))
}
