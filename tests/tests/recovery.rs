//! Runs that recover are killed too, and runs that somebody ends on purpose are finished by the next.
//!
//! Addresses from 10.77.0.226 to 10.77.0.227 belong to this file.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may")]

mod common;

use acceptance::relay::Relay;
use common::{
    lab,
    oracle::AGAIN,
    pair::Pair,
    reaper::{Moment, killed_at},
    small::says,
};

/// Kills one run after the other, each a few steps into what it finds left to do, until one comes to its end.
fn killed_again_and_again(pair: &Pair, arguments: &[&str]) -> usize {
    for nth in 0..60 {
        let (step, moment) = (nth % 5, Moment::ALL[nth % 3]);
        let Some(words) = killed_at((&pair.bed, &pair.wires), arguments, step, moment) else {
            return nth;
        };
        println!("{} {step}: {words}, {moment:?}", arguments[0]);
    }
    panic!("{arguments:?} never comes to an end");
}

#[test]
fn recovery_is_killed_again_and_again() {
    let _alone = common::alone();
    let pair = Pair::new(&lab(), "rcvr", 226);
    let mut killed = killed_again_and_again(&pair, &AGAIN);
    pair.converges("its creation was killed again and again");
    pair.grow("16MiB", "24MiB");
    pair.bed.edit("port = 9100", "port = 9200").unwrap();
    killed += killed_again_and_again(&pair, &AGAIN);
    pair.bed.edit("port = 9200", "port = 9100").unwrap();
    pair.converges("its change was killed again and again");
    killed += killed_again_and_again(&pair, &["destroy", "--yes"]);
    // Half of it is in the trash: it is made again.
    pair.converges("its removal was killed again and again");
    println!("killed while recovering: {killed} runs");
    assert!(killed >= 12, "{killed}");
}

#[test]
fn a_run_that_is_asked_to_end_is_finished_by_the_next() {
    let _alone = common::alone();
    let pair = Pair::new(&lab(), "rask", 226).applied();
    let mut memory = ["16MiB", "24MiB"];
    for (signals, said) in [
        (&["-INT"][..], "ending: calls that run are finished"),
        (&["-TERM"], "ending: calls that run are finished"),
        (&["-INT", "-INT"], "stopped; the next apply settles"),
    ] {
        pair.grow(memory[0], memory[1]);
        memory.reverse();
        let walk = pair.held_at("change rask-a");
        for signal in signals {
            walk.signal(signal).unwrap();
            walk.says("ending").unwrap();
        }
        pair.wires.each(Relay::release);
        let (status, told) = walk.finish().unwrap();
        assert_eq!(status, 130, "{signals:?}: {told}");
        assert!(told.contains(said), "{signals:?}: {told}");
        let plan = pair.bed.freehold(&["plan"]).output().unwrap();
        says(&plan, &["vm rask-"]);
        pair.converges(&format!("it was asked to end by {signals:?}"));
    }
}
