//! Whose an rrset is, and what follows from it: pure.
//!
//! Ours is what carries our fleet's mark. What carries none is somebody else's, equal or not;
//! what is marked and no longer wanted goes only where its values are those we published.

use std::collections::{BTreeMap, BTreeSet};

use freehold_core::{
    model::{DomainName, Edit, EditKey, FleetId},
    plugins::{PluginErrorKind, Published},
};

use crate::{
    records::{Content, Refusal, Spot},
    wire::{Change, Rrset, normal},
};

/// Types that cannot stand beside our records, or answer in their place.
const CONFLICTS: [&str; 5] = ["CNAME", "ALIAS", "DNAME", "LUA", "NS"];

/// What stands in one zone, by name.
#[derive(Debug)]
pub(crate) struct Shelf<'a> {
    zone: &'a DomainName,
    names: BTreeMap<DomainName, Vec<&'a Rrset>>,
}

/// What one zone needs, and what it must not get.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) edits: Vec<Edit>,
    pub(crate) refused: Vec<Refusal>,
    /// What stands there as wanted.
    pub(crate) present: Vec<(EditKey, Vec<String>)>,
}

/// What the server accepted from us earlier, by place; a TTL makes no difference.
pub(crate) type Ledger = BTreeMap<Spot, BTreeSet<String>>;

/// Returns what this plugin published.
pub(crate) fn ledger(plugin: &str, published: &Published) -> Ledger {
    let mut ledger = Ledger::new();
    for ((owner, key), values) in published {
        if let (true, Some((spot, _))) = (owner == plugin, spot_of(key)) {
            let kind = spot.kind;
            let values = values.iter().map(|value| normal(Some(kind), value));
            ledger.entry(spot).or_default().extend(values);
        }
    }
    ledger
}

/// Returns the place and TTL an edit is about, where it is about an rrset.
pub(crate) fn spot_of(key: &EditKey) -> Option<(Spot, u32)> {
    match key {
        EditKey::Rrset { zone, name, kind, ttl } => {
            Some((Spot { zone: zone.clone(), name: name.clone(), kind: *kind }, *ttl))
        }
        EditKey::Zone { .. } | EditKey::Target { .. } => None,
    }
}

fn key_of(spot: &Spot, ttl: u32) -> EditKey {
    EditKey::Rrset { zone: spot.zone.clone(), name: spot.name.clone(), kind: spot.kind, ttl }
}

impl<'a> Shelf<'a> {
    /// Sorts a zone's rrsets by name; names that cannot be ours (wildcards) are left out.
    pub(crate) fn new(zone: &'a DomainName, rrsets: &'a [Rrset]) -> Self {
        let mut names: BTreeMap<DomainName, Vec<&Rrset>> = BTreeMap::new();
        for rrset in rrsets {
            if let Some(name) = rrset.domain() {
                names.entry(name).or_default().push(rrset);
            }
        }
        Self { zone, names }
    }

    /// Returns our rrset at a place, nothing where it is free, or why it cannot be ours.
    fn ours(&self, spot: &Spot, fleet: FleetId) -> Result<Option<&'a Rrset>, String> {
        if let Some((cut, kind)) = self.conflict(&spot.name) {
            return Err(format!("{cut} {kind} stands there"));
        }
        let here = self.names.get(&spot.name);
        match here.and_then(|sets| sets.iter().find(|set| set.record_kind() == Some(spot.kind))) {
            Some(rrset) if rrset.vm(fleet).is_some() => Ok(Some(rrset)),
            Some(rrset) => Err(format!(
                "{} {} is there and is not ours: {}",
                spot.name,
                spot.kind,
                joined(&rrset.values())
            )),
            None => Ok(None),
        }
    }

    /// Returns everything that carries our mark.
    pub(crate) fn all_ours(&self, fleet: FleetId) -> Vec<(EditKey, Vec<String>)> {
        let place = |rrset: &'a Rrset| {
            let (kind, name) = (rrset.record_kind()?, rrset.domain()?);
            rrset.vm(fleet)?;
            let spot = Spot { zone: self.zone.clone(), name, kind };
            Some((key_of(&spot, rrset.ttl), rrset.values().into_iter().collect()))
        };
        self.names.values().flatten().copied().filter_map(place).collect()
    }

    /// Returns what at or above a name keeps us from answering it.
    fn conflict(&self, name: &DomainName) -> Option<(&DomainName, &str)> {
        let above = self.names.iter().filter(|(cut, _)| *cut != self.zone && name.is_within(cut));
        above.flat_map(|(cut, sets)| sets.iter().map(move |set| (cut, set.kind.as_str()))).find(
            |(cut, kind)| match *kind {
                "NS" | "DNAME" => true,
                _ => *cut == name && CONFLICTS.contains(kind),
            },
        )
    }
}

