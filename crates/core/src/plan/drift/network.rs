//! Networks of the state against libvirt's.
//!
//! The state records a network's UUID and nothing of what it was made as, so a hand that changed its
//! addresses is not seen here.

use super::{Drift, MarkChange, MarkField, Subject, host::Look};
use crate::model::{FleetId, NetworkName, NetworkView};

impl Look<'_> {
    /// Returns in what the networks we defined differ.
    pub(super) fn networks(self) -> Vec<(Subject, Drift)> {
        let known = self.snapshot.networks.get(self.host).into_iter().flatten();
        let mut all = Vec::new();
        for (name, uuid) in known {
            let found = self.view.networks.iter().find(|view| view.uuid == *uuid);
            let drifts = if let Some(found) = found {
                network_drift(self.snapshot.fleet, name, found)
            } else {
                let mut views = self.view.networks.iter();
                let named = views.find(|view| view.name == name.as_str());
                vec![Drift::NetworkMissing { taken_by: named.map(|view| view.uuid) }]
            };
            let subject = Subject::Network(name.to_string());
            all.extend(drifts.into_iter().map(|drift| (subject.clone(), drift)));
        }
        all
    }
}

fn network_drift(fleet: FleetId, name: &NetworkName, found: &NetworkView) -> Vec<Drift> {
    let mut all = Vec::new();
    match &found.mark {
        None => all.push(Drift::MarkLost),
        Some(mark) if mark.fleet != fleet => {
            return vec![Drift::NetworkForeign { fleet: mark.fleet, name: mark.name.clone() }];
        }
        Some(mark) if mark.name != name.as_str() => {
            let (from, to) = (name.to_string(), mark.name.clone());
            all.push(Drift::MarkChanged(MarkChange { field: MarkField::Name, from, to }));
        }
        Some(_) => {}
    }
    if found.name != name.as_str() {
        all.push(Drift::NetworkRenamed { to: found.name.clone() });
    }
    if !found.active {
        all.push(Drift::NetworkInactive);
    }
    // We never make one that does not start with its host.
    if !found.autostart {
        all.push(Drift::AutostartChanged { to: false });
    }
    all
}
