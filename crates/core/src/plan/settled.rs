//! What the state learns of VMs that are as they shall be.

use super::{Goal, make::applied, vm::Look, wanted::kept_disks};
use crate::state::Fact;

/// Returns what a VM without any change is, where the state says otherwise: the outcome of the run
/// that made it so was lost, somebody made it so by hand, or the state is of an age that did not
/// record it. Otherwise it would be told as drift for ever.
pub(super) fn settled(look: &Look<'_>) -> Option<Fact> {
    if matches!(look.world.goal, Goal::Adopt { .. }) {
        // There nothing was compared.
        return None;
    }
    let record = look.record?;
    let (applied, keep) = (applied(look, look.spec()), kept_disks(look.vm));
    let is_kept = record.disks.iter().all(|disk| disk.keep == keep.contains(&disk.name));
    let is_known = record.made && record.protect == look.vm.protect && is_kept;
    if is_known && record.applied.as_ref() == Some(&applied) {
        return None;
    }
    let (vm, protect) = (look.vm.name.clone(), look.vm.protect);
    Some(Fact::VmAs { vm, protect, keep, applied: Box::new(applied) })
}
