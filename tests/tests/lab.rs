//! The lab itself: what it promises to the tests that use it.
//!
//! Addresses from 10.77.0.240 on belong to this file. Faults are injected alone; all else shares the lab.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a test may")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use acceptance::lab::command::{Output, Run};
use acceptance::lab::guest::{MEMORY_MIB, Seed};
use acceptance::lab::network::GATEWAY;
use acceptance::lab::prometheus::{self, get};
use acceptance::lab::{Lab, Outcome, RACKS, Zones};
use serde_json::json;
use tempfile::TempDir;

static QUIET: RwLock<()> = RwLock::new(());

fn shared() -> RwLockReadGuard<'static, ()> {
    QUIET.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    QUIET.write().unwrap_or_else(PoisonError::into_inner)
}

fn lab() -> Lab {
    Lab::attach(&Lab::default_dir()).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Asks until there is an answer, or fails with what was last found instead.
fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) if Instant::now() > deadline => panic!("{what}: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Firmware {
    Bios,
    Uefi,
}

#[derive(Clone, Copy)]
enum Link<'a> {
    Bridge { address: &'a str },
    Network { name: &'a str },
}

/// A guest made by hand, and removed with its pool when the test ends.
struct Guest<'a> {
    lab: &'a Lab,
    rack: &'a str,
    name: String,
    mac: String,
    keys: TempDir,
}

impl<'a> Guest<'a> {
    fn start(lab: &'a Lab, rack: &'a str, number: u8, firmware: Firmware, link: Link) -> Self {
        let name = format!("lab-{rack}-{number}-{}", std::process::id());
        let guest = Self {
            lab,
            rack,
            name,
            mac: format!("52:54:00:0a:4d:{number:02x}"),
            keys: TempDir::new().unwrap(),
        };
        let folder = guest.make_pool();
        let image = fs::read(lab.image()).unwrap();
        guest.put(&format!("{folder}/base.qcow2"), &image);
        guest.put(&format!("{folder}/seed.img"), &fs::read(guest.seed(link)).unwrap());
        guest.on_rack(&format!(
            "qemu-img create -q -f qcow2 -b {folder}/base.qcow2 -F qcow2 {folder}/disk.qcow2"
        ));
        guest.put(
            &format!("{folder}/domain.xml"),
            guest.domain_xml(&folder, firmware, link).as_bytes(),
        );
        guest.virsh(&format!("define {folder}/domain.xml"));
        guest.virsh(&format!("start {}", guest.name));
        guest
    }

    /// As freehold does: libvirt makes the folder, and gives it to whom we log in as.
    fn make_pool(&self) -> String {
        let folder = format!("/var/lib/libvirt/{}", self.name);
        let owner = self.on_rack("id -u; id -g").stdout;
        let (user, group) = owner.trim().split_once('\n').unwrap();
        let xml = format!(
            "<pool type='dir'><name>{}</name><target><path>{folder}</path><permissions><mode>0711</mode>\
             <owner>{user}</owner><group>{group}</group></permissions></target></pool>",
            self.name
        );
        let path = format!("/tmp/{}.xml", self.name);
        self.put(&path, xml.as_bytes());
        self.virsh(&format!("pool-define {path}"));
        self.virsh(&format!("pool-build {}", self.name));
        self.virsh(&format!("pool-start {}", self.name));
        folder
    }

