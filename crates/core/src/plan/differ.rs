//! In what a VM that is there differs from what is wanted.

use std::{collections::BTreeSet, fmt::Display};

use super::vm::Look;
use crate::{
    model::{
        Disk, DiskName, DomainShape, DomainSpec, Field, Impact, Mac, NicSource, NicSpec, VolumeView,
    },
    state::{DiskRecord, VmRecord},
};

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// The field, as the table names it.
    pub(super) field: &'static str,
    /// What changing it does to a VM that runs.
    pub(super) impact: Impact,
    /// What is there.
    pub(super) from: String,
    /// What is wanted.
    pub(super) to: String,
}

fn difference(path: &str, from: impl Display, to: impl Display) -> Difference {
    let field = Field::of(path).expect("the planner names fields of the table");
    let (from, to) = (from.to_string(), to.to_string());
    Difference { field: field.path, impact: field.impact, from, to }
}

/// Returns in what a domain's definition differs from the spec.
pub(super) fn differences(look: &Look<'_>, spec: &DomainSpec) -> Vec<Difference> {
    let (Some(found), Some(pool)) = (look.found, look.view.pool.as_ref()) else {
        return Vec::new();
    };
    let (have, want) = (&found.defined, DomainShape::of(spec, &pool.path));
    let mut all = machine(have, &want);
    all.extend(disks(look, have, &want));
    let ours = |nics: &[NicSpec]| known_nics(look, nics);
    let same_nics = ours(&have.nics) == ours(&want.nics);
    if !same_nics {
        let text =
            |nics: Vec<String>| if nics.is_empty() { "none".into() } else { nics.join(", ") };
        all.push(difference("nic", text(ours(&have.nics)), text(ours(&want.nics))));
    }
    if let Some(mark) = &found.mark {
        if mark.digest != spec.mark.digest {
            all.push(difference("cloud_init", "as at first boot", "as declared"));
        }
        // The addresses of a NIC that comes or goes are told with it.
        if mark.network != spec.mark.network && same_nics {
            all.push(difference("nic.address", "as at its last start", "as declared"));
        }
    }
    all
}

fn machine(have: &DomainShape, want: &DomainShape) -> Vec<Difference> {
    let mut all = Vec::new();
    if have.cpus != want.cpus {
        all.push(difference("cpus", have.cpus, want.cpus));
    }
    if have.memory != want.memory {
        all.push(difference("memory", have.memory, want.memory));
    }
    if have.uefi != want.uefi {
        let word = |uefi| if uefi { "uefi" } else { "bios" };
        all.push(difference("firmware", word(have.uefi), word(want.uefi)));
    }
    if have.kind != want.kind {
        let (from, to) = (have.kind.clone(), want.kind.clone());
        all.push(Difference { field: "accel of its host", impact: Impact::Restart, from, to });
    }
    all
}

/// What is said of a disk that nobody wants and that is not there.
const GONE: &str = "none, and its volume is gone";

/// Disks by name: those that come, those that go, those that are of another size or image.
fn disks(look: &Look<'_>, have: &DomainShape, want: &DomainShape) -> Vec<Difference> {
    let Some(pool) = &look.view.pool else { return Vec::new() };
    let attached = |path: &String| have.disks.contains(path);
    let mut all = Vec::new();
    for (disk, decided) in look.vm.disks.iter().zip(&look.decision.disks) {
        let path = format!("{}/{}", pool.path, decided.volume);
        if !attached(&path) {
            all.push(Difference {
                impact: Impact::Restart,
                ..difference("disk", "none", format!("{} of {}", disk.name, disk.size))
            });
        }
        if let Some(volume) = pool.volumes.get(&decided.volume) {
            all.extend(volume_differences(look, disk, volume));
        }
    }
    for disk in leaving(look) {
        let path = format!("{}/{}", pool.path, disk.volume);
        let (impact, to) = match (look.is_there(&disk.volume), is_kept(look, &disk.name)) {
            (true, true) => (Impact::Restart, "kept, no longer attached"),
            (true, false) => (Impact::DataLoss, "none"),
            (false, true) if disk.there => (Impact::DataLoss, GONE),
            (false, _) if attached(&path) => (Impact::Restart, GONE),
            (false, _) => (Impact::Live, GONE),
        };
        all.push(Difference { impact, ..difference("disk", &disk.name, to) });
    }
    // The seed's name changes with a rebuild only; somebody may have taken its drive away.
    if have.cdroms.first() != want.cdroms.first() {
        let text = |cdroms: &[String]| cdroms.first().cloned().unwrap_or_else(|| "none".into());
        all.push(Difference {
            impact: Impact::Restart,
            ..difference("cloud_init", text(&have.cdroms), text(&want.cdroms))
        });
    }
    all
}

