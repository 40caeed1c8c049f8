//! `keep` and `protect` are promises: nothing but their own, named consent lifts them.

use freehold_core::{
    model::Impact,
    plan::{Consent, Goal, Reason, Withheld},
};

use crate::bed::{Bed, Data, Exit, Text, Trick, VmText, all, host, vm};

const NEW_GUEST: &str = "  cloud_init {\n    user_data = \"#cloud-config\\nx: y\\n\"\n  }\n";

fn one(change: impl FnOnce(&mut VmText)) -> Text {
    let mut vm = VmText::new("web").data(true);
    change(&mut vm);
    Text::new(1, vec![vm])
}

fn renamed(change: impl FnOnce(&mut VmText)) -> Text {
    let mut text = one(|web| {
        web.name = "www".into();
        change(web);
    });
    text.more = "moved {\n  from = \"web\"\n  to = \"www\"\n}\n".into();
    text
}

async fn applied(text: &Text) -> Bed {
    let bed = Bed::new(text);
    bed.converges(2, "before").await;
    bed
}

fn lift(name: &str) -> Consent {
    Consent { unprotect: [vm(name)].into(), ..all() }
}

/// The volume of the second disk.
fn data_of(bed: &Bed) -> String {
    bed.decided().vms[&vm("web")].disks[1].volume.clone()
}

fn is_there(bed: &Bed, volume: &str) -> bool {
    bed.hosts[&host("rack1")].world().volumes.contains_key(volume)
}

#[tokio::test]
async fn a_kept_disk_whose_block_goes_along_with_a_rebuild_stays_kept() {
    let bed = applied(&one(|_| {})).await;
    let data = data_of(&bed);
    bed.write(&one(|web| {
        web.data = None;
        web.more = NEW_GUEST.into();
    }));
    bed.converges(1, "made again without it").await;
    assert!(is_there(&bed, &data));
    assert_eq!(bed.snapshot().kept[0].volume, data);
    bed.apply(&all()).await;
    assert!(is_there(&bed, &data), "a later run leaves it as well");
}

#[tokio::test]
async fn a_disk_that_is_not_kept_leaves_with_a_rebuild_at_once() {
    let bed = applied(&one(|web| web.data = Some(Data { size: "2GiB", keep: false }))).await;
    let data = data_of(&bed);
    bed.write(&one(|web| {
        web.data = None;
        web.more = NEW_GUEST.into();
    }));
    bed.converges(1, "made again without it").await;
    assert!(!is_there(&bed, &data));
    assert_eq!(bed.snapshot().vms[&vm("web")].disks.len(), 1);
}

#[tokio::test]
async fn a_rebuild_lifts_no_promise_by_the_way() {
    let bed = applied(&one(|_| {})).await;
    bed.write(&one(|web| {
        web.data = Some(Data { size: "2GiB", keep: false });
        web.more = NEW_GUEST.into();
    }));
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.why("vm web"), Some(&Withheld::Unprotect(vm("web"))));
    let ran = bed.apply(&lift("web")).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.held);
    assert!(!bed.snapshot().vms[&vm("web")].disks[1].keep);
}

#[tokio::test]
async fn a_new_mark_says_what_the_state_promised() {
    let promised = one(|web| web.more = "  protect = true\n".into());
    let bed = applied(&promised).await;
    let uuid = bed.decided().vms[&vm("web")].uuid;
    bed.hosts[&host("rack1")].world().domains.get_mut(&uuid).unwrap().marked = false;
    bed.write(&one(|web| web.data = Some(Data { size: "2GiB", keep: false })));
    let goal = Goal::Adopt { vms: [vm("web")].into(), mark: true };
    assert_eq!(bed.run(goal, &all()).await.exit(), Exit::Done);
    let record = bed.snapshot().vms[&vm("web")].clone();
    assert!(record.protect && record.disks[1].keep, "{record:?}");
    let mark = bed.hosts[&host("rack1")].world().domains[&uuid].spec.mark.clone();
    assert!(mark.protect && mark.keep.len() == 1, "{mark:?}");
    assert_eq!(bed.apply(&all()).await.why("vm web"), Some(&Withheld::Unprotect(vm("web"))));
}

