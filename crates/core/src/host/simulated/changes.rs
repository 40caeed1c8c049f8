//! How domains and networks of a simulated host change, and what libvirt refuses.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{World, WorldDomain};
use crate::{
    host::trouble::Trouble,
    model::{DiskSpec, DomainSpec, DomainState, Mark, NicSource, NicSpec, Ours, Size, VolumeView},
};

/// A domain's XML as far as the simulation goes: what the spec made, and what hands added.
#[derive(Serialize, Deserialize)]
struct Kept {
    spec: DomainSpec,
    marked: bool,
    extra: String,
    overlays: std::collections::BTreeMap<String, String>,
}

/// Returns what a domain is defined as.
pub(super) fn xml_of(domain: &WorldDomain) -> String {
    let WorldDomain { spec, marked, extra, overlays, .. } = domain.clone();
    serde_json::to_string(&Kept { spec, marked, extra, overlays }).expect("it is plain JSON")
}

fn absent(uuid: Uuid) -> Trouble {
    Trouble::failed(format!("libvirt has no domain with UUID {uuid}"))
}

fn taken(name: &str, uuid: Uuid) -> Trouble {
    Trouble::conflict(format!("domain '{name}' already exists with uuid {uuid}"))
}

impl World {
    /// Says whose a name is, if not this domain's.
    pub(super) fn holder(&self, name: &str, uuid: Uuid) -> Option<Uuid> {
        let mut others = self.domains.values().map(|other| &other.spec);
        others.find(|other| other.name == name && other.uuid != uuid).map(|other| other.uuid)
    }

    pub(super) fn define_domain(&mut self, spec: &DomainSpec) -> Result<(), Trouble> {
        if let Some(there) = self.domains.get_mut(&spec.uuid) {
            if there.marked && there.spec.mark == spec.mark {
                there.autostart = spec.autostart;
                there.persistent = true;
                return Ok(());
            }
            let name = &there.spec.name;
            let why = format!("domain {name} is there already with UUID {}", spec.uuid);
            return Err(Trouble::conflict(why));
        }
        if let Some(holder) = self.holder(&spec.name, spec.uuid) {
            return Err(taken(&spec.name, holder));
        }
        let domain = WorldDomain { autostart: spec.autostart, ..WorldDomain::of(spec) };
        self.domains.insert(spec.uuid, domain);
        Ok(())
    }

    /// Finds a domain that bears its mark.
    fn proved(&mut self, ours: &Ours) -> Result<&mut WorldDomain, Trouble> {
        let domain = self.domains.get_mut(&ours.uuid).ok_or_else(|| absent(ours.uuid))?;
        if ours.is_proved_by(domain.marked.then_some(&domain.spec.mark)) {
            return Ok(domain);
        }
        let name = &domain.spec.name;
        Err(Trouble::conflict(format!("domain {name} does not bear the mark of {ours}")))
    }

    /// Finds a domain that bears its mark and is defined as the plan saw it.
    pub(super) fn domain(&mut self, ours: &Ours) -> Result<&mut WorldDomain, Trouble> {
        let domain = self.proved(ours)?;
        refuse_changed(ours, domain)?;
        Ok(domain)
    }

    pub(super) fn update_domain(&mut self, ours: &Ours, spec: &DomainSpec) -> Result<(), Trouble> {
        let domain = self.proved(ours)?;
        let patched = patched(&domain.spec, spec);
        if domain.spec == patched {
            return Ok(());
        }
        refuse_changed(ours, domain)?;
        if !domain.persistent {
            return Err(Trouble::conflict(format!("domain {ours} is not defined")));
        }
        if let Some((volume, overlay)) = domain.overlays.first_key_value() {
            return Err(Trouble::conflict(format!("{overlay} stands on its disk {volume}")));
        }
        domain.spec = patched;
        Ok(())
    }

    pub(super) fn mark_domain(
        &mut self,
        uuid: Uuid,
        name: &str,
        mark: &Mark,
    ) -> Result<(), Trouble> {
        let domain = self.domains.get_mut(&uuid).ok_or_else(|| absent(uuid))?;
        let theirs = domain.marked
            && (domain.spec.mark.fleet != mark.fleet || domain.spec.mark.name != mark.name);
        if theirs || domain.spec.name != name {
            let why = format!("domain {} with UUID {uuid} is another's", domain.spec.name);
            return Err(Trouble::conflict(why));
        }
        domain.spec.mark = mark.clone();
        domain.marked = true;
        Ok(())
    }

    /// Renames and marks; a rename without its mark is finished.
    pub(super) fn rename_domain(&mut self, ours: &Ours, spec: &DomainSpec) -> Result<(), Trouble> {
        let holder = self.holder(&spec.name, ours.uuid);
        let there = self.domains.get(&ours.uuid).ok_or_else(|| absent(ours.uuid))?;
        let renamed = there.spec.name == spec.name;
        if renamed && there.marked && there.spec.mark == spec.mark {
            return Ok(());
        }
        let domain = self.proved(ours)?;
        if !renamed {
            refuse_changed(ours, domain)?;
            let name = &domain.spec.name;
            if domain.is_active() {
                return Err(Trouble::conflict(format!("domain {name} runs")));
            }
            if domain.saved {
                return Err(Trouble::conflict(format!("domain {name} is saved to disk")));
            }
            if let Some(holder) = holder {
                return Err(taken(&spec.name, holder));
            }
        }
        domain.spec.name.clone_from(&spec.name);
        domain.spec.mark = spec.mark.clone();
        Ok(())
    }

