//! Pools that are not ours: others' disks in them may stand on our files.

use std::collections::BTreeMap;

use virt::storage_pool::StoragePool;
use virt_sys as sys;

use super::{CallError, Libvirt, POOL, is_lost};
use crate::host::{
    libvirt::xml::{parsed, text},
    trouble::Trouble,
};

/// What libvirt's other active pools hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OtherPools {
    /// Paths of volumes as libvirt last read them, and their pools.
    pub(crate) files: BTreeMap<String, String>,
    /// Directories of pools whose volumes are files, and their pools.
    pub(crate) directories: BTreeMap<String, String>,
    /// A pool that libvirt cannot read.
    pub(crate) unread: Option<String>,
}

impl Libvirt {
    /// Returns what may lie in other pools. None is read anew: libvirt stops a pool where that fails.
    pub(crate) async fn other_pools(&self) -> Result<OtherPools, Trouble> {
        self.read(|connect| {
            let mut others = OtherPools::default();
            for pool in
                connect.list_all_storage_pools(sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)?
            {
                let name = pool.name()?;
                if name == POOL {
                    continue;
                }
                match volumes_of(&pool, &name, &mut others) {
                    Err(CallError::Virt(error)) if !is_lost(connect, &error) => {
                        tracing::debug!(name, %error, "a pool that cannot be read");
                        others.unread = Some(name);
                    }
                    read => read?,
                }
            }
            Ok(others)
        })
        .await
    }
}

fn volumes_of(pool: &StoragePool, name: &str, others: &mut OtherPools) -> Result<(), CallError> {
    let xml = pool.xml_desc(0)?;
    let document = parsed(&xml)?;
    let root = document.root_element();
    let target = text(root, &["target", "path"]).unwrap_or_default().trim_end_matches('/');
    let in_directory = matches!(root.attribute("type"), Some("dir" | "fs" | "netfs" | "vstorage"));
    for volume in pool.list_all_volumes(0)? {
        // The key of a file is where it really lies, of a logical volume an id.
        let key = volume.key()?;
        let path = if key.starts_with('/') { key } else { format!("{target}/{}", volume.name()?) };
        others.files.insert(path, name.to_owned());
    }
    if in_directory {
        others.directories.insert(target.to_owned(), name.to_owned());
    }
    Ok(())
}
