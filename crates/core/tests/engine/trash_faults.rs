//! The trash, whatever goes wrong at whatever step: nothing is lost.

use std::collections::BTreeSet;

use freehold_core::plan::{Consent, Goal};

use super::trash::{
    applied, begun, entries, is_written, removed, restore, restore_disk, write_into,
};
use crate::bed::{Bed, Exit, Text, Trick, VmText, all, host, vm};

/// One VM with UEFI and two disks, both written to; it was destroyed.
async fn destroyed() -> (Bed, BTreeSet<String>) {
    let web = VmText::new("web").data(false).more("  firmware = \"uefi\"\n");
    let bed = applied(&Text::new(1, vec![web, VmText::new("db")])).await;
    let disks: BTreeSet<String> =
        bed.decided().vms[&vm("web")].disks.iter().map(|disk| disk.volume.clone()).collect();
    for disk in &disks {
        write_into(&bed, disk);
    }
    assert_eq!(bed.destroy(Some(&["web"])).await.exit(), Exit::Done);
    (bed, disks)
}

/// Says whether what was written to a disk is there, under its name or in the trash.
fn is_somewhere(bed: &Bed, disk: &str) -> bool {
    let names: Vec<String> = bed.hosts[&host("rack1")].world().volumes.keys().cloned().collect();
    names.iter().filter(|name| name.ends_with(disk)).any(|name| is_written(bed, name))
}

/// Spoils a restore at every step; `then` goes on after each.
async fn spoiled_restores(then: impl AsyncFn(&Bed, &BTreeSet<String>, &str)) {
    let mut counted = Vec::new();
    for trick in Trick::ALL {
        for k in 0.. {
            let (bed, disks) = destroyed().await;
            let (key, fired) = (removed(&bed).await, bed.fate.fired());
            bed.fate.spoil(k, trick);
            restore(&bed, &key).await;
            if bed.fate.fired() == fired {
                counted.push(k);
                break;
            }
            bed.heal();
            let context = format!("{trick:?} at {k}");
            assert!(disks.iter().all(|disk| is_somewhere(&bed, disk)), "{context}: lost");
            then(&bed, &disks, &context).await;
        }
    }
    assert!(counted.iter().all(|steps| *steps == counted[0] && *steps == 8), "{counted:?}");
}

async fn finish_by_name(bed: &Bed, context: &str) {
    let key = match begun(bed).await.first() {
        Some(key) => key.clone(),
        None if bed.snapshot().vms.contains_key(&vm("web")) => return,
        None => removed(bed).await,
    };
    let ran = restore(bed, &key).await;
    assert_eq!(ran.exit(), Exit::Done, "{context}: {:?} {:?}", ran.plan.held, ran.report);
}

#[tokio::test]
async fn a_restore_is_finished_by_repeating_it() {
    spoiled_restores(async |bed, disks, context| {
        finish_by_name(bed, context).await;
        assert!(disks.iter().all(|disk| is_written(bed, disk)), "{context}: all are back");
        bed.converges(2, context).await;
        assert_eq!(bed.decided().vms[&vm("web")].incarnation, 1, "{context}");
        assert!(disks.iter().all(|disk| is_written(bed, disk)), "{context}");
    })
    .await;
}

#[tokio::test]
async fn a_restore_is_finished_by_applying() {
    spoiled_restores(async |bed, disks, context| {
        let was_begun = !begun(bed).await.is_empty();
        bed.converges(3, context).await;
        assert!(disks.iter().all(|disk| is_somewhere(bed, disk)), "{context}: lost");
        if was_begun {
            assert!(disks.iter().all(|disk| is_written(bed, disk)), "{context}: not made anew");
        }
    })
    .await;
}

#[tokio::test]
async fn a_restore_that_is_called_off_goes_back_where_it_came_from() {
    spoiled_restores(async |bed, disks, context| {
        bed.write(&Text::new(1, vec![VmText::new("db")]));
        bed.converges(2, context).await;
        let found = entries(bed).await;
        assert_eq!(found.len(), 1, "{context}: {found:?}");
        assert_eq!(found[0].holds.len(), 4, "{context}: {found:?}");
        let ran = restore(bed, &found[0].key).await;
        assert_eq!(ran.exit(), Exit::Done, "{context}: {:?}", ran.plan.held);
        assert!(disks.iter().all(|disk| is_written(bed, disk)), "{context}");
    })
    .await;
}