    pub(super) fn restore_domain(&mut self, ours: &Ours, xml: &str) -> Result<(), Trouble> {
        let kept: Kept = serde_json::from_str(xml).map_err(Trouble::failed)?;
        if kept.spec.uuid != ours.uuid || !ours.is_proved_by(kept.marked.then_some(&kept.spec.mark))
        {
            return Err(Trouble::input(format!("what was kept is no definition of {ours}")));
        }
        if self.domains.contains_key(&ours.uuid) {
            return self.domain(ours).map(drop);
        }
        if let Some(holder) = self.holder(&kept.spec.name, ours.uuid) {
            return Err(taken(&kept.spec.name, holder));
        }
        let Kept { spec, marked, extra, overlays } = kept;
        let domain = WorldDomain { marked, extra, overlays, ..WorldDomain::of(&spec) };
        self.domains.insert(ours.uuid, domain);
        Ok(())
    }

    pub(super) fn start_domain(&mut self, ours: &Ours) -> Result<(), Trouble> {
        self.domain(ours)?;
        self.start(ours.uuid)
    }

    /// Starts a domain, anybody's; one that runs is left alone.
    pub(super) fn start(&mut self, uuid: Uuid) -> Result<(), Trouble> {
        let domain = self.domains.get(&uuid).ok_or_else(|| absent(uuid))?;
        if domain.is_active() {
            return Ok(());
        }
        self.has_files(domain)?;
        self.has_links(domain)?;
        if let Some(nvram) = domain.spec.nvram.clone() {
            let size = Size::from_mib(1);
            let fresh = VolumeView { capacity: size, backing: None, used: size };
            self.volumes.entry(nvram).or_insert(fresh);
        }
        let domain = self.domains.get_mut(&uuid).ok_or_else(|| absent(uuid))?;
        domain.runs = Some(domain.saved_run.take().unwrap_or_else(|| domain.spec.clone()));
        domain.state = DomainState::Running;
        domain.saved = false;
        Ok(())
    }

    fn has_links(&self, domain: &WorldDomain) -> Result<(), Trouble> {
        for nic in &domain.spec.nics {
            match &nic.source {
                NicSource::Bridge(name) if !self.bridges.contains(name) => {
                    return Err(Trouble::failed(format!("Cannot get interface MTU on '{name}'")));
                }
                NicSource::Network(name)
                    if !self.networks.values().any(|(net, runs)| net.name == *name && *runs) =>
                {
                    return Err(Trouble::failed(format!("network '{name}' is not active")));
                }
                NicSource::Bridge(_) | NicSource::Network(_) => {}
            }
        }
        Ok(())
    }

    /// Ends a run; a domain that was nothing else is gone.
    pub(super) fn stop(&mut self, uuid: Uuid) {
        let Some(domain) = self.domains.get_mut(&uuid) else { return };
        domain.state = DomainState::Off;
        domain.runs = None;
        if !domain.persistent {
            self.domains.remove(&uuid);
        }
    }

    pub(super) fn undefine_domain(&mut self, ours: &Ours) -> Result<(), Trouble> {
        if !self.domains.contains_key(&ours.uuid) {
            return Ok(());
        }
        let domain = self.domain(ours)?;
        let name = &domain.spec.name;
        let refused = |why: &str| Err(Trouble::conflict(format!("domain {name} {why}")));
        if domain.is_active() {
            return refused("runs");
        }
        if domain.saved {
            return refused("is saved to disk");
        }
        if domain.snapshots {
            return refused("has snapshots");
        }
        self.domains.remove(&ours.uuid);
        Ok(())
    }

    pub(super) fn remove_network(&mut self, ours: &Ours) -> Result<(), Trouble> {
        let Some((network, _)) = self.networks.get(&ours.uuid) else { return Ok(()) };
        if !ours.is_proved_by(Some(&network.mark)) {
            let why = format!("network {} does not bear its mark", network.name);
            return Err(Trouble::conflict(why));
        }
        let source = NicSource::Network(network.name.clone());
        let attached = |spec: &DomainSpec| spec.nics.iter().any(|nic| nic.source == source);
        let user = self
            .domains
            .values()
            .find(|domain| attached(&domain.spec) || domain.runs.as_ref().is_some_and(attached));
        if let Some(user) = user {
            let why = format!("domain {} is attached to it", user.spec.name);
            return Err(Trouble::conflict(why));
        }
        self.networks.remove(&ours.uuid);
        Ok(())
    }
}

fn refuse_changed(ours: &Ours, domain: &WorldDomain) -> Result<(), Trouble> {
    if ours.seen.as_ref().is_none_or(|seen| *seen == domain.fingerprint()) {
        return Ok(());
    }
    let why = format!("domain {} is not defined as the plan saw it", domain.spec.name);
    Err(Trouble::conflict(why).hint("somebody changed it meanwhile: plan again"))
}

/// Returns a definition with what a spec manages as the spec says. What is there keeps its place,
/// what is new comes last.
fn patched(there: &DomainSpec, spec: &DomainSpec) -> DomainSpec {
    let place = |disk: &DiskSpec| {
        there.disks.iter().position(|old| old.volume == disk.volume).unwrap_or(usize::MAX)
    };
    let mut disks = spec.disks.clone();
    disks.sort_by_key(place);
    let place =
        |nic: &NicSpec| there.nics.iter().position(|old| old.mac == nic.mac).unwrap_or(usize::MAX);
    let mut nics = spec.nics.clone();
    nics.sort_by_key(place);
    DomainSpec {
        uuid: there.uuid,
        name: there.name.clone(),
        firmware: there.firmware,
        nvram: there.nvram.clone(),
        autostart: there.autostart,
        disks,
        nics,
        ..spec.clone()
    }
}
