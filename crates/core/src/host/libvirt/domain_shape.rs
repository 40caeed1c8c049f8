//! What libvirt says of a domain, reduced to what we manage.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

use super::{
    storage::POOL,
    xml::{attribute, bytes, child, children, compact, mark_of, parsed, text},
};
use crate::{
    host::trouble::Trouble,
    model::{Digest, DomainShape, Mark, NicSource, NicSpec, Size},
};

/// Returns the file that lies under a file, as far as that one's own header says.
pub(crate) type Under<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Returns the shape of a domain, and our mark when it bears one. Where its XML does not say what
/// lies under a disk, the files themselves may.
pub(super) fn shape_of(
    xml: &str,
    under: Under<'_>,
) -> Result<(DomainShape, Option<Mark>), Trouble> {
    shape_in(&parsed(xml)?, under)
}

/// Returns the shape of the domain of a document, and our mark.
pub(super) fn shape_in(
    document: &Document<'_>,
    under: Under<'_>,
) -> Result<(DomainShape, Option<Mark>), Trouble> {
    let root = document.root_element();
    let shape = read(root, under).ok_or_else(|| {
        let name = text(root, &["name"]).unwrap_or_default();
        Trouble::failed(format!("the XML of domain {name} lacks what every domain has"))
    })?;
    Ok((shape, mark_of(root)))
}

fn read(root: Node<'_, '_>, under: Under<'_>) -> Option<DomainShape> {
    let devices = child(root, "devices")?;
    let disks = drives(devices, |device| device != "cdrom" && device != "floppy");
    let cdroms = drives(devices, |device| device == "cdrom");
    let (nics, other_nics) = interfaces(devices);
    Some(DomainShape {
        cpus: text(root, &["vcpu"])?.parse().ok()?,
        memory: Size::from_bytes(bytes(root, &["memory"])?),
        kind: root.attribute("type")?.to_owned(),
        uefi: attribute(root, &["os"], "firmware") == Some("efi")
            || attribute(root, &["os", "loader"], "type") == Some("pflash"),
        beneath: disks.iter().flat_map(|(disk, file)| chain(*disk, file, under)).collect(),
        disks: disks.into_iter().map(|(_, file)| file).collect(),
        cdroms: cdroms.into_iter().map(|(_, file)| file).collect(),
        nics,
        other_nics,
    })
}

/// Returns drives and what they read, in order of target name; a drive without a medium is left out.
fn drives<'x, 'a>(
    devices: Node<'x, 'a>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<(Node<'x, 'a>, String)> {
    let mut found: Vec<_> = children(devices, "disk")
        .filter(|disk| wanted(disk.attribute("device").unwrap_or("disk")))
        .filter_map(|disk| Some((disk, source(disk)?)))
        .collect();
    found.sort_by_key(|(disk, source)| {
        let target = attribute(*disk, &["target"], "dev").unwrap_or_default();
        (target.len(), target, source.clone())
    });
    found
}

/// Returns the files under a disk's, from the top.
fn chain(disk: Node<'_, '_>, file: &str, under: Under<'_>) -> Vec<String> {
    // Longer ones are made by a loop.
    const MOST: usize = 200;
    let told: Vec<String> = layers(disk).filter_map(source).collect();
    if !told.is_empty() {
        return told;
    }
    std::iter::successors(under(file), |file| under(file)).take(MOST).collect()
}

/// Returns what a disk's XML says of the layers under it, from the top.
fn layers<'x, 'a>(disk: Node<'x, 'a>) -> impl Iterator<Item = Node<'x, 'a>> {
    let under = |layer: Node<'x, 'a>| child(layer, "backingStore");
    std::iter::successors(under(disk), move |layer| under(*layer))
}

/// Where a domain has a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the disk with this target.
    Disk(String),
    /// This file stands on it.
    Beneath(String),
    Nowhere,
}

/// Returns where a domain has a file of a directory that is our pool's.
pub(super) fn place_of(xml: &str, file: &str) -> Result<Place, Trouble> {
    let document = parsed(xml)?;
    let name = file.rsplit('/').next().unwrap_or_default();
    let is_it = |source: &str| source == file || source == format!("pool:{POOL}/{name}");
    let devices = child(document.root_element(), "devices").into_iter();
    for disk in devices.flat_map(|devices| children(devices, "disk")) {
        let Some(top) = source(disk) else { continue };
        if is_it(&top) {
            let target = attribute(disk, &["target"], "dev").unwrap_or_default();
            return Ok(Place::Disk(target.to_owned()));
        }
        if layers(disk).filter_map(source).any(|layer| is_it(&layer)) {
            return Ok(Place::Beneath(top));
        }
    }
    Ok(Place::Nowhere)
}

/// Returns what a disk or a layer under it reads: a file, a device, a volume of a pool, a network disk's name.
fn source(disk: Node<'_, '_>) -> Option<String> {
    let source = child(disk, "source")?;
    let value = |name: &str| source.attribute(name).map(str::to_owned);
    value("file").or_else(|| value("dev")).or_else(|| value("dir")).or_else(|| {
        match (value("pool"), value("volume")) {
            (Some(pool), Some(volume)) => Some(format!("pool:{pool}/{volume}")),
            _ => value("name"),
        }
    })
}

