//! Shapes read back from what libvirt 9.0 made of our XML (`fixtures/`), and from others' XML.

use super::{super::domain_xml::domain_xml, *};
use crate::model::{Accel, DiskSpec, DomainSpec, Firmware};

const DIRECTORY: &str = "/var/lib/libvirt/freehold";

/// What made the fixtures.
pub(in crate::host::libvirt) fn spec() -> DomainSpec {
    DomainSpec {
        uuid: "49c9161e-5158-4034-b9e3-bca8f9ccfb5b".parse().unwrap(),
        name: "check-uefi".to_owned(),
        mark: Mark {
            fleet: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            name: "check-uefi".to_owned(),
            incarnation: 1,
            digest: Digest::from_text("45926b0fd1c0eccf02865065e1ff9a84"),
            network: Digest::default(),
            protect: false,
            keep: Vec::new(),
        },
        cpus: 1,
        memory: Size::from_mib(128),
        firmware: Firmware::Uefi,
        nvram: Some("check-uefi.nvram".to_owned()),
        accel: Accel::Tcg,
        autostart: true,
        disks: vec![DiskSpec {
            volume: "check-uefi.root.0".to_owned(),
            backing: Some("image.tiny.qcow2".to_owned()),
        }],
        seed: Some("check-uefi.seed.1".to_owned()),
        nics: vec![NicSpec {
            mac: "32:a5:5e:0d:da:06".parse().unwrap(),
            source: NicSource::Bridge("br0".to_owned()),
        }],
    }
}

#[test]
fn libvirts_own_form_has_the_shape_of_the_spec() {
    for xml in [include_str!("fixtures/uefi-inactive.xml"), include_str!("fixtures/uefi-live.xml")]
    {
        let (shape, mark) = shape_of(xml, &|_| None).unwrap();
        assert_eq!(shape, DomainShape::of(&spec(), DIRECTORY));
        assert_eq!(mark, Some(spec().mark));
    }
}

#[test]
fn what_we_write_has_the_shape_of_the_spec() {
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        for accel in [Accel::Kvm, Accel::Tcg] {
            let mut spec = DomainSpec { firmware, accel, ..spec() };
            spec.name = "a <&> \"b\"".to_owned();
            spec.disks =
                (0..30).map(|n| DiskSpec { volume: format!("disk.{n}"), backing: None }).collect();
            let network = NicSource::Network("lan".to_owned());
            spec.nics.push(NicSpec { mac: "02:00:00:00:00:01".parse().unwrap(), source: network });
            let xml = domain_xml(&spec, DIRECTORY).unwrap();
            let (shape, mark) = shape_of(&xml, &|_| None).unwrap();
            assert_eq!(shape, DomainShape::of(&spec, DIRECTORY));
            assert_eq!(mark, Some(spec.mark));
            let keeps = files_of(&xml, DIRECTORY)
                .unwrap()
                .contains(&format!("{DIRECTORY}/check-uefi.nvram"));
            assert_eq!(keeps, firmware == Firmware::Uefi, "its variables lie in our pool");
        }
    }
}

#[test]
fn others_domains_are_read_as_far_as_they_go() {
    let (shape, mark) = shape_of(
        "<domain type='kvm'><name>x</name><memory unit='GiB'>2</memory><vcpu>4</vcpu><os/>
           <devices>
             <disk type='block'><source dev='/dev/vg/x'/><target dev='vda'/></disk>
             <disk type='volume'><source pool='p' volume='v'/><target dev='vdb'/></disk>
             <disk type='file' device='cdrom'><target dev='sda'/></disk>
             <interface type='direct'><mac address='52:54:00:00:00:01'/></interface>
           </devices></domain>",
        &|_| None,
    )
    .unwrap();
    assert_eq!(shape.disks, ["/dev/vg/x", "pool:p/v"]);
    assert_eq!((shape.cdroms.len(), shape.nics.len(), shape.other_nics), (0, 0, 1));
    assert_eq!((shape.cpus, shape.memory), (4, Size::from_mib(2048)));
    assert_eq!(mark, None);
}

#[test]
fn an_interface_on_a_network_is_seen_whatever_its_type() {
    let xml = "<domain><devices>
        <interface type='direct'><source dev='eth0'/></interface>
        <interface type='bridge'><source network='lan' bridge='br7'/></interface>
        </devices></domain>";
    assert!(is_attached_to(xml, "lan").unwrap());
    assert!(!is_attached_to(xml, "br7").unwrap() && !is_attached_to("<domain/>", "lan").unwrap());
}

#[test]
fn a_tpm_whose_state_would_be_lost_is_seen() {
    let with = |devices: &str| {
        let metadata = "<metadata><a:tpm xmlns:a='u'/></metadata>";
        has_tpm_state(&format!("<domain>{metadata}<devices>{devices}</devices></domain>")).unwrap()
    };
    assert!(with("<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"));
    assert!(with("<disk/><tpm model='tpm-tis'/>"), "whatever it is");
    let passed = "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>";
    assert!(!with(passed) && !with("<disk/>"));
    assert!(with(&format!("{passed}<tpm><backend type='emulator'/></tpm>")));
}

