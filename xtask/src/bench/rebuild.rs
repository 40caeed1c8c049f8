//! Twenty VMs made again on a fresh host, against the first apply of the same.

use acceptance::burnt::Burnt;
use acceptance::lab::{Lab, RACKS};
use anyhow::Result;

use super::{Row, fleet::Subject, median};

const VMS: usize = 20;

/// Measures in turns; each begins on a host that has neither pool nor image.
pub(super) fn measure(lab: &Lab, rounds: usize) -> Result<Vec<Row>> {
    let subject = Subject::new(lab, &RACKS[..1], VMS)?;
    subject.apply()?;
    let rack = Burnt::to_be(lab, "bench", "62656e63.".to_owned())?;
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        rack.burn()?;
        subject.lose_state()?;
        first.push(subject.apply()?.seconds);
        rack.burn()?;
        again.push(subject.rebuild("rack1")?);
    }
    let (first, again) = (median(first), median(again));
    let row = |name: &str, value, unit, bound| Row { name: name.to_owned(), value, unit, bound };
    Ok(vec![
        row("first apply of 20 VMs on a fresh host", first, "s", None),
        row("rebuild of 20 VMs on a fresh host", again, "s", None),
        row("rebuild / first apply", again / first, "", Some(1.2)),
    ])
}