fn interfaces(devices: Node<'_, '_>) -> (Vec<NicSpec>, u32) {
    let mut nics = Vec::new();
    let mut others = 0;
    for interface in children(devices, "interface") {
        match nic(interface) {
            Some(nic) => nics.push(nic),
            None => others += 1,
        }
    }
    (nics, others)
}

fn nic(interface: Node<'_, '_>) -> Option<NicSpec> {
    let source = |name: &str| attribute(interface, &["source"], name).map(str::to_owned);
    let mac = attribute(interface, &["mac"], "address")?.parse().ok()?;
    // The live XML of a libvirt network that is a bridge of the host names both.
    let network = source("network").map(NicSource::Network);
    let source = match interface.attribute("type") {
        Some("network") => network?,
        Some("bridge") => network.or_else(|| source("bridge").map(NicSource::Bridge))?,
        _ => return None,
    };
    Some(NicSpec { mac, source })
}

/// Returns by what a definition is known again: its inactive XML, as everybody may read it (the
/// password of a console is no part of it). Controllers count in whatever order: libvirt 9.0 sorts
/// them when a domain is first started.
pub(super) fn fingerprint(definition: &str) -> Digest {
    let definition = compact(definition);
    // What cannot be read is known again to the letter.
    parsed(&definition)
        .map_or_else(|_| Digest::of([definition.as_bytes()]), |document| fingerprint_in(&document))
}

/// Returns by what the definition of this document, a compact one, is known again.
pub(super) fn fingerprint_in(document: &Document<'_>) -> Digest {
    let definition = document.input_text();
    let mut controllers = Vec::new();
    let mut rest = String::with_capacity(definition.len());
    let mut done = 0;
    let devices = children(document.root_element(), "devices");
    // Children of one parent never overlap.
    for controller in devices.flat_map(|devices| children(devices, "controller")) {
        let range = controller.range();
        rest.push_str(&definition[done..range.start]);
        controllers.push(&definition[range.clone()]);
        done = range.end;
    }
    rest.push_str(&definition[done..]);
    controllers.sort_unstable();
    Digest::of(std::iter::once(rest.as_bytes()).chain(controllers.iter().map(|one| one.as_bytes())))
}

/// Says whether a domain has an interface, of whatever type, on a libvirt network.
pub(super) fn is_attached_to(xml: &str, network: &str) -> Result<bool, Trouble> {
    let document = parsed(xml)?;
    let devices = child(document.root_element(), "devices").into_iter();
    let mut interfaces = devices.flat_map(|devices| children(devices, "interface"));
    Ok(interfaces.any(|nic| attribute(nic, &["source"], "network") == Some(network)))
}

/// Returns the disks that may stand on a file which the XML does not tell, as they are named. libvirt
/// takes one whose format is not told for a raw one, which stands on nothing.
pub(super) fn layered_disks(xml: &str) -> Result<BTreeSet<String>, Trouble> {
    disks_where(xml, |disk| {
        let format = attribute(disk, &["driver"], "type");
        format.is_some_and(|format| format != "raw") && child(disk, "backingStore").is_none()
    })
}

/// Returns the disks of which the XML tells all that is under them.
pub(super) fn told_disks(xml: &str) -> Result<BTreeSet<String>, Trouble> {
    disks_where(xml, |disk| child(disk, "backingStore").is_some())
}

/// Returns what disks read; volumes of our pool are left out, since its own list tells of them.
fn disks_where(xml: &str, wanted: fn(Node<'_, '_>) -> bool) -> Result<BTreeSet<String>, Trouble> {
    let document = parsed(xml)?;
    let devices = child(document.root_element(), "devices").into_iter();
    let disks = devices.flat_map(|devices| children(devices, "disk")).filter(|disk| wanted(*disk));
    let ours = format!("pool:{POOL}/");
    Ok(disks.filter_map(source).filter(|source| !source.starts_with(&ours)).collect())
}

/// Says whether a domain has a TPM whose state libvirt keeps: any but the host's own.
pub(super) fn has_tpm_state(xml: &str) -> Result<bool, Trouble> {
    let document = parsed(xml)?;
    let devices = child(document.root_element(), "devices").into_iter();
    let mut tpms = devices.flat_map(|devices| children(devices, "tpm"));
    Ok(tpms.any(|tpm| attribute(tpm, &["backend"], "type") != Some("passthrough")))
}

/// Returns every file a domain names, wherever: disks, chains under them, kernels, NVRAM; volumes
/// of our pool as files of its directory `pool`.
pub(super) fn files_of(xml: &str, pool: &str) -> Result<BTreeSet<String>, Trouble> {
    let document = parsed(xml)?;
    let mut files = BTreeSet::new();
    for element in document.descendants() {
        collect(element, pool, &mut files);
    }
    Ok(files)
}

fn collect(element: Node<'_, '_>, pool: &str, files: &mut BTreeSet<String>) {
    if matches!(element.tag_name().name(), "source" | "log") {
        let value = |name: &str| element.attribute(name);
        let named = ["file", "dev", "dir"].into_iter().filter_map(value);
        files.extend(named.map(str::to_owned));
        if let (Some(of), Some(volume)) = (value("pool"), value("volume"))
            && of == POOL
        {
            files.insert(format!("{pool}/{volume}"));
        }
    }
    if matches!(element.tag_name().name(), "kernel" | "initrd" | "nvram" | "loader") {
        files.extend(element.text().map(|text| text.trim().to_owned()));
    }
}

#[cfg(test)]
#[path = "domain_shape_tests.rs"]
pub(super) mod tests;
