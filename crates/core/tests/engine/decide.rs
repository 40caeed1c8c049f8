//! Decisions are made once: nothing that comes or goes moves another VM.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use freehold_core::{
    model::{Fleet, VmName},
    plan::{PlanProblem, decide},
    state::{Decisions, DiskRecord, Fact, Snapshot, VmRecord},
};
use proptest::prelude::*;

use crate::bed::{Bed, Exit, Text, VmText, all, host, load, vm};

/// One folder for all: texts are read, nothing is applied.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("base.qcow2"), b"image").unwrap();
    folder
});

pub(crate) fn fleet_of(text: &Text) -> Fleet {
    let folder = tempfile::tempdir_in(FOLDER.path()).unwrap();
    std::fs::write(folder.path().join("base.qcow2"), b"image").unwrap();
    std::fs::write(folder.path().join("fleet.hcl"), text.to_string()).unwrap();
    load(folder.path())
}

pub(crate) fn try_decide(
    text: &Text,
    lock: &Decisions,
    snapshot: &Snapshot,
) -> Result<Decisions, Vec<PlanProblem>> {
    let keys = |vm: &VmName, epoch: u32| format!("ssh-ed25519 key-of-{vm}-{epoch}");
    decide(&fleet_of(text), lock, snapshot, "SHA256:x", &keys)
}

pub(crate) fn decided(text: &Text, lock: &Decisions) -> Decisions {
    try_decide(text, lock, &nothing(text)).unwrap()
}

pub(crate) fn nothing(text: &Text) -> Snapshot {
    Snapshot::new(text.id.parse().unwrap())
}

fn is_safe(decisions: &Decisions) {
    assert_eq!(decisions.first_clash(), None);
}

/// Notes in the state that VMs were made, or removed.
pub(crate) fn make(snapshot: &mut Snapshot, decisions: &Decisions, vms: &BTreeSet<VmName>) {
    for vm in vms {
        let decision = decisions.vms[vm].clone();
        let record = VmRecord {
            uuid: decision.uuid,
            host: decision.host.clone(),
            incarnation: decision.incarnation,
            disks: Vec::<DiskRecord>::new(),
            seed: String::new(),
            made: true,
            unready: false,
            protect: false,
            applied: None,
            restoring: None,
        };
        snapshot.fold(&Fact::Vm { vm: vm.clone(), record, decision });
    }
    let gone: Vec<_> = snapshot.vms.keys().filter(|vm| !vms.contains(*vm)).cloned().collect();
    for vm in gone {
        snapshot.fold(&Fact::VmGone { vm, kept: None });
    }
}

pub(crate) fn web(count: usize) -> VmText {
    VmText::new("web").count(count).on(&[1, 2])
}

#[test]
fn a_fresh_clone_decides_the_same() {
    let text = Text::usual();
    let first = decided(&text, &Decisions::default());
    assert_eq!(first, decided(&text, &Decisions::default()));
    assert_eq!(first, decided(&text, &first));
    is_safe(&first);
}

#[test]
fn the_order_of_blocks_decides_nothing() {
    let text = Text::usual();
    let mut reversed = text.clone();
    reversed.vms.reverse();
    let none = Decisions::default();
    assert_eq!(decided(&text, &none), decided(&reversed, &none));
}

#[test]
fn a_new_vm_moves_no_other() {
    let before = decided(&Text::new(2, vec![web(3)]), &Decisions::default());
    // `aaa` comes first in the alphabet and gets what is left all the same.
    let text = Text::new(2, vec![VmText::new("aaa"), web(5)]);
    let after = decided(&text, &before);
    for (name, decision) in &before.vms {
        assert_eq!(after.vms[name], *decision);
    }
    let address = |name: &str| after.vms[&vm(name)].nics[0].address.unwrap().to_string();
    assert_eq!(address("aaa"), "127.77.0.103");
    is_safe(&after);
}

#[test]
fn a_vm_that_goes_moves_no_other() {
    let before = decided(&Text::new(2, vec![web(3)]), &Decisions::default());
    let after = decided(&Text::new(2, vec![web(2)]), &before);
    for name in ["web-0", "web-1"] {
        assert_eq!(after.vms[&vm(name)], before.vms[&vm(name)]);
    }
}

#[test]
fn vms_are_spread_by_their_index() {
    let decisions = decided(&Text::new(2, vec![web(4)]), &Decisions::default());
    let hosts: Vec<_> = decisions.vms.values().map(|vm| vm.host.to_string()).collect();
    assert_eq!(hosts, ["rack1", "rack2", "rack1", "rack2"]);
}

#[test]
fn a_fixed_address_is_never_handed_out() {
    let fixed = VmText::new("zoo").fixed(" address = \"127.77.0.100\" ");
    let decisions = decided(&Text::new(2, vec![web(2), fixed]), &Decisions::default());
    let addresses: Vec<_> =
        decisions.vms.values().map(|vm| vm.nics[0].address.unwrap().to_string()).collect();
    assert_eq!(addresses, ["127.77.0.101", "127.77.0.102", "127.77.0.100"]);
}

#[test]
fn a_fixed_address_that_another_has_is_refused() {
    let before = decided(&Text::new(2, vec![web(2)]), &Decisions::default());
    let fixed = VmText::new("zoo").fixed(" address = \"127.77.0.100\" ");
    let text = Text::new(2, vec![web(2), fixed]);
    let problems = try_decide(&text, &before, &nothing(&text)).unwrap_err();
    assert!(matches!(problems[..], [PlanProblem::AddressTaken { .. }]), "{problems:?}");
}

#[test]
fn a_range_that_is_used_up_is_a_problem_of_each_vm_left_over() {
    let mut text = Text::new(2, vec![web(4)]);
    text.addresses = "127.77.0.100-127.77.0.101";
    let problems = try_decide(&text, &Decisions::default(), &nothing(&text)).unwrap_err();
    let names: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].contains("no address left for vm web-2"), "{names:?}");
}

