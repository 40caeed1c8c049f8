//! How the lock stands to text and state: what it does not hold, what overrules it, what two
//! branches make of it, and that no change of it goes unnoticed.

use std::collections::BTreeSet;

use freehold_core::{
    model::{Fleet, VmName},
    plan::{PlanProblem, decide, disagreements, undecided},
    state::{Decisions, LockFile, Snapshot},
};
use proptest::prelude::*;

use crate::{
    bed::{Text, VmText, host, load, vm},
    decide::{decided, fleet_of, make, nothing, try_decide, web},
};

fn lock_of(folder: &tempfile::TempDir, text: &Text) -> LockFile {
    LockFile::of(folder.path(), text.id.parse().unwrap())
}

/// What the lock does not hold, as it is said.
fn open(lock: &Decisions, now: &Decisions, text: &Text) -> Vec<String> {
    undecided(lock, now, &fleet_of(text)).iter().map(ToString::to_string).collect()
}

/// A fleet all of whose VMs were made.
fn made(text: &Text) -> (Decisions, Snapshot) {
    let lock = decided(text, &Decisions::default());
    let mut snapshot = nothing(text);
    make(&mut snapshot, &lock, &lock.vms.keys().cloned().collect());
    snapshot.decisions.identity.clone_from(&lock.identity);
    (lock, snapshot)
}

#[test]
fn a_lock_that_was_written_holds_everything() {
    let text = Text::usual();
    let lock = decided(&text, &Decisions::default());
    assert_eq!(open(&lock, &lock, &text), [""; 0]);
    let said = open(&Decisions::default(), &lock, &text);
    assert_eq!(said, ["vm db: is not in it", "vm web-0: is not in it", "vm web-1: is not in it"]);
}

#[test]
fn counters_are_no_choices() {
    let text = Text::usual();
    let lock = decided(&text, &Decisions::default());
    let mut now = lock.clone();
    for vm in now.vms.values_mut() {
        vm.incarnation += 1;
        vm.removed = true;
    }
    assert_eq!(open(&lock, &now, &text), [""; 0]);
}

