//! A VM that was not seen ready is looked at again.

use std::net::Ipv4Addr;

use freehold_core::{
    apply::FailureKind,
    host::simulated::Answer,
    model::Impact,
    plan::{Change, Consent, Work},
};

use crate::bed::{Bed, Exit, Ran, Text, Trick, VmText, all, host, vm};

const PORT: u16 = 8080;

/// One VM behind NAT, which its host alone asks.
fn text(wait: &str) -> Text {
    let mut web = VmText::new("web").nat().more(wait);
    web.lan = None;
    Text::new(1, vec![web])
}

fn waiting() -> Text {
    text("  wait = \"port:8080\"\n  wait_timeout = \"1s\"\n")
}

fn answer(bed: &Bed) {
    let address: Ipv4Addr = bed.decided().vms[&vm("web")].nics[0].address.unwrap();
    let said = Answer::Says(b"hello".to_vec());
    bed.hosts[&host("rack1")].world().answers.insert((address, PORT), said);
}

/// Says that a run only looked whether the VM is ready, and returns whether it was.
fn only_looked(bed: &Bed, ran: &Ran, calls: usize) -> bool {
    assert_eq!(bed.fate.calls(), calls, "nothing is changed");
    let changes: Vec<_> = ran.plan.changes.iter().map(|change| change.impact).collect();
    assert_eq!(changes, [Impact::Live], "{}", ran.plan.text());
    let words = "~ vm web (not ready yet: wait)";
    assert!(ran.plan.text().contains(words), "{}", ran.plan.text());
    ran.report.as_ref().unwrap().failures.is_empty()
}

#[tokio::test]
async fn a_vm_that_was_not_ready_in_time_is_looked_at_again() {
    let bed = Bed::new(&waiting());
    let ran = bed.apply(&Consent::default()).await;
    let failures = ran.report.unwrap().failures;
    assert!(failures.iter().all(|failure| failure.kind == FailureKind::NotReady), "{failures:?}");
    assert_eq!(failures.len(), 1);
    let calls = bed.fate.calls();
    assert!(!only_looked(&bed, &bed.apply(&Consent::default()).await, calls));
    answer(&bed);
    let ran = bed.apply(&Consent::default()).await;
    assert!(only_looked(&bed, &ran, calls));
    assert_eq!(ran.exit(), Exit::Done);
    bed.check("once it is ready").await;
}

#[tokio::test]
async fn a_vm_whose_run_was_killed_is_looked_at_again() {
    for trick in [Trick::KillAfter, Trick::KillAndLoseOutcomes] {
        for k in 0.. {
            let bed = Bed::new(&waiting());
            bed.fate.spoil(k, trick);
            if bed.apply(&all()).await.exit() != Exit::Killed {
                assert!(k >= 8, "killed {k} times");
                break;
            }
            let plan = bed.plan().await;
            let waits =
                |change: &Change| matches!(&change.work, Work::Vm(work) if work.wait.is_some());
            assert!(plan.changes.iter().any(waits), "{trick:?} at {k}:\n{}", plan.text());
            answer(&bed);
            bed.converges(2, &format!("{trick:?} at {k}")).await;
        }
    }
}

#[tokio::test]
async fn a_vm_that_nobody_waits_for_any_more_is_as_it_shall_be() {
    let bed = Bed::new(&waiting());
    bed.apply(&Consent::default()).await;
    bed.write(&text("  wait = \"none\"\n"));
    bed.check("nobody waits").await;
}
