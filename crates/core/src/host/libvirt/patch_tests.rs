//! A domain with a history is patched: what the spec manages changes, and nothing else.

use super::*;
use crate::{
    host::libvirt::domain_shape::{self, shape_of},
    model::{Accel, DiskSpec, DomainShape, Firmware, Size},
};

const RICH: &str = include_str!("fixtures/rich.xml");
const POOL_PATH: &str = "/var/lib/libvirt/freehold";

/// What made the fixture, before hands came upon it.
fn spec() -> DomainSpec {
    let disk = |name: &str, backing: Option<&str>| DiskSpec {
        volume: format!("check-uefi.{name}.0"),
        backing: backing.map(str::to_owned),
    };
    let nic = |mac: &str, source| NicSpec { mac: mac.parse().unwrap(), source };
    DomainSpec {
        cpus: 2,
        firmware: Firmware::Bios,
        nvram: None,
        disks: vec![disk("root", Some("image.tiny.qcow2")), disk("data", None)],
        nics: vec![
            nic("32:a5:5e:0d:da:06", NicSource::Bridge("br0".to_owned())),
            nic("32:a5:5e:0d:da:07", NicSource::Network("back".to_owned())),
        ],
        ..domain_shape::tests::spec()
    }
}

/// The fixture as it is once its memory and CPUs are the spec's, which they are not at first.
fn settled() -> String {
    RICH.replace("65536", "131072").replace(" current='1'", "")
}

fn patch(text: &str, spec: &DomainSpec) -> Option<String> {
    patched(text, spec, POOL_PATH).unwrap()
}

/// Returns the lines that are only in one of both, trimmed, with their sign.
fn difference(before: &str, after: &str) -> Vec<String> {
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let (mut before, mut after) = (lines(before), lines(after));
    before.retain(|line| {
        let at = after.iter().position(|other| other == line);
        at.map(|at| after.remove(at)).is_none()
    });
    let gone = before.iter().map(|line| format!("-{line}"));
    gone.chain(after.iter().map(|line| format!("+{line}"))).collect()
}

#[test]
fn what_is_as_the_spec_says_is_left_alone() {
    assert_eq!(patch(&settled(), &spec()), None);
    assert_eq!(patch(RICH, &spec()), Some(settled()), "a stale count, and a balloon");
}

#[test]
fn processors_and_memory_change_and_nothing_else() {
    let wanted = DomainSpec { cpus: 3, memory: Size::from_mib(256), ..spec() };
    let text = patch(RICH, &wanted).unwrap();
    let expected = settled().replace("131072", "262144").replace(">2</vcpu>", ">3</vcpu>");
    assert_eq!(text, expected);
}

#[test]
fn what_runs_its_code_changes_with_its_processor() {
    let wanted = DomainSpec { accel: Accel::Kvm, ..spec() };
    let text = patch(RICH, &wanted).unwrap();
    let expected = settled()
        .replace("type='qemu' xmlns", "type='kvm' xmlns")
        .replace("mode='maximum' check='none' migratable='on'", "mode='host-passthrough'");
    assert_eq!(text, expected);
    let by_hand = settled().replace("mode='maximum'", "mode='custom'");
    assert!(patch(&by_hand, &wanted).unwrap().contains("<cpu mode='custom' check='none'"));
}

#[test]
fn disks_come_and_go_and_those_of_others_stay() {
    let mut wanted = spec();
    wanted.disks[1].volume = "check-uefi.more.0".to_owned();
    let text = patch(&settled(), &wanted).unwrap();
    let (shape, _) = shape_of(&text, &|_| None).unwrap();
    let file = |name: &str| format!("{POOL_PATH}/check-uefi.{name}.0");
    assert_eq!(shape.disks, [file("root"), "/srv/by-hand.raw".to_owned(), file("more")]);
    let changed = difference(&settled(), &text);
    assert!(changed.iter().any(|line| line.contains("vdd")), "{changed:#?}");
    assert!(!text.contains("check-uefi.data.0") && text.contains("<serial>one</serial>"));
}

#[test]
fn a_disk_on_which_an_overlay_stands_is_not_put_back() {
    let top = format!("<source file='{POOL_PATH}/check-uefi.root.s1'/><backingStore type='file'>");
    let under = format!("<source file='{POOL_PATH}/check-uefi.root.0'/>");
    let snapshot = settled().replacen(
        &format!("{under}\n      <backingStore type='file'>"),
        &format!("{top}{under}<backingStore type='file'>"),
        1,
    );
    let end = "<backingStore/>\n      </backingStore>";
    let snapshot = snapshot.replacen(end, &format!("{end}</backingStore>"), 1);
    let refused = patched(&snapshot, &spec(), POOL_PATH).unwrap_err();
    assert!(refused.source.to_string().contains("stands on its disk check-uefi.root.0"));
}

