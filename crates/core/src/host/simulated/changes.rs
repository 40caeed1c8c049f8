//! How domains of a simulated host that are there change.

use uuid::Uuid;

use super::{World, WorldDomain};
use crate::{
    host::trouble::Trouble,
    model::{DomainSpec, DomainState, Mark, Ours, Size},
};

impl World {
    pub(super) fn update_domain(&mut self, ours: &Ours, spec: &DomainSpec) -> Result<(), Trouble> {
        let domain = self.domain(ours)?;
        let (name, autostart) = (domain.spec.name.clone(), domain.spec.autostart);
        domain.spec = DomainSpec { name, autostart, ..spec.clone() };
        Ok(())
    }

    pub(super) fn mark_domain(
        &mut self,
        uuid: Uuid,
        name: &str,
        mark: &Mark,
    ) -> Result<(), Trouble> {
        let absent = || Trouble::failed(format!("libvirt has no domain with UUID {uuid}"));
        let domain = self.domains.get_mut(&uuid).ok_or_else(absent)?;
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

    pub(super) fn rename_domain(&mut self, ours: &Ours, spec: &DomainSpec) -> Result<(), Trouble> {
        let done = |domain: &WorldDomain| {
            domain.marked && domain.spec.name == spec.name && domain.spec.mark == spec.mark
        };
        if self.domains.get(&ours.uuid).is_some_and(done) {
            return Ok(());
        }
        let mut others = self.domains.values().filter(|other| other.spec.uuid != ours.uuid);
        if others.any(|other| other.spec.name == spec.name) {
            let why = format!("domain '{}' already exists with uuid", spec.name);
            return Err(Trouble::conflict(why));
        }
        let domain = self.domain(ours)?;
        if matches!(domain.state, DomainState::Running | DomainState::Paused) {
            return Err(Trouble::conflict(format!("domain {} runs", domain.spec.name)));
        }
        domain.spec.name.clone_from(&spec.name);
        domain.spec.mark = spec.mark.clone();
        Ok(())
    }

    pub(super) fn grow_volume(
        &mut self,
        ours: &Ours,
        name: &str,
        size: Size,
    ) -> Result<(), Trouble> {
        self.domain(ours)?;
        let absent = || Trouble::failed(format!("no volume {name}"));
        let volume = self.volumes.get_mut(name).ok_or_else(absent)?;
        if size < volume.capacity {
            return Err(Trouble::conflict("a volume is never made smaller"));
        }
        volume.capacity = size;
        Ok(())
    }

    pub(super) fn restore_domain(&mut self, ours: &Ours, xml: &str) -> Result<(), Trouble> {
        if self.domains.contains_key(&ours.uuid) {
            return self.domain(ours).map(drop);
        }
        let kept: DomainSpec = serde_json::from_str(xml).map_err(Trouble::failed)?;
        self.define_domain(&kept)
    }
}
