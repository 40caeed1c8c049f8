//! What lies in the trash of a host, known again by the names it got there.

use std::{collections::BTreeMap, time::Duration};

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::World;
use crate::model::{DiskName, FleetId, HostName, HostView, Seen, Size, VmName, short_uuid};

/// Which part of the trash: what one run put away of one VM. Its order is that of time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TrashKey {
    /// Where.
    pub host: HostName,
    /// When: `20261122T121314Z`.
    pub stamp: String,
    /// The serial that run wrote.
    pub serial: u64,
    /// The eight digits of the VM's UUID.
    pub vm: String,
}

impl TrashKey {
    /// Returns the run as its names in the trash have it: `20261122T121314Z.7`.
    pub fn run(&self) -> String {
        format!("{}.{}", self.stamp, self.serial)
    }

    /// Returns what the user calls it: `rack1/20261122T121314Z.7/web-0`.
    pub fn id(&self, vm: Option<&VmName>) -> String {
        let vm = vm.map_or(self.vm.as_str(), VmName::as_str);
        format!("{}/{}/{vm}", self.host, self.run())
    }
}

/// What one run put away of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashEntry {
    /// Which.
    pub key: TrashKey,
    /// The VM, where a decision about one of that UUID is left.
    pub vm: Option<VmName>,
    /// What it holds: disks, then the UEFI variables, then the definition.
    pub holds: Vec<TrashItem>,
    /// How long it lies there; `None` where the name or this machine's clock makes no sense.
    pub age: Option<Duration>,
    /// Whether it is younger than the fleet retains.
    pub is_young: bool,
}

/// One volume in the trash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrashItem {
    /// What it is.
    pub content: TrashContent,
    /// Its name in the trash.
    pub name: String,
    /// Its name before.
    pub volume: String,
    /// Its size as a guest sees it.
    pub size: Size,
    /// What it takes of the pool's file system.
    pub used: Size,
}

/// What a volume in the trash is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrashContent {
    /// A disk.
    Disk(DiskName),
    /// The file of the UEFI variables.
    Nvram,
    /// The definition that the VM of this UUID had last.
    Definition(Uuid),
}

impl TrashEntry {
    /// Returns what the user calls it: `rack1/20261122T121314Z.7/web-0`.
    pub fn id(&self) -> String {
        self.key.id(self.vm.as_ref())
    }

    /// Says whether the user means it; a VM that has no name any more may be called by its digits.
    pub fn is_called(&self, id: &str) -> bool {
        self.id() == id || self.key.id(None) == id
    }

    /// Returns what it takes of the pool's file system.
    pub fn used(&self) -> Size {
        Size::from_bytes(self.holds.iter().map(|item| item.used.bytes()).sum())
    }

    /// Returns the definition, with its UUID.
    pub fn definition(&self) -> Option<(&TrashItem, Uuid)> {
        self.holds.iter().find_map(|item| match item.content {
            TrashContent::Definition(uuid) => Some((item, uuid)),
            _ => None,
        })
    }

