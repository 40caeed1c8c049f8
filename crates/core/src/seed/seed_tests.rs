use super::*;
use crate::model::FleetId;

pub(super) fn spec() -> SeedSpec {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.key");
    let line = "freehold-identity-1 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
    std::fs::write(&path, line).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let identity = Identity::load(&path).unwrap();
    let name: VmName = "web-0".parse().unwrap();
    let mac = |n: u8| Mac::local([2, 0, 0, 0, 0, n]);
    let fixed = |address: [u8; 4], gateway: Option<[u8; 4]>, dns: &[&str]| SeedAddress::Static {
        address: address.into(),
        prefix: 24,
        gateway: gateway.map(Ipv4Addr::from),
        dns: dns.iter().map(|server| server.parse().unwrap()).collect(),
    };
    let servers = ["10.77.0.1", "fd00::1"];
    SeedSpec {
        uuid: Uuid::nil(),
        incarnation: 3,
        nics: vec![
            SeedNic { mac: mac(1), address: SeedAddress::Dhcp },
            SeedNic {
                mac: mac(2),
                address: fixed([10, 77, 0, 100], Some([10, 77, 0, 1]), &servers),
            },
            SeedNic { mac: mac(3), address: fixed([10, 78, 0, 100], Some([10, 78, 0, 1]), &[]) },
        ],
        cloud_init: CloudInit {
            ssh_keys: vec![
                "ssh-ed25519 AAAA alice".to_owned(),
                "ssh-ed25519 BBBB \"bob\" # x\n".to_owned(),
            ],
            user_data: None,
            user: Some("admin".to_owned()),
        },
        host_key: identity.host_key(FleetId::from_bytes([7; 16]), &name, 0),
        name,
    }
}

fn another_key() -> HostKey {
    let identity = Identity::generate().unwrap();
    identity.host_key(FleetId::from_bytes([7; 16]), &"web-0".parse().unwrap(), 0)
}

#[test]
fn is_the_same_each_time() {
    let (first, second) = (seed(&spec()).unwrap(), seed(&spec()).unwrap());
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(first.digest, second.digest);
}

#[test]
fn shows_every_change_in_its_digest() {
    let digest = seed(&spec()).unwrap().digest;
    let changes: [fn(&mut SeedSpec); 4] = [
        |spec| spec.nics.truncate(1),
        |spec| spec.cloud_init.user_data = Some("#cloud-config\n".to_owned()),
        |spec| spec.cloud_init.user = None,
        |spec| spec.cloud_init.ssh_keys.truncate(1),
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut changed = spec();
        change(&mut changed);
        let other = seed(&changed).unwrap().digest;
        assert_eq!((n > 0, n == 0), (other.first != digest.first, other.network != digest.network));
    }
    let mut reborn = spec();
    reborn.host_key.clone_from(&another_key());
    assert_ne!(seed(&reborn).unwrap().digest.first, digest.first);
    // Another name or incarnation is no change of what is said.
    let again = SeedSpec { incarnation: 9, name: "web-9".parse().unwrap(), ..spec() };
    assert_eq!(seed(&again).unwrap().digest, digest);
}

#[test]
fn shows_no_secret() {
    let mut spec = spec();
    spec.cloud_init.user_data = Some("password: hunter2".to_owned());
    let seed = seed(&spec).unwrap();
    assert!(!format!("{seed:?}").contains("hunter2"));
    let holds = |needle: &[u8]| seed.bytes.expose().windows(needle.len()).any(|w| w == needle);
    assert!(holds(b"hunter2") && holds(b"BEGIN OPENSSH PRIVATE KEY"));
    assert!(!format!("{:?}", spec.host_key).contains("BEGIN"));
}