/// Returns how a volume that is there differs from the disk that is wanted.
pub(super) fn volume_differences(
    look: &Look<'_>,
    disk: &Disk,
    volume: &VolumeView,
) -> Vec<Difference> {
    let mut all = Vec::new();
    if volume.capacity != disk.size {
        all.push(difference("disk.size", volume.capacity, disk.size));
    }
    let pool = look.view.pool.as_ref().map(|pool| pool.path.as_str()).unwrap_or_default();
    let image = (disk.name.as_str() == "root").then(|| look.image());
    let backing = image.map(|image| format!("{pool}/{image}"));
    if volume.backing != backing {
        let name = |path: &Option<String>| path.clone().unwrap_or_else(|| "none".into());
        all.push(difference("image", name(&volume.backing), name(&backing)));
    }
    all
}

/// Returns the disks of the record that the text no longer has.
pub(super) fn leaving<'a>(look: &Look<'a>) -> impl Iterator<Item = &'a DiskRecord> {
    let wanted: BTreeSet<&DiskName> = look.vm.disks.iter().map(|disk| &disk.name).collect();
    let recorded = look.record.map(|record| record.disks.as_slice()).unwrap_or_default();
    recorded.iter().filter(move |disk| !wanted.contains(&disk.name))
}

/// Says whether a disk outlives its VM, as far as the state or the domain's own mark says.
pub(super) fn is_kept(look: &Look<'_>, disk: &DiskName) -> bool {
    let marked = look.found.and_then(|found| found.mark.as_ref());
    recorded_keep(look.record, disk) == Some(true)
        || marked.is_some_and(|mark| mark.keep.contains(disk))
}

/// Returns whether the state says that a disk outlives its VM.
pub(super) fn recorded_keep(record: Option<&VmRecord>, disk: &DiskName) -> Option<bool> {
    let recorded = record?.disks.iter().find(|recorded| recorded.name == *disk)?;
    Some(recorded.keep)
}

/// Returns in what a running machine differs from its definition: it becomes so at its next start.
pub(super) fn pending_restart(look: &Look<'_>) -> Vec<String> {
    let Some(found) = look.found else { return Vec::new() };
    let Some(live) = &found.live else { return Vec::new() };
    stale_fields(&found.defined, live)
}

/// Returns the fields in which what runs is not what is defined.
pub(super) fn stale_fields(defined: &DomainShape, live: &DomainShape) -> Vec<String> {
    let mut fields: Vec<String> =
        machine(live, defined).into_iter().map(|one| one.field.to_owned()).collect();
    if live.disks != defined.disks {
        fields.push("disk".to_owned());
    }
    if in_words(live.nics.iter()) != in_words(defined.nics.iter()) {
        fields.push("nic".to_owned());
    }
    fields
}

/// Returns the MACs that are a VM's interfaces' now, and those that were and are to go.
pub(super) fn known_macs(look: &Look<'_>) -> BTreeSet<Mac> {
    let applied = look.world.snapshot.decisions.vms.get(look.recorded_name());
    let nics = look.decision.nics.iter().chain(applied.into_iter().flat_map(|old| &old.nics));
    nics.map(|nic| nic.mac).collect()
}

/// Interfaces that are ours; what was added by hand is nobody's wish.
fn known_nics(look: &Look<'_>, nics: &[NicSpec]) -> Vec<String> {
    let known = known_macs(look);
    in_words(nics.iter().filter(|nic| known.contains(&nic.mac)))
}

/// Interfaces in the order of their MACs: that of the devices says nothing.
fn in_words<'a>(nics: impl Iterator<Item = &'a NicSpec>) -> Vec<String> {
    let nic = |nic: &NicSpec| match &nic.source {
        NicSource::Bridge(name) | NicSource::Network(name) => format!("{} on {name}", nic.mac),
    };
    let mut words: Vec<_> = nics.map(nic).collect();
    words.sort();
    words
}
