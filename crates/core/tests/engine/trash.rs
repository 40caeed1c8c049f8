//! What was removed: how it is found, how it comes back, how it is destroyed.

use freehold_core::{
    apply::kept_domain,
    model::{DomainState, Size, nvram_name, seed_volume_name},
    plan::{
        Consent, Goal, Restore, Restoring, TrashEntry, TrashKey, Unrestorable, Withheld,
        begun_restores, trash,
    },
};

use crate::bed::{Bed, Exit, Ran, Text, VmText, all, host, vm};

pub(crate) async fn applied(text: &Text) -> Bed {
    let bed = Bed::new(text);
    bed.converges(2, "before").await;
    bed
}

/// Returns what lies in the trash.
pub(crate) async fn entries(bed: &Bed) -> Vec<TrashEntry> {
    let prepared = bed.prepare(bed.snapshot(), Goal::Converge).await.unwrap();
    prepared.with_world(trash)
}

/// Returns the one entry with a definition.
pub(crate) async fn removed(bed: &Bed) -> TrashKey {
    let entries = entries(bed).await;
    let mut whole = entries.into_iter().filter(|entry| entry.definition().is_some());
    whole.next().expect("something was removed").key
}

/// Returns the entries that VMs are half back from.
pub(crate) async fn begun(bed: &Bed) -> Vec<TrashKey> {
    let prepared = bed.prepare(bed.snapshot(), Goal::Converge).await.unwrap();
    prepared.with_world(|world| begun_restores(world).into_iter().map(|(key, _)| key).collect())
}

/// Brings back a whole VM, its definition read before as the command does.
pub(crate) async fn restore(bed: &Bed, key: &TrashKey) -> Ran {
    let entries = entries(bed).await;
    let entry = entries.iter().find(|entry| entry.key == *key);
    let rack = &bed.hosts[&key.host];
    let mut kept = None;
    if let Some((item, _)) = entry.and_then(TrashEntry::definition) {
        let path = format!("{}/{}", rack.world().pool_path, item.name);
        kept = kept_domain(rack, &path).await.unwrap().map(Box::new);
    }
    let what = Restoring::Vm(kept);
    bed.run(Goal::Restore(Box::new(Restore { entry: key.clone(), what })), &Consent::default())
        .await
}

pub(crate) async fn restore_disk(bed: &Bed, key: &TrashKey, disk: &str) -> Ran {
    let what = Restoring::Disk(disk.parse().unwrap());
    let goal = Goal::Restore(Box::new(Restore { entry: key.clone(), what }));
    bed.run(goal, &Consent::default()).await
}

async fn empty(bed: &Bed, keys: &[&TrashKey]) -> Ran {
    let keys = keys.iter().map(|key| (*key).clone()).collect();
    bed.run(Goal::Empty(keys), &Consent::default()).await
}

/// Says why a restore was refused.
fn refused(ran: &Ran) -> &Unrestorable {
    match ran.plan.held.as_slice() {
        [held] => match &held.why {
            Withheld::NotRestored(why) => why,
            why => panic!("{why:?}"),
        },
        held => panic!("{held:?}"),
    }
}

/// Writes into a disk, as far as the simulation goes; [`is_written`] finds it again.
pub(crate) fn write_into(bed: &Bed, volume: &str) {
    let mut world = bed.hosts[&host("rack1")].world();
    world.volumes.get_mut(volume).unwrap().used = Size::from_mib(77);
}

pub(crate) fn is_written(bed: &Bed, volume: &str) -> bool {
    let world = bed.hosts[&host("rack1")].world();
    world.volumes.get(volume).is_some_and(|volume| volume.used == Size::from_mib(77))
}

