//! What a journal says, read back: a killed run folded into the state.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{
    Outcome, Place, Snapshot, StateError,
    line::{Chain, JOURNAL_FORMAT, Line},
    place::Part,
};

/// The run that a journal is of.
pub(super) struct Run<'a> {
    lineage: Uuid,
    serial: u64,
    reader: Reader<'a>,
    /// The lines after the first.
    rest: &'a [u8],
}

/// How a journal stands to a state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Everything it tells is in the state.
    Saved,
    /// So too, but it is not what we wrote.
    SavedAndDamaged,
}

/// Takes into the snapshot what a journal says happened after it; returns whether that was anything.
pub(super) fn fold(
    place: &Place,
    journal: &[u8],
    snapshot: &mut Snapshot,
) -> Result<bool, StateError> {
    let run = Run::read(place, journal)?;
    run.refuse_foreign(place, snapshot)?;
    if run.serial <= snapshot.serial {
        return Ok(false);
    }
    let serial = run.serial;
    let lines = run.lines()?;
    if lines.is_empty() {
        // Killed before its first intent, it did nothing: the next run takes its serial. Counted
        // and not written, two of them would leave a journal too new for the state on the disk.
        return Ok(false);
    }
    fold_lines(&lines, snapshot);
    snapshot.serial = serial;
    Ok(true)
}

/// Says how the journal that a new one is to replace stands to the state. One that tells of more
/// than the state knows is refused: it must not be lost.
pub(super) fn standing(
    place: &Place,
    journal: &[u8],
    snapshot: &Snapshot,
) -> Result<Standing, StateError> {
    let run = Run::read(place, journal)?;
    run.refuse_foreign(place, snapshot)?;
    let saved = run.serial <= snapshot.serial;
    let serial = run.serial;
    match run.lines() {
        Ok(lines) if saved || lines.is_empty() => Ok(Standing::Saved),
        Err(_) if saved => Ok(Standing::SavedAndDamaged),
        Ok(_) => Err(StateError::Damaged {
            path: place.part(Part::Journal),
            why: format!("it tells of run {serial}, which is not in the state"),
            hint: "run this again: it is taken in when a run begins".into(),
        }),
        Err(error) => Err(error),
    }
}

/// Returns the serial of the run that a journal is of; `None` where there is none that says so.
pub(super) fn serial_of(place: &Place, journal: &[u8]) -> Option<u64> {
    run_of(place, journal).map(|(_, serial)| serial)
}

/// Returns lineage and serial of that run.
pub(super) fn run_of(place: &Place, journal: &[u8]) -> Option<(Uuid, u64)> {
    Run::read(place, journal).ok().map(|run| (run.lineage, run.serial))
}

impl<'a> Run<'a> {
    fn read(place: &'a Place, bytes: &'a [u8]) -> Result<Self, StateError> {
        // A journal comes into being with its first line whole.
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let Some(end) = end else {
            let why = if bytes.is_empty() { "it is empty" } else { "its first line is torn" };
            return Err(damaged(place, why.to_owned()));
        };
        let first = text_of(place, 0, &bytes[..end])?;
        let format = format_of(first);
        if format > JOURNAL_FORMAT {
            let (path, have, know) = (place.part(Part::Journal), format, JOURNAL_FORMAT);
            return Err(StateError::Newer { path, have, know });
        }
        let mut reader = Reader { place, chain: Chain::is_sealed(first).then(Chain::default) };
        match reader.line(0, first)? {
            Line::Begin { format, lineage, serial }
                if (1..=JOURNAL_FORMAT).contains(&format)
                    && (format == 1) == reader.chain.is_none() =>
            {
                Ok(Self { lineage, serial, reader, rest: &bytes[end + 1..] })
            }
            _ => Err(damaged(place, "line 1: it does not say which run this is".into())),
        }
    }

    /// Reads what it did. Damage here is nobody's concern when the run is in the state already.
    fn lines(mut self) -> Result<Vec<Line>, StateError> {
        self.reader.rest(self.rest)
    }

