//! The last look at what a plan does to the trash.

use super::super::{Broken, Change, Work, World};
use crate::model::{Seen, volume_prefix};

/// Returns the laws that a change of the trash would break: only what lies in the trash is
/// destroyed, and only what was a VM's becomes its again.
pub(in crate::plan) fn of_trash(world: &World<'_>, change: &Change) -> Vec<Broken> {
    match &change.work {
        Work::TrashEmptied(work) => {
            let lost = work.volumes.iter().filter(|name| !is_listed(world, change, name));
            lost.map(|name| Broken::NotTrash(name.clone())).collect()
        }
        Work::VmRestored(work) => {
            let prefix = volume_prefix(world.fleet.id, work.decision.uuid);
            let fits = |from: &String, to: &String| {
                is_listed(world, change, from) && to.starts_with(&prefix)
            };
            let wrong = work.moves.iter().filter(|(from, to)| !fits(from, to));
            wrong.map(|(from, _)| Broken::NotTrash(from.clone())).collect()
        }
        Work::DiskRestored(work) if !is_listed(world, change, &work.from) => {
            vec![Broken::NotTrash(work.from.clone())]
        }
        _ => Vec::new(),
    }
}

fn is_listed(world: &World<'_>, change: &Change, name: &str) -> bool {
    let Some(Seen::Whole(view)) = world.observed.get(&change.host) else { return false };
    let card = view.pool.as_ref().and_then(|pool| pool.card.as_ref());
    let listed = card.and_then(|card| card.volumes.get(&world.fleet.id.to_string()));
    name.starts_with("trash.")
        && listed.is_some_and(|names| names.iter().any(|listed| listed == name))
}
