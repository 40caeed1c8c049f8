//! Whatever XML libvirt hands out, of whoever's objects, is read or refused, and panics nowhere.

use proptest::{prelude::*, sample::subsequence};

use super::{
    domain_shape::{
        files_of, fingerprint, has_tpm_state, is_attached_to, layered_disks, place_of, shape_of,
    },
    domain_xml::domain_xml,
    kept::kept_domain,
    network_xml::network_shape,
    patch::patched,
    storage_xml::{pool_path, volume_view},
    xml::parsed,
};
use crate::model::{Accel, Digest, DiskSpec, DomainSpec, Firmware, Mark, NicSource, NicSpec, Size};

const POOL: &str = "/p";

fn spec() -> DomainSpec {
    DomainSpec {
        uuid: uuid::Uuid::nil(),
        name: "odd".to_owned(),
        mark: Mark {
            fleet: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            name: "odd".to_owned(),
            incarnation: 1,
            digest: Digest::of([b"odd".as_slice()]),
            network: Digest::default(),
            protect: false,
            keep: Vec::new(),
        },
        cpus: 2,
        memory: Size::from_mib(128),
        firmware: Firmware::Bios,
        nvram: None,
        accel: Accel::Tcg,
        autostart: true,
        disks: ["root", "data"]
            .map(|name| DiskSpec { volume: name.to_owned(), backing: None })
            .to_vec(),
        seed: Some("seed".to_owned()),
        nics: vec![NicSpec {
            mac: "32:a5:5e:0d:da:06".parse().unwrap(),
            source: NicSource::Network("lan".to_owned()),
        }],
    }
}

/// Names of elements: libvirt's, ours, and others' that are called alike.
const NAMES: [&str; 22] = [
    "devices",
    "disk",
    "disk",
    "controller",
    "a:controller",
    "interface",
    "source",
    "target",
    "mac",
    "backingStore",
    "metadata",
    "b:mark",
    "a:mark",
    "vcpu",
    "vcpus",
    "memory",
    "currentMemory",
    "cpu",
    "os",
    "uuid",
    "ip",
    "capacity",
];

const ATTRIBUTES: [&str; 12] = [
    "file='/p/root'",
    "pool='freehold'",
    "volume='data'",
    "dev='vda'",
    "dir='vdzzzzzzzzzzzzz'",
    "type='network'",
    "device='cdrom'",
    "network='lan'",
    "address='32:a5:5e:0d:da:06'",
    "unit='TiB'",
    "a:nics='/>'",
    "nics='32:a5:5e:0d:da:07'",
];

const LEAVES: [&str; 7] = [
    "18446744073709551615",
    "é\n",
    " ",
    "<!-- </disk> -->",
    "<![CDATA[</disk>]]>",
    "<?pi x?>",
    "<target dev='vdzzzzzzzzzzzzz'/>",
];

fn element() -> impl Strategy<Value = String> {
    let attributes = || subsequence(ATTRIBUTES.to_vec(), 0..4).prop_map(|some| some.join(" "));
    let leaf = prop_oneof![
        prop::sample::select(LEAVES.to_vec()).prop_map(str::to_owned),
        (prop::sample::select(NAMES.to_vec()), attributes())
            .prop_map(|(name, attributes)| format!("<{name} {attributes}/>")),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let inner = prop::collection::vec(inner, 0..6);
        (prop::sample::select(NAMES.to_vec()), attributes(), inner).prop_map(
            |(name, attributes, inner)| format!("<{name} {attributes}>{}</{name}>", inner.concat()),
        )
    })
}

fn read_by_all(xml: &str) {
    let _known = fingerprint(xml);
    let _shape = shape_of(xml, &|_| None).is_ok();
    let _files = files_of(xml, POOL).is_ok();
    let _place = place_of(xml, "/p/root").is_ok();
    let _attached = is_attached_to(xml, "lan").is_ok();
    let _layered = layered_disks(xml).is_ok();
    let _tpm = has_tpm_state(xml).is_ok();
    let _kept = kept_domain(xml).is_ok();
    let _network = network_shape(xml).is_ok();
    let _volume = volume_view(xml).is_ok();
    let _pool = pool_path(xml).is_ok();
    if let Ok(Some(patched)) = patched(xml, &spec(), POOL) {
        assert!(parsed(&patched).is_ok(), "{xml}\n\n{patched}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn odd_elements_break_nothing(parts in prop::collection::vec(element(), 0..8), bare: bool) {
        let names = "xmlns:a='urn:a' xmlns:b='urn:freehold:mark:1'";
        let needed = if bare { "" } else { "<vcpu>1</vcpu><memory>1</memory><devices/>" };
        let parts = parts.concat();
        read_by_all(&format!("<domain type='qemu' {names}>{needed}{parts}</domain>"));
        read_by_all(&format!(
            "<domain type='qemu' {names}>{needed}<devices>{parts}</devices></domain>"
        ));
    }

    #[test]
    fn what_is_cut_or_mixed_up_breaks_nothing(at in 0_usize..3000, with in "[<>/'\"&a-z ]{0,4}") {
        let whole = domain_xml(&spec(), POOL).unwrap();
        let at = at.min(whole.len());
        // It is plain ASCII.
        read_by_all(&whole[..at]);
        read_by_all(&format!("{}{with}{}", &whole[..at], &whole[at..]));
    }
}