/// Makes everything in the trash older than it is.
fn age(bed: &Bed) {
    let mut world = bed.hosts[&host("rack1")].world();
    let older = |name: &String| name.replace("trash.20261122", "trash.20260101");
    world.volumes = world.volumes.iter().map(|(name, seen)| (older(name), seen.clone())).collect();
    let contents = world.contents.iter().map(|(name, bytes)| (older(name), bytes.clone()));
    world.contents = contents.collect();
    let lists = world.card.iter_mut().flat_map(|card| card.volumes.values_mut());
    lists.for_each(|names| *names = names.iter().map(older).collect());
}

#[tokio::test]
async fn a_removed_vm_is_found_again_by_its_names() {
    let bed = applied(&Text::usual()).await;
    assert_eq!(entries(&bed).await, []);
    assert_eq!(bed.destroy(Some(&["db"])).await.exit(), Exit::Done);
    let found = entries(&bed).await;
    let [entry] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(entry.vm, Some(vm("db")));
    assert_eq!(entry.words(), "data 2GiB, root 1GiB, nvram, definition");
    assert!(entry.is_young && entry.used() > Size::from_mib(2), "{entry:?}");
    assert!(entry.id().starts_with("rack1/20261122T0000") && entry.id().ends_with("/db"));
    assert!(entry.is_called(&entry.id()) && entry.is_called(&entry.key.id(None)));
    let plan = bed.plan().await;
    assert!(plan.summary().contains("trash on rack1: 3"), "{}", plan.summary());
    age(&bed);
    let summary = bed.plan().await.summary();
    assert!(
        summary.contains("in 1 entry, 1 older than 30 days (freehold trash empty)"),
        "{summary}"
    );
    // A lost state loses nothing of it, and what the card does not list is not ours.
    bed.lose_state();
    assert_eq!(entries(&bed).await.len(), 1);
    bed.hosts[&host("rack1")].world().card.as_mut().unwrap().volumes.clear();
    assert_eq!(entries(&bed).await, []);
}

#[tokio::test]
async fn a_removed_vm_comes_back_as_it_was() {
    let bed = applied(&Text::usual()).await;
    let before = bed.decided().vms[&vm("db")].clone();
    let rack = &bed.hosts[&host("rack1")];
    let spec = rack.world().domains[&before.uuid].spec.clone();
    for disk in &before.disks {
        write_into(&bed, &disk.volume);
    }
    assert_eq!(bed.destroy(Some(&["db"])).await.exit(), Exit::Done);
    let ran = restore(&bed, &removed(&bed).await).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?} {:?}", ran.plan.held, ran.report);
    assert!(
        ran.plan.text().contains("+ vm db: 3 files back from the trash"),
        "{}",
        ran.plan.text()
    );
    {
        let world = rack.world();
        let back = &world.domains[&before.uuid];
        assert_eq!((&back.spec, back.state), (&spec, DomainState::Off), "it is not started");
        assert!(world.volumes.contains_key(&nvram_name(bed.fleet().id, before.uuid)));
        let seed = seed_volume_name(bed.fleet().id, before.uuid, 1);
        assert!(world.volumes.contains_key(&seed), "it can start");
        assert!(!world.volumes.keys().any(|name| name.starts_with("trash.")), "nothing is left");
    }
    assert!(before.disks.iter().all(|disk| is_written(&bed, &disk.volume)));
    assert_eq!(bed.decided().vms[&vm("db")], before, "no tombstone, and the same incarnation");
    assert_eq!(bed.snapshot().vms[&vm("db")].restoring, None);
    assert!(!bed.server.records().contains_key("db.example.org"), "published once it runs");
    bed.converges(1, "back").await;
    assert_eq!(rack.world().domains[&before.uuid].spec.mark.incarnation, 1);
}

#[tokio::test]
async fn a_vm_comes_back_to_its_kept_disk() {
    let bed = applied(&Text::usual()).await;
    let before = bed.decided().vms[&vm("web-0")].clone();
    let data = before.disks[1].volume.clone();
    bed.destroy(Some(&["web-0"])).await;
    assert_eq!(bed.snapshot().kept.len(), 1);
    let ran = restore(&bed, &removed(&bed).await).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.held);
    assert_eq!(bed.snapshot().kept, []);
    let record = &bed.snapshot().vms[&vm("web-0")];
    assert!(record.disks.iter().any(|disk| disk.volume == data && disk.keep), "{record:?}");
    bed.converges(1, "back").await;
}

