//! What must be done to bring a VM, or one of its disks, back from the trash.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    super::{
        Action, Change, Goal, Object, Reason, Withheld, Work, World,
        draft::HostDraft,
        placed::everywhere,
        proof,
        vm::{Look, Verdict},
    },
    DiskRestoral, KeptXml, RestoredDisk, TrashContent, TrashEntry, TrashKey, Unrestorable,
    VmRestoral,
    bin::Bin,
};
use crate::{
    model::{
        DiskName, DomainView, HostName, Impact, KeptDomain, Mark, VmName, nvram_name,
        seed_volume_name, short_uuid, volume_prefix,
    },
    state::{Applied, DiskDecision, VmDecision, VmRecord},
};

/// What is brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// The entry.
    pub entry: TrashKey,
    /// All of it, or what of it.
    pub what: Restoring,
}

/// What of an entry is brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restoring {
    /// The VM, as its definition says, which was read before; `None` where there is none.
    Vm(Option<Box<KeptDomain>>),
    /// One disk, to be kept in the pool.
    Disk(DiskName),
}

/// Returns the VMs that are half back, and what from.
pub fn begun_restores<'a>(world: &'a World<'_>) -> Vec<(TrashKey, &'a VmName)> {
    let begun = world.snapshot.vms.iter().filter_map(|(vm, record)| Some((key_of(record)?, vm)));
    begun.collect()
}

/// Returns the entry that a VM is half back from.
fn key_of(record: &VmRecord) -> Option<TrashKey> {
    let (stamp, serial) = record.restoring.as_ref()?.rsplit_once('.')?;
    Some(TrashKey {
        host: record.host.clone(),
        stamp: stamp.to_owned(),
        serial: serial.parse().ok()?,
        vm: short_uuid(record.uuid),
    })
}

impl HostDraft<'_> {
    /// Brings back what the command asks for by name, where it lies here.
    pub(in crate::plan) fn restore(&mut self, restore: &Restore) {
        if restore.entry.host != self.host.name {
            return;
        }
        let Some(bin) = Bin::at(self.world, &self.host.name, self.view) else { return };
        let change = match &restore.what {
            Restoring::Vm(kept) => {
                let restoral = vm_restoral(&bin, &restore.entry, kept.as_deref());
                restoral.map(|work| (work.vm.clone(), Work::VmRestored(Box::new(work))))
            }
            Restoring::Disk(disk) => disk_restoral(&bin, &restore.entry, disk)
                .map(|work| (work.vm.clone(), Work::DiskRestored(Box::new(work)))),
        };
        match change {
            Ok((vm, work)) => {
                let object = Object::Vm(vm);
                self.change(object, Action::Create, Impact::Live, Reason::Asked, work);
            }
            Err(why) => {
                let vm = bin.entry(&restore.entry).and_then(|entry| entry.vm.as_ref());
                let object = Object::Trash(restore.entry.id(vm));
                self.hold(object, why);
            }
        }
    }
}

/// Says how a VM that is half back is brought back wholly.
pub(in crate::plan) fn unfinished_restore(look: &Look<'_>) -> Verdict {
    let (Some(record), vm) = (look.record, look.recorded_name()) else { return Verdict::Same };
    let bin = Bin::at(look.world, &record.host, look.view);
    let (Some(key), Some(bin)) = (key_of(record), bin) else { return Verdict::Same };
    if *look.world.goal != Goal::Converge {
        return Verdict::Held(Withheld::NotRestored(Unrestorable::Begun(key.id(Some(vm)))));
    }
    match resumed(&bin, &key, vm, record) {
        Ok(work) => Verdict::Change(Box::new(Change {
            host: record.host.clone(),
            object: Object::Vm(look.vm.name.clone()),
            action: Action::Update,
            impact: Impact::Live,
            reasons: vec![Reason::Unfinished(vec!["its return from the trash".into()])],
            work: Work::VmRestored(Box::new(work)),
        })),
        Err(why) => Verdict::Held(why),
    }
}