#[tokio::test]
async fn what_the_block_of_the_new_name_promises_holds_before_the_rename() {
    let loose = |web: &mut VmText| web.data = Some(Data { size: "2GiB", keep: false });
    let bed = applied(&one(loose)).await;
    let data = data_of(&bed);
    bed.write(&renamed(|www| www.more = "  protect = true\n".into()));
    assert_eq!(bed.destroy(Some(&["web"])).await.why("vm web"), Some(&Withheld::Protected));
    bed.write(&renamed(|www| www.more = NEW_GUEST.into()));
    bed.converges(1, "renamed and made again").await;
    assert!(is_there(&bed, &data), "the new block keeps it");
    assert_eq!(bed.decided().vms[&vm("www")].disks[1].volume, data);
}

/// Takes the second disk out of a text, with each trick at each step; `check` is told its volume.
/// There must be at least so many steps.
async fn drops_it_after_any_single_fault(
    before: &Text,
    least: usize,
    check: impl Fn(&Bed, &str, &str),
) {
    let bare = one(|web| web.data = None);
    let mut counted = Vec::new();
    for trick in Trick::ALL {
        for k in 0.. {
            let bed = applied(before).await;
            let data = data_of(&bed);
            bed.write(&bare);
            bed.fate.spoil(k, trick);
            bed.apply(&all()).await;
            if bed.fate.fired() == 0 {
                counted.push(k);
                break;
            }
            let context = format!("{trick:?} at {k}");
            bed.converges(3, &context).await;
            check(&bed, &data, &context);
        }
    }
    assert!(counted.iter().all(|steps| *steps == counted[0] && *steps >= least), "{counted:?}");
}

#[tokio::test]
async fn a_detached_kept_disk_is_kept_after_any_single_fault() {
    drops_it_after_any_single_fault(&one(|_| {}), 3, |bed, data, context| {
        assert!(is_there(bed, data), "{context}");
        assert_eq!(bed.snapshot().kept[0].volume, data, "{context}");
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_leaves_goes_to_the_trash_once_after_any_single_fault() {
    let loose = one(|web| web.data = Some(Data { size: "2GiB", keep: false }));
    drops_it_after_any_single_fault(&loose, 4, |bed, data, context| {
        let rack = &bed.hosts[&host("rack1")];
        let named = |name: &&String| name.ends_with(data);
        let left: Vec<_> = rack.world().volumes.keys().filter(named).cloned().collect();
        assert!(left.len() == 1 && left[0].starts_with("trash."), "{context}: {left:?}");
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_was_never_made_leaves_without_a_restart() {
    let bed = applied(&one(|web| web.data = None)).await;
    bed.write(&one(|_| {}));
    bed.fate.spoil(0, Trick::KillBefore);
    bed.apply(&all()).await;
    assert_eq!(bed.fate.fired(), 1);
    bed.recover();
    bed.write(&one(|web| web.data = None));
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.held);
    assert!(ran.drafted.changes.iter().all(|change| change.impact == Impact::Live));
    bed.check("as it was").await;
    assert!(bed.plan().await.is_empty());
}

#[tokio::test]
async fn a_kept_disk_that_is_lost_is_let_go_with_consent_alone() {
    let bed = applied(&one(|_| {})).await;
    let data = data_of(&bed);
    bed.hosts[&host("rack1")].world().volumes.remove(&data);
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.why("vm web"), Some(&Withheld::DiskMissing(data.clone())));
    bed.write(&one(|web| web.data = None));
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!(ran.why("vm web"), Some(&Withheld::Consent(Impact::DataLoss)));
    bed.converges(1, "let go").await;
    assert!(bed.snapshot().kept.is_empty());
}

#[tokio::test]
async fn a_rebuild_that_was_cut_ends_though_a_disk_is_kept_by_now() {
    let loose = one(|web| web.data = Some(Data { size: "2GiB", keep: false }));
    let bed = applied(&loose).await;
    let data = data_of(&bed);
    bed.fate.spoil(0, Trick::KillBefore);
    bed.run(Goal::Replace([vm("web")].into()), &all()).await;
    assert_eq!(bed.fate.fired(), 1);
    bed.recover();
    bed.write(&one(|_| {}));
    bed.converges(2, "kept, and made again").await;
    assert!(is_there(&bed, &data));
    assert!(bed.plan().await.is_empty());
}

#[tokio::test]
async fn what_is_adopted_before_its_new_disk_is_made_gets_it_afterwards() {
    let bed = applied(&one(|web| web.data = None)).await;
    bed.forget("web").await;
    bed.write(&one(|_| {}));
    let goal = Goal::Adopt { vms: [vm("web")].into(), mark: false };
    let ran = bed.run(goal, &all()).await;
    assert_eq!(ran.plan.changes[0].reasons, [Reason::NotInState]);
    bed.converges(1, "with its disk").await;
    assert!(is_there(&bed, &data_of(&bed)));
}
