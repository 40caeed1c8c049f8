//! Changes of a domain that is there: its inactive XML is patched, never made anew.

use uuid::Uuid;

use super::Libvirt;
use crate::{
    host::trouble::Trouble,
    model::{DomainPatch, DomainSpec, Mark, Ours, Size},
};

impl Libvirt {
    pub(crate) async fn update_domain(
        &self,
        domain: &Ours,
        patch: &DomainPatch,
        pool: &str,
    ) -> Result<(), Trouble> {
        drop((domain, patch, pool));
        Err(Trouble::failed("not made yet"))
    }

    pub(crate) async fn mark_domain(
        &self,
        uuid: Uuid,
        name: &str,
        mark: &Mark,
    ) -> Result<(), Trouble> {
        drop((uuid, name, mark));
        Err(Trouble::failed("not made yet"))
    }

    pub(crate) async fn rename_domain(
        &self,
        domain: &Ours,
        spec: &DomainSpec,
    ) -> Result<(), Trouble> {
        drop((domain, spec));
        Err(Trouble::failed("not made yet"))
    }

    pub(crate) async fn grow_volume(
        &self,
        domain: &Ours,
        path: &str,
        size: Size,
    ) -> Result<(), Trouble> {
        drop((domain, path, size));
        Err(Trouble::failed("not made yet"))
    }

    pub(crate) async fn restore_domain(&self, domain: &Ours, xml: &str) -> Result<(), Trouble> {
        drop((domain, xml));
        Err(Trouble::failed("not made yet"))
    }
}
