//! A plan with nothing to do, of a fleet on ten hosts, against bare reads of the same.

use std::{thread, time::Duration};

use acceptance::lab::Lab;
use anyhow::Result;

use super::{
    Row,
    fleet::Subject,
    median,
    reference::{self, Bare},
};
use crate::screen;

/// How many racks it takes.
pub(super) const RACKS: usize = 10;

const VMS: usize = 1000;

/// Measures once the daemons of all hosts have closed what the one before had open: ten to forty
/// connections each, on the same cores.
fn rested(measure: impl FnOnce() -> Result<f64>) -> Result<f64> {
    const REST: Duration = Duration::from_millis(200);
    thread::sleep(REST);
    measure()
}

/// Makes the fleet, measures, and takes the fleet away.
pub(super) fn measure(lab: &Lab, rounds: usize) -> Result<Vec<Row>> {
    let racks = &lab.racks()[..RACKS];
    let subject = Subject::new(lab, racks, VMS)?;
    screen::say(format_args!("making {VMS} VMs on {RACKS} hosts"));
    subject.apply()?;
    let bare = Bare::open(lab, racks, VMS)?;
    let (mut plan, mut read, mut logins) = (Vec::new(), Vec::new(), Vec::new());
    let mut memory = 0;
    for round in 0..rounds {
        screen::say(format_args!("round {} of {rounds}", round + 1));
        for _ in 0..3 {
            read.push(rested(|| bare.read())?);
            plan.push(rested(|| subject.empty_plan())?);
            logins.push(rested(|| reference::logins(lab, racks))?);
        }
        memory = memory.max(subject.memory_of_empty_plan()?);
    }
    subject.remove(lab)?;
    let (plan, read, logins) = (median(plan), median(read), median(logins));
    let name = format!("no-op plan of {VMS} VMs on {RACKS} hosts");
    let row = |name: String, value, unit, bound| Row { name, value, unit, bound };
    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
    let megabytes = memory as f64 / 1e6;
    Ok(vec![
        row(name.clone(), plan, "s", None),
        row("bare reads of the same XML".into(), read, "s", None),
        row(format!("logins to {RACKS} hosts by ssh, at once"), logins, "s", None),
        row("no-op plan / bare reads of the same XML".into(), plan / read, "", Some(2.0)),
        row(format!("memory of a {name}"), megabytes, "MB", Some(100.0)),
    ])
}