fn vm_restoral(
    bin: &Bin<'_>,
    key: &TrashKey,
    kept: Option<&KeptDomain>,
) -> Result<VmRestoral, Withheld> {
    let begun =
        bin.world.snapshot.vms.iter().find(|(_, record)| key_of(record).as_ref() == Some(key));
    if let Some((vm, record)) = begun {
        return resumed(bin, key, vm, record);
    }
    let refuse = |why| Err(Withheld::NotRestored(why));
    let Some(entry) = bin.entry(key) else { return refuse(Unrestorable::Absent(key.id(None))) };
    let (Some(kept), Some((xml, uuid))) = (kept, entry.definition()) else {
        let earlier = bin.earlier_definition(key).map(TrashEntry::id);
        return refuse(Unrestorable::NoDefinition { id: entry.id(), earlier });
    };
    let (vm, mark) = proved(bin.world, uuid, kept).map_err(Withheld::NotRestored)?;
    refuse_there(bin, &vm, kept)?;
    let disks = disks(bin, key, kept, mark)?;
    let decision = decision(bin, &vm, mark, (uuid, &disks)).map_err(Withheld::NotRestored)?;
    let known = |volume: &str| bin.world.snapshot.kept.iter().any(|kept| kept.volume == volume);
    let moves = moves(bin, key, (uuid, &disks), known)?;
    let xml = KeptXml { volume: xml.name.clone(), path: format!("{}/{}", bin.pool.path, xml.name) };
    let (seed, write_seed) = seed(bin, &vm, &decision, mark);
    let applied = Applied { shape: kept.shape.clone(), autostart: false, running: false };
    let (run, protect) = (key.run(), mark.protect);
    let xml = Some(xml);
    Ok(VmRestoral { vm, decision, run, disks, moves, xml, seed, write_seed, protect, applied })
}

/// Goes on with what a run began: everything it needs stands in the state.
fn resumed(
    bin: &Bin<'_>,
    key: &TrashKey,
    vm: &VmName,
    record: &VmRecord,
) -> Result<VmRestoral, Withheld> {
    let found = bin.view.domains.iter().find(|domain| domain.uuid == record.uuid);
    if let Some(found) = found {
        proof::domain(bin.world, &[vm], Some(record), found)?;
    }
    proof::domain_name(bin.world, bin.view, vm.as_str(), record.uuid)?;
    let entry = bin.entry(key);
    let definition = entry.and_then(TrashEntry::definition).map(|(item, _)| item);
    let id = key.id(Some(vm));
    let none = || Withheld::NotRestored(Unrestorable::NoDefinition { id, earlier: None });
    let (Some(applied), Some(decision), true) = (
        record.applied.clone(),
        bin.world.snapshot.decisions.vms.get(vm),
        found.is_some() || definition.is_some(),
    ) else {
        return Err(none());
    };
    let disk = |disk: &crate::state::DiskRecord| RestoredDisk {
        name: disk.name.clone(),
        volume: disk.volume.clone(),
        keep: disk.keep,
    };
    let disks: Vec<_> = record.disks.iter().map(disk).collect();
    let there = bin.pool.volumes.contains_key(&record.seed);
    let mark = found.and_then(|found| found.mark.as_ref());
    Ok(VmRestoral {
        vm: vm.clone(),
        decision: decision.clone(),
        run: key.run(),
        moves: moves(bin, key, (record.uuid, &disks), |_| true)?,
        disks,
        xml: definition.map(|item| KeptXml {
            volume: item.name.clone(),
            path: format!("{}/{}", bin.pool.path, item.name),
        }),
        // Without its mark at hand nothing says that this is the seed it had: an apply writes it.
        write_seed: !there && mark.is_some_and(|mark| is_its_seed(bin.world, vm, decision, mark)),
        seed: record.seed.clone(),
        protect: record.protect,
        applied,
    })
}

