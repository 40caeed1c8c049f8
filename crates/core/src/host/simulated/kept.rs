//! What a simulated host kept, and what its files hold.

use super::World;
use crate::{
    host::trouble::Trouble,
    model::{DomainShape, DomainSpec, KeptDomain},
};

impl World {
    /// Returns a file: of the pool, or any other.
    pub(super) fn file(&self, path: &str) -> Option<&Vec<u8>> {
        let volume = path.strip_prefix(&self.pool_path).and_then(|rest| rest.strip_prefix('/'));
        volume.and_then(|name| self.contents.get(name)).or_else(|| self.files.get(path))
    }

    /// The simulation's XML is the spec, alone or with what hands added to it.
    pub(super) fn kept_domain(&self, xml: &str) -> Result<KeptDomain, Trouble> {
        let kept: serde_json::Value = serde_json::from_str(xml).map_err(Trouble::failed)?;
        let spec = kept.get("spec").unwrap_or(&kept).clone();
        let marked = kept.get("marked").and_then(serde_json::Value::as_bool).unwrap_or(true);
        let spec: DomainSpec = serde_json::from_value(spec).map_err(Trouble::failed)?;
        Ok(KeptDomain {
            shape: DomainShape::of(&spec, &self.pool_path),
            name: spec.name,
            uuid: spec.uuid,
            mark: Some(spec.mark).filter(|_| marked),
        })
    }
}
