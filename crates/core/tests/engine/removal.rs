//! What goes, what stays, and what comes back.

use freehold_core::{
    model::{Impact, nvram_name, seed_volume_name},
    plan::{Action, Consent, Withheld},
};

use crate::bed::{Bed, Exit, Text, Trick, VmText, all, host, vm};

fn allow(classes: &[&str]) -> Consent {
    let allowances = classes.iter().map(|class| class.parse().unwrap()).collect();
    Consent { allowances, ..Consent::default() }
}

async fn applied(text: &Text) -> Bed {
    let bed = Bed::new(text);
    bed.converges(2, "before").await;
    bed
}

#[tokio::test]
async fn a_removal_needs_consent_and_so_do_the_edits_about_it() {
    let bed = applied(&Text::usual()).await;
    bed.write(&Text::usual().without("db"));
    let calls = bed.fate.calls();
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!(ran.why("vm db"), Some(&Withheld::Consent(Impact::DataLoss)));
    assert_eq!(ran.why("network back"), Some(&Withheld::Consent(Impact::Disconnect)));
    assert_eq!((ran.exit(), bed.fate.calls()), (Exit::Held, calls));
    assert!(ran.drafted.edits.iter().any(|edit| edit.new.is_empty()), "it was drafted");
    assert!(bed.server.records().contains_key("db.example.org"));
    let ran = bed.apply(&Consent { deletes: Some(2), ..allow(&["data-loss", "disconnect"]) }).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.held);
    bed.check("after consent").await;
}

#[tokio::test]
async fn a_network_stays_as_long_as_a_vm_on_it_does() {
    let bed = applied(&Text::usual()).await;
    bed.write(&Text::usual().without("db"));
    let calls = bed.fate.calls();
    let ran = bed.apply(&allow(&["disconnect"])).await;
    assert_eq!(ran.why("vm db"), Some(&Withheld::Consent(Impact::DataLoss)));
    assert!(matches!(ran.why("network back"), Some(Withheld::Needs(_))), "{:?}", ran.plan.held);
    assert_eq!(bed.fate.calls(), calls);
}

#[tokio::test]
async fn consent_can_be_given_by_name() {
    let bed = applied(&Text::usual()).await;
    bed.write(&Text::usual().without("web"));
    let consent = Consent { deletes: Some(2), ..allow(&["data-loss=web-1"]) };
    let ran = bed.apply(&consent).await;
    assert_eq!(ran.why("vm web-0"), Some(&Withheld::Consent(Impact::DataLoss)));
    let left: Vec<_> = bed.snapshot().vms.into_keys().collect();
    assert_eq!(left, [vm("db"), vm("web-0")]);
}

#[tokio::test]
async fn three_of_ten_do_not_vanish_unasked() {
    let text = |count| Text::new(1, vec![VmText::new("web").count(count)]);
    let bed = applied(&text(10)).await;
    bed.write(&text(7));
    let calls = bed.fate.calls();
    let held = Withheld::Budget { wanted: 3, allowed: 1 };
    for consent in [allow(&["data-loss"]), Consent { all: true, ..Consent::default() }] {
        let ran = bed.apply(&consent).await;
        for name in ["vm web-7", "vm web-8", "vm web-9"] {
            assert_eq!(ran.why(name), Some(&held));
        }
        assert_eq!((ran.exit(), bed.fate.calls()), (Exit::Held, calls));
        assert_eq!(bed.server.records().len(), 10);
    }
    let ran = bed.apply(&Consent { deletes: Some(3), ..allow(&["data-loss"]) }).await;
    assert_eq!(ran.exit(), Exit::Done);
    bed.check("after --deletes").await;
    // One of seven is within the budget.
    bed.write(&text(6));
    assert_eq!(bed.apply(&allow(&["data-loss"])).await.exit(), Exit::Done);
}