#[test]
fn the_addresses_of_the_dead_are_used_last() {
    let mut text = Text::new(2, vec![web(3)]);
    text.addresses = "127.77.0.100-127.77.0.103";
    let before = decided(&text, &Decisions::default());
    text.vms = vec![web(2), VmText::new("one"), VmText::new("two")];
    let after = decided(&text, &before);
    let address = |name: &str| after.vms[&vm(name)].nics[0].address.unwrap().to_string();
    assert_eq!((address("one"), address("two")), ("127.77.0.103".into(), "127.77.0.102".into()));
    is_safe(&after);
}

#[test]
fn the_address_of_a_vm_that_is_still_there_is_not_given_away() {
    let mut text = Text::new(2, vec![web(2)]);
    text.addresses = "127.77.0.100-127.77.0.101";
    let before = decided(&text, &Decisions::default());
    let mut snapshot = nothing(&text);
    make(&mut snapshot, &before, &before.vms.keys().cloned().collect());
    text.vms = vec![web(1), VmText::new("new")];
    let problems = try_decide(&text, &before, &snapshot).unwrap_err();
    assert!(matches!(problems[..], [PlanProblem::NoAddress { .. }]), "{problems:?}");
    text.vms[1] = VmText::new("new").fixed(" address = \"127.77.0.101\" ");
    let problems = try_decide(&text, &before, &snapshot).unwrap_err();
    assert!(matches!(problems[..], [PlanProblem::AddressTaken { .. }]), "{problems:?}");
}

#[test]
fn whoever_got_the_address_of_the_dead_keeps_it_when_they_return() {
    let mut text = Text::new(2, vec![VmText::new("zoe")]);
    text.addresses = "127.77.0.100-127.77.0.101";
    let mut lock = decided(&text, &Decisions::default());
    let mut snapshot = nothing(&text);
    make(&mut snapshot, &lock, &[vm("zoe")].into());
    make(&mut snapshot, &lock, &BTreeSet::new());
    text.vms = vec![VmText::new("amy"), VmText::new("bob")];
    lock = try_decide(&text, &lock, &snapshot).unwrap();
    make(&mut snapshot, &lock, &[vm("amy"), vm("bob")].into());
    let bob = lock.vms[&vm("bob")].clone();
    assert_eq!(bob.nics[0].address.unwrap().to_string(), "127.77.0.100", "zoe's");
    text.addresses = "127.77.0.100-127.77.0.102";
    text.vms.push(VmText::new("zoe"));
    lock = try_decide(&text, &lock, &snapshot).unwrap();
    assert_eq!(lock.vms[&vm("bob")], bob);
    assert_eq!(lock.vms[&vm("zoe")].nics[0].address.unwrap().to_string(), "127.77.0.102");
    is_safe(&lock);
}

#[test]
fn another_identity_secret_is_refused() {
    let text = Text::usual();
    let lock = Decisions { identity: Some("SHA256:y".into()), ..Decisions::default() };
    let problems = try_decide(&text, &lock, &nothing(&text)).unwrap_err();
    assert!(matches!(problems[..], [PlanProblem::Identity { .. }]), "{problems:?}");
}

#[tokio::test]
async fn a_vm_whose_host_is_no_longer_declared_is_shown() {
    let bed = Bed::new(&Text::usual());
    bed.hosts[&host("rack2")].set_down(true);
    bed.apply(&all()).await;
    let mut text = Text::usual();
    text.hosts = 1;
    text.vms[0].hosts = vec![1];
    bed.write(&text);
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.exit(), Exit::Part);
    assert!(ran.why("vm web-1").is_some(), "{:?}", ran.plan.held);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// VMs come and go at random, some of them are made and some not: nobody moves, nobody clashes.
    #[test]
    fn nobody_moves_whoever_comes_or_goes(
        rounds in prop::collection::vec(
            (prop::collection::btree_set(0..8_usize, 0..7), any::<bool>()),
            1..8,
        ),
    ) {
        let mut lock = Decisions::default();
        let mut snapshot = nothing(&Text::usual());
        let mut homes: BTreeMap<VmName, _> = BTreeMap::new();
        for (numbers, applied) in rounds {
            let vms = numbers.iter().map(|n| VmText::new(&format!("vm-{n}")).on(&[1 + n % 2]));
            let mut text = Text::new(2, vms.collect());
            text.addresses = "127.77.0.100-127.77.0.107";
            let names: BTreeSet<_> = numbers.iter().map(|n| vm(&format!("vm-{n}"))).collect();
            let next = try_decide(&text, &lock, &snapshot);
            prop_assert!(next.is_ok(), "{next:?}");
            let next = next.unwrap();
            prop_assert_eq!(next.first_clash(), None);
            for name in &names {
                let (now, before) = (&next.vms[name], lock.vms.get(name));
                let home = (now.uuid, now.nics[0].mac, now.host.clone());
                let known = homes.entry(name.clone()).or_insert_with(|| home.clone());
                prop_assert_eq!(&home, known, "UUID, MAC and host are for life");
                let lives = snapshot.vms.contains_key(name);
                if let Some(before) = before.filter(|_| lives) {
                    prop_assert_eq!(now, before, "{} lives and changes", name);
                }
                let again = snapshot.decisions.vms.get(name).filter(|old| old.removed);
                if let Some(old) = again.filter(|_| !lives) {
                    prop_assert_eq!(now.incarnation, old.incarnation + 1);
                }
            }
            lock = next;
            if applied {
                make(&mut snapshot, &lock, &names);
                lock.bury(&snapshot);
            }
        }
    }
}