    /// Refuses a journal of another history, and one that continues a later state.
    fn refuse_foreign(&self, place: &Place, snapshot: &Snapshot) -> Result<(), StateError> {
        if self.lineage != snapshot.lineage {
            return Err(StateError::OtherHistory {
                path: place.part(Part::Journal),
                have: self.lineage.to_string(),
                want: snapshot.lineage.to_string(),
                hint: format!(
                    "put the state.json back that it belongs to; if that is lost, keep it aside: {}",
                    place.mv(Part::Journal)
                ),
            });
        }
        if self.serial > snapshot.serial + 1 {
            return Err(StateError::Older {
                path: place.part(Part::State),
                have: snapshot.serial,
                newer: place.part(Part::Journal),
                serial: self.serial - 1,
                hint: "put the state back that was there last: .freehold/ is an old copy, or half \
                       of one"
                    .into(),
            });
        }
        Ok(())
    }
}

/// Reads the lines of one journal in turn.
struct Reader<'a> {
    place: &'a Place,
    /// `None` in format 1, whose lines have no sum.
    chain: Option<Chain>,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, text: &str) -> Result<Line, StateError> {
        let line = match &mut self.chain {
            Some(chain) => chain.open(text),
            None => Line::parse(text).map_err(|error| error.to_string()),
        };
        line.map_err(|why| damaged(self.place, format!("line {}: {why}", number + 1)))
    }

    /// Reads all lines but the first. The last one may be torn by a power cut and then never took
    /// effect.
    fn rest(&mut self, bytes: &[u8]) -> Result<Vec<Line>, StateError> {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (whole, tail) = bytes.split_at(whole);
        let mut lines = Vec::new();
        for (index, line) in whole.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let text = text_of(self.place, index + 1, &line[..line.len() - 1])?;
            lines.push(self.line(index + 1, text)?);
        }
        // A file system may have noted the length before the bytes.
        let written = tail.iter().rposition(|byte| *byte != 0).map_or(0, |end| end + 1);
        let tail = &tail[..written];
        if !is_torn(tail) {
            let number = lines.len() + 1;
            lines.push(self.line(number, text_of(self.place, number, tail)?)?);
        }
        Ok(lines)
    }
}

/// Says whether this is the beginning of a line and no more.
fn is_torn(tail: &[u8]) -> bool {
    match std::str::from_utf8(tail) {
        Ok(text) => Line::parse(text).is_err_and(|error| error.is_eof()),
        // Cut in the middle of a character.
        Err(error) => error.error_len().is_none(),
    }
}

/// Returns the format a first line names, were it damaged otherwise; 0 where it names none.
fn format_of(first: &str) -> u32 {
    let value: serde_json::Value = serde_json::from_str(first).unwrap_or_default();
    value["format"].as_u64().map_or(0, |format| u32::try_from(format).unwrap_or(u32::MAX))
}

fn text_of<'a>(place: &Place, number: usize, line: &'a [u8]) -> Result<&'a str, StateError> {
    std::str::from_utf8(line)
        .map_err(|_| damaged(place, format!("line {}: it is no text", number + 1)))
}

fn damaged(place: &Place, why: String) -> StateError {
    let hint = format!(
        "keep it aside: {}\nwhat its run made is then shown by `freehold plan` and not touched",
        place.mv(Part::Journal)
    );
    StateError::Damaged { path: place.part(Part::Journal), why, hint }
}

fn fold_lines(lines: &[Line], snapshot: &mut Snapshot) {
    let mut settling = BTreeMap::new();
    for line in lines {
        match line {
            Line::Begin { .. } => {}
            Line::Intent { step, claims, settles, .. } => {
                for fact in claims {
                    snapshot.fold(&fact.clone().into());
                }
                settling.insert(*step, settles);
            }
            Line::Outcome { step, how: Outcome::Done } => {
                let facts = settling.remove(step).into_iter().flatten();
                facts.for_each(|fact| snapshot.fold(&fact.clone().into()));
            }
            Line::Outcome { .. } => {}
        }
    }
}
