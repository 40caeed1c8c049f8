//! One host against the state.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Drift, Finding, Subject};
use crate::{
    model::{FleetId, HostName, HostView, Observed, PoolView, Seen},
    state::Snapshot,
};

/// Returns in what hosts differ from what was last made of them, by host and object. What could
/// not be read is said to be unread, and nothing more is said about it.
pub fn drift(snapshot: &Snapshot, observed: &Observed) -> Vec<Finding> {
    let mut findings = Vec::new();
    for host in hosts_of(snapshot).chain(observed.keys()).collect::<BTreeSet<_>>() {
        let why = match observed.get(host) {
            Some(Seen::Whole(view)) => {
                findings.extend(Look { snapshot, observed, host, view }.findings());
                continue;
            }
            Some(Seen::Unreachable(why)) => why.clone(),
            None => "it is no longer declared".to_owned(),
        };
        let object = Subject::Host(host.clone());
        let drift = Drift::HostUnreachable { why };
        findings.push(Finding { host: Some(host.clone()), object, drift });
    }
    findings
}

/// Hosts where the state has anything of ours.
fn hosts_of(snapshot: &Snapshot) -> impl Iterator<Item = &HostName> {
    let vms = snapshot.vms.values().map(|record| &record.host);
    let kept = snapshot.kept.iter().map(|kept| &kept.host);
    let networks = snapshot.networks.iter().filter(|(_, known)| !known.is_empty());
    vms.chain(kept).chain(networks.map(|(host, _)| host))
}

/// One host as it was seen, and the state.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) observed: &'a Observed,
    pub(super) host: &'a HostName,
    pub(super) view: &'a HostView,
}

impl<'a> Look<'a> {
    fn findings(self) -> Vec<Finding> {
        let here = |drift| (Subject::Host(self.host.clone()), drift);
        // Of another machine, or with an old state, everything would be missing or an orphan.
        let mut found = match self.stranger() {
            Some(drift) => vec![here(drift)],
            None => self.objects(),
        };
        if let Some(pool) = self.view.pool.as_ref().filter(|pool| !pool.active) {
            found.push(here(Drift::PoolInactive { path: pool.path.clone() }));
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let host = self.host;
        let finding = |(object, drift)| Finding { host: Some(host.clone()), object, drift };
        found.into_iter().map(finding).collect()
    }

    fn objects(self) -> Vec<(Subject, Drift)> {
        let vms = self.snapshot.vms.iter().filter(|(_, record)| record.host == *self.host);
        let vms = vms.flat_map(|(vm, record)| {
            let drifts = self.vm(vm, record);
            drifts.into_iter().map(|drift| (Subject::Vm(vm.clone()), drift))
        });
        let mut found: Vec<_> = vms.collect();
        found.extend(self.networks());
        found.extend(self.kept_disks());
        found.extend(self.orphans());
        found
    }

    /// A host where we had made objects must show the card we know.
    fn stranger(self) -> Option<Drift> {
        let pool = self.view.pool.as_ref();
        if pool.is_some_and(|pool| !pool.active) {
            return None;
        }
        let known = *self.snapshot.hosts.get(self.host)?;
        let state = self.snapshot.serial;
        match pool.and_then(|pool| pool.card.as_ref()) {
            Some(card) if card.host != known => {
                Some(Drift::HostStranger { known, found: Some(card.host) })
            }
            Some(card) => {
                let card = *card.fleets.get(&self.snapshot.fleet.to_string())?;
                // By one run a state may lag whose journal was lost.
                (card > state + 1).then_some(Drift::StateOld { card, state })
            }
            // The card is claimed before it is written: without anything of ours there may be none.
            None => self.had_objects().then_some(Drift::HostStranger { known, found: None }),
        }
    }

    fn had_objects(self) -> bool {
        let is_gone = |uuid: &Uuid| !self.view.networks.iter().any(|view| view.uuid == *uuid);
        let networks = self.snapshot.networks.get(self.host);
        self.snapshot.vms.values().any(|vm| vm.host == *self.host)
            || self.snapshot.kept.iter().any(|kept| kept.host == *self.host)
            || networks.is_some_and(|known| known.values().any(is_gone))
    }

    /// Returns our pool, as far as its files were read.
    pub(super) fn pool(self) -> Option<&'a PoolView> {
        self.view.pool.as_ref().filter(|pool| pool.active)
    }

    /// Returns where a volume lies; `None` where there is no pool.
    pub(super) fn path_of(self, volume: &str) -> Option<String> {
        self.view.pool.as_ref().map(|pool| format!("{}/{volume}", pool.path))
    }

    /// Returns a file by its name where it lies in our pool, else by its path.
    pub(super) fn short(self, path: &str) -> String {
        let pool = self.view.pool.as_ref();
        let inside = pool.and_then(|pool| path.strip_prefix(&pool.path)?.strip_prefix('/'));
        inside.unwrap_or(path).to_owned()
    }

    /// Says whether the host's card lists a volume as this fleet's.
    pub(super) fn is_listed(self, volume: &str) -> bool {
        let listed = self.pool().map(|pool| volumes_listed(pool, self.snapshot.fleet));
        listed.is_some_and(|names| names.iter().any(|name| name == volume))
    }
}

/// Returns what the host's card lists as a fleet's.
pub(in crate::plan) fn volumes_listed(pool: &PoolView, fleet: FleetId) -> &[String] {
    let listed = pool.card.as_ref().and_then(|card| card.volumes.get(&fleet.to_string()));
    listed.map(Vec::as_slice).unwrap_or_default()
}
