//! Others who have the host in hand: `virsh` on a real one, its verbs on the simulated one.

use std::{
    fmt,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use freehold_core::{
    host::simulated::SimulatedHost,
    model::{DomainSpec, NicSource},
};
use uuid::Uuid;

use super::cast::{self, PREFIX};

/// A device that nobody of ours makes.
pub(crate) const DEVICE: &str = "i6300esb";
/// The password of another one: a look does not show it.
const PASSWORD: &str = "geheim";

/// What somebody does.
pub(crate) enum Deed<'a> {
    Defines(&'a DomainSpec),
    AddsDevices(Uuid),
    FindsPassword(Uuid),
    DropsMark(Uuid),
    Starts(Uuid),
    Destroys(Uuid),
    Suspends(Uuid),
    Undefines(Uuid),
    Saves(Uuid),
    Renames(Uuid, &'a str),
    /// Of the first disk.
    Snapshots(Uuid, &'a str),
    ForgetsSnapshots(Uuid),
    DeletesVolume(&'a str),
}

impl fmt::Display for Deed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defines(spec) => write!(f, "defines {}", spec.name),
            Self::AddsDevices(_) => f.write_str("adds devices, one with a password"),
            Self::FindsPassword(_) => f.write_str("looks for the password"),
            Self::DropsMark(_) => f.write_str("drops the mark"),
            Self::Starts(_) => f.write_str("starts it"),
            Self::Destroys(_) => f.write_str("destroys it"),
            Self::Suspends(_) => f.write_str("suspends it"),
            Self::Undefines(_) => f.write_str("undefines it"),
            Self::Saves(_) => f.write_str("saves its run"),
            Self::Renames(_, name) => write!(f, "renames it to {name}"),
            Self::Snapshots(_, volume) => write!(f, "makes a snapshot of {volume}"),
            Self::ForgetsSnapshots(_) => f.write_str("forgets the snapshot"),
            Self::DeletesVolume(name) => write!(f, "deletes {name}"),
        }
    }
}

/// Somebody: `true` when the host let it happen.
pub(crate) trait Somebody: Send + Sync {
    fn does(&self, deed: &Deed<'_>) -> bool;
}

/// Somebody on the simulated host.
pub(crate) struct Simulated(SimulatedHost);

impl Simulated {
    pub(crate) fn on(host: SimulatedHost) -> Self {
        Self(host)
    }
}

impl Somebody for Simulated {
    fn does(&self, deed: &Deed<'_>) -> bool {
        let mut world = self.0.world();
        match deed {
            Deed::Defines(spec) => world.somebody_defines(spec),
            Deed::AddsDevices(uuid) => world.somebody_adds(*uuid, &format!("{DEVICE} {PASSWORD}")),
            Deed::FindsPassword(uuid) => world.domains[uuid].extra.contains(PASSWORD),
            Deed::DropsMark(uuid) => world.somebody_drops_mark(*uuid),
            Deed::Starts(uuid) => world.somebody_starts(*uuid),
            Deed::Destroys(uuid) => world.somebody_destroys(*uuid),
            Deed::Suspends(uuid) => world.somebody_suspends(*uuid),
            Deed::Undefines(uuid) => world.somebody_undefines(*uuid),
            Deed::Saves(uuid) => world.somebody_saves(*uuid),
            Deed::Renames(uuid, name) => world.somebody_renames(*uuid, name),
            Deed::Snapshots(uuid, volume) => world.external_snapshot(*uuid, volume),
            Deed::ForgetsSnapshots(uuid) => world.somebody_forgets_snapshots(*uuid),
            Deed::DeletesVolume(name) => world.somebody_deletes_volume(name),
        }
    }
}

/// Somebody with `virsh` on a real host.
#[derive(Clone)]
pub(crate) struct Virsh {
    config: PathBuf,
    host: String,
    pool: String,
}

impl Virsh {
    pub(crate) fn on(config: &Path, host: &str, pool: &str) -> Self {
        Self { config: config.to_owned(), host: host.to_owned(), pool: pool.to_owned() }
    }

    fn runs(&self, script: &str, input: &str) -> bool {
        let mut child = Command::new("ssh")
            .arg("-F")
            .arg(&self.config)
            .args([&self.host, script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            println!("{script}: {}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    }

    fn virsh(&self, words: &str, input: &str) -> bool {
        self.runs(&format!("virsh -q -c qemu:///system {words}"), input)
    }

    /// Removes whatever a run of the script made, or left when it failed.
    pub(crate) fn clears_up(&self) {
        let script = format!(
            "v='virsh -q -c qemu:///system';
             for d in $($v list --all --name | grep '^{PREFIX}-'); do
               $v destroy $d; $v managedsave-remove $d;
               for s in $($v snapshot-list --name $d); do $v snapshot-delete --metadata $d $s; done;
               $v undefine --nvram $d;
             done;
             for n in $($v net-list --all --name | grep '^{PREFIX}-'); do
               $v net-destroy $n; $v net-undefine $n;
             done;
             $v pool-refresh freehold || exit 0;
             for f in $(cd {0} && ls -d {PREFIX}.*); do $v vol-delete --pool freehold $f; done;
             rm -f {0}/.console-*; true",
            self.pool
        );
        let cleared = self.runs(&format!("({script}) >/dev/null 2>&1"), "");
        assert!(cleared, "{} is cleared up", self.host);
    }

    fn adds_devices(&self, uuid: Uuid) -> bool {
        let devices =
            format!(r#"<graphics type="vnc" passwd="{PASSWORD}"/><watchdog model="{DEVICE}"/>"#);
        let script = format!(
            "v='virsh -q -c qemu:///system';
             $v dumpxml --inactive --security-info {uuid} |
               sed 's|</devices>|{devices}</devices>|' | $v define /dev/stdin"
        );
        self.runs(&script, "")
    }

    fn defines(&self, spec: &DomainSpec) -> bool {
        let disks = spec.disks.iter().zip('a'..).map(|(disk, letter)| {
            let file = format!("{}/{}", self.pool, disk.volume);
            let end = "<backingStore/>".to_owned();
            let store = disk.backing.as_ref().map_or(end, |name| {
                format!(
                    "<backingStore type='file'><format type='qcow2'/>
                     <source file='{}/{name}'/><backingStore/></backingStore>",
                    self.pool
                )
            });
            format!(
                "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
                 <source file='{file}'/>{store}<target dev='vd{letter}' bus='virtio'/></disk>"
            )
        });
        let nics = spec.nics.iter().map(|nic| {
            let (kind, name) = match &nic.source {
                NicSource::Bridge(name) => ("bridge", name),
                NicSource::Network(name) => ("network", name),
            };
            let mac = nic.mac;
            format!(
                "<interface type='{kind}'><mac address='{mac}'/><source {kind}='{name}'/>
                 <model type='virtio'/></interface>"
            )
        });
        let xml = format!(
            "<domain type='qemu'><name>{}</name><uuid>{}</uuid><memory unit='KiB'>{}</memory>
             <vcpu>{}</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>
             <devices>{}{}</devices></domain>",
            spec.name,
            spec.uuid,
            spec.memory.kib(),
            spec.cpus,
            disks.collect::<String>(),
            nics.collect::<String>(),
        );
        self.virsh("define /dev/stdin", &xml)
    }
}

impl Somebody for Virsh {
    fn does(&self, deed: &Deed<'_>) -> bool {
        let pool = &self.pool;
        let words = match deed {
            Deed::Defines(spec) => return self.defines(spec),
            Deed::AddsDevices(uuid) => return self.adds_devices(*uuid),
            Deed::FindsPassword(uuid) => {
                format!("dumpxml --inactive --security-info {uuid} | grep -q {PASSWORD}")
            }
            Deed::DropsMark(uuid) => {
                format!("metadata {uuid} urn:freehold:mark:1 --remove --config")
            }
            Deed::Starts(uuid) => format!("start {uuid}"),
            Deed::Destroys(uuid) => format!("destroy {uuid}"),
            Deed::Suspends(uuid) => format!("suspend {uuid}"),
            Deed::Undefines(uuid) => format!("undefine {uuid}"),
            Deed::Saves(uuid) => format!("managedsave {uuid}"),
            Deed::Renames(uuid, name) => format!("domrename {uuid} {name}"),
            Deed::Snapshots(uuid, volume) => {
                let stem = volume.rsplit_once('.').map_or(*volume, |(stem, _)| stem);
                format!(
                    "snapshot-create-as {uuid} s1 --disk-only --atomic \
                     --diskspec vda,file={pool}/{stem}.s1"
                )
            }
            Deed::ForgetsSnapshots(uuid) => format!("snapshot-delete {uuid} s1 --metadata"),
            Deed::DeletesVolume(name) => {
                self.virsh("pool-refresh freehold", "");
                format!("vol-delete --pool freehold {name}")
            }
        };
        self.virsh(&words, "")
    }
}

/// Returns a definition that somebody wrote from scratch, with the disks of ours.
pub(crate) fn by_hand(name: &str) -> DomainSpec {
    DomainSpec { memory: freehold_core::model::Size::from_mib(96), ..cast::domain(name) }
}