    fn seed(&self, link: Link) -> PathBuf {
        let host_key = self.keys.path().join("host_key");
        Run::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&host_key)
            .ok()
            .unwrap();
        let public_key = fs::read_to_string(self.lab.user_key().with_extension("pub")).unwrap();
        let private = fs::read_to_string(&host_key).unwrap();
        let address = match link {
            Link::Bridge { address } => Some(format!("{address}/24")),
            Link::Network { .. } => None,
        };
        let seed = Seed {
            name: &self.name,
            mac: &self.mac,
            address: address.as_deref(),
            gateway: GATEWAY,
            public_key: public_key.trim(),
            host_key: Some(&private),
        };
        let image = self.keys.path().join("seed.img");
        seed.write(&image).unwrap();
        image
    }

    fn domain_xml(&self, folder: &str, firmware: Firmware, link: Link) -> String {
        let os = match firmware {
            Firmware::Bios => "<os><type arch='x86_64' machine='q35'>hvm</type></os>",
            Firmware::Uefi => {
                "<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type><firmware><feature enabled='no' name='secure-boot'/></firmware></os>"
            }
        };
        let source = match link {
            Link::Bridge { .. } => "<interface type='bridge'><source bridge='br0'/>".to_owned(),
            Link::Network { name } => {
                format!("<interface type='network'><source network='{name}'/>")
            }
        };
        let disk = |file: &str, format: &str, name: &str| {
            format!(
                "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{folder}/{file}'/><target dev='{name}' bus='virtio'/></disk>"
            )
        };
        format!(
            "<domain type='qemu'><name>{}</name><memory unit='MiB'>{MEMORY_MIB}</memory><vcpu>1</vcpu>{os}<features><acpi/></features>\
             <devices>{}{}{source}<mac address='{}'/><model type='virtio'/></interface><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\
             <serial type='pty'><log file='/var/log/libvirt/qemu/{0}-console.log'/></serial></devices></domain>",
            self.name,
            disk("disk.qcow2", "qcow2", "vda"),
            disk("seed.img", "raw", "vdb"),
            self.mac
        )
    }

    /// Runs a command in the guest, its host key strictly checked against the one in the seed.
    fn ssh(&self, address: &str, command: &str) -> Result<Output, String> {
        let key = fs::read_to_string(self.keys.path().join("host_key.pub")).unwrap();
        let known = self.keys.path().join("known_hosts");
        fs::write(&known, format!("{address} {key}")).unwrap();
        let proxy = format!(
            "ProxyCommand=ssh -F {} -W %h:%p {}",
            self.lab.ssh_config().display(),
            self.rack
        );
        let run = Run::new("ssh").args([
            "-F",
            "/dev/null",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
        ]);
        let run = run.args(["-o", "ConnectTimeout=5", "-o", &proxy, "-o"]);
        let run = run
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .arg("-i")
            .arg(self.lab.user_key());
        run.args(["-l", "root", address, "--", command]).ok().map_err(|error| format!("{error:#}"))
    }

    fn wait_for_ssh(&self, address: &str) -> String {
        let limit = Duration::from_mins(2);
        let said = until(&self.name, limit, || self.ssh(address, "hostname"));
        said.text().to_owned()
    }

    fn shut_down(&self) -> Duration {
        let started = Instant::now();
        self.virsh(&format!("shutdown {}", self.name));
        until("shut off", Duration::from_secs(20), || {
            match self.virsh(&format!("domstate {}", self.name)).text() {
                "shut off" => Ok(()),
                state => Err(state.to_owned()),
            }
        });
        started.elapsed()
    }

    fn put(&self, path: &str, content: &[u8]) {
        let config = self.lab.ssh_config();
        let command = format!("cat > {path}");
        Run::new("ssh")
            .arg("-F")
            .arg(config)
            .args([self.rack, "--", &command])
            .input(content)
            .ok()
            .unwrap();
    }

    fn on_rack(&self, command: &str) -> Output {
        let output = self.lab.ssh(self.rack, command).unwrap();
        assert!(output.success(), "{command}: {output}");
        output
    }

    fn virsh(&self, command: &str) -> Output {
        self.on_rack(&format!("virsh -q -c qemu:///system {command}"))
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let name = &self.name;
        let script = format!(
            "exec 2>/dev/null >&2; v='virsh -q -c qemu:///system'; $v destroy {name}; $v undefine --nvram {name}; $v pool-refresh {name}; \
             for each in base.qcow2 disk.qcow2 seed.img domain.xml; do $v vol-delete --pool {name} $each; done; \
             $v pool-destroy {name}; $v pool-delete {name}; $v pool-undefine {name}; rm -f /tmp/{name}.xml; :"
        );
        if let Err(error) = self.lab.ssh(self.rack, &script) {
            eprintln!("{name} is left on {}: {error:#}", self.rack);
        }
    }
}

