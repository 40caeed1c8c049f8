//! Words on the command line that mean nothing, and output that does not arrive: both are said.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::fs::File;

mod folder;

use folder::Fleet;

/// A fleet whose hosts answer nobody, and of which all is decided.
fn fleet() -> Fleet {
    let fleet = Fleet::new("web 2");
    fleet.run(&["plan", "--lock"]).is(0, &[]);
    fleet
}

#[test]
fn consent_for_what_is_not_there_is_refused_by_name() {
    let fleet = fleet();
    for (words, exit, said) in [
        (&["--allow", "live"][..], 2, "live needs no consent"),
        (&["--allow", "restart=nosuch"], 1, "no vm is named nosuch"),
        (&["--unprotect", "nosuch"], 1, "no vm is named nosuch"),
        // A block stands for its VMs; the host that is down is what is left.
        (&["--allow", "restart=web", "--unprotect", "web-1"], 3, "rack1"),
    ] {
        fleet.run(&[&["apply", "--yes"], words].concat()).is(exit, &[said]);
    }
}

#[test]
fn a_saved_plan_says_how_it_is_applied_and_takes_no_other_part() {
    let fleet = fleet();
    fleet.run(&["plan", "-o", "change"]).is(3, &["freehold apply ./change\n"]);
    let apply = ["apply", "./change", "--yes", "--host", "rack1"];
    fleet.run(&apply).is(1, &["a saved plan takes no --host"]);
}

#[test]
fn output_that_does_not_arrive_is_an_error_and_a_closed_pipe_is_none() {
    let fleet = fleet();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ran = fleet.run_into(full.into(), &["plan", "--json"]);
    ran.is(1, &["not all output was written"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = fleet.run_into(writer.into(), &["plan", "--json"]);
    ran.is(3, &[]);
    assert!(!ran.said.contains("not all output"), "{}", ran.said);
}
