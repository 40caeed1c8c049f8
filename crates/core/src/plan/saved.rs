//! A plan in a file: what was shown and agreed to is what is carried out, or nothing is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Change, Goal, Held, Object, Plan, Scope, Withheld, Work, World, locked::overtaken};
use crate::{
    model::{Digest, FleetId, HostName, HostView, Observed, Seen},
    state::Decisions,
};

/// A plan with everything that tells whether it still holds. It has no secret in it: what a guest is
/// told is made again from the same folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// The file's format.
    pub format: u32,
    /// The freehold that made it; another may read the text otherwise.
    pub version: String,
    /// Keyed digest of the text it was made from: files, variables, environment.
    pub config: Digest,
    /// What it is for.
    pub goal: Goal,
    /// The part of the fleet it is about.
    pub scope: Scope,
    /// When it was made, for names in the trash.
    pub stamp: String,
    /// The plan.
    pub plan: Plan,
    /// Every host it changes and every object, as it was seen: by host and object.
    pub fingerprints: BTreeMap<HostName, BTreeMap<String, Digest>>,
    /// Digest of all of the above.
    digest: Digest,
}

/// Why a saved plan is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedPlanError {
    /// It is no plan, or was edited.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A later freehold wrote it, or another one.
    #[error("it was made by freehold {have}, this is {know}")]
    OtherVersion {
        /// Whose.
        have: String,
        /// Ours.
        know: String,
    },
    /// It is another fleet's.
    #[error("it is fleet {0}'s")]
    OtherFleet(FleetId),
    /// Something was applied since.
    #[error("it was made from serial {have} of the state, which is at {now}")]
    Stale {
        /// The plan's serial.
        have: u64,
        /// The state's.
        now: u64,
    },
    /// The state is of another history.
    #[error("it was made from another history of the state")]
    OtherLineage,
    /// The text changed since.
    #[error("the fleet's text, a variable or the environment changed since it was made")]
    TextChanged,
    /// What it was decided with is no longer what is decided.
    #[error("freehold.lock says otherwise by now: {0}")]
    LockChanged(String),
    /// Objects changed since.
    #[error("changed since it was made: {0}")]
    Changed(String),
}

impl SavedPlanError {
    /// Says whether a fresh plan mends it, rather than another file.
    pub fn is_stale(&self) -> bool {
        matches!(
            self,
            Self::Stale { .. }
                | Self::OtherLineage
                | Self::TextChanged
                | Self::LockChanged(_)
                | Self::Changed(_)
        )
    }

    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Damaged(_) => "make it again: freehold plan -o FILE",
            Self::OtherVersion { .. } => "plan and apply with the same freehold",
            Self::OtherFleet(_) => "apply it in the folder it was made in",
            _ => "plan again, and look at what is different",
        }
    }
}

impl SavedPlan {
    const FORMAT: u32 = 2;

    /// Puts a plan together with what tells whether it still holds; `config` is the keyed digest of
    /// the text.
    pub fn new(plan: Plan, world: &World<'_>, config: Digest) -> Self {
        let mut saved = Self {
            format: Self::FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config,
            goal: world.goal.clone(),
            scope: world.scope.clone(),
            stamp: world.stamp.to_owned(),
            fingerprints: fingerprints(&plan, world.observed),
            plan,
            digest: Digest::default(),
        };
        saved.digest = saved.digest_of();
        saved
    }

    /// Returns the file's text.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a plan is plain JSON");
        text.push('\n');
        text
    }

    /// Reads a file's text.
    pub fn read(text: &str) -> Result<Self, SavedPlanError> {
        let damaged = |why: serde_json::Error| SavedPlanError::Damaged(why.to_string());
        let value: serde_json::Value = serde_json::from_str(text).map_err(damaged)?;
        let know = env!("CARGO_PKG_VERSION");
        let have = value["version"].as_str().unwrap_or(know);
        if value["format"].as_u64() != Some(Self::FORMAT.into()) || have != know {
            let (have, know) = (format!("{have} (format {})", value["format"]), know.to_owned());
            return Err(SavedPlanError::OtherVersion { have, know });
        }
        let saved: Self = serde_json::from_str(text).map_err(damaged)?;
        if saved.digest != saved.digest_of() {
            return Err(SavedPlanError::Damaged(
                "its digest does not match: was it edited?".into(),
            ));
        }
        Ok(saved)
    }

    fn digest_of(&self) -> Digest {
        let bare = Self { digest: Digest::default(), ..self.clone() };
        let text = serde_json::to_vec(&bare).expect("a plan is plain JSON");
        Digest::of([text.as_slice()])
    }

    /// Says before any host is asked whether it may still hold.
    pub fn fits(
        &self,
        fleet: FleetId,
        state: (Uuid, u64),
        config: &Digest,
    ) -> Result<(), SavedPlanError> {
        let (lineage, now) = state;
        if self.plan.fleet != fleet {
            return Err(SavedPlanError::OtherFleet(self.plan.fleet));
        }
        // The first run of a fleet begins its history.
        if self.plan.serial != now {
            return Err(SavedPlanError::Stale { have: self.plan.serial, now });
        }
        if self.plan.lineage != lineage && now > 0 {
            return Err(SavedPlanError::OtherLineage);
        }
        if self.config != *config {
            return Err(SavedPlanError::TextChanged);
        }
        Ok(())
    }

    /// Says whether it was made with what is decided now, so that carrying it out overrules nothing
    /// that the lock got since.
    pub fn agrees_with(&self, decided: &Decisions) -> Result<(), SavedPlanError> {
        let planned = self.plan.changes.iter().filter_map(Change::decided);
        let otherwise =
            planned.filter_map(|(vm, planned)| overtaken(vm, planned, decided.vms.get(vm)?));
        let words: Vec<_> = otherwise.map(|overtaken| overtaken.to_string()).collect();
        if words.is_empty() { Ok(()) } else { Err(SavedPlanError::LockChanged(words.join("; "))) }
    }

    /// Returns the plan once every host and every object it changes was seen to be as it was; what is
    /// on hosts that do not answer now is held back.
    pub fn still_true(mut self, observed: &Observed) -> Result<Plan, SavedPlanError> {
        let down: BTreeMap<HostName, String> = observed
            .iter()
            .filter_map(|(host, seen)| match seen {
                Seen::Unreachable(why) => Some((host.clone(), why.clone())),
                Seen::Whole(_) => None,
            })
            .collect();
        let now = fingerprints(&self.plan, observed);
        let mut changed = Vec::new();
        for (host, objects) in &self.fingerprints {
            if down.contains_key(host) {
                continue;
            }
            let there = now.get(host);
            let differs = |(object, seen): &(&String, &Digest)| {
                there.and_then(|t| t.get(*object)) != Some(seen)
            };
            let differing = objects.iter().filter(differs);
            changed.extend(differing.map(|(object, _)| format!("{object} on {host}")));
        }
        if !changed.is_empty() {
            return Err(SavedPlanError::Changed(changed.join(", ")));
        }
        self.plan.hold_hosts(&down);
        Ok(self.plan)
    }
}

