//! The plan: what will be done, as a value the user signs.
//!
//! Everything here is pure and synchronous. From the wanted fleet, what was decided, what was done
//! and what was seen, [`decide`] and [`draft`] make all choices; plugins' edits are added by
//! [`Draft::with`], consent is applied by [`Plan::permitted`], and [`Plan::steps`] is the order of
//! work. Nothing here reads a file or a clock, asks a host or names a plugin.

mod adopt;
mod cap;
mod change;
mod consent;
mod copies;
mod decide;
mod differ;
mod draft;
mod drift;
mod goal;
mod held;
mod images;
mod inventory;
mod json;
mod known;
mod lint;
mod locked;
mod make;
mod network;
mod order;
mod order_vm;
mod placed;
mod problem;
mod proof;
mod proposals;
mod rebuild;
mod recover;
mod removal;
mod report;
mod saved;
mod scope;
mod settled;
mod step;
mod trash;
mod verify;
mod vm;
mod wanted;
mod work;
mod world;

pub use change::{Action, Change, Object, Reason, Work};
pub use consent::{Allowance, Consent};
pub use decide::{HostKeys, decide};
pub use draft::{Draft, draft};
pub use drift::{
    Advised, Drift, FieldChange, Finding, MarkChange, MarkField, Owner, ShapeField, Subject,
    Unmanaged, UnmanagedDomain, UnmanagedNetwork, UnmanagedVolume, drift, drift_text, hosts_text,
    short_size, unmanaged,
};
pub use goal::Goal;
pub use held::{Held, Withheld, abandoned};
pub use images::{StoredImage, images};
pub use json::PlanJson;
pub use known::known_decisions;
pub use lint::Broken;
pub use locked::{Choice, Disagreement, Undecided, disagreements, undecided};
pub use make::{asked_address, readiness};
pub use problem::PlanProblem;
pub use proposals::{Proposals, Trouble, TroubleKind};
pub use rebuild::{Burnt, LostDisk, Rebuilding, Unplaced, rebuild};
pub use recover::{recover, taken_in};
pub use saved::{SavedPlan, SavedPlanError};
pub use scope::Scope;
pub use step::{Act, AskedFrom, Await, Step};
pub use trash::{
    DiskRestoral, KeptXml, Restore, RestoredDisk, Restoring, TrashContent, TrashEmptying,
    TrashEntry, TrashItem, TrashKey, TrashSpace, Unrestorable, VmRestoral, begun_restores, span,
    trash,
};
pub use verify::{Looks, verify};
pub use wanted::{image_spec, network_spec};
pub use work::{Detached, SeenDomain, VmRemoval, VmWork};
pub use world::World;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    model::{DomainName, Edit, FleetId, HostCard, HostName},
    state::{Decisions, Fact, Pending, Snapshot},
};

/// What will be done, and what is held back and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whose.
    pub fleet: FleetId,
    /// The history it continues.
    pub lineage: Uuid,
    /// The serial of the state it was made from.
    pub serial: u64,
    /// Changes on hosts, by host and object.
    pub changes: Vec<Change>,
    /// Changes outside, in the order plugins want them.
    pub edits: Vec<Edit>,
    /// What was found to be there and as wanted already, for the state.
    pub present: Vec<Fact>,
    /// What each host's card says now, less what is gone; steps write what they add to it.
    pub cards: BTreeMap<HostName, HostCard>,
    /// What is not done, and why.
    pub held: Vec<Held>,
    /// How many of our records each zone has.
    pub zones: BTreeMap<DomainName, usize>,
    /// VMs that are as they shall be.
    pub unchanged: usize,
    /// What the trash takes on hosts that have any.
    pub trash: BTreeMap<HostName, TrashSpace>,
    /// Whether no server was asked: what is pending stays so.
    pub unasked: bool,
}

impl Plan {
    /// Returns the state a run of this plan begins from: the last one, with what the look at the
    /// plugins' servers says. Servers that were not read are pending.
    #[must_use]
    pub fn beginning(&self, last: &Snapshot) -> Snapshot {
        let mut snapshot = last.clone();
        let down = self.held.iter().filter_map(|held| match &held.why {
            Withheld::ServerDown { causes, .. } => Some((held.object.to_string(), causes.clone())),
            _ => None,
        });
        let pending = down.map(|(plugin, why)| Pending { plugin, why, edits: Vec::new() });
        if !self.unasked {
            snapshot.pending = pending.collect();
        }
        for fact in &self.present {
            snapshot.fold(fact);
        }
        snapshot
    }

    /// Puts what this plan decides about VMs that it makes again or brings back over what was
    /// decided before.
    pub fn overrule(&self, decisions: &mut Decisions) {
        for (vm, decision) in self.changes.iter().filter_map(Change::decided) {
            decisions.vms.insert(vm.clone(), decision.clone());
        }
    }

    /// Says whether every host was as it was known: only then the lock follows the state.
    pub fn knows_its_hosts(&self) -> bool {
        !self.held.iter().any(|held| matches!(held.object, Object::Host(_)))
    }

    /// Says whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.edits.is_empty()
    }
}