#[tokio::test]
async fn a_kept_disk_stays_and_is_attached_again() {
    let text = Text::usual();
    let bed = applied(&text).await;
    let before = bed.decided().vms[&vm("web-0")].clone();
    let (root, data) = (&before.disks[0].volume, &before.disks[1].volume);
    bed.write(&text.without("web"));
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    {
        let world = bed.hosts[&host("rack1")].world();
        let volumes: Vec<_> = world.volumes.keys().collect();
        assert!(world.volumes.contains_key(data), "kept: {volumes:?}");
        assert!(!world.volumes.contains_key(root), "{volumes:?}");
        let trash = |part: &str| {
            volumes.iter().any(|name| name.starts_with("trash.") && name.ends_with(part))
        };
        assert!(trash(root), "the root disk goes to the trash: {volumes:?}");
        assert!(trash(".xml"), "{volumes:?}");
        let seed = seed_volume_name(bed.fleet().id, before.uuid, 1);
        assert!(!world.volumes.contains_key(&seed), "{volumes:?}");
    }
    let snapshot = bed.snapshot();
    assert!(!snapshot.vms.contains_key(&vm("web-0")));
    assert_eq!(snapshot.kept.len(), 2, "{:?}", snapshot.kept);
    assert!(bed.decided().vms[&vm("web-0")].removed, "a tombstone");
    bed.check("after removal").await;

    bed.write(&text);
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!(ran.exit(), Exit::Done);
    assert!(!ran.plan.text().contains("2GiB"), "no data disk is made: {}", ran.plan.text());
    let mut again = bed.decided().vms[&vm("web-0")].clone();
    assert_eq!(again.incarnation, before.incarnation + 1);
    again.incarnation = before.incarnation;
    assert_eq!(again, before, "the same UUID, address, host, volumes and key");
    assert_eq!(bed.snapshot().kept, []);
    {
        let world = bed.hosts[&host("rack1")].world();
        let spec = &world.domains[&before.uuid].spec;
        assert!(spec.disks.iter().any(|disk| disk.volume == *data));
    }
    bed.check("when it is back").await;
}

#[tokio::test]
async fn a_vm_goes_and_comes_back_many_times() {
    let text = Text::usual();
    let bed = applied(&text).await;
    let uuid = bed.decided().vms[&vm("db")].uuid;
    for incarnation in 2..5 {
        bed.write(&text.without("db"));
        assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
        bed.check("gone").await;
        bed.write(&text);
        bed.plan().await;
        assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
        bed.check("back").await;
        let decided = &bed.decided().vms[&vm("db")];
        assert_eq!((decided.uuid, decided.incarnation), (uuid, incarnation));
    }
}

/// The usual text with `keep` of the disk of `db`, which is not kept there, as said.
fn db_kept(keep: bool) -> Text {
    let mut text = Text::usual();
    text.vms[1].data.as_mut().unwrap().keep = keep;
    text
}

#[tokio::test]
async fn keep_is_raised_at_once_and_taken_back_by_name() {
    let bed = applied(&Text::usual()).await;
    bed.write(&db_kept(true));
    let calls = bed.fate.calls();
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!((ran.exit(), ran.plan.changes.len()), (Exit::Done, 1), "{:?}", ran.plan.held);
    assert!(ran.plan.text().contains("~ vm db (disk data: keep = true)"), "{}", ran.plan.text());
    assert_eq!(bed.fate.calls(), calls + 1, "only its mark changes");
    assert!(bed.snapshot().vms[&vm("db")].disks[1].keep);
    bed.check("raised").await;
    bed.write(&db_kept(false));
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.why("vm db"), Some(&Withheld::Unprotect(vm("db"))));
    let consent = Consent { unprotect: [vm("db")].into(), ..Consent::default() };
    assert_eq!(bed.apply(&consent).await.exit(), Exit::Done);
    assert!(!bed.snapshot().vms[&vm("db")].disks[1].keep);
    bed.check("taken back").await;
}

#[tokio::test]
async fn keep_that_only_the_text_says_lasts_over_destroy_and_apply() {
    let bed = applied(&Text::usual()).await;
    let data = bed.decided().vms[&vm("db")].disks[1].volume.clone();
    bed.write(&db_kept(true));
    assert_eq!(bed.destroy(Some(&["db"])).await.exit(), Exit::Done);
    let kept: Vec<_> = bed.snapshot().kept.into_iter().map(|kept| kept.volume).collect();
    assert_eq!(kept, [data.as_str()]);
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.held);
    assert!(!ran.plan.text().contains("2GiB"), "it is attached again: {}", ran.plan.text());
    assert_eq!(bed.snapshot().kept, []);
    bed.check("made again").await;
}