/// Proves that a definition is the one of a VM of ours.
fn proved<'a>(
    world: &World<'_>,
    uuid: Uuid,
    kept: &'a KeptDomain,
) -> Result<(VmName, &'a Mark), Unrestorable> {
    let strange = |why: String| Err(Unrestorable::StrangeDefinition(why));
    let Some(mark) = &kept.mark else { return strange("it bears no mark".to_owned()) };
    if mark.fleet != world.fleet.id || kept.uuid != uuid {
        return strange(format!("it is {}'s of fleet {}", mark.name, mark.fleet));
    }
    match mark.name.parse() {
        Ok(vm) => Ok((vm, mark)),
        Err(error) => strange(error.to_string()),
    }
}

/// Nothing comes back where something of its name or UUID is.
fn refuse_there(bin: &Bin<'_>, vm: &VmName, kept: &KeptDomain) -> Result<(), Withheld> {
    let there = |what: String| Err(Withheld::NotRestored(Unrestorable::VmThere(what)));
    let mut made = bin.world.snapshot.vms.iter();
    if let Some((other, record)) =
        made.find(|(name, record)| *name == vm || record.uuid == kept.uuid)
    {
        return match key_of(record) {
            Some(key) => {
                let id = key.id(Some(other));
                Err(Withheld::NotRestored(Unrestorable::Begun(id)))
            }
            None => there(format!("vm {other}")),
        };
    }
    let is_it = |host: &HostName, other: &DomainView| {
        let named = other.name == kept.name || other.name == vm.as_str();
        other.uuid == kept.uuid || (host == bin.host && named)
    };
    match everywhere(bin.world.observed).find(|(host, other)| is_it(host, other)) {
        Some((host, other)) => there(format!("domain {} ({}) on {host}", other.name, other.uuid)),
        None => Ok(()),
    }
}

/// Returns the disks of ours that a definition names.
fn disks(
    bin: &Bin<'_>,
    key: &TrashKey,
    kept: &KeptDomain,
    mark: &Mark,
) -> Result<Vec<RestoredDisk>, Withheld> {
    let prefix = volume_prefix(bin.world.fleet.id, kept.uuid);
    let mut disks = Vec::new();
    for file in &kept.shape.disks {
        let (folder, volume) = file.rsplit_once('/').unwrap_or_default();
        let Some((name, _)) = volume.strip_prefix(&prefix).and_then(|rest| rest.rsplit_once('.'))
        else {
            continue;
        };
        if folder != bin.pool.path {
            let why = format!("it names {file}, and the pool lies in {}", bin.pool.path);
            return Err(Withheld::NotRestored(Unrestorable::StrangeDefinition(why)));
        }
        let Ok(name) = name.parse::<DiskName>() else { continue };
        let outlived = bin.world.snapshot.kept.iter().any(|kept| kept.volume == volume);
        let away = bin.pieces(key).any(|item| item.volume == volume);
        let keep = mark.keep.contains(&name) || (outlived && !away);
        disks.push(RestoredDisk { name, volume: volume.to_owned(), keep });
    }
    Ok(disks)
}

/// Returns what is decided about a VM that comes back: what was, less that it was removed.
fn decision(
    bin: &Bin<'_>,
    vm: &VmName,
    mark: &Mark,
    (uuid, disks): (Uuid, &[RestoredDisk]),
) -> Result<VmDecision, Unrestorable> {
    let mut decided = bin.world.decisions.vms.iter();
    let Some((name, old)) = decided.find(|(_, decision)| decision.uuid == uuid) else {
        return Err(Unrestorable::NotDecided(vm.to_string()));
    };
    if name != vm {
        return Err(Unrestorable::Renamed { was: vm.to_string(), now: name.clone() });
    }
    let mut decision = VmDecision {
        host: bin.host.clone(),
        incarnation: mark.incarnation,
        removed: false,
        forgotten: false,
        ..old.clone()
    };
    if !bin.world.fleet.vms.contains_key(vm) {
        let disk = |disk: &RestoredDisk| DiskDecision {
            name: disk.name.clone(),
            volume: disk.volume.clone(),
        };
        decision.disks = disks.iter().map(disk).collect();
        refuse_taken_address(bin.world, vm, &decision)?;
    }
    Ok(decision)
}