fn guest_lives_and_dies(rack: &str, number: u8, firmware: Firmware) {
    let _quiet = shared();
    let lab = lab();
    let address = format!("10.77.0.{number}");
    let started = Instant::now();
    let guest = Guest::start(&lab, rack, number, firmware, Link::Bridge { address: &address });
    let hostname = guest.wait_for_ssh(&address);
    println!("{}: ssh after {:.1} s", guest.name, started.elapsed().as_secs_f64());
    assert_eq!(hostname, guest.name);

    let page = get(&format!("http://{address}:9100/metrics")).unwrap();
    assert!(page.contains(&format!("freehold_guest_info{{hostname=\"{hostname}\"}} 1")), "{page}");
    for other in RACKS.iter().map(|rack| rack.address).chain([GATEWAY]) {
        guest.ssh(&address, &format!("ping -c 1 -W 5 {other}")).unwrap();
    }

    let took = guest.shut_down();
    println!("{}: off after {:.1} s", guest.name, took.as_secs_f64());
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn guest_boots_by_bios_on_rack1() {
    guest_lives_and_dies("rack1", 240, Firmware::Bios);
}

#[test]
fn guest_boots_by_bios_on_rack2() {
    guest_lives_and_dies("rack2", 241, Firmware::Bios);
}

#[test]
fn guest_boots_by_uefi_on_rack2() {
    guest_lives_and_dies("rack2", 242, Firmware::Uefi);
}

#[test]
fn guest_on_a_nat_network_gets_a_lease_and_reaches_the_lab() {
    let _quiet = shared();
    let lab = lab();
    let network = format!("nat-{}", std::process::id());
    let xml = format!(
        "<network><name>{network}</name><forward mode='nat'/><bridge name='virbr7'/><ip address='10.78.7.1' netmask='255.255.255.0'>\
         <dhcp><range start='10.78.7.10' end='10.78.7.10'/></dhcp></ip></network>"
    );
    let net =
        |verb: &str| lab.ssh("rack2", &format!("virsh -q -c qemu:///system net-{verb}")).unwrap();
    let path = format!("/tmp/{network}.xml");
    lab.ssh("rack2", &format!("cat > {path} <<'END'\n{xml}\nEND")).unwrap();
    let created = net(&format!("create {path}"));
    assert!(created.success(), "{created}");

    let guest = Guest::start(&lab, "rack2", 243, Firmware::Bios, Link::Network { name: &network });
    guest.wait_for_ssh("10.78.7.10");
    let page = guest.ssh("10.78.7.10", &format!("wget -q -O - {}/-/ready", prometheus::URL));
    drop(guest);
    assert!(net(&format!("destroy {network}")).success());
    assert!(page.unwrap().stdout.contains("Ready"));
}

#[test]
fn name_server_answers_what_its_api_was_told() {
    let _quiet = shared();
    let lab = lab();
    let zone = format!("t{}.example.org", std::process::id());
    lab.create_zone(&zone).unwrap();
    let name = format!("vm1.{zone}");
    assert!(lab.dig(&name, "A").unwrap().is_empty());
    let change = json!({ "rrsets": [{ "name": format!("{name}."), "type": "A", "ttl": 60, "changetype": "REPLACE",
        "records": [{ "content": "10.77.0.9", "disabled": false }], "comments": [{ "content": "ours", "account": "freehold" }] }] });
    let path = format!("/api/v1/servers/localhost/zones/{zone}.");
    lab.powerdns_api("PATCH", &path, Some(&change)).unwrap();
    assert_eq!(lab.dig(&name, "A").unwrap(), ["10.77.0.9"]);
    lab.powerdns().delete_zone(&zone).unwrap();
    assert!(lab.powerdns_api("GET", &path, None).is_err());
}

#[test]
fn prometheus_reads_targets_written_on_a_rack() {
    let _quiet = shared();
    let lab = lab();
    let vm = format!("vm{}", std::process::id());
    for rack in ["rack1", "rack2"] {
        let group =
            json!([{ "targets": ["10.77.0.1:9090"], "labels": { "__meta_freehold_vm_name": vm } }]);
        let file = format!("/etc/prometheus/targets/{vm}.json");
        let wrote = lab.ssh(rack, &format!("cat > {file} <<'END'\n{group}\nEND")).unwrap();
        assert!(wrote.success(), "{wrote}");
        until("scraped", Duration::from_secs(20), || {
            let targets = lab.prometheus_targets().unwrap();
            let active = targets["activeTargets"].as_array().cloned().unwrap_or_default();
            let ours = active.iter().find(|target| {
                target["labels"]["vm"] == vm.as_str() && target["labels"]["job"] == rack
            });
            ours.filter(|target| target["health"] == "up")
                .map(drop)
                .ok_or_else(|| targets.to_string())
        });
        lab.ssh(rack, &format!("rm {file}")).unwrap();
    }
}

#[test]
fn rack2_is_what_users_have() {
    let _quiet = shared();
    let lab = lab();
    let said = lab.ssh("rack2", "id -un; id -Gn; virsh -c qemu:///system uri").unwrap();
    assert_eq!(said.stdout, "admin\nadmin libvirt\nqemu:///system\n\n", "{said}");
    let qemu = lab.ssh("rack2", "virsh -c qemu:///system capabilities").unwrap().stdout;
    assert!(qemu.contains("<baselabel type='kvm'>+64055:"), "QEMU is not libvirt-qemu: {qemu}");
    assert!(!lab.ssh("rack2", "touch /var/lib/libvirt/images/x").unwrap().success());
}

#[test]
fn a_second_up_finds_the_first() {
    let _quiet = shared();
    let dir = Lab::default_dir();
    let _lab = lab();
    assert_eq!(Lab::up(&dir, Zones::Usual, RACKS.len()).unwrap().1, Outcome::WasUp);
    let refused = Lab::up(Path::new("/var/tmp/freehold-lab-second"), Zones::None, 2).unwrap_err();
    assert!(refused.to_string().contains("another lab is up"), "{refused:#}");
}

#[test]
fn faults_are_seen_from_outside_and_pass() {
    let _quiet = alone();
    let lab = lab();
    let rack = lab.rack2();
    rack.freeze();
    let frozen = lab.ssh("rack2", "timeout 2 virsh -c qemu:///system list").unwrap();
    rack.thaw();
    assert_eq!(frozen.status, 124, "{frozen}");
    until("thawed", Duration::from_secs(10), || {
        rack.answers().map_err(|error| format!("{error:#}"))
    });

    rack.cut().unwrap();
    assert!(rack.answers().is_err());
    rack.mend().unwrap();
    until("mended", Duration::from_secs(10), || {
        rack.answers().map_err(|error| format!("{error:#}"))
    });

    rack.crash_libvirtd();
    until("restarted", Duration::from_secs(10), || {
        rack.answers().map_err(|error| format!("{error:#}"))
    });

    lab.powerdns().stop().unwrap();
    assert!(lab.dig("home.example.org", "SOA").is_err());
    lab.powerdns().start().unwrap();
    lab.powerdns().wait().unwrap();
}
