//! What plugins propose, and what of it a plan takes up.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Draft, Held, Object, Plan, Withheld, World};
use crate::{
    model::{DomainName, Edit, EditKey, VmName},
    state::{Fact, Snapshot},
};

/// What plugins propose, handed over by the caller.
#[derive(Debug, Clone, Default)]
pub struct Proposals {
    /// Edits, in each plugin's order.
    pub edits: Vec<Edit>,
    /// What is there already, as wanted and ours, or is gone though it was published.
    pub present: Vec<Fact>,
    /// What plugins refuse to change.
    pub refused: Vec<Trouble>,
    /// Plugins whose server could not be read.
    pub down: Vec<Trouble>,
}

/// What kind of trouble a plugin has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// Something there is not ours.
    Foreign,
    /// It could not be asked.
    Unread,
    /// What is declared cannot be published.
    Refused,
}

/// A plugin's trouble, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The plugin.
    pub plugin: String,
    /// What kind it is.
    pub kind: TroubleKind,
    /// The causes, outermost first.
    pub causes: Vec<String>,
    /// What the user can do.
    pub hint: Option<String>,
}

impl Draft {
    /// Adds what plugins propose and returns the plan.
    pub fn with(self, world: &World<'_>, proposals: Proposals) -> Plan {
        // Where nobody was asked, nothing is proposed, and what is pending stays so.
        let of_files = world.goal.is_of_files();
        let proposals = if of_files { Proposals::default() } else { proposals };
        let mut held = self.held;
        let trouble = |trouble: Trouble, down: bool| {
            let Trouble { plugin, causes, hint, .. } = trouble;
            let why = match down {
                true => Withheld::ServerDown { causes, hint },
                false => Withheld::Refused { causes, hint },
            };
            Held { host: None, object: Object::Outside(plugin), why }
        };
        held.extend(proposals.refused.into_iter().map(|refused| trouble(refused, false)));
        held.extend(proposals.down.into_iter().map(|down| trouble(down, true)));
        let plan = Plan {
            fleet: world.fleet.id,
            lineage: world.snapshot.lineage,
            serial: world.snapshot.serial,
            changes: self.changes,
            edits: proposals.edits,
            present: self.present.into_iter().chain(proposals.present).collect(),
            cards: self.cards,
            held,
            zones: records_by_zone(world.snapshot),
            unchanged: self.unchanged,
            trash: self.trash,
            unasked: of_files,
        };
        plan.without_edits_of_held(world)
    }
}

impl Plan {
    /// Takes out edits about VMs whose fate is held back: nothing is published about a VM that is
    /// not made, nothing taken away from one that stays.
    fn without_edits_of_held(mut self, world: &World<'_>) -> Self {
        let held = self.held.iter().filter_map(|held| match &held.object {
            Object::Vm(vm) => Some(vm),
            _ => None,
        });
        // One that is not renamed keeps the records of its old name.
        let held: BTreeSet<_> =
            held.flat_map(|vm| [vm.clone(), world.recorded_name(vm).clone()]).collect();
        // What a state says that is older than its host is no reason to publish anything.
        let is_old = |held: &&Held| matches!(held.why, Withheld::OldState { .. });
        let outrun: BTreeSet<_> =
            self.held.iter().filter(is_old).filter_map(|held| held.host.as_ref()).collect();
        let made = |vm: &VmName| {
            let record = world.snapshot.vms.get(vm);
            record.is_some_and(|record| !outrun.contains(&record.host))
        };
        let stays = |edit: &Edit| match &edit.vm {
            Some(vm) if held.contains(vm) => made(vm) && !edit.new.is_empty(),
            // What is about nobody goes along with what is.
            None => world.is_whole() || self.changes.iter().any(Change::is_of_vm),
            Some(vm) => is_in_scope(world, vm),
        };
        let edits: Vec<Edit> = self.edits.iter().filter(|edit| stays(edit)).cloned().collect();
        self.edits = edits;
        self
    }
}

fn is_in_scope(world: &World<'_>, vm: &VmName) -> bool {
    let recorded = world.snapshot.vms.get(vm).map(|record| &record.host);
    let decided = world.decisions.vms.get(vm).map(|decision| &decision.host);
    let host = recorded.or(decided);
    world.has_vm(vm) && host.is_none_or(|host| world.scope.has_host(host))
}

fn records_by_zone(snapshot: &Snapshot) -> BTreeMap<DomainName, usize> {
    let mut zones = BTreeMap::new();
    for (_, key) in snapshot.published.keys() {
        if let EditKey::Rrset { zone, .. } = key {
            *zones.entry(zone.clone()).or_default() += 1;
        }
    }
    zones
}