#[test]
fn every_choice_is_named_that_the_lock_does_not_hold() {
    let mut text = Text::new(2, vec![web(1)]);
    let lock = decided(&text, &Decisions::default());
    let mut now = lock.clone();
    let web = now.vms.get_mut(&vm("web-0")).unwrap();
    (web.host, web.key_epoch, web.host_key) = (host("rack2"), 2, "another".into());
    web.uuid = uuid::Uuid::from_u128(7);
    web.nics[0].mac = "02:00:00:00:00:07".parse().unwrap();
    web.nics[0].address = Some([10, 0, 0, 7].into());
    web.disks[0].volume = "another".into();
    let said = open(&lock, &now, &text).join("");
    for word in [
        "vm web-0: ",
        "host rack2, it says rack1",
        "UUID 00000000",
        "key epoch 2, it says 1",
        "host key another",
        "MAC 02:00:00:00:00:07",
        "address 10.0.0.7, it says 127.77.0.100",
        "volume of disk root another",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    text.vms[0] = text.vms[0].clone().data(true).nat();
    let said = open(&lock, &decided(&text, &lock), &text).join("");
    for word in ["address of nic 2 10.99.0.100, it says none", "volume of disk data"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn what_was_applied_beats_the_lock_and_is_told() {
    let text = Text::new(2, vec![web(1)]);
    let (before, snapshot) = made(&text);
    let mut lock = before.clone();
    let web = lock.vms.values_mut().next().unwrap();
    web.host = host("rack2");
    web.nics[0].address = Some([127, 77, 0, 101].into());
    let now = try_decide(&text, &lock, &snapshot).unwrap();
    assert_eq!(now, before);
    let told: Vec<_> = disagreements(&lock, &snapshot, &now);
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "vm web-0: address 127.77.0.100 was applied, freehold.lock says 127.77.0.101: the \
             applied one stays",
            "vm web-0: host rack1 was applied, freehold.lock says rack2: the applied one stays",
        ]
    );
    assert_eq!(open(&lock, &now, &text).len(), 1, "an apply without a terminal stops there");
}

#[test]
fn a_vm_that_the_lock_lost_is_told() {
    let text = Text::new(2, vec![web(1)]);
    let (before, snapshot) = made(&text);
    let now = try_decide(&text, &Decisions::default(), &snapshot).unwrap();
    assert_eq!(now, before);
    let told = disagreements(&Decisions::default(), &snapshot, &now);
    assert_eq!(told.len(), 1);
    assert!(told[0].to_string().contains("freehold.lock does not have it"), "{}", told[0]);
}

#[test]
fn what_the_text_overrules_is_no_disagreement() {
    let mut text = Text::new(2, vec![web(1)]);
    let (before, snapshot) = made(&text);
    text.vms[0] = web(1).fixed(" address = \"127.77.0.150\" ");
    let lock = try_decide(&text, &before, &snapshot).unwrap();
    let now = try_decide(&text, &lock, &snapshot).unwrap();
    assert_eq!(disagreements(&lock, &snapshot, &now), []);
}

#[test]
fn what_was_locked_for_a_made_vm_stays_locked() {
    let mut text = Text::new(2, vec![VmText::new("web")]);
    let (before, snapshot) = made(&text);
    // It gets an interface and a disk, and an address elsewhere.
    text.vms[0] = VmText::new("web").nat().data(true);
    text.addresses = "127.78.0.100-127.78.0.199";
    let lock = try_decide(&text, &before, &snapshot).unwrap();
    assert_ne!(lock, before);
    // Somebody comes who is asked first.
    text.vms.push(VmText::new("aaa").nat());
    let now = try_decide(&text, &lock, &snapshot).unwrap();
    assert_eq!(now.vms[&vm("web")], lock.vms[&vm("web")]);
    assert_eq!(open(&lock, &now, &text), ["vm aaa: is not in it"]);
}

#[test]
fn state_and_lock_that_claim_the_same_for_two_vms_are_refused() {
    let text = Text::new(2, vec![web(1)]);
    let (before, snapshot) = made(&text);
    let mut lock = Decisions { identity: before.identity.clone(), ..Decisions::default() };
    lock.vms.insert(vm("wec-0"), before.vms[&vm("web-0")].clone());
    let problems = try_decide(&text, &lock, &snapshot).unwrap_err();
    let said = problems[0].to_string();
    assert!(said.contains("vm web-0 and vm wec-0 both have UUID"), "{said}");
    assert!(problems[0].hint().contains("git checkout freehold.lock"));
}

#[test]
fn only_tombstones_that_nothing_needs_are_pruned() {
    let mut text = Text::new(2, vec![web(3), VmText::new("db").data(true)]);
    let (mut lock, mut snapshot) = made(&text);
    let kept = snapshot.vms.get_mut(&vm("db")).unwrap();
    kept.disks.push(freehold_core::state::DiskRecord {
        name: "data".parse().unwrap(),
        volume: "data".into(),
        keep: true,
        there: true,
        old: false,
    });
    make(&mut snapshot, &lock, &[vm("web-0")].into());
    text.vms = vec![web(2)];
    lock.bury(&snapshot);
    let pruned = lock.prunable(&fleet_of(&text), &snapshot);
    // web-0 is there, web-1 is declared, of db a disk was kept.
    assert_eq!(pruned, [vm("web-2")]);
    assert_eq!(snapshot.decisions.prunable(&fleet_of(&text), &snapshot), [vm("web-2")]);
}

/// Says whether a lock that was changed somehow is noticed, or says the same.
fn is_noticed(fleet: &Fleet, snapshot: &Snapshot, before: &Decisions, lock: &Decisions) -> bool {
    let keys = |vm: &VmName, epoch: u32| format!("ssh-ed25519 key-of-{vm}-{epoch}");
    match decide(fleet, lock, snapshot, "SHA256:x", &keys) {
        Err(_) => true,
        Ok(now) => {
            let mut counted = lock.clone();
            for (name, vm) in &mut counted.vms {
                let Some(old) = before.vms.get(name) else { return false };
                (vm.incarnation, vm.removed) = (old.incarnation, old.removed);
            }
            counted == *before || !disagreements(lock, snapshot, &now).is_empty()
        }
    }
}

#[test]
fn no_flipped_bit_of_a_lock_goes_unnoticed() {
    let text = Text::new(2, vec![web(2)]);
    let keys = |vm: &VmName, epoch: u32| format!("ssh-ed25519 key-of-{vm}-{epoch}");
    let (fleet, none) = (fleet_of(&text), nothing(&text));
    let before = decide(&fleet, &Decisions::default(), &none, "SHA256:x", &keys).unwrap();
    let mut snapshot = none;
    make(&mut snapshot, &before, &before.vms.keys().cloned().collect());
    snapshot.decisions.identity.clone_from(&before.identity);
    let folder = tempfile::tempdir().unwrap();
    let lock = lock_of(&folder, &text);
    lock.write(&before).unwrap();
    let path = folder.path().join("freehold.lock");
    let good = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for bit in 0..good.len() * 8 {
        let mut changed = good.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &changed).unwrap();
        match lock.read() {
            Ok(read) => {
                let fine = is_noticed(&fleet, &snapshot, &before, &read);
                assert!(fine, "{}", String::from_utf8_lossy(&changed));
            }
            Err(error) => {
                refused += 1;
                let said = format!("{error} {}", error.hint().unwrap());
                assert!(said.contains("freehold.lock"), "{said}");
                assert!(lock.write(&before).is_err(), "it is not written over");
            }
        }
    }
    assert!(refused > good.len(), "{refused}");
}