#[tokio::test]
async fn a_lost_kept_disk_is_given_up_by_destroying_its_vm() {
    let bed = applied(&Text::usual()).await;
    let data = bed.decided().vms[&vm("web-0")].disks[1].volume.clone();
    bed.hosts[&host("rack1")].world().volumes.remove(&data);
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.why("vm web-0"), Some(&Withheld::DiskMissing(data)));
    assert_eq!(bed.destroy(Some(&["web-0"])).await.exit(), Exit::Done);
    assert_eq!(bed.snapshot().kept, [], "nothing is there to be kept");
    bed.converges(2, "made again, with an empty disk").await;
}

#[tokio::test]
async fn a_kept_disk_that_is_missing_holds_its_vm() {
    let text = Text::usual();
    let bed = applied(&text).await;
    let data = bed.decided().vms[&vm("web-0")].disks[1].volume.clone();
    bed.write(&text.without("web"));
    bed.apply(&all()).await;
    bed.hosts[&host("rack1")].world().volumes.remove(&data);
    bed.write(&text);
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.why("vm web-0"), Some(&Withheld::DiskMissing(data)));
    assert!(bed.snapshot().vms.contains_key(&vm("web-1")));
}

#[tokio::test]
async fn a_kept_disk_grows_and_never_shrinks() {
    let text = Text::usual();
    let bed = applied(&text).await;
    bed.write(&text.without("web"));
    bed.apply(&all()).await;
    let mut larger = text.clone();
    larger.vms[0].data.as_mut().unwrap().size = "1GiB";
    bed.write(&larger);
    let ran = bed.apply(&all()).await;
    match ran.why("vm web-0") {
        Some(Withheld::NotYet { field, .. }) => assert_eq!(field, "disk.size"),
        why => panic!("{why:?}"),
    }
    assert!(!bed.snapshot().vms.contains_key(&vm("web-0")));
    larger.vms[0].data.as_mut().unwrap().size = "4GiB";
    bed.write(&larger);
    bed.converges(1, "grown").await;
}

#[tokio::test]
async fn a_disk_of_a_vm_that_was_whole_is_not_made_anew() {
    let bed = applied(&Text::usual()).await;
    let data = bed.decided().vms[&vm("web-0")].disks[1].volume.clone();
    {
        let mut world = bed.hosts[&host("rack1")].world();
        world.domains.clear();
        world.volumes.remove(&data);
    }
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.why("vm web-0"), Some(&Withheld::DiskMissing(data)));
    // Nothing of the other one is lost but its domain, which is made again.
    assert_eq!(bed.hosts[&host("rack1")].world().domains.len(), 1);
}

#[tokio::test]
async fn a_disk_the_card_does_not_list_holds_the_removal() {
    for number in [0, 1] {
        let bed = applied(&Text::usual()).await;
        let volume = bed.decided().vms[&vm("web-0")].disks[number].volume.clone();
        {
            let mut world = bed.hosts[&host("rack1")].world();
            let lists = world.card.iter_mut().flat_map(|card| card.volumes.values_mut());
            lists.for_each(|names| names.retain(|name| *name != volume));
        }
        let calls = bed.fate.calls();
        let ran = bed.destroy(Some(&["web-0"])).await;
        assert_eq!(ran.why("vm web-0"), Some(&Withheld::NotInIndex(volume)));
        assert_eq!((ran.exit(), bed.fate.calls()), (Exit::Part, calls));
        assert!(bed.snapshot().vms.contains_key(&vm("web-0")), "it is not forgotten");
        assert!(bed.server.records().contains_key("web-0.example.org"));
    }
}

#[tokio::test]
async fn a_removal_that_is_called_off_half_way_makes_the_vm_again() {
    for k in 0.. {
        let bed = applied(&Text::usual()).await;
        bed.write(&Text::usual().without("db"));
        let fired = bed.fate.fired();
        bed.fate.spoil(k, Trick::KillAfter);
        bed.apply(&all()).await;
        if bed.fate.fired() == fired {
            assert_eq!(k, 11, "changing calls");
            break;
        }
        bed.write(&Text::usual());
        bed.converges(3, &format!("called off at {k}")).await;
    }
}

