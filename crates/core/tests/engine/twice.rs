//! Nothing is made twice: a VM that is missing on its host may live elsewhere, and its disks may be
//! somebody's by now.

use freehold_core::{
    host::{
        Host as _,
        simulated::{SimulatedHost, WorldDomain},
    },
    model::{DiskSpec, DomainState, HostView, volume_prefix},
    state::VmDecision,
};
use uuid::Uuid;

use crate::bed::{Bed, Exit, Ran, Text, VmText, all, host, vm};

/// One VM with a kept disk, and another on the second host.
fn text() -> Text {
    Text::new(2, vec![VmText::new("web").data(true), VmText::new("db").on(&[2])])
}

async fn applied() -> (Bed, VmDecision) {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    let web = bed.decided().vms[&vm("web")].clone();
    (bed, web)
}

async fn views(bed: &Bed) -> Vec<HostView> {
    let view = |host: &SimulatedHost| {
        let host = host.clone();
        async move { host.observe(&["br0".to_owned()]).await.unwrap() }
    };
    futures::future::join_all(bed.hosts.values().map(view)).await
}

/// Checks that a run left web alone, said why and what to do, and did nothing to any host.
async fn assert_held(bed: &Bed, code: &str, words: &str) {
    let (before, calls) = (views(bed).await, bed.fate.calls());
    let ran = bed.apply(&all()).await;
    held(&ran, code, words);
    assert_eq!((views(bed).await, bed.fate.calls()), (before, calls), "{}", ran.plan.text());
}

fn held(ran: &Ran, code: &str, words: &str) {
    let why = ran.why("vm web").unwrap_or_else(|| panic!("not held:\n{}", ran.plan.text()));
    assert_eq!(why.code(), code, "{why}");
    assert!(why.to_string().contains(words), "{why}");
    assert!(why.hint().is_some() && ran.exit() == Exit::Part, "{why}");
}

/// `virsh destroy`, then `virsh undefine`.
fn undefine(bed: &Bed, web: &VmDecision) {
    let mut world = bed.hosts[&host("rack1")].world();
    assert!(world.somebody_destroys(web.uuid) && world.somebody_undefines(web.uuid));
}

#[tokio::test]
async fn a_missing_domain_is_not_defined_under_its_overlay() {
    for disk in 0..2 {
        let (bed, web) = applied().await;
        {
            let mut world = bed.hosts[&host("rack1")].world();
            assert!(world.external_snapshot(web.uuid, &web.disks[disk].volume));
            assert!(world.somebody_forgets_snapshots(web.uuid));
        }
        undefine(&bed, &web);
        assert_held(&bed, "external-snapshot", ".s1 lies over").await;
        {
            // Somebody merged it, and removed it.
            let mut world = bed.hosts[&host("rack1")].world();
            world.volumes.retain(|name, _| !name.contains(".s1"));
        }
        bed.converges(2, "once it is merged").await;
    }
}

/// Returns somebody's domain that uses a volume.
fn borrower(of: &WorldDomain, volume: &str) -> WorldDomain {
    let mut theirs = of.clone();
    theirs.spec.uuid = Uuid::from_u128(1);
    "backup".clone_into(&mut theirs.spec.name);
    theirs.spec.disks = vec![DiskSpec { volume: volume.to_owned(), backing: None }];
    (theirs.spec.seed, theirs.spec.nics, theirs.marked) = (None, Vec::new(), false);
    theirs.spec.mark.fleet = "0123456789abcdef0123456789abcdef".parse().unwrap();
    theirs.runs = Some(theirs.spec.clone());
    theirs
}

#[tokio::test]
async fn a_disk_that_another_domain_uses_is_not_attached_a_second_time() {
    let bare = Text::new(2, vec![VmText::new("web"), VmText::new("db").on(&[2])]);
    for left in [text().without("web"), bare, text()] {
        let (bed, web) = applied().await;
        let data = &web.disks[1].volume;
        let theirs = borrower(&bed.hosts[&host("rack1")].world().domains[&web.uuid], data);
        bed.write(&left);
        assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
        if left.to_string() == text().to_string() {
            undefine(&bed, &web);
        }
        bed.hosts[&host("rack1")].world().domains.insert(theirs.spec.uuid, theirs.clone());
        bed.write(&text());
        assert_held(&bed, "foreign", "domain backup uses").await;
        bed.hosts[&host("rack1")].world().domains.remove(&theirs.spec.uuid);
        bed.converges(2, "once it is given back").await;
    }
}

/// `virsh migrate --copy-storage-all --persistent`; the source stays defined where told so.
fn migrate(bed: &Bed, web: &VmDecision, (from, to): (&str, &str), undefine: bool) {
    let mut source = bed.hosts[&host(from)].world();
    let mut target = bed.hosts[&host(to)].world();
    let domain = source.domains[&web.uuid].clone();
    if undefine {
        source.domains.remove(&web.uuid);
    } else {
        let left = source.domains.get_mut(&web.uuid).unwrap();
        (left.state, left.runs) = (DomainState::Off, None);
    }
    let files = domain.spec.disks.iter().map(|disk| &disk.volume).chain(&domain.spec.seed);
    for file in files {
        let view = source.volumes[file].clone();
        target.volumes.insert(file.clone(), view);
    }
    target.domains.insert(web.uuid, domain);
}

#[tokio::test]
async fn a_vm_that_lives_on_another_host_is_neither_made_nor_removed() {
    for undefine in [true, false] {
        let (bed, web) = applied().await;
        migrate(&bed, &web, ("rack1", "rack2"), undefine);
        assert_held(&bed, "elsewhere", "rack2").await;
        bed.write(&text().without("web"));
        assert_held(&bed, "elsewhere", "rack2").await;
        let (before, calls) = (views(&bed).await, bed.fate.calls());
        held(&bed.destroy(Some(&["web"])).await, "elsewhere", "rack2");
        assert_eq!((views(&bed).await, bed.fate.calls()), (before, calls));
        assert!(bed.server.records().contains_key("web.example.org"), "it keeps its name");
        // Its block follows it by hand: that is no move of its disks.
        let mut moved = text();
        moved.vms[0].hosts = vec![2];
        bed.write(&moved);
        assert_held(&bed, "elsewhere", "rack2").await;
        bed.write(&text());
        let back = bed.hosts[&host("rack2")].world().domains.remove(&web.uuid).unwrap();
        bed.hosts[&host("rack1")].world().domains.insert(web.uuid, back);
        let prefix = volume_prefix(bed.fleet().id, web.uuid);
        let left = |file: &String| !file.starts_with(&prefix);
        bed.hosts[&host("rack2")].world().volumes.retain(|file, _| left(file));
        bed.converges(2, "once it is back").await;
    }
}

#[tokio::test]
async fn a_copy_that_is_off_elsewhere_disturbs_no_vm_that_runs() {
    let (bed, web) = applied().await;
    migrate(&bed, &web, ("rack1", "rack2"), false);
    {
        let mut world = bed.hosts[&host("rack2")].world();
        assert!(world.somebody_destroys(web.uuid));
    }
    assert!(bed.hosts[&host("rack1")].world().somebody_starts(web.uuid));
    let plan = bed.plan().await;
    assert!(plan.is_empty() && plan.held.is_empty(), "{}", plan.text());
}