/// Blocks `vm-N`, spread over two hosts.
fn blocks(numbers: &BTreeSet<usize>) -> Vec<VmText> {
    let block = |n: &usize| VmText::new(&format!("vm-{n}")).count(1 + n % 3).on(&[1, 2]);
    numbers.iter().map(block).collect()
}

/// Reads a fleet whose VMs are spread over two files, in this order.
fn in_two_files(text: &Text, order: &[VmText]) -> Fleet {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("base.qcow2"), b"image").unwrap();
    let (first, second) = order.split_at(order.len() / 2);
    let first = Text { vms: first.to_vec(), ..text.clone() };
    std::fs::write(folder.path().join("zz.hcl"), first.to_string()).unwrap();
    let second: String = second.iter().map(ToString::to_string).collect();
    std::fs::write(folder.path().join("aa.hcl"), second).unwrap();
    load(folder.path())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    /// Whatever was locked stays, whoever comes or goes, in whatever order files and blocks are.
    #[test]
    fn files_blocks_and_others_move_nobody(
        before in prop::collection::btree_set(0..9_usize, 0..6),
        (after, order) in prop::collection::btree_set(0..9_usize, 1..6)
            .prop_flat_map(|set| (Just(set.clone()), Just(blocks(&set)).prop_shuffle())),
    ) {
        let text = |set| Text::new(2, blocks(set));
        let lock = decided(&text(&before), &Decisions::default());
        let now = decided(&text(&after), &lock);
        for (name, decision) in &lock.vms {
            if after.iter().any(|n| name.as_str().starts_with(&format!("vm-{n}"))) {
                prop_assert_eq!(&now.vms[name], decision);
            }
        }
        let keys = |vm: &VmName, epoch: u32| format!("ssh-ed25519 key-of-{vm}-{epoch}");
        let fleet = in_two_files(&text(&after), &order);
        let shuffled = decide(&fleet, &lock, &nothing(&text(&after)), "SHA256:x", &keys).unwrap();
        prop_assert_eq!(shuffled, now);
    }

    /// Two branches decide, and a merge takes both sides' tables: it loads, or names the clash; and
    /// without one of the two it loads, and nobody else moves.
    #[test]
    fn two_branches_load_or_the_clash_is_named(
        base in prop::collection::btree_set(0..9_usize, 0..4),
        ours in prop::collection::btree_set(0..9_usize, 0..4),
        theirs in prop::collection::btree_set(0..9_usize, 0..4),
    ) {
        let text = |more: &BTreeSet<usize>| Text::new(2, blocks(&(&base | more)));
        let lock = decided(&text(&BTreeSet::new()), &Decisions::default());
        let sides = [&ours, &theirs].map(|more| decided(&text(more), &lock));
        let mut merged = sides[0].clone();
        for (name, decision) in &sides[1].vms {
            merged.vms.entry(name.clone()).or_insert_with(|| decision.clone());
        }
        let whole = text(&(&ours | &theirs));
        let folder = tempfile::tempdir().unwrap();
        let file = lock_of(&folder, &whole);
        while let Some(clash) = merged.first_clash() {
            // Such a lock is written by a merge alone.
            prop_assert!(file.write(&merged).is_err());
            std::fs::write(folder.path().join("freehold.lock"), file.content(&merged)).unwrap();
            let said = file.read().unwrap_err().to_string();
            prop_assert!(said.contains(clash.one.as_str()), "{}", said);
            prop_assert!(said.contains(clash.other.as_str()), "{}", said);
            prop_assert!(said.contains("(lines "), "{}", said);
            prop_assert!(!lock.vms.contains_key(&clash.one) || !lock.vms.contains_key(&clash.other));
            let newer = if lock.vms.contains_key(&clash.other) { clash.one } else { clash.other };
            merged.vms.remove(&newer);
        }
        drop(std::fs::remove_file(folder.path().join("freehold.lock")));
        file.write(&merged).unwrap();
        prop_assert_eq!(&file.read().unwrap(), &merged);
        let now = try_decide(&whole, &merged, &nothing(&whole)).unwrap();
        for (name, decision) in &merged.vms {
            prop_assert_eq!(&now.vms[name], decision);
        }
    }
}

#[test]
fn another_identity_is_named_with_both_fingerprints() {
    let text = Text::usual();
    let lock = Decisions { identity: Some("SHA256:y".into()), ..Decisions::default() };
    let problems = try_decide(&text, &lock, &nothing(&text)).unwrap_err();
    let [PlanProblem::Identity { have, want }] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!((have.as_str(), want.as_str()), ("SHA256:x", "SHA256:y"));
    assert!(problems[0].hint().contains("identity.key"));
}
