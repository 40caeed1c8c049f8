//! How fast something goes, and when it will be there.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use freehold_core::model::Size;

/// How far back a rate looks: what was fast a minute ago says little.
const WINDOW: Duration = Duration::from_secs(8);

/// Bytes that are done, over time.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    marks: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// Notes how much is done by now.
    pub(crate) fn note(&mut self, now: Instant, done: u64) {
        // Begun anew: what went before says nothing.
        if self.marks.back().is_some_and(|(_, before)| *before > done) {
            self.marks.clear();
        }
        while self.marks.len() > 1 && self.marks.front().is_some_and(|(at, _)| now - *at > WINDOW) {
            self.marks.pop_front();
        }
        let is_new = |(at, _): &(Instant, u64)| now - *at < Duration::from_millis(100);
        if self.marks.len() > 1 && self.marks.back().is_some_and(is_new) {
            self.marks.pop_back();
        }
        self.marks.push_back((now, done));
    }

    /// Returns bytes a second.
    fn rate(&self) -> Option<u64> {
        let ((first, begun), (last, done)) = (self.marks.front()?, self.marks.back()?);
        let millis = u64::try_from((*last - *first).as_millis()).ok().filter(|spent| *spent > 0)?;
        (done - begun).checked_mul(1000).map(|bytes| bytes / millis).filter(|rate| *rate > 0)
    }

    /// Returns `45 % 1.2 GiB of 2.7 GiB, 110 MiB/s, 14 s left`, as far as it is known.
    pub(crate) fn words(&self, total: Option<u64>) -> String {
        let done = self.marks.back().map_or(0, |(_, done)| *done);
        let size = |bytes| Size::from_bytes(bytes).rounded();
        let total = total.filter(|total| *total >= done && *total > 0);
        let mut words = match total {
            Some(total) => {
                let percent = u128::from(done) * 100 / u128::from(total);
                format!("{percent} % {} of {}", size(done), size(total))
            }
            None => size(done),
        };
        if let Some(rate) = self.rate() {
            words += &format!(", {}/s", size(rate));
            if let Some(total) = total.filter(|total| *total > done) {
                words += &format!(", {} left", span((total - done).div_ceil(rate)));
            }
        }
        words
    }
}

/// Returns seconds as people read them.
fn span(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5999 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn paced(marks: &[(u64, u64)]) -> Pace {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        for (second, done) in marks {
            pace.note(begun + Duration::from_secs(*second), done * MIB);
        }
        pace
    }

    #[test]
    fn tells_share_rate_and_time_left() {
        let pace = paced(&[(0, 0), (1, 100), (2, 200)]);
        let total = Some(1600 * MIB);
        assert_eq!(pace.words(total), "12 % 200 MiB of 1.5 GiB, 100 MiB/s, 14 s left");
        assert_eq!(pace.words(None), "200 MiB, 100 MiB/s");
        assert_eq!(paced(&[(0, 5)]).words(None), "5 MiB");
    }

    #[test]
    fn what_was_there_before_and_long_ago_does_not_count() {
        let resumed = paced(&[(0, 1000), (2, 1020)]);
        assert_eq!(resumed.words(Some(1040 * MIB)), "98 % 1020 MiB of 1 GiB, 10 MiB/s, 2 s left");
        let slower = paced(&[(0, 0), (1, 900), (10, 910), (20, 920)]);
        assert_eq!(slower.words(None), "920 MiB, 1 MiB/s");
        let again = paced(&[(0, 500), (1, 600), (2, 0), (3, 7)]);
        assert_eq!(again.words(None), "7 MiB, 7 MiB/s");
    }

    #[test]
    fn a_total_that_cannot_be_is_not_told() {
        assert_eq!(paced(&[(0, 5)]).words(Some(MIB)), "5 MiB");
        assert_eq!(
            (span(99), span(100), span(6000)),
            ("99 s".into(), "2 min".into(), "2 h".into())
        );
    }
}
