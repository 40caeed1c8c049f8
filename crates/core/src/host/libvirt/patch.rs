//! What a domain is defined as, changed in what a spec manages and in nothing else.

use std::collections::BTreeSet;

use roxmltree::Node;

use super::{
    domain_xml::{cdrom, cpu_mode, disk, domain_mark, domain_type, interface, scsi_controller},
    edit::Edits,
    storage::POOL,
    xml::{self, child, children, mark_element, parsed, tag},
};
use crate::{
    host::trouble::Trouble,
    model::{DomainSpec, Mac, Mark, NicSource, NicSpec, VmName, nic_mac},
};

/// Returns a domain's XML with what the spec manages as the spec says; `None` when it is so
/// already. The pool's directory is `pool`.
pub(super) fn patched(
    text: &str,
    spec: &DomainSpec,
    pool: &str,
) -> Result<Option<String>, Trouble> {
    let document = parsed(text)?;
    let root = document.root_element();
    let lacks = || Trouble::failed("the domain's XML lacks what every domain has");
    let devices = child(root, "devices").ok_or_else(lacks)?;
    let mut patch = Patch { edits: Edits::of(text), root, devices, spec, pool };
    patch.processors().ok_or_else(lacks)?;
    patch.memory().ok_or_else(lacks)?;
    patch.accelerator();
    patch.disks()?;
    patch.seed()?;
    // Which interfaces are ours stands in the mark that is there.
    patch.interfaces()?;
    patch.mark()?;
    Ok(patch.edits.written())
}

struct Patch<'a, 'x> {
    edits: Edits<'a>,
    root: Node<'x, 'a>,
    devices: Node<'x, 'a>,
    spec: &'a DomainSpec,
    pool: &'a str,
}

/// Returns the attribute of an element's first child of that name.
fn attribute<'x>(parent: Node<'x, '_>, element: &str, name: &str) -> Option<&'x str> {
    child(parent, element)?.attribute(name)
}

impl<'a, 'x> Patch<'a, 'x> {
    fn processors(&mut self) -> Option<()> {
        let vcpu = child(self.root, "vcpu")?;
        let cpus = self.spec.cpus.to_string();
        if vcpu.text()?.trim() != cpus {
            // A list of single processors must be as long as their number.
            if let Some(list) = child(self.root, "vcpus") {
                self.edits.remove(list);
            }
            self.edits.set_text(vcpu, cpus);
        }
        self.edits.unset(vcpu, "current");
        Some(())
    }

    /// A guest without `<currentMemory>` has all of its memory, which is what the spec says.
    fn memory(&mut self) -> Option<()> {
        let memory = child(self.root, "memory")?;
        for node in [Some(memory), child(self.root, "currentMemory")].into_iter().flatten() {
            self.edits.set(node, "unit", "KiB");
            self.edits.set_text(node, self.spec.memory.kib());
        }
        Some(())
    }

    /// A processor that somebody described in another way than we do is left as it is.
    fn accelerator(&mut self) {
        let kind = domain_type(self.spec);
        if self.root.attribute("type") == Some(kind) {
            return;
        }
        self.edits.set(self.root, "type", kind);
        if let Some(cpu) = child(self.root, "cpu")
            && matches!(cpu.attribute("mode"), Some("maximum" | "host-passthrough"))
        {
            self.edits.set(cpu, "mode", cpu_mode(self.spec));
            self.edits.unset(cpu, "check");
            self.edits.unset(cpu, "migratable");
        }
    }