/// Compares what one zone holds with what it shall hold.
pub(crate) fn compare(
    plugin: &str,
    fleet: FleetId,
    shelf: &Shelf<'_>,
    wanted: &BTreeMap<Spot, Content>,
    ledger: &Ledger,
) -> Comparison {
    let mut result = Comparison::default();
    for rrset in shelf.names.values().flatten() {
        if let Some((spot, removal)) = leftover(plugin, fleet, shelf, wanted, ledger, rrset) {
            match removal {
                Ok(edit) => result.edits.push(edit),
                Err(reason) => result.refused.push(by_hand(&spot, reason)),
            }
        }
    }
    for (spot, content) in wanted.iter().filter(|(spot, _)| spot.zone == *shelf.zone) {
        match shelf.ours(spot, fleet) {
            Err(reason) => result.refused.push(foreign(spot, reason)),
            Ok(Some(held)) if is_as_wanted(held, content) => {
                let values = content.values.iter().cloned().collect();
                result.present.push((key_of(spot, content.ttl), values));
            }
            Ok(held) => result.edits.push(Edit {
                plugin: plugin.to_owned(),
                vm: Some(content.vm.clone()),
                key: key_of(spot, content.ttl),
                old: held.map(|held| held.values().into_iter().collect()).unwrap_or_default(),
                new: content.values.iter().cloned().collect(),
            }),
        }
    }
    result
}

/// Returns how an rrset of ours that nobody wants any more goes, where it is one.
fn leftover(
    plugin: &str,
    fleet: FleetId,
    shelf: &Shelf<'_>,
    wanted: &BTreeMap<Spot, Content>,
    ledger: &Ledger,
    rrset: &Rrset,
) -> Option<(Spot, Result<Edit, String>)> {
    let (kind, name, vm) = (rrset.record_kind()?, rrset.domain()?, rrset.vm(fleet)?);
    let spot = Spot { zone: shelf.zone.clone(), name, kind };
    if spot.name == *shelf.zone || wanted.contains_key(&spot) {
        return None;
    }
    let values = rrset.values();
    let removal = match ledger.get(&spot) {
        Some(known) if is_as_published(rrset, known) => Ok(Edit {
            plugin: plugin.to_owned(),
            vm: Some(vm),
            key: key_of(&spot, rrset.ttl),
            old: values.into_iter().collect(),
            new: Vec::new(),
        }),
        Some(known) => Err(format!(
            "it was changed by hand: we published {}, it holds {}",
            joined(known),
            joined(&values)
        )),
        None => Err("it has our mark, but nothing says that we published it".to_owned()),
    };
    Some((spot, removal))
}

fn is_as_wanted(held: &Rrset, content: &Content) -> bool {
    held.ttl == content.ttl && held.values() == content.values && !held.has_disabled()
}

fn is_as_published(held: &Rrset, known: &BTreeSet<String>) -> bool {
    let values = held.values();
    !values.is_empty() && values.is_subset(known) && !held.has_disabled()
}

/// Returns what an edit means for a zone as it stands now: nothing where it is done already.
pub(crate) fn change_for(
    edit: &Edit,
    fleet: FleetId,
    shelf: &Shelf<'_>,
) -> Result<Option<Change>, Refusal> {
    let Some((spot, ttl)) = spot_of(&edit.key) else {
        return Ok(None);
    };
    let held = shelf.ours(&spot, fleet).map_err(|reason| foreign(&spot, reason))?;
    if edit.new.is_empty() {
        let known = edit.old.iter().cloned().collect();
        return match held {
            None => Ok(None),
            Some(held) if is_as_published(held, &known) => Ok(Some(Change::delete(&spot))),
            Some(held) => {
                let now = joined(&held.values());
                Err(by_hand(&spot, format!("it was changed by hand: it holds {now}")))
            }
        };
    }
    let Some(vm) = edit.vm.clone() else {
        return Ok(None);
    };
    let content = Content { vm, ttl, values: edit.new.iter().cloned().collect() };
    if held.is_some_and(|held| is_as_wanted(held, &content)) {
        return Ok(None);
    }
    Ok(Some(Change::replace(&spot, &content, fleet)))
}

fn foreign(spot: &Spot, reason: String) -> Refusal {
    let hint = "remove it there first, or choose another name: taking over records of others is \
                not possible yet";
    Refusal {
        act: format!("publish {} {}", spot.name, spot.kind),
        kind: PluginErrorKind::Foreign,
        reason,
        hint: Some(hint.to_owned()),
    }
}

fn by_hand(spot: &Spot, reason: String) -> Refusal {
    Refusal {
        act: format!("remove {} {}", spot.name, spot.kind),
        kind: PluginErrorKind::Foreign,
        reason,
        hint: Some("it is left alone; remove it on the server".to_owned()),
    }
}

/// Returns values as one reads them aloud.
pub(crate) fn joined(values: &BTreeSet<String>) -> String {
    if values.is_empty() {
        return "nothing".to_owned();
    }
    values.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "ownership_tests.rs"]
mod tests;
