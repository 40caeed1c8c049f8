//! One VM of the state against its domain.

use std::collections::BTreeSet;

use super::{
    Drift, MarkChange, MarkField,
    host::Look,
    overlay::{Cover, bare},
    shape,
};
use crate::{
    model::{DomainState, DomainView, Mark, VmName},
    plan::placed::everywhere,
    state::{Applied, VmRecord},
};

impl Look<'_> {
    /// Returns in what a VM of the state differs from it.
    pub(super) fn vm(self, vm: &VmName, record: &VmRecord) -> Vec<Drift> {
        let mut all = self.volumes_of(record);
        let Some(found) = self.view.domains.iter().find(|domain| domain.uuid == record.uuid) else {
            // One that was only begun is the plan's to finish.
            all.extend(record.made.then(|| self.missing(vm, record)));
            return all;
        };
        if let Some(mark) = found.mark.as_ref().filter(|mark| mark.fleet != self.snapshot.fleet) {
            // Whatever else it is, it is theirs.
            return vec![Drift::DomainForeign { fleet: mark.fleet, name: mark.name.clone() }];
        }
        all.extend(mark_drift(vm, record, found));
        if !record.made {
            return all;
        }
        if found.name != vm.as_str() {
            all.push(Drift::DomainRenamed { to: found.name.clone() });
        }
        let covers = self.covers(record, found);
        all.extend(state_drift(record.applied.as_ref(), found));
        all.extend(self.definition_drift(record.applied.as_ref(), found, &covers));
        all.extend(covers.into_iter().map(|cover| self.external_snapshot(cover)));
        all
    }

    fn missing(self, vm: &VmName, record: &VmRecord) -> Drift {
        let named = self.view.domains.iter().find(|domain| domain.name == vm.as_str());
        let elsewhere = everywhere(self.observed).find(|(_, domain)| domain.uuid == record.uuid);
        Drift::DomainMissing {
            taken_by: named.map(|domain| domain.uuid),
            seen_on: elsewhere.map(|(host, _)| host.clone()),
        }
    }

    /// Returns what of its definition is not as it was made, and what waits for a restart.
    fn definition_drift(
        self,
        applied: Option<&Applied>,
        found: &DomainView,
        covers: &[Cover],
    ) -> Vec<Drift> {
        let short = |path: &str| self.short(path);
        let defined = bare(&found.defined, covers);
        let mut all = Vec::new();
        if let Some(applied) = applied {
            if found.persistent && found.autostart != applied.autostart {
                all.push(Drift::AutostartChanged { to: found.autostart });
            }
            let changed = shape::changes(&applied.shape, &defined, &short);
            all.extend(changed.into_iter().map(Drift::FieldChanged));
        }
        let live = found.live.as_ref().map(|live| bare(live, covers));
        let fields = live.map(|live| shape::pending(&live, &defined, &short)).unwrap_or_default();
        if !fields.is_empty() {
            all.push(Drift::PendingRestart { fields });
        }
        all
    }
}

fn mark_drift(vm: &VmName, record: &VmRecord, found: &DomainView) -> Vec<Drift> {
    let Some(mark) = &found.mark else {
        // A domain that is not defined is told apart; it lost its mark with its definition.
        return if found.persistent { vec![Drift::MarkLost] } else { Vec::new() };
    };
    let mut all = Vec::new();
    let mut compare = |field, from: String, to: String| {
        if from != to {
            all.push(Drift::MarkChanged(MarkChange { field, from, to }));
        }
    };
    compare(MarkField::Name, vm.to_string(), mark.name.clone());
    if record.made {
        let incarnations = (record.incarnation.to_string(), mark.incarnation.to_string());
        compare(MarkField::Incarnation, incarnations.0, incarnations.1);
    }
    // Marks of VMs that were made before this was recorded do not tell what they promise.
    if record.made && record.applied.is_some() {
        compare(MarkField::Protect, record.protect.to_string(), mark.protect.to_string());
        compare(MarkField::Keep, kept_by_state(record), kept_by_mark(mark));
    }
    all
}

fn kept_by_state(record: &VmRecord) -> String {
    let kept = record.disks.iter().filter(|disk| disk.keep);
    listed(kept.map(|disk| disk.name.as_str()).collect())
}

fn kept_by_mark(mark: &Mark) -> String {
    listed(mark.keep.iter().map(crate::model::DiskName::as_str).collect())
}

fn listed(names: BTreeSet<&str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// Returns what it does that it was not made to do.
fn state_drift(applied: Option<&Applied>, found: &DomainView) -> Vec<Drift> {
    let running = applied.map(|applied| applied.running);
    let mut all = Vec::new();
    match found.state {
        DomainState::Paused => all.push(Drift::DomainPaused),
        DomainState::Crashed => all.push(Drift::DomainCrashed),
        DomainState::Running if running == Some(false) => all.push(Drift::DomainRunning),
        // One whose run was saved is off for that.
        DomainState::Off if running == Some(true) && !found.saved => all.push(Drift::DomainOff),
        DomainState::Running | DomainState::Off => {}
    }
    if !found.persistent {
        all.push(Drift::DomainTransient);
    }
    if found.saved {
        all.push(Drift::ManagedSave);
    }
    if found.snapshots {
        all.push(Drift::Snapshots);
    }
    all
}
