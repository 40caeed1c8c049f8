//! Plans in files: carried out as they were agreed to, or not at all.

use freehold_core::{
    host::simulated::World,
    model::DomainState,
    plan::{Consent, Goal, SavedPlanError, Withheld},
    state::Decisions,
};

use crate::bed::{Bed, Exit, Text, VmText, host, vm};

fn text(names: &[&str]) -> Text {
    Text::new(1, names.iter().map(|name| VmText::new(name)).collect())
}

/// A fleet where `db` is there, with a plan in a file that makes `web`.
async fn planned() -> (Bed, String) {
    let bed = Bed::new(&text(&["db"]));
    bed.converges(2, "before").await;
    bed.write(&text(&["db", "web"]));
    let file = bed.save_plan(Goal::Converge).await;
    (bed, file)
}

/// Carries the plan out and returns why not; nothing was called or written then.
async fn refusal(bed: &Bed, file: &str) -> SavedPlanError {
    let lock = std::fs::read(bed.path("freehold.lock")).ok();
    let calls = bed.fate.calls();
    let Err(error) = bed.apply_file(file, &Consent::default()).await else {
        panic!("it was carried out");
    };
    assert_eq!(bed.fate.calls(), calls, "{error}");
    assert_eq!(std::fs::read(bed.path("freehold.lock")).ok(), lock, "{error}");
    error
}

#[tokio::test]
async fn a_plan_is_carried_out_as_it_was() {
    let bed = Bed::new(&text(&["db"]));
    let first = bed.save_plan(Goal::Converge).await;
    assert_eq!(bed.apply_file(&first, &Consent::default()).await.unwrap().exit(), Exit::Done);
    bed.check("a fleet's first plan").await;
    let stale = refusal(&bed, &first).await;
    assert!(matches!(stale, SavedPlanError::Stale { .. }), "{stale}");
    let (bed, file) = planned().await;
    assert_eq!(bed.apply_file(&file, &Consent::default()).await.unwrap().exit(), Exit::Done);
    bed.check("another VM").await;
}

type Happens = fn(&mut World);

#[tokio::test]
async fn a_host_that_is_not_as_the_plan_saw_it_is_not_touched() {
    let meanwhile: [(&str, Happens); 5] = [
        ("its disk is not mounted", |world| {
            world.card = None;
            world.volumes.clear();
        }),
        ("it was set up anew", |world| {
            world.card = None;
            world.volumes.clear();
            world.domains.clear();
        }),
        ("its pool does not run", |world| world.pool = Some(false)),
        ("another machine has its name", |world| {
            world.card.as_mut().unwrap().host = uuid::Uuid::from_u128(7);
        }),
        ("another copy of the folder was here", |world| {
            *world.card.as_mut().unwrap().fleets.values_mut().next().unwrap() += 1;
        }),
    ];
    for (what, happens) in meanwhile {
        let (bed, file) = planned().await;
        let rack = &bed.hosts[&host("rack1")];
        happens(&mut rack.world());
        let card = rack.world().card.clone();
        let error = refusal(&bed, &file).await;
        assert_eq!(
            error.to_string(),
            "changed since it was made: pool and card on rack1",
            "{what}"
        );
        assert!(error.is_stale(), "{what}");
        assert_eq!(rack.world().card, card, "{what}");
    }
}

#[tokio::test]
async fn what_other_fleets_write_on_the_card_is_theirs() {
    let (bed, file) = planned().await;
    let rack = &bed.hosts[&host("rack1")];
    rack.world().card.as_mut().unwrap().fleets.insert("another".into(), 9);
    assert_eq!(bed.apply_file(&file, &Consent::default()).await.unwrap().exit(), Exit::Done);
    assert_eq!(rack.world().card.as_ref().unwrap().fleets["another"], 9);
}

#[tokio::test]
async fn a_host_that_is_down_by_now_is_held_back() {
    let (bed, file) = planned().await;
    bed.hosts[&host("rack1")].set_down(true);
    let ran = bed.apply_file(&file, &Consent::default()).await.unwrap();
    assert!(matches!(ran.why("host rack1"), Some(Withheld::Unreachable(_))));
    assert_eq!(ran.exit(), Exit::Part);
}

/// Pulls a lock that another branch decided on.
fn pull(bed: &Bed, change: impl FnOnce(&mut Decisions)) {
    let prepared = futures::executor::block_on(bed.prepare(bed.snapshot(), Goal::Converge));
    let mut decisions = prepared.unwrap().decisions;
    change(&mut decisions);
    bed.lock().write(&decisions).unwrap();
}

#[tokio::test]
async fn a_lock_that_says_otherwise_by_now_is_not_overruled() {
    let bed = Bed::new(&text(&["db", "web"]));
    let file = bed.save_plan(Goal::Converge).await;
    // Two VMs' addresses, the other way round.
    pull(&bed, |decisions| {
        let [db, web] = ["db", "web"].map(|name| decisions.vms[&vm(name)].nics[0].address);
        decisions.vms.get_mut(&vm("db")).unwrap().nics[0].address = web;
        decisions.vms.get_mut(&vm("web")).unwrap().nics[0].address = db;
    });
    let error = refusal(&bed, &file).await;
    assert!(error.is_stale());
    assert_eq!(
        error.to_string(),
        "freehold.lock says otherwise by now: vm db: address 127.77.0.100, it says 127.77.0.101; \
         vm web: address 127.77.0.101, it says 127.77.0.100"
    );
    bed.converges(1, "planned again").await;
}

#[tokio::test]
async fn a_lock_that_says_the_same_changes_nothing() {
    let (bed, file) = planned().await;
    pull(&bed, |_| {});
    assert_eq!(bed.apply_file(&file, &Consent::default()).await.unwrap().exit(), Exit::Done);
    let world = bed.hosts[&host("rack1")].world();
    assert!(world.domains.values().all(|domain| domain.state == DomainState::Running));
    assert_eq!(world.domains.len(), 2);
}

#[tokio::test]
async fn a_vm_made_again_by_somebody_else_is_not_counted_back() {
    let (bed, file) = planned().await;
    pull(&bed, |decisions| decisions.vms.get_mut(&vm("web")).unwrap().incarnation = 3);
    let error = refusal(&bed, &file).await;
    assert_eq!(
        error.to_string(),
        "freehold.lock says otherwise by now: vm web: incarnation 1, it says 3"
    );
}