/// A removed VM's address may be another's by now; a declared one was given another then.
fn refuse_taken_address(
    world: &World<'_>,
    vm: &VmName,
    decision: &VmDecision,
) -> Result<(), Unrestorable> {
    for nic in &decision.nics {
        let Some(address) = nic.address else { continue };
        let has = |other: &VmDecision| {
            let mut nics = other.nics.iter();
            nics.any(|one| one.network == nic.network && one.address == Some(address))
        };
        let others =
            world.decisions.vms.iter().filter(|(name, other)| *name != vm && !other.removed);
        if let Some((by, _)) = others.into_iter().find(|(_, other)| has(other)) {
            return Err(Unrestorable::AddressTaken { address, by: by.clone() });
        }
    }
    Ok(())
}

/// Returns what gets its name back: disks, and the UEFI variables where they were put away.
fn moves(
    bin: &Bin<'_>,
    key: &TrashKey,
    (uuid, disks): (Uuid, &[RestoredDisk]),
    known: impl Fn(&str) -> bool,
) -> Result<Vec<(String, String)>, Withheld> {
    let mut moves = Vec::new();
    for disk in disks {
        let from = bin.place(key, &disk.volume, uuid, known(&disk.volume))?;
        moves.extend(from.map(|from| (from, disk.volume.clone())));
    }
    let nvram = nvram_name(bin.world.fleet.id, uuid);
    if bin.pieces(key).any(|item| item.content == TrashContent::Nvram) {
        let from = bin.place(key, &nvram, uuid, true)?;
        moves.extend(from.map(|from| (from, nvram)));
    }
    Ok(moves)
}

/// Returns the volume that the definition names as its seed, and whether it is to be written: only
/// one that says what its mark says. What else a guest would be told is not what it was told then.
fn seed(bin: &Bin<'_>, vm: &VmName, decision: &VmDecision, mark: &Mark) -> (String, bool) {
    let seed = seed_volume_name(bin.world.fleet.id, decision.uuid, mark.incarnation);
    let there = bin.pool.volumes.contains_key(&seed);
    let write = !there && is_its_seed(bin.world, vm, decision, mark);
    (seed, write)
}

fn is_its_seed(world: &World<'_>, vm: &VmName, decision: &VmDecision, mark: &Mark) -> bool {
    world.fleet.vms.get(vm).is_some_and(|vm| {
        let told = (world.seed_digest)(vm, decision);
        told.first == mark.digest && told.network == mark.network
    })
}

fn disk_restoral(bin: &Bin<'_>, key: &TrashKey, disk: &DiskName) -> Result<DiskRestoral, Withheld> {
    let refuse = |why| Err(Withheld::NotRestored(why));
    let Some(entry) = bin.entry(key) else { return refuse(Unrestorable::Absent(key.id(None))) };
    let Some(vm) = entry.vm.clone() else {
        return refuse(Unrestorable::NotDecided(format!("vm {}", key.vm)));
    };
    if let Some((begun, vm)) = begun_restores(bin.world).iter().find(|(_, name)| **name == vm) {
        return refuse(Unrestorable::Begun(begun.id(Some(vm))));
    }
    let is_it =
        |content: &TrashContent| matches!(content, TrashContent::Disk(name) if name == disk);
    let Some(item) = entry.holds.iter().find(|item| is_it(&item.content)) else {
        return refuse(Unrestorable::NoDisk(disk.clone()));
    };
    // Whoever uses a volume of that name, it is there.
    if bin.pool.volumes.contains_key(&item.volume) {
        return refuse(Unrestorable::VolumeThere(item.volume.clone()));
    }
    bin.movable(item)?;
    let (from, to) = (item.name.clone(), item.volume.clone());
    Ok(DiskRestoral { vm, disk: disk.clone(), from, to })
}

/// Says whether a VM is half back on this host.
pub(super) fn is_half_back(world: &World<'_>, host: &HostName, vm: &str) -> Option<TrashKey> {
    let begun = world.snapshot.vms.values().filter_map(key_of);
    begun.into_iter().find(|key| key.host == *host && key.vm == vm)
}