#[test]
fn the_seed_is_exchanged_in_its_own_drive() {
    let wanted = DomainSpec { seed: Some("check-uefi.seed.2".to_owned()), ..spec() };
    let text = patch(&settled(), &wanted).unwrap();
    assert_eq!(text, settled().replace("seed.1", "seed.2"));
    let without = patch(&settled(), &DomainSpec { seed: None, ..spec() }).unwrap();
    assert_eq!(shape_of(&without, &|_| None).unwrap().0.cdroms, ["/srv/debian.iso"]);
    let again = patch(&without, &spec()).unwrap();
    let (shape, _) = shape_of(&again, &|_| None).unwrap();
    assert_eq!(shape.cdroms, ["/srv/debian.iso", &format!("{POOL_PATH}/check-uefi.seed.1")]);
    assert_eq!(again.matches("virtio-scsi").count(), 1, "the controller that is there serves");
}

#[test]
fn interfaces_are_known_by_their_mac() {
    let mut wanted = spec();
    wanted.nics[0].source = NicSource::Network("lan".to_owned());
    wanted.nics[1].mac = "32:a5:5e:0d:da:08".parse().unwrap();
    let text = patch(&settled(), &wanted).unwrap();
    let (shape, _) = shape_of(&text, &|_| None).unwrap();
    let macs: Vec<_> = shape.nics.iter().map(|nic| nic.mac.to_string()).collect();
    assert_eq!(macs, ["32:a5:5e:0d:da:06", "52:54:00:12:34:56", "32:a5:5e:0d:da:08"]);
    assert_eq!(shape.nics[0], wanted.nics[0]);
    for kept in ["openvswitch", "<inbound average='1000'/>", "<link state='down'/>", "bus='0x01'"] {
        assert!(text.contains(kept), "{kept}");
    }
    assert!(text.contains(r#"nics="32:a5:5e:0d:da:06 32:a5:5e:0d:da:08""#));
}

#[test]
fn without_a_word_in_the_mark_only_derived_macs_are_ours() {
    let mut unsaid = spec();
    unsaid.nics.clear();
    let text = settled().replace(" nics=\"32:a5:5e:0d:da:06 32:a5:5e:0d:da:07\"", "");
    let nics = |text: &str| shape_of(text, &|_| None).unwrap().0.nics.len();
    assert_eq!(nics(&patch(&text, &unsaid).unwrap()), 3);
    let vm = "check-uefi".parse().unwrap();
    let derived = nic_mac(spec().mark.fleet, &vm, 1, 0).to_string();
    let text =
        text.replace("<mac address='32:a5:5e:0d:da:07'/>", &format!("<mac address='{derived}'/>"));
    assert_eq!(nics(&patch(&text, &unsaid).unwrap()), 2);
}

#[test]
fn the_mark_is_replaced_and_others_metadata_stays() {
    let mut wanted = spec();
    wanted.mark.incarnation = 2;
    wanted.mark.protect = true;
    wanted.mark.keep = vec!["data".parse().unwrap(), "root".parse().unwrap()];
    let text = patch(&settled(), &wanted).unwrap();
    assert_eq!(shape_of(&text, &|_| None).unwrap().1, Some(wanted.mark.clone()));
    assert_eq!(difference(&settled(), &text).len(), 2, "one line");
    assert!(text.contains("xl:href=\"a\" href=\"b\">two  spaces <b>and</b> mixed<"));
    let start = settled().find("<metadata>").unwrap();
    let end = settled().find("</metadata>").unwrap() + "</metadata>".len();
    let bare = format!("{}{}", &settled()[..start], &settled()[end..]);
    let marked = patch(&bare, &wanted).unwrap();
    assert_eq!(shape_of(&marked, &|_| None).unwrap().1, Some(wanted.mark));
}

#[test]
fn what_we_define_is_as_we_patch_it() {
    let (spec, pool) = (spec(), POOL_PATH);
    let text = super::super::domain_xml::domain_xml(&spec, pool).unwrap();
    assert_eq!(patch(&text, &spec), None);
    let mut larger = DomainSpec { cpus: 4, ..spec };
    larger.disks.push(DiskSpec { volume: "check-uefi.third.0".to_owned(), backing: None });
    let text = patch(&text, &larger).unwrap();
    assert_eq!(shape_of(&text, &|_| None).unwrap().0, DomainShape::of(&larger, pool));
}

#[test]
fn reads_targets_as_linux_names_them() {
    let read = ["vda", "vdz", "vdaa", "vdba", "vd", "sda", "vdA"].map(|name| index_of(name, "vd"));
    assert_eq!(read, [Some(0), Some(25), Some(26), Some(52), None, None, None]);
}