    /// Returns the file of our pool that a drive reads.
    fn volume_of(&self, drive: Node<'x, 'a>) -> Option<&'x str> {
        let source = child(drive, "source")?;
        if source.attribute("pool") == Some(POOL) {
            return source.attribute("volume");
        }
        self.volume_at(source.attribute("file")?)
    }

    fn volume_at<'p>(&self, path: &'p str) -> Option<&'p str> {
        let name = path.strip_prefix(self.pool)?.strip_prefix('/')?;
        (!name.contains('/')).then_some(name)
    }

    fn drives(&self, wanted: fn(&str) -> bool) -> impl Iterator<Item = Node<'x, 'a>> + use<'a, 'x> {
        let disks = children(self.devices, "disk");
        disks.filter(move |disk| wanted(disk.attribute("device").unwrap_or("disk")))
    }

    fn disks(&mut self) -> Result<(), Trouble> {
        let mut there = BTreeSet::new();
        let mut last = None;
        for drive in self.drives(|device| device == "disk") {
            last = Some(drive);
            let Some(volume) = self.volume_of(drive) else { continue };
            if self.spec.disks.iter().any(|disk| disk.volume == volume) {
                there.insert(volume);
                continue;
            }
            self.refuse_overlay(drive, volume)?;
            self.edits.remove(drive);
        }
        let missing = self.spec.disks.iter().filter(|disk| !there.contains(disk.volume.as_str()));
        let first = self.next_target("vd");
        for (index, spec) in missing.enumerate() {
            let new = disk(spec, first + index, self.pool);
            match last {
                Some(last) => self.edits.put_after(last, &new)?,
                None => self.edits.append(self.devices, &new)?,
            }
        }
        Ok(())
    }

    /// To put our volume back under its name would lose what was written to the overlay since.
    fn refuse_overlay(&self, drive: Node<'_, '_>, overlay: &str) -> Result<(), Trouble> {
        let beneath = drive
            .descendants()
            .filter(|node| node.parent().is_some_and(|parent| parent.has_tag_name("backingStore")))
            .filter_map(|node| self.volume_at(node.attribute("file")?));
        let is_ours = |volume: &&str| self.spec.disks.iter().any(|disk| disk.volume == **volume);
        let Some(volume) = beneath.into_iter().find(is_ours) else { return Ok(()) };
        let hint = "somebody made an external snapshot: virsh blockcommit … --active --pivot";
        Err(Trouble::conflict(format!("{overlay} stands on its disk {volume}")).hint(hint))
    }

    /// Returns the index behind the last target of a kind that stays.
    fn next_target(&self, prefix: &str) -> usize {
        let stays = |disk: &Node<'_, '_>| {
            self.volume_of(*disk).is_none_or(|volume| {
                disk.attribute("device").is_some_and(|device| device != "disk")
                    || self.spec.disks.iter().any(|disk| disk.volume == volume)
            })
        };
        let targets = children(self.devices, "disk").filter(stays);
        let indices =
            targets.filter_map(|disk| index_of(attribute(disk, "target", "dev")?, prefix));
        indices.max().map_or(0, |last| last + 1)
    }

    /// Of the CD-ROM drives the first with a medium from our pool is the seed's.
    fn seed(&mut self) -> Result<(), Trouble> {
        let drive = self.drives(|device| device == "cdrom").find(|d| self.volume_of(*d).is_some());
        match (drive, &self.spec.seed) {
            (None, None) => {}
            (Some(drive), None) => self.edits.remove(drive),
            (Some(drive), Some(seed)) if self.volume_of(drive) == Some(seed) => {}
            (Some(drive), Some(seed)) => {
                if let Some(source) = child(drive, "source") {
                    self.edits.set(drive, "type", "file");
                    self.edits.unset(source, "pool");
                    self.edits.unset(source, "volume");
                    self.edits.set(source, "file", format!("{}/{seed}", self.pool));
                }
            }
            (None, Some(seed)) => {
                let drive = cdrom(seed, self.next_target("sd"), self.pool);
                self.edits.append(self.devices, &drive)?;
                let mut controllers = children(self.devices, "controller");
                if !controllers.any(|controller| controller.attribute("type") == Some("scsi")) {
                    self.edits.append(self.devices, &scsi_controller())?;
                }
            }
        }
        Ok(())
    }

    fn interfaces(&mut self) -> Result<(), Trouble> {
        let was_ours = self.our_macs();
        let mut there = BTreeSet::new();
        let mut last = None;
        for nic in children(self.devices, "interface") {
            last = Some(nic);
            let mac = attribute(nic, "mac", "address").and_then(|mac| mac.parse::<Mac>().ok());
            let Some(mac) = mac else { continue };
            match self.spec.nics.iter().find(|spec| spec.mac == mac) {
                Some(spec) => {
                    there.insert(mac);
                    self.attach(nic, spec)?;
                }
                None if was_ours.contains(&mac) => self.edits.remove(nic),
                None => {}
            }
        }
        for spec in self.spec.nics.iter().filter(|spec| !there.contains(&spec.mac)) {
            match last {
                Some(last) => self.edits.put_after(last, &interface(spec))?,
                None => self.edits.append(self.devices, &interface(spec))?,
            }
        }
        Ok(())
    }

    /// Returns the MACs of the interfaces that we gave it: those its mark names, or, where it does
    /// not say, those that a VM of its name is given.
    fn our_macs(&self) -> BTreeSet<Mac> {
        const MOST: usize = 16;
        if let Some(named) = mark_element(self.root).and_then(|mark| mark.attribute(xml::NICS)) {
            return named.split_whitespace().filter_map(|mac| mac.parse().ok()).collect();
        }
        let Mark { fleet, name, .. } = &self.spec.mark;
        let Ok(vm) = name.parse::<VmName>() else { return BTreeSet::new() };
        (0..MOST).map(|index| nic_mac(*fleet, &vm, index, 0)).collect()
    }

    fn attach(&mut self, nic: Node<'_, '_>, spec: &NicSpec) -> Result<(), Trouble> {
        let (kind, wanted) = match &spec.source {
            NicSource::Bridge(bridge) => ("bridge", bridge),
            NicSource::Network(network) => ("network", network),
        };
        let is_kind = nic.attribute("type") == Some(kind);
        match child(nic, "source") {
            Some(source) if is_kind => self.edits.set(source, kind, wanted),
            Some(source) => self.edits.replace(source, &tag("source").with(kind, wanted))?,
            None => self.edits.append(nic, &tag("source").with(kind, wanted))?,
        }
        self.edits.set(nic, "type", kind);
        Ok(())
    }

    fn mark(&mut self) -> Result<(), Trouble> {
        let wanted = domain_mark(self.spec);
        match (mark_element(self.root), child(self.root, "metadata")) {
            (Some(mark), _) if wanted.has_attributes_of(mark) => Ok(()),
            (Some(mark), _) => self.edits.replace(mark, &wanted),
            (None, Some(metadata)) => self.edits.append(metadata, &wanted),
            (None, None) => {
                let behind = child(self.root, "uuid").or_else(|| child(self.root, "name"));
                let metadata = tag("metadata").child(wanted);
                match behind {
                    Some(behind) => self.edits.put_after(behind, &metadata),
                    None => self.edits.append(self.root, &metadata),
                }
            }
        }
    }
}

/// `vda` is 0, `vdz` 25, `vdaa` 26.
fn index_of(target: &str, prefix: &str) -> Option<usize> {
    // A longer one is nobody's next.
    let letters = target.strip_prefix(prefix).filter(|letters| (1..=4).contains(&letters.len()))?;
    let index = letters.bytes().try_fold(0_usize, |index, letter| {
        let digit = letter.is_ascii_lowercase().then(|| usize::from(letter - b'a') + 1)?;
        Some(index * 26 + digit)
    })?;
    Some(index - 1)
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