impl Plan {
    fn hold_hosts(&mut self, down: &BTreeMap<HostName, String>) {
        for (host, why) in down {
            if self.changes.iter().any(|change| change.host == *host) {
                let object = Object::Host(host.clone());
                let why = Withheld::Unreachable(why.clone());
                self.held.push(Held { host: Some(host.clone()), object, why });
            }
        }
        self.hold(|change| {
            down.get(&change.host).map(|_| Withheld::Needs(Object::Host(change.host.clone())))
        });
    }
}

/// What a host is known by, beside its objects.
const PLACE: &str = "pool and card";

/// Returns every host and every object that a plan changes as it was seen; those of hosts that were
/// not read are left out.
fn fingerprints(plan: &Plan, observed: &Observed) -> BTreeMap<HostName, BTreeMap<String, Digest>> {
    let mut all: BTreeMap<HostName, BTreeMap<String, Digest>> = BTreeMap::new();
    for change in &plan.changes {
        if let Some(Seen::Whole(view)) = observed.get(&change.host) {
            let objects = all.entry(change.host.clone()).or_default();
            objects.entry(PLACE.to_owned()).or_insert_with(|| place(plan.fleet, view));
            objects.insert(change.object.to_string(), fingerprint(change, view));
        }
    }
    all
}

/// What tells that a host is the one it was, that its pool is there, and that no run but those the
/// state knows of was here: what the planner looks at before it looks at anything else.
fn place(fleet: FleetId, view: &HostView) -> Digest {
    let fleet = fleet.to_string();
    let pool = view.pool.as_ref();
    let card = pool.and_then(|pool| pool.card.as_ref());
    let ours = card.map(|card| (card.host, card.fleets.get(&fleet), card.volumes.get(&fleet)));
    let seen = (pool.map(|pool| (&pool.path, pool.active)), ours);
    Digest::of([format!("{seen:?}").as_bytes()])
}

fn fingerprint(change: &Change, view: &HostView) -> Digest {
    let mut words: Vec<String> = Vec::new();
    let uuids =
        [change.making().map(|work| work.spec.uuid), change.removal().map(|removal| removal.uuid)];
    for uuid in uuids.into_iter().flatten() {
        let found = view.domains.iter().find(|domain| domain.uuid == uuid);
        words.push(match found {
            // Whether it runs counts: a start or a stop may no longer be what was agreed to.
            Some(found) => format!("{} {} {:?}", found.name, found.fingerprint, found.state),
            None => "no domain".to_owned(),
        });
    }
    for volume in volumes_of(change) {
        let seen = view.pool.as_ref().and_then(|pool| pool.volumes.get(volume));
        let shape = seen.map(|seen| (seen.capacity, seen.backing.clone()));
        words.push(format!("{volume} {shape:?}"));
    }
    if let Object::Network(name) = &change.object {
        let found = view.networks.iter().find(|network| network.name == name.as_str());
        words.push(format!("{found:?}"));
    }
    if change.work == Work::Pool {
        words.push(format!("{}", view.pool.is_some()));
    }
    Digest::of(words.iter().map(String::as_bytes))
}

fn volumes_of(change: &Change) -> Vec<&String> {
    let mut volumes: Vec<&String> = Vec::new();
    if let Work::Image(spec) = &change.work {
        volumes.push(&spec.volume);
    }
    if let Work::ImageGone { volume, .. } = &change.work {
        volumes.push(volume);
    }
    if let Work::VmRestored(work) = &change.work {
        volumes.extend(work.moves.iter().flat_map(|(from, to)| [from, to]));
    }
    if let Some(work) = change.making() {
        volumes.extend(work.decision.disks.iter().map(|disk| &disk.volume));
        volumes.extend(work.detach.iter().map(|(volume, _)| volume));
    }
    if let Some(removal) = change.removal() {
        volumes.extend(removal.trash.iter().map(|(volume, _)| volume));
        volumes.extend(&removal.kept);
    }
    volumes
}
