//! Our pool and its volumes as libvirt is told to make them.

use super::{
    storage::Owner,
    xml::{Tag, bytes, parsed, tag, text},
};
use crate::{
    host::trouble::Trouble,
    model::{Size, VolumeSpec, VolumeView},
};

/// Returns the XML of our pool; the directory belongs to the SSH user, and QEMU may pass through.
pub(super) fn pool_xml(name: &str, path: &str, owner: Owner) -> Result<String, Trouble> {
    tag("pool")
        .with("type", "dir")
        .child(tag("name").text(name))
        .child(tag("target").child(tag("path").text(path)).child(permissions(owner, "0711")))
        .xml()
}

/// Returns the directory of a pool.
pub(super) fn pool_path(xml: &str) -> Result<String, Trouble> {
    let document = parsed(xml)?;
    let path = text(document.root_element(), &["target", "path"]);
    path.map(str::to_owned).ok_or_else(|| Trouble::failed("the pool has no path"))
}

/// Returns the XML of a qcow2 volume; QEMU gets it from libvirt when its domain starts.
pub(super) fn volume_xml(spec: &VolumeSpec, pool: &str, owner: Owner) -> Result<String, Trouble> {
    let qcow2 = || tag("format").with("type", "qcow2");
    let volume = tag("volume")
        .child(tag("name").text(&spec.name))
        .child(tag("capacity").with("unit", "bytes").text(spec.size.bytes()))
        .child(tag("allocation").with("unit", "bytes").text(0))
        .child(
            // libvirt makes version 2 (`0.10`) by default.
            tag("target")
                .child(qcow2())
                .child(permissions(owner, "0600"))
                .child(tag("compat").text("1.1")),
        );
    match &spec.backing {
        None => volume,
        Some(backing) => volume.child(
            tag("backingStore").child(tag("path").text(format!("{pool}/{backing}"))).child(qcow2()),
        ),
    }
    .xml()
}

fn permissions(owner: Owner, mode: &str) -> Tag {
    tag("permissions")
        .child(tag("mode").text(mode))
        .child(tag("owner").text(owner.uid))
        .child(tag("group").text(owner.gid))
}

/// Returns a volume as libvirt sees it.
pub(super) fn volume_view(xml: &str) -> Result<VolumeView, Trouble> {
    let document = parsed(xml)?;
    let root = document.root_element();
    let capacity = bytes(root, &["capacity"])
        .ok_or_else(|| Trouble::failed("libvirt's XML of a volume lacks its capacity"))?;
    Ok(VolumeView {
        used: Size::from_bytes(bytes(root, &["allocation"]).unwrap_or_default()),
        capacity: Size::from_bytes(capacity),
        backing: text(root, &["backingStore", "path"])
            .filter(|path| !path.is_empty())
            .map(str::to_owned),
    })
}