#[tokio::test]
async fn a_vm_that_is_not_declared_waits_for_its_block() {
    let text = Text::usual();
    let bed = applied(&text).await;
    bed.write(&text.without("db"));
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    let key = removed(&bed).await;
    assert_eq!(restore(&bed, &key).await.exit(), Exit::Done);
    let uuid = bed.snapshot().vms[&vm("db")].uuid;
    let seed = seed_volume_name(bed.fleet().id, uuid, 1);
    let rack = &bed.hosts[&host("rack1")];
    assert!(!rack.world().volumes.contains_key(&seed), "nobody knows what it would say");
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!(ran.exit(), Exit::Held, "{}", ran.plan.text());
    bed.write(&text);
    bed.converges(1, "its block is back").await;
    assert!(rack.world().volumes.contains_key(&seed));
    assert_eq!(bed.decided().vms[&vm("db")].incarnation, 1);
    // Without its block it goes again, to an entry of its own.
    bed.write(&text.without("db"));
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    assert_ne!(removed(&bed).await, key);
}

#[tokio::test]
async fn nothing_comes_back_over_what_is_there() {
    let bed = applied(&Text::usual()).await;
    bed.destroy(Some(&["db"])).await;
    let key = removed(&bed).await;
    let calls = bed.fate.calls();
    let uuid = bed.decided().vms[&vm("db")].uuid;
    let data = bed.decided().vms[&vm("db")].disks[1].volume.clone();
    let rack = &bed.hosts[&host("rack1")];
    // Somebody's domain of that name.
    let mut other = rack.world().domains.values().next().unwrap().clone();
    (other.spec.name, other.spec.uuid) = ("db".into(), uuid::Uuid::from_u128(7));
    rack.world().domains.insert(other.spec.uuid, other.clone());
    assert!(matches!(refused(&restore(&bed, &key).await), Unrestorable::VmThere(_)));
    rack.world().domains.remove(&other.spec.uuid);
    // A volume of that name.
    let volume = rack.world().volumes.values().next().unwrap().clone();
    rack.world().volumes.insert(data.clone(), volume);
    let lists = |data: &String| {
        let mut world = rack.world();
        let lists = world.card.iter_mut().flat_map(|card| card.volumes.values_mut());
        lists.for_each(|names| names.push(data.clone()));
    };
    lists(&data);
    assert_eq!(*refused(&restore(&bed, &key).await), Unrestorable::VolumeThere(data.clone()));
    rack.world().volumes.remove(&data);
    // No definition.
    let xml = entries(&bed).await[0].definition().unwrap().0.name.clone();
    let kept = rack.world().volumes.remove(&xml).unwrap();
    assert!(matches!(refused(&restore(&bed, &key).await), Unrestorable::NoDefinition { .. }));
    rack.world().volumes.insert(xml, kept);
    assert_eq!(bed.fate.calls(), calls, "nothing was touched");
    // It was made again meanwhile.
    bed.converges(1, "made again").await;
    assert!(matches!(refused(&restore(&bed, &key).await), Unrestorable::VmThere(_)));
    assert_eq!(bed.decided().vms[&vm("db")].uuid, uuid);
    bed.destroy(Some(&["db"])).await;
    assert_eq!(restore(&bed, &key).await.exit(), Exit::Done, "the older of two");
    assert_eq!(bed.decided().vms[&vm("db")].incarnation, 1);
    bed.converges(1, "the first one is back").await;
}