    /// Returns what it holds in words: `root 20GiB, nvram, definition`.
    pub fn words(&self) -> String {
        let word = |item: &TrashItem| match &item.content {
            TrashContent::Disk(disk) => format!("{disk} {}", item.size),
            TrashContent::Nvram => "nvram".to_owned(),
            TrashContent::Definition(_) => "definition".to_owned(),
        };
        self.holds.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}

/// Returns the trash of all hosts that were read, by host, the newest last.
pub fn trash(world: &World<'_>) -> Vec<TrashEntry> {
    let whole = world.observed.iter().filter_map(|(host, seen)| match seen {
        Seen::Whole(view) => Some((host, view)),
        Seen::Unreachable(_) => None,
    });
    whole.flat_map(|(host, view)| trash_on(world, host, view)).collect()
}

/// Returns the trash of one host. It is ours where the host's card says so: a name alone proves
/// nothing.
pub(in crate::plan) fn trash_on(
    world: &World<'_>,
    host: &HostName,
    view: &HostView,
) -> Vec<TrashEntry> {
    let Some(pool) = &view.pool else { return Vec::new() };
    let fleet = world.fleet.id;
    let listed = pool.card.as_ref().and_then(|card| card.volumes.get(&fleet.to_string()));
    let mut entries: BTreeMap<TrashKey, Vec<TrashItem>> = BTreeMap::new();
    for name in listed.into_iter().flatten() {
        let (Some(volume), Some(read)) = (pool.volumes.get(name), read(fleet, host, name)) else {
            continue;
        };
        let (key, before, content) = read;
        let (size, used) = (volume.capacity, volume.used);
        let item = TrashItem { content, name: name.clone(), volume: before, size, used };
        entries.entry(key).or_default().push(item);
    }
    entries.into_iter().map(|(key, holds)| entry(world, key, holds)).collect()
}

fn entry(world: &World<'_>, key: TrashKey, mut holds: Vec<TrashItem>) -> TrashEntry {
    holds.sort();
    holds.dedup();
    let is_its = |uuid: Uuid| short_uuid(uuid) == key.vm;
    let mut decided = world.decisions.vms.iter();
    let vm = decided.find(|(_, decision)| is_its(decision.uuid)).map(|(name, _)| name.clone());
    let age = age(&key.stamp, world.stamp);
    // What cannot be dated is not old enough for anything.
    let is_young = age.is_none_or(|age| age < world.fleet.retain);
    TrashEntry { key, vm, holds, age, is_young }
}

/// How long a call of a run that lost it may be on its way, for the sake of what is on the host's card.
const ON_ITS_WAY: Duration = Duration::from_hours(24);

/// Says whether a name of the trash may yet come to be: what it would be made of is still there, and a
/// call of a run before, whose reply was lost, may be on its way.
pub(in crate::plan) fn may_come(
    world: &World<'_>,
    host: &HostName,
    view: &HostView,
    name: &str,
) -> bool {
    let Some((key, volume, content)) = read(world.fleet.id, host, name) else { return false };
    if age(&key.stamp, world.stamp).is_some_and(|age| age > ON_ITS_WAY) {
        return false;
    }
    match content {
        TrashContent::Definition(uuid) => view.domains.iter().any(|domain| domain.uuid == uuid),
        TrashContent::Disk(_) | TrashContent::Nvram => {
            view.pool.as_ref().is_some_and(|pool| pool.volumes.contains_key(&volume))
        }
    }
}

/// Reads a name in the trash: whose, what it was called before, what it is.
fn read(fleet: FleetId, host: &HostName, name: &str) -> Option<(TrashKey, String, TrashContent)> {
    let mut parts = name.splitn(4, '.');
    parts.next().filter(|word| *word == "trash")?;
    let (stamp, serial, volume) = (parts.next()?, parts.next()?, parts.next()?);
    let (vm, content) = match volume.strip_suffix(".xml").map(str::parse::<Uuid>) {
        Some(Ok(uuid)) => (short_uuid(uuid), TrashContent::Definition(uuid)),
        _ => data(fleet, volume)?,
    };
    let serial = serial.parse().ok()?;
    let key = TrashKey { host: host.clone(), stamp: stamp.to_owned(), serial, vm };
    Some((key, volume.to_owned(), content))
}

/// Reads `<fleet8>.<vm-uuid8>.<disk>.<n>` and `<fleet8>.<vm-uuid8>.nvram`.
fn data(fleet: FleetId, volume: &str) -> Option<(String, TrashContent)> {
    let rest = volume.strip_prefix(&fleet.short())?.strip_prefix('.')?;
    let (vm, what) = rest.split_once('.')?;
    let content = match what.rsplit_once('.') {
        None if what == "nvram" => TrashContent::Nvram,
        None => return None,
        Some((disk, _)) => TrashContent::Disk(disk.parse().ok()?),
    };
    Some((vm.to_owned(), content))
}

/// Returns the time between two stamps.
fn age(stamp: &str, now: &str) -> Option<Duration> {
    let at = |stamp: &str| DateTime::strptime("%Y%m%dT%H%M%SZ", stamp).ok();
    Duration::try_from(at(now)?.duration_since(at(stamp)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> FleetId {
        FleetId::from_bytes([7; 16])
    }

    fn read_one(volume: &str) -> Option<(TrashKey, String, TrashContent)> {
        read(fleet(), &"rack1".parse().unwrap(), &format!("trash.20261122T121314Z.7.{volume}"))
    }

    #[test]
    fn reads_every_name_a_removal_gives() {
        let (key, volume, content) = read_one("07070707.1234abcd.root.0").unwrap();
        assert_eq!((key.run().as_str(), key.vm.as_str()), ("20261122T121314Z.7", "1234abcd"));
        assert_eq!(volume, "07070707.1234abcd.root.0");
        assert_eq!(content, TrashContent::Disk("root".parse().unwrap()));
        assert_eq!(read_one("07070707.1234abcd.nvram").unwrap().2, TrashContent::Nvram);
        let uuid = Uuid::from_u128(0x1234_abcd << 96);
        let (key, _, content) = read_one(&format!("{uuid}.xml")).unwrap();
        assert_eq!((key.vm.as_str(), content), ("1234abcd", TrashContent::Definition(uuid)));
        assert_eq!(key.id(None), "rack1/20261122T121314Z.7/1234abcd");
    }

    #[test]
    fn what_is_no_name_of_ours_is_nothing() {
        for other in ["08080808.1234abcd.root.0", "07070707.1234abcd", "x.xml", "07070707.a.b!.0"] {
            assert_eq!(read_one(other), None, "{other}");
        }
        let host = "rack1".parse().unwrap();
        for other in ["07070707.1234abcd.root.0", "trash.a.b.07070707.1234abcd.root.0", "trash"] {
            assert_eq!(read(fleet(), &host, other), None, "{other}");
        }
    }

    #[test]
    fn newer_is_later_whatever_the_serial() {
        let key = |stamp: &str, serial| TrashKey {
            host: "rack1".parse().unwrap(),
            stamp: stamp.to_owned(),
            serial,
            vm: String::new(),
        };
        assert!(key("20261122T121314Z", 10) > key("20261122T121314Z", 9));
        assert!(key("20261122T121315Z", 1) > key("20261122T121314Z", 9));
    }

    #[test]
    fn is_as_old_as_its_stamp() {
        let now = "20261122T121314Z";
        assert_eq!(age("20261121T121313Z", now), Some(Duration::from_secs(86_401)));
        assert_eq!(age("20261123T121314Z", now), None, "a clock that went back dates nothing");
        assert_eq!(age("yesterday", now), None);
    }
}
