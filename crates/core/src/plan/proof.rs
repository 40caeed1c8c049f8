//! Proof that something is ours: one function per kind of object.
//!
//! A change of something that is there needs all of it: the state knows it, it has that UUID, and
//! it bears our mark; a volume lies in our pool under our name and stands in the host's card.
//! Whatever is missing is a refusal of its own kind, and never taken for leave.

use uuid::Uuid;

use super::{Withheld, World};
use crate::{
    model::{DomainView, HostView, Mark, NetworkView, VmName},
    state::VmRecord,
};

/// Proves a domain with a VM's UUID. `names` are those the VM has and had; `record` is what the
/// state knows of it.
pub(super) fn domain(
    world: &World<'_>,
    names: &[&VmName],
    record: Option<&VmRecord>,
    found: &DomainView,
) -> Result<(), Withheld> {
    let fleet = world.fleet.id;
    let is_named = |mark: &Mark| names.iter().any(|name| mark.name == name.as_str());
    match &found.mark {
        None if found.persistent => {
            let vm = names.first().map(ToString::to_string).unwrap_or_default();
            Err(Withheld::MarkLost { vm, domain: found.name.clone() })
        }
        None => Err(Withheld::Transient(found.name.clone())),
        Some(mark) if mark.fleet != fleet => Err(Withheld::Foreign(format!(
            "domain {} ({}) bears the mark of {} of fleet {}",
            found.name, found.uuid, mark.name, mark.fleet
        ))),
        Some(mark) if !is_named(mark) => Err(Withheld::Foreign(format!(
            "domain {} ({}) bears the mark of our vm {}",
            found.name, found.uuid, mark.name
        ))),
        Some(_) if record.is_none_or(|record| record.uuid != found.uuid) => {
            Err(Withheld::NotInState(format!("domain {}", found.name)))
        }
        // Whatever is done to it would be gone with it.
        Some(_) if !found.persistent => Err(Withheld::Transient(found.name.clone())),
        Some(_) => Ok(()),
    }
}

/// Proves that a domain's name is free for the VM with this UUID.
pub(super) fn domain_name(
    world: &World<'_>,
    view: &HostView,
    name: &str,
    uuid: Uuid,
) -> Result<(), Withheld> {
    let other = view.domains.iter().find(|domain| domain.name == name && domain.uuid != uuid);
    let Some(other) = other else { return Ok(()) };
    let whose = match &other.mark {
        Some(mark) if mark.fleet != world.fleet.id => format!("fleet {}'s", mark.fleet),
        Some(_) => "ours, with another UUID".to_owned(),
        None => "not made by freehold".to_owned(),
    };
    Err(Withheld::Foreign(format!("a domain of that name ({}) is {whose}", other.uuid)))
}

/// Proves a network with the UUID that one of ours has; `known` is the UUID in the state.
pub(super) fn network(
    world: &World<'_>,
    name: &str,
    known: Option<Uuid>,
    found: &NetworkView,
) -> Result<(), Withheld> {
    let (fleet, uuid) = (world.fleet.id, found.uuid);
    match &found.mark {
        Some(mark) if mark.fleet == fleet && mark.name == name => match known {
            Some(known) if known == uuid => Ok(()),
            _ => Err(Withheld::NotInState(format!("network {}", found.name))),
        },
        Some(mark) => Err(Withheld::Foreign(format!(
            "network {} ({uuid}) bears the mark of {} of fleet {}",
            found.name, mark.name, mark.fleet
        ))),
        None if known == Some(uuid) => Err(Withheld::Foreign(format!(
            "network {} with its UUID does not bear its mark",
            found.name
        ))),
        None => {
            Err(Withheld::Foreign(format!("a network of that name ({uuid}) is not this fleet's")))
        }
    }
}

/// Proves a volume, seed or trash of ours; `Ok(false)` where it is not there. Its name alone proves
/// nothing: the host's card must list it, and no domain but its own nor any chain may stand on it
/// (the host looks once more right before it is touched).
pub(super) fn volume(
    world: &World<'_>,
    view: &HostView,
    name: &str,
    owner: Option<Uuid>,
) -> Result<bool, Withheld> {
    let Some(pool) = view.pool.as_ref().filter(|pool| pool.volumes.contains_key(name)) else {
        return Ok(false);
    };
    let fleet = world.fleet.id.to_string();
    let listed = pool.card.as_ref().and_then(|card| card.volumes.get(&fleet));
    if !listed.is_some_and(|names| names.iter().any(|listed| listed == name)) {
        return Err(Withheld::NotInIndex(name.to_owned()));
    }
    let path = format!("{}/{name}", pool.path);
    let uses = |domain: &&DomainView| {
        let shapes = std::iter::once(&domain.defined).chain(&domain.live);
        shapes.into_iter().any(|shape| {
            let files = shape.disks.iter().chain(&shape.cdroms).chain(&shape.beneath);
            files.into_iter().any(|file| *file == path)
        })
    };
    let others = view.domains.iter().filter(|domain| Some(domain.uuid) != owner);
    if let Some(other) = others.into_iter().find(uses) {
        return Err(Withheld::Foreign(format!("domain {} uses volume {name}", other.name)));
    }
    let over = pool.volumes.iter().find(|(_, over)| over.backing.as_deref() == Some(&path));
    match over {
        None => Ok(true),
        Some((over, _)) => Err(Withheld::SnapshotOver {
            volume: name.to_owned(),
            overlay: format!("{}/{over}", pool.path),
        }),
    }
}

/// Proves that nobody's external snapshot put an overlay on a domain's disks: what the guest wrote
/// since lies there, and would be lost.
pub(super) fn uncovered<'a>(
    view: &HostView,
    found: &DomainView,
    volumes: impl IntoIterator<Item = &'a str>,
) -> Result<(), Withheld> {
    let Some(pool) = &view.pool else { return Ok(()) };
    for volume in volumes {
        let path = format!("{}/{volume}", pool.path);
        let over = pool.volumes.iter().find(|(_, over)| over.backing.as_deref() == Some(&path));
        let shapes = std::iter::once(&found.defined).chain(&found.live);
        let buried = shapes.into_iter().find(|shape| shape.beneath.contains(&path));
        if over.is_none() && buried.is_none() {
            continue;
        }
        let overlay = over.map(|(name, _)| format!("{}/{name}", pool.path));
        let ours = format!("{}/", pool.path);
        let outside = |shape: &crate::model::DomainShape| {
            shape.disks.iter().find(|disk| !disk.starts_with(&ours)).cloned()
        };
        let overlay = overlay.or_else(|| buried.and_then(outside));
        return Err(Withheld::SnapshotOver {
            volume: volume.to_owned(),
            overlay: overlay.unwrap_or_else(|| "another file".to_owned()),
        });
    }
    Ok(())
}