#[tokio::test]
async fn keep_is_sticky_once_the_block_is_gone() {
    let bed = applied(&Text::usual()).await;
    let ran = bed.destroy(None).await;
    assert_eq!(ran.exit(), Exit::Done);
    assert_eq!(bed.snapshot().kept.len(), 2);
    for kept in bed.snapshot().kept {
        assert!(bed.hosts[&kept.host].world().volumes.contains_key(&kept.volume));
    }
}

#[tokio::test]
async fn destroying_one_vm_by_name_leaves_the_others() {
    let bed = applied(&Text::usual()).await;
    let nvram = nvram_name(bed.fleet().id, bed.decided().vms[&vm("db")].uuid);
    let ran = bed.destroy(Some(&["db"])).await;
    assert_eq!(ran.exit(), Exit::Done);
    {
        let world = bed.hosts[&host("rack1")].world();
        let trash = |end: &str| {
            let mut names = world.volumes.keys();
            names.any(|name| name.starts_with("trash.") && name.ends_with(end))
        };
        assert!(trash(&nvram) && !world.volumes.contains_key(&nvram), "UEFI's variables are kept");
        assert!(trash(".xml"), "so is its definition");
    }
    let removed: Vec<_> = ran.plan.changes.iter().map(|c| c.object.to_string()).collect();
    assert_eq!(removed, ["vm db"], "networks stay: others may use them");
    assert!(!bed.server.records().contains_key("db.example.org"));
    assert_eq!(bed.server.records().len(), 2);
    assert!(bed.decided().vms[&vm("db")].removed);
    // It is declared still, so the next apply makes it again.
    let ran = bed.apply(&Consent::default()).await;
    assert!(ran.plan.changes.iter().any(|change| change.action == Action::Create));
    bed.check("made again").await;
    assert_eq!(bed.decided().vms[&vm("db")].incarnation, 2);
}

#[tokio::test]
async fn destroying_everything_leaves_the_trash_and_kept_disks() {
    let bed = applied(&Text::usual()).await;
    assert_eq!(bed.destroy(None).await.exit(), Exit::Done);
    let snapshot = bed.snapshot();
    assert!(snapshot.vms.is_empty() && snapshot.published.is_empty());
    assert!(snapshot.networks.values().all(std::collections::BTreeMap::is_empty));
    assert_eq!(bed.server.records().len(), 0);
    for rack in bed.hosts.values() {
        let world = rack.world();
        assert!(world.domains.is_empty() && world.networks.is_empty());
        let mut names = world.volumes.keys();
        let fine = |name: &String| {
            let kept = snapshot.kept.iter().any(|kept| kept.volume == *name);
            kept || name.starts_with("trash.") || name.starts_with("image.")
        };
        assert!(names.all(fine), "{:?}", world.volumes.keys());
    }
    assert!(bed.destroy(None).await.plan.is_empty());
    bed.converges(2, "after everything was destroyed").await;
}

#[tokio::test]
async fn destroying_with_a_host_down_holds_what_is_there() {
    let bed = applied(&Text::usual()).await;
    bed.hosts[&host("rack2")].set_down(true);
    let ran = bed.destroy(None).await;
    assert_eq!(ran.exit(), Exit::Part);
    assert!(matches!(ran.why("vm web-1"), Some(Withheld::Unreachable(_))));
    let left: Vec<_> = bed.snapshot().vms.into_keys().collect();
    assert_eq!(left, [vm("web-1")]);
    let records: Vec<_> = bed.server.records().into_keys().collect();
    assert_eq!(records, ["web-1.example.org"], "what is not removed keeps its name");
    bed.heal();
    assert_eq!(bed.destroy(None).await.exit(), Exit::Done);
    assert!(bed.snapshot().vms.is_empty() && bed.server.records().is_empty());
}

#[tokio::test]
async fn a_server_that_is_down_does_not_keep_a_vm() {
    let bed = applied(&Text::usual()).await;
    bed.write(&Text::usual().without("db"));
    bed.server.set_down(true);
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Part);
    assert!(!bed.snapshot().vms.contains_key(&vm("db")));
    assert_eq!(bed.snapshot().pending.len(), 1);
    assert!(bed.server.records().contains_key("db.example.org"));
    bed.server.set_down(false);
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    bed.check("once the server is back").await;
}
