//! What the trash of a host takes, in numbers and words.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::TrashEntry;
use crate::model::Size;

const UNITS: [(u64, &str); 4] = [(24 * 3600, "day"), (3600, "hour"), (60, "minute"), (1, "second")];

/// What the trash of one host takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashSpace {
    /// How many entries it has.
    pub entries: usize,
    /// What they take of the pool's file system.
    pub used: Size,
    /// How many of them are older than the fleet retains.
    pub old: usize,
    /// How long the fleet retains.
    pub retain: Duration,
}

impl TrashSpace {
    /// Sums up entries; `None` where there are none.
    pub fn of(entries: &[TrashEntry], retain: Duration) -> Option<Self> {
        let used = entries.iter().map(|entry| entry.used().bytes()).sum();
        let old = entries.iter().filter(|entry| !entry.is_young).count();
        let space = Self { entries: entries.len(), used: Size::from_bytes(used), old, retain };
        (!entries.is_empty()).then_some(space)
    }
}

impl fmt::Display for TrashSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = if self.entries == 1 { "entry" } else { "entries" };
        write!(f, "{} in {} {entries}", self.used.rounded(), self.entries)?;
        if self.old > 0 {
            write!(f, ", {} older than {}", self.old, exact(self.retain))?;
        }
        Ok(())
    }
}

/// Returns a time as people say it, in its largest unit and rounded down: `3 days`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    in_unit(seconds, UNITS.iter().find(|(unit, _)| seconds >= *unit))
}

/// Returns a time in the largest unit that loses nothing of it.
fn exact(time: Duration) -> String {
    let seconds = time.as_secs();
    let whole = |unit: &&(u64, &str)| seconds >= unit.0 && seconds.is_multiple_of(unit.0);
    in_unit(seconds, UNITS.iter().find(whole))
}

fn in_unit(seconds: u64, unit: Option<&(u64, &str)>) -> String {
    let (factor, word) = unit.unwrap_or(&UNITS[3]);
    let number = seconds / factor;
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_times_as_people_do() {
        let day = 24 * 3600;
        let spans = [0, 1, 3599, 2 * 3600, day + 1, 30 * day].map(Duration::from_secs);
        let words = ["0 seconds", "1 second", "59 minutes", "2 hours", "1 day", "30 days"];
        assert_eq!(spans.map(span), words);
        assert_eq!(exact(Duration::from_hours(36)), "36 hours");
    }

    #[test]
    fn says_what_it_takes() {
        let mut space = TrashSpace {
            entries: 4,
            used: Size::from_mib(12_698),
            old: 2,
            retain: Duration::from_hours(30 * 24),
        };
        assert_eq!(space.to_string(), "12.4 GiB in 4 entries, 2 older than 30 days");
        (space.entries, space.old) = (1, 0);
        assert_eq!(space.to_string(), "12.4 GiB in 1 entry");
        assert_eq!(TrashSpace::of(&[], space.retain), None);
    }
}
