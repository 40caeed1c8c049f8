//! What the command does with nobody at a terminal, with `--yes` and without.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::fs;

mod folder;

use folder::Fleet;

const TARGETS: &str = "targets.json";

/// A fleet whose VM was made on a host that is away by now, and is not among the targets yet: there
/// is something to do here.
fn fleet() -> Fleet {
    let fleet = Fleet::new("");
    declare(&fleet, "web 1");
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    fleet.has_made_web();
    fleet
}

/// Declares VMs with something to scrape, and the file that says so.
fn declare(fleet: &Fleet, vms: &str) {
    fleet.declare(vms);
    let text = fs::read_to_string(fleet.path("fleet.hcl")).unwrap();
    let text =
        text.replace("  nic \"lan\"", "  metrics \"node\" {\n    port = 9100\n  }\n  nic \"lan\"");
    let file = format!("prometheus \"main\" {{\n  path = \"{TARGETS}\"\n}}\n");
    fs::write(fleet.path("fleet.hcl"), text + &file).unwrap();
}

fn targets(fleet: &Fleet) -> Option<String> {
    fs::read_to_string(fleet.path(TARGETS)).ok()
}

fn state(fleet: &Fleet) -> Vec<u8> {
    fs::read(fleet.path(".freehold/state.json")).unwrap()
}

#[test]
fn without_a_word_nothing_is_done_and_yes_does_it() {
    let fleet = fleet();
    fleet.run(&["plan", "-o", "./here.plan"]).is(3, &["target web-0:9100 node"]);
    for arguments in [
        &["apply"][..],
        &["apply", "web-0"],
        &["apply", "--allow", "data-loss"],
        &["apply", "--deletes", "9"],
        &["apply", "--unprotect", "web-0"],
        &["apply", "./here.plan"],
    ] {
        let before = state(&fleet);
        fleet.run(arguments).is(5, &["nothing was done; nobody is there to ask", "hint: --yes"]);
        assert_eq!(targets(&fleet), None, "{arguments:?}");
        assert_eq!(state(&fleet), before, "{arguments:?}");
    }
    // Its host is away: that is said, and held back.
    fleet.run(&["apply", "./here.plan", "--yes"]).is(3, &["rack1"]);
    assert!(targets(&fleet).unwrap().contains("10.77.0.100:9100"));
    fleet.run(&["apply", "./here.plan", "--yes"]).is(4, &["made from serial", "plan again"]);
}

#[test]
fn forget_needs_its_word_and_apply_another_one_for_what_is_left() {
    let fleet = fleet();
    fleet.run(&["apply", "--yes"]).is(3, &["rack1"]);
    let before = state(&fleet);
    fleet.run(&["forget", "web-0"]).is(5, &["what is on its host stays", "hint: --yes"]);
    assert_eq!(state(&fleet), before);
    fleet.run(&["forget", "nobody", "--yes"]).is(1, &["the state knows no vm nobody"]);
    assert_eq!(state(&fleet), before);
    fleet.run(&["forget", "web-0", "--yes"]).is(0, &["1 forgotten"]);
    assert_ne!(state(&fleet), before);
    // Its targets go with an apply, and with nothing less.
    declare(&fleet, "");
    let known = targets(&fleet).unwrap();
    fleet.run(&["plan"]).is(3, &["target web-0:9100 node"]);
    fleet.run(&["apply"]).is(5, &["hint: --yes"]);
    assert_eq!(targets(&fleet).unwrap(), known);
    fleet.run(&["apply", "--yes"]).is(3, &["rack1"]);
    assert!(!targets(&fleet).unwrap().contains("10.77.0.100"), "{:?}", targets(&fleet));
}