#[test]
fn a_disk_with_a_format_of_its_own_may_stand_on_another() {
    let disk = |format: &str, source: &str| format!("<disk>{format}<source {source}/></disk>");
    let disks = [
        disk("<driver type='qcow2'/>", "file='/a'"),
        disk("<driver type='qcow2'/>", "pool='p' volume='v'"),
        disk("<driver type='qcow2'/>", "pool='freehold' volume='v'"),
        disk("<driver type='qcow2'/><backingStore/>", "file='/told'"),
        disk("<driver type='raw'/>", "file='/b'"),
        disk("", "file='/c'"),
    ];
    let xml = format!("<domain><devices>{}</devices></domain>", disks.concat());
    let layered: Vec<_> = layered_disks(&xml).unwrap().into_iter().collect();
    assert_eq!(layered, ["/a", "pool:p/v"]);
    assert_eq!(told_disks(&xml).unwrap(), BTreeSet::from(["/told".to_owned()]));
}

#[test]
fn a_volume_of_our_pool_is_a_file_of_its_directory() {
    let source = |pool: &str| {
        let disk = format!("<disk type='volume'><source pool='{pool}' volume='v'/></disk>");
        files_of(&format!("<domain><devices>{disk}</devices></domain>"), "/srv/pool").unwrap()
    };
    assert!(source("freehold").contains("/srv/pool/v"));
    assert!(source("default").is_empty(), "another pool's volume of that name");
}

#[test]
fn names_every_file_of_a_chain() {
    let files = files_of(include_str!("fixtures/uefi-live.xml"), DIRECTORY).unwrap();
    for name in ["check-uefi.root.0", "image.tiny.qcow2", "check-uefi.seed.1"] {
        assert!(files.contains(&format!("{DIRECTORY}/{name}")), "{name}");
    }
    assert!(files.contains("/var/lib/libvirt/qemu/nvram/check-uefi_VARS.fd"));
}

#[test]
fn what_lies_under_a_disk_is_seen() {
    let overlay = |store: &str| {
        format!(
            "<domain type='qemu'><memory>1</memory><vcpu>1</vcpu><devices>
               <disk type='file'><source file='/p/top'/>{store}<target dev='vda'/></disk>
             </devices></domain>"
        )
    };
    let told = overlay(
        "<backingStore type='file'><source file='/p/middle'/>
           <backingStore type='file'><source file='/p/base'/><backingStore/></backingStore>
         </backingStore>",
    );
    let beneath = |xml: &str| {
        let under = |file: &str| (file == "/p/top").then(|| "/p/found".to_owned());
        shape_of(xml, &under).unwrap().0.beneath
    };
    assert_eq!(beneath(&told), ["/p/middle", "/p/base"]);
    assert_eq!(beneath(&overlay("")), ["/p/found"], "an overlay made past libvirt");
    let endless = |_: &str| Some("/p/loop".to_owned());
    assert!(shape_of(&overlay(""), &endless).is_ok());
    assert_eq!(place_of(&told, "/p/top").unwrap(), Place::Disk("vda".to_owned()));
    assert_eq!(place_of(&told, "/p/base").unwrap(), Place::Beneath("/p/top".to_owned()));
    assert_eq!(place_of(&told, "/p/found").unwrap(), Place::Nowhere);
}

#[test]
fn a_definition_is_known_again_when_libvirt_sorts_its_controllers() {
    let with =
        |devices: &str| fingerprint(&format!("<domain><devices>{devices}</devices></domain>"));
    let [usb, pci, disk] = ["<controller type='usb'/>", "<controller type='pci'/>", "<disk/>"];
    let seen = with(&format!("{disk}\n{usb}\n{pci}\n"));
    assert_eq!(seen, with(&format!("{disk}\n{pci}\n{usb}\n")));
    assert_ne!(seen, with(&format!("{disk}\n{pci}\n")));
    assert_ne!(seen, with(&format!("{disk}\n{disk}\n{pci}\n{usb}\n")));
    assert_ne!(fingerprint("<no"), fingerprint("<no xml"));
    assert_eq!(fingerprint("<a>\n  <b/>\n</a>\n"), fingerprint("<a><b/></a>"));
    assert_ne!(fingerprint("<a>\n  b</a>"), fingerprint("<a>b</a>"), "text stays as it is");
}

#[test]
fn only_its_devices_are_a_domains_controllers() {
    let with = |metadata: &str, devices: &str| {
        let metadata = format!("<metadata>{metadata}</metadata>");
        fingerprint(&format!("<domain>{metadata}<devices>{devices}</devices></domain>"))
    };
    let [usb, pci] = ["<controller type='usb'/>", "<controller type='pci'/>"];
    let nested = "<a:controller xmlns:a='u'><a:controller/><b/></a:controller>";
    assert_eq!(with(nested, &format!("{usb}{pci}")), with(nested, &format!("{pci}{usb}")));
    let order = |first: &str, second: &str| {
        with(&format!("<a:x xmlns:a='u'>{first}{second}</a:x>"), &format!("{usb}{pci}"))
    };
    assert_ne!(order(usb, pci), order(pci, usb), "another tool's order may mean something");
}
