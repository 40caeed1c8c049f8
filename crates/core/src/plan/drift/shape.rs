//! In what one definition differs from another, field by field.

use super::{FieldChange, ShapeField};
use crate::model::{DomainShape, NicSource, NicSpec};

/// Returns what changed from one shape to the other; `short` names files.
pub(super) fn changes(
    was: &DomainShape,
    is: &DomainShape,
    short: &dyn Fn(&str) -> String,
) -> Vec<FieldChange> {
    let firmware = |shape: &DomainShape| if shape.uefi { "uefi" } else { "bios" }.to_owned();
    let values = [
        (ShapeField::Cpus, was.cpus.to_string(), is.cpus.to_string()),
        (ShapeField::Memory, was.memory.to_string(), is.memory.to_string()),
        (ShapeField::Firmware, firmware(was), firmware(is)),
        (ShapeField::Accel, was.kind.clone(), is.kind.clone()),
    ];
    let changed = values.into_iter().filter(|(_, from, to)| from != to);
    let mut all: Vec<_> = changed
        .map(|(field, from, to)| FieldChange { field, from: Some(from), to: Some(to) })
        .collect();
    all.extend(files(ShapeField::Disk, &was.disks, &is.disks, short));
    all.extend(files(ShapeField::Cdrom, &was.cdroms, &is.cdroms, short));
    all.extend(nics(&was.nics, &is.nics));
    if was.other_nics != is.other_nics {
        all.push(FieldChange {
            field: ShapeField::OtherNics,
            from: Some(was.other_nics.to_string()),
            to: Some(is.other_nics.to_string()),
        });
    }
    all
}

/// Returns the fields in which what runs is not what is defined. A medium that a guest ejected is
/// none, nor an interface of a kind that libvirt shows differently once it runs.
pub(super) fn pending(
    live: &DomainShape,
    defined: &DomainShape,
    short: &dyn Fn(&str) -> String,
) -> Vec<FieldChange> {
    let mut fields = changes(live, defined, short);
    fields.retain(|one| !matches!(one.field, ShapeField::Cdrom | ShapeField::OtherNics));
    fields
}

/// Files that went and came; their order says nothing.
fn files(
    field: ShapeField,
    was: &[String],
    is: &[String],
    short: &dyn Fn(&str) -> String,
) -> Vec<FieldChange> {
    let mut came: Vec<&String> = is.iter().collect();
    let mut all = Vec::new();
    for file in was {
        match came.iter().position(|other| *other == file) {
            Some(at) => drop(came.remove(at)),
            None => all.push(FieldChange { field, from: Some(short(file)), to: None }),
        }
    }
    let came = came.into_iter();
    all.extend(came.map(|file| FieldChange { field, from: None, to: Some(short(file)) }));
    all
}

/// Interfaces are known by their MACs.
fn nics(was: &[NicSpec], is: &[NicSpec]) -> Vec<FieldChange> {
    let mut came: Vec<&NicSpec> = is.iter().collect();
    let mut all = Vec::new();
    let change = |from, to| FieldChange { field: ShapeField::Nic, from, to };
    for nic in was {
        let there = came.iter().position(|other| other.mac == nic.mac).map(|at| came.remove(at));
        match there {
            Some(there) if there.source == nic.source => {}
            there => all.push(change(Some(in_words(nic)), there.map(in_words))),
        }
    }
    all.extend(came.into_iter().map(|nic| change(None, Some(in_words(nic)))));
    all
}

fn in_words(nic: &NicSpec) -> String {
    match &nic.source {
        NicSource::Bridge(name) => format!("{} on bridge {name}", nic.mac),
        NicSource::Network(name) => format!("{} on network {name}", nic.mac),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic(last: u8, source: &str) -> NicSpec {
        let mac = format!("52:54:00:00:00:{last:02x}").parse().unwrap();
        NicSpec { mac, source: NicSource::Bridge(source.to_owned()) }
    }

    fn words(was: &DomainShape, is: &DomainShape) -> Vec<String> {
        changes(was, is, &str::to_owned).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn order_says_nothing_and_doubles_count() {
        let shape = |disks: &[&str], nics: &[NicSpec]| DomainShape {
            disks: disks.iter().map(|name| (*name).to_owned()).collect(),
            nics: nics.to_vec(),
            ..DomainShape::default()
        };
        let was = shape(&["/a", "/b"], &[nic(1, "br0"), nic(2, "br0")]);
        let turned = shape(&["/b", "/a"], &[nic(2, "br0"), nic(1, "br0")]);
        assert_eq!(words(&was, &turned), Vec::<String>::new());
        let other = shape(&["/b", "/b"], &[nic(2, "br1"), nic(3, "br0")]);
        let said = [
            "disk: /a -> none",
            "disk: none -> /b",
            "nic: 52:54:00:00:00:01 on bridge br0 -> none",
            "nic: 52:54:00:00:00:02 on bridge br0 -> 52:54:00:00:00:02 on bridge br1",
            "nic: none -> 52:54:00:00:00:03 on bridge br0",
        ];
        assert_eq!(words(&was, &other), said);
    }

    #[test]
    fn an_ejected_medium_waits_for_no_restart() {
        let defined = DomainShape { cdroms: vec!["/seed".into()], ..DomainShape::default() };
        assert_eq!(pending(&DomainShape::default(), &defined, &str::to_owned), []);
        let live = DomainShape { cpus: 2, ..defined.clone() };
        let said: Vec<_> =
            pending(&live, &defined, &str::to_owned).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["cpus: 2 -> 0"]);
    }
}
