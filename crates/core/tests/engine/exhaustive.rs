//! Small plans, killed at every point and at every pair of points.
//!
//! A run of `n` changing calls can be killed at `6 * (n + 1)` points: around the journal's two lines
//! of each call, and around what is written once all are done. Each run that is killed is followed
//! by one that is killed at every one of its own points, and then by one that is not. What was
//! reached before, hosts and files being the same to the last byte that counts, is counted and not
//! walked from again.

use std::collections::{BTreeMap, BTreeSet};

use crate::bed::{Bed, Data, Text, Trick, VmText};

/// Points at which a run of so many calls can be killed.
fn points(calls: usize) -> usize {
    Trick::KILLS.len() * (calls + 1)
}

/// What a plan came to when it was killed everywhere.
#[derive(Debug, Default)]
struct Count {
    singles: usize,
    pairs: usize,
    /// Different places a first kill leads to, and a second one.
    places: (usize, usize),
}

/// Has the next run killed at a point, counted from 0; `calls` are those it makes.
fn kill_at(bed: &Bed, point: usize, calls: usize) {
    let trick = Trick::KILLS[point % Trick::KILLS.len()];
    match point / Trick::KILLS.len() {
        at if at == calls => bed.fate.spoil_end(trick),
        at => bed.fate.spoil(at, trick),
    }
}

/// Applies a fork once that is killed at a point, and returns it.
async fn killed_at(base: &Bed, point: usize, calls: usize) -> Bed {
    let bed = base.fork();
    kill_at(&bed, point, calls);
    let ran = bed.apply(&bed.agreed(true)).await;
    assert!(ran.killed, "killed at {point} of {calls} calls");
    bed
}

/// Counts the calls that a run makes from here when nothing goes wrong; `None` is no run at all.
async fn calls_of(base: &Bed) -> Option<usize> {
    let bed = base.fork();
    let ran = bed.apply(&bed.agreed(true)).await;
    assert!(!ran.killed);
    bed.check("nothing went wrong").await;
    (!ran.plan.is_empty()).then(|| bed.fate.calls())
}

/// Kills a run at every point, and the run after it at every point of its own.
async fn killed_everywhere(base: &Bed, calls: usize) -> Count {
    let mut count = Count::default();
    let mut tried: BTreeMap<String, usize> = BTreeMap::new();
    let mut ends: BTreeSet<String> = BTreeSet::new();
    for first in 0..points(calls) {
        let once = killed_at(base, first, calls).await;
        count.singles += 1;
        let place = once.place();
        if let Some(pairs) = tried.get(&place) {
            count.pairs += pairs;
            continue;
        }
        let mut pairs = 0;
        let left = calls_of(&once).await;
        for second in 0..left.map_or(0, points) {
            let twice = killed_at(&once, second, left.unwrap_or_default()).await;
            pairs += 1;
            if ends.insert(twice.place()) {
                twice.converges(2, &format!("killed at {first}, then at {second}")).await;
            }
        }
        assert_eq!(pairs, left.map_or(0, points), "killed at {first}");
        tried.insert(place, pairs);
        count.pairs += pairs;
    }
    count.places = (tried.len(), ends.len());
    count
}

/// Kills the run that makes the last of these texts, the others being applied, everywhere.
#[allow(clippy::print_stdout, reason = "the count is part of what a test says")]
async fn everywhere(name: &str, texts: &[Text], calls: usize) {
    let (last, before) = texts.split_last().unwrap();
    let base = Bed::among_strangers(before.first().unwrap_or(last));
    for text in before {
        base.write(text);
        base.settles(2, &base.agreed(true), name).await;
    }
    base.write(last);
    assert!((3..=8).contains(&calls), "{name}: {calls} calls");
    assert_eq!(calls_of(&base).await, Some(calls), "{name}: calls of a run that is not killed");
    let count = killed_everywhere(&base, calls).await;
    println!("{name}: {calls} calls, {count:?}");
    assert_eq!(count.singles, points(calls), "{name}");
    // At least what is left when each call was the last one before the kill.
    let least: usize = (1..=calls).map(|left| 3 * points(left)).sum();
    assert!(count.pairs >= least, "{name}: {} pairs of at least {least}", count.pairs);
    assert!(count.places.0 > calls && count.places.1 > calls, "{name}: {count:?}");
}

/// A VM that is there already: the host has its pool, its card and the image.
fn first() -> VmText {
    VmText::new("first")
}

fn text(vms: &[VmText]) -> Text {
    Text::new(1, vms.to_vec())
}

/// A VM behind NAT alone, with a network of its own and a disk that outlives it.
fn behind() -> VmText {
    VmText { lan: None, ..VmText::new("behind").nat().data(true) }
}

#[tokio::test]
async fn a_vm_is_made() {
    let texts = [text(&[first()]), text(&[first(), VmText::new("web")])];
    everywhere("a VM is made", &texts, 7).await;
}

#[tokio::test]
async fn a_vm_is_removed() {
    let texts = [text(&[first(), VmText::new("web")]), text(&[first()])];
    everywhere("a VM is removed", &texts, 8).await;
}

#[tokio::test]
async fn a_network_is_made_with_its_vm() {
    let vm = VmText { data: None, ..behind() };
    let texts = [text(&[first()]), text(&[first(), vm])];
    everywhere("a network is made", &texts, 7).await;
}

#[tokio::test]
async fn a_network_is_removed_and_a_disk_stays() {
    let texts = [text(&[first(), behind()]), text(&[first()])];
    everywhere("a network is removed, a disk stays", &texts, 8).await;
}

#[tokio::test]
async fn a_vm_comes_back_to_its_kept_disk() {
    let web = VmText::new("web").data(true);
    let with = text(&[first(), web]);
    let texts = [with.clone(), text(&[first()]), with];
    everywhere("a VM comes back to its kept disk", &texts, 7).await;
}

#[tokio::test]
async fn a_disk_is_kept_and_a_vm_is_stopped() {
    let web = VmText::new("web").data(false);
    let raised = VmText { autostart: false, ..VmText::new("web").data(true) };
    let stopped = VmText { running: false, ..first() };
    let texts = [text(&[first(), web]), text(&[stopped, raised])];
    everywhere("a disk is kept, a VM is stopped", &texts, 4).await;
}

#[tokio::test]
async fn a_disk_is_added_and_memory_changes() {
    let data = Some(Data { size: "2GiB", keep: false });
    let more = VmText { memory: "512MiB", data, ..first() };
    let texts = [text(&[first()]), text(&[more])];
    everywhere("a disk is added, memory changes", &texts, 5).await;
}