#[tokio::test]
async fn an_address_that_was_given_away_is_not_taken_back() {
    let mut text = Text::new(1, vec![VmText::new("web"), VmText::new("db")]);
    text.addresses = "127.77.0.100-127.77.0.101";
    let bed = applied(&text).await;
    let mut next = text.without("db");
    next.vms.push(VmText::new("mail"));
    bed.write(&text.without("db"));
    bed.apply(&all()).await;
    bed.write(&next);
    bed.converges(1, "its address is given away").await;
    let key = removed(&bed).await;
    let ran = restore(&bed, &key).await;
    assert!(matches!(refused(&ran), Unrestorable::AddressTaken { by, .. } if *by == vm("mail")));
    assert_eq!(ran.exit(), Exit::Part);
}

#[tokio::test]
async fn one_disk_comes_back_and_is_attached() {
    let text = Text::usual();
    let bed = applied(&text).await;
    let data = bed.decided().vms[&vm("db")].disks[1].volume.clone();
    write_into(&bed, &data);
    let mut bare = text.clone();
    bare.vms[1].data = None;
    bed.write(&bare);
    bed.converges(1, "detached").await;
    let found = entries(&bed).await;
    let [entry] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(entry.words(), "data 2GiB");
    let ran = restore(&bed, &entry.key).await;
    assert!(matches!(refused(&ran), Unrestorable::NoDefinition { .. }));
    let ran = restore_disk(&bed, &entry.key, "root").await;
    assert!(matches!(refused(&ran), Unrestorable::NoDisk(_)));
    let ran = restore_disk(&bed, &entry.key, "data").await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.held);
    assert_eq!(bed.snapshot().kept.len(), 1);
    assert!(bed.plan().await.is_empty(), "it lies in the pool until a block names it");
    bed.write(&text);
    bed.converges(1, "attached again").await;
    assert!(is_written(&bed, &data));
    assert_eq!(bed.snapshot().kept, []);
}

#[tokio::test]
async fn only_what_is_named_is_destroyed_and_the_card_forgets_it() {
    let bed = applied(&Text::usual()).await;
    bed.destroy(Some(&["db"])).await;
    bed.destroy(Some(&["web-0"])).await;
    let found = entries(&bed).await;
    assert_eq!(found.len(), 2);
    let plan = empty(&bed, &[&found[0].key]).await;
    assert_eq!(plan.exit(), Exit::Done, "{:?}", plan.report);
    let words = "destroyed for good (data 2GiB, root 1GiB, nvram, definition; 3";
    assert!(plan.plan.text().contains(words), "{}", plan.plan.text());
    let left: Vec<_> = entries(&bed).await.into_iter().map(|entry| entry.key).collect();
    assert_eq!(left, [found[1].key.clone()]);
    let world = bed.hosts[&host("rack1")].world();
    let listed = world.card.iter().flat_map(|card| card.volumes.values().flatten());
    let gone: Vec<_> = listed.filter(|name| !world.volumes.contains_key(*name)).collect();
    assert!(gone.iter().all(|name| !name.starts_with("trash.")), "{gone:?}");
}

#[tokio::test]
async fn what_something_stands_on_is_not_destroyed() {
    let bed = applied(&Text::usual()).await;
    bed.destroy(Some(&["db"])).await;
    let key = removed(&bed).await;
    let rack = &bed.hosts[&host("rack1")];
    {
        let mut world = rack.world();
        let root = world.volumes.keys().find(|name| name.contains(".root.")).unwrap().clone();
        let trashed = world.volumes.keys().find(|name| name.starts_with("trash.")).unwrap().clone();
        let mut overlay = world.volumes[&root].clone();
        overlay.backing = Some(format!("{}/{trashed}", world.pool_path));
        world.volumes.insert("somebodys.qcow2".into(), overlay);
    }
    let ran = empty(&bed, &[&key]).await;
    assert!(ran.plan.is_empty());
    assert!(matches!(ran.plan.held[0].why, Withheld::SnapshotOver { .. }), "{:?}", ran.plan.held);
    rack.world().volumes.remove("somebodys.qcow2");
    assert_eq!(empty(&bed, &[&key]).await.exit(), Exit::Done);
}
