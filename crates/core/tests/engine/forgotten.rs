//! What was forgotten: it may live on, and its name can be used again once it does not.

use freehold_core::{plan::PlanProblem, state::VmDecision};

use crate::bed::{Bed, Exit, Ran, Text, VmText, all, host, vm};

fn text() -> Text {
    Text::new(1, vec![VmText::new("web").data(true)])
}

async fn applied() -> (Bed, VmDecision) {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    let web = bed.decided().vms[&vm("web")].clone();
    (bed, web)
}

/// Returns why web is held back, as code and hint.
fn held(ran: &Ran) -> (&'static str, String) {
    let why = ran.why("vm web").unwrap_or_else(|| panic!("not held:\n{}", ran.plan.text()));
    (why.code(), why.hint().unwrap())
}

fn undefine(bed: &Bed, web: &VmDecision) {
    let mut world = bed.hosts[&host("rack1")].world();
    assert!(world.somebody_destroys(web.uuid) && world.somebody_undefines(web.uuid));
}

/// Removes the volumes of web by hand that `which` names.
fn delete(bed: &Bed, web: &VmDecision, which: impl Fn(&str) -> bool) {
    let prefix = freehold_core::model::volume_prefix(bed.fleet().id, web.uuid);
    let mut world = bed.hosts[&host("rack1")].world();
    let names: Vec<_> = world.volumes.keys().cloned().collect();
    for name in names.iter().filter(|name| name.starts_with(&prefix) && which(name)) {
        assert!(world.somebody_deletes_volume(name));
    }
}

#[tokio::test]
async fn a_forgotten_vm_is_made_again_once_nothing_of_it_is_left() {
    let (bed, web) = applied().await;
    bed.forget("web").await;
    assert_eq!(held(&bed.apply(&all()).await).0, "forgotten");
    undefine(&bed, &web);
    let calls = bed.fate.calls();
    for left in [&web.disks[0].volume, &web.disks[1].volume] {
        let ran = bed.apply(&all()).await;
        let (code, hint) = held(&ran);
        assert_eq!((code, bed.fate.calls()), ("forgotten-volume", calls), "{}", ran.plan.text());
        assert!(hint.contains("out of the pool"), "{hint}");
        delete(&bed, &web, |name| name == left);
    }
    delete(&bed, &web, |_| true);
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    let again = bed.decided().vms[&vm("web")].clone();
    assert_eq!((again.uuid, &again.nics), (web.uuid, &web.nics), "what was decided is for life");
    bed.check("made again").await;
}

#[tokio::test]
async fn who_forgets_a_kept_disk_does_not_forget_a_vm() {
    let (bed, web) = applied().await;
    bed.write(&Text::new(1, Vec::new()));
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    assert_eq!(bed.snapshot().kept[0].volume, web.disks[1].volume);
    bed.forget("web").await;
    let buried = bed.decided().vms[&vm("web")].clone();
    assert_eq!((buried.removed, buried.forgotten), (true, false));
    assert_eq!(bed.decided().prunable(&bed.fleet(), &bed.snapshot()), [vm("web")]);
    // Its disk is nobody's now, and is not taken for an empty one.
    bed.write(&text());
    let calls = bed.fate.calls();
    assert_eq!(held(&bed.apply(&all()).await).0, "not-in-state");
    assert_eq!(bed.fate.calls(), calls);
    delete(&bed, &web, |_| true);
    bed.converges(2, "once the disk is away").await;
}

#[tokio::test]
async fn a_fresh_clone_knows_what_was_forgotten() {
    let (bed, web) = applied().await;
    let address = web.nics[0].address.unwrap();
    bed.forget("web").await;
    bed.write(&Text::new(1, Vec::new()));
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done, "its name is let go of");
    bed.lose_state();
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Part, "something of this fleet is there");
    bed.make_state_again("lost").await;
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    assert!(bed.decided().vms[&vm("web")].forgotten, "a run without the state keeps it");
    bed.lose_state();
    let fixed: &'static str = Box::leak(format!(" address = \"{address}\" ").into_boxed_str());
    let mut used_up = Text::new(1, vec![VmText::new("late")]);
    used_up.addresses = "127.77.0.100-127.77.0.100";
    for text in [Text::new(1, vec![VmText::new("late").fixed(fixed)]), used_up] {
        bed.write(&text);
        let ran = bed.try_run(freehold_core::plan::Goal::Converge, &all()).await;
        let problems = ran.err().unwrap_or_else(|| panic!("{address} was given away"));
        let taken = |problem: &PlanProblem| {
            matches!(problem, PlanProblem::AddressTaken { .. } | PlanProblem::NoAddress { .. })
        };
        assert!(problems.iter().all(taken), "{problems:?}");
    }
}