#[tokio::test]
async fn a_removal_that_was_killed_comes_back_whole() {
    for k in 0.. {
        let web = VmText::new("web").data(false).more("  firmware = \"uefi\"\n");
        let bed = applied(&Text::new(1, vec![web, VmText::new("db")])).await;
        let before = bed.decided().vms[&vm("web")].clone();
        for disk in &before.disks {
            write_into(&bed, &disk.volume);
        }
        let fired = bed.fate.fired();
        bed.fate.spoil(k, Trick::KillAfter);
        bed.destroy(Some(&["web"])).await;
        if bed.fate.fired() == fired {
            assert!(k >= 7, "{k} steps");
            break;
        }
        bed.heal();
        assert_eq!(bed.destroy(Some(&["web"])).await.exit(), Exit::Done);
        // The last that has a definition; what a kill put away later belongs to it.
        let found = entries(&bed).await;
        let whole = found.iter().rfind(|entry| entry.definition().is_some()).unwrap();
        let ran = restore(&bed, &whole.key).await;
        assert_eq!(ran.exit(), Exit::Done, "killed at {k}: {:?} {found:?}", ran.plan.held);
        assert!(before.disks.iter().all(|disk| is_written(&bed, &disk.volume)), "killed at {k}");
        bed.converges(1, &format!("killed at {k}")).await;
        assert_eq!(bed.decided().vms[&vm("web")], before);
    }
}

#[tokio::test]
async fn an_emptying_is_finished_by_repeating_it() {
    let mut counted = Vec::new();
    for trick in Trick::ALL {
        for k in 0.. {
            let (bed, _) = destroyed().await;
            bed.converges(1, "made again").await;
            bed.destroy(Some(&["web"])).await;
            let (old, fired) = (entries(&bed).await, bed.fate.fired());
            let goal = Goal::Empty([old[0].key.clone()].into());
            bed.fate.spoil(k, trick);
            bed.run(goal.clone(), &Consent::default()).await;
            let context = format!("{trick:?} at {k}");
            if bed.fate.fired() == fired {
                counted.push(k);
                break;
            }
            bed.heal();
            bed.run(goal, &Consent::default()).await;
            let left: Vec<_> = entries(&bed).await.into_iter().map(|entry| entry.key).collect();
            assert_eq!(left, [old[1].key.clone()], "{context}");
            bed.converges(2, &context).await;
        }
    }
    // Two disks, the UEFI variables, the definition, the card.
    assert!(counted.iter().all(|steps| *steps == counted[0] && *steps >= 5), "{counted:?}");
}

#[tokio::test]
async fn what_is_half_back_is_not_destroyed() {
    let (bed, _) = destroyed().await;
    let key = removed(&bed).await;
    bed.fate.spoil(2, Trick::KillAfter);
    restore(&bed, &key).await;
    bed.heal();
    assert_eq!(begun(&bed).await, std::slice::from_ref(&key));
    let ran = bed.run(Goal::Empty([key.clone()].into()), &all()).await;
    assert!(ran.plan.is_empty() && !ran.plan.held.is_empty(), "{:?}", ran.plan.held);
    let ran = bed.run(Goal::Replace([vm("web")].into()), &all()).await;
    assert!(ran.why("vm web").is_some(), "{:?}", ran.plan.held);
    assert_eq!(restore(&bed, &key).await.exit(), Exit::Done);
    bed.converges(1, "back").await;
}

#[tokio::test]
async fn a_disk_comes_back_whatever_goes_wrong() {
    let text = Text::new(1, vec![VmText::new("web").data(false)]);
    let bare = Text::new(1, vec![VmText::new("web")]);
    let mut counted = Vec::new();
    for trick in Trick::ALL {
        for k in 0.. {
            let bed = applied(&text).await;
            let data = bed.decided().vms[&vm("web")].disks[1].volume.clone();
            write_into(&bed, &data);
            bed.write(&bare);
            bed.converges(1, "detached").await;
            let (key, fired) = (entries(&bed).await[0].key.clone(), bed.fate.fired());
            bed.fate.spoil(k, trick);
            restore_disk(&bed, &key, "data").await;
            let context = format!("{trick:?} at {k}");
            if bed.fate.fired() == fired {
                counted.push(k);
                break;
            }
            bed.heal();
            if !entries(&bed).await.is_empty() {
                let ran = restore_disk(&bed, &key, "data").await;
                assert_eq!(ran.exit(), Exit::Done, "{context}: {:?}", ran.plan.held);
            }
            bed.write(&text);
            bed.converges(2, &context).await;
            assert!(is_written(&bed, &data), "{context}: it is the one that was detached");
        }
    }
    // The card, the volume, the pool's list.
    assert!(counted.iter().all(|steps| *steps == 3), "{counted:?}");
}
