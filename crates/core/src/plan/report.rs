//! The plan as text: one line per object, by host, what hurts first.

use std::collections::BTreeMap;

use super::{Action, Change, Held, Plan, Work};
use crate::model::{HostName, Impact};

/// Columns of a screen that held-back lines keep to.
const WIDTH: usize = 80;

impl Plan {
    /// Returns the plan as the user reads it; readable without colour and at 80 columns.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut hosts: BTreeMap<&HostName, Vec<&Change>> = BTreeMap::new();
        for change in &self.changes {
            hosts.entry(&change.host).or_default().push(change);
        }
        for (host, mut changes) in hosts {
            changes.sort_by_key(|change| {
                let taken = matches!(change.action, Action::Remove | Action::Replace);
                (!taken, std::cmp::Reverse(change.impact))
            });
            line(&mut text, &format!("host {host}"));
            for change in changes {
                line(&mut text, &format!("  {}", change_line(change)));
            }
        }
        if !self.edits.is_empty() {
            line(&mut text, "outside");
            for edit in &self.edits {
                line(&mut text, &format!("  {edit}"));
            }
        }
        if !self.held.is_empty() {
            line(&mut text, "held back");
            for held in &self.held {
                held_lines(&mut text, held);
            }
        }
        text
    }

    /// Returns the counts, with everything past `live` named again.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for change in self.changes.iter().filter(|change| change.impact > Impact::Live) {
            line(&mut text, &format!("! {}: {}", change.impact, change_line(change)));
        }
        let count = |action| self.changes.iter().filter(|c| c.action == action).count();
        let parts = [
            (count(Action::Create), "to create"),
            (count(Action::Update), "to change"),
            (count(Action::Replace), "to make again"),
            (count(Action::Adopt), "to adopt"),
            (count(Action::Remove), "to remove"),
            (self.edits.len(), "to publish"),
            (self.held.len(), "held back"),
        ];
        let mut words: Vec<String> = parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{number} {what}"))
            .collect();
        words.push(format!("{} unchanged", self.unchanged));
        line(&mut text, &words.join(", "));
        for (host, space) in &self.trash {
            let hint = if space.old > 0 { " (freehold trash empty)" } else { "" };
            line(&mut text, &format!("trash on {host}: {space}{hint}"));
        }
        text
    }
}

pub(super) fn line(text: &mut String, words: &str) {
    text.push_str(words);
    text.push('\n');
}

fn change_line(change: &Change) -> String {
    let mut line = format!("{} {}", change.action.sign(), change.object);
    match &change.work {
        Work::Vm(work) if change.action == Action::Create => {
            let spec = &work.spec;
            line += &format!(": {} cpu, {}", spec.cpus, spec.memory);
            for volume in &work.volumes {
                line += &format!(", {}", volume.size);
            }
            for address in &work.addresses {
                line += &format!(", {address}");
            }
            return line;
        }
        Work::VmGone(removal) | Work::VmAnew(removal, _) | Work::CopyGone(removal) => {
            line += &format!(": {} to the trash", counted(removal.trash.len(), "disk"));
            if !removal.kept.is_empty() {
                line += &format!(", {} kept", removal.kept.len());
            }
        }
        Work::VmRestored(work) => {
            line += &format!(": {} back from the trash", counted(work.moves.len(), "file"));
        }
        Work::DiskRestored(work) => {
            line += &format!(": disk {} back from the trash, to be kept", work.disk);
        }
        Work::ImageGone { remove: true, used, .. } => {
            return format!("{line}: nobody needs it ({})", used.rounded());
        }
        Work::ImageGone { .. } => {
            return format!("{line}: stays, another fleet brought it too");
        }
        Work::TrashEmptied(work) => {
            return format!("{line}: destroyed for good ({})", work.holds);
        }
        Work::Network(spec) => {
            line += &format!(": nat {}", spec.subnet);
        }
        _ => {}
    }
    let reasons: Vec<_> = change
        .reasons
        .iter()
        .filter(|reason| !matches!(reason, super::Reason::New))
        .map(ToString::to_string)
        .collect();
    if !reasons.is_empty() {
        line += &format!(" ({})", reasons.join("; "));
    }
    line
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn held_lines(text: &mut String, held: &Held) {
    let place = held.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let place = if held.object.to_string().starts_with("host ") { String::new() } else { place };
    let mut causes = held.why.causes().into_iter();
    let first = causes.next().unwrap_or_default();
    let said = format!("{}{place}: {first}", held.object);
    wrapped(text, "  ", said.split_inclusive(": "));
    for cause in causes {
        wrapped(text, "    ", cause.split_inclusive(": "));
    }
    if let Some(hint) = held.why.hint() {
        wrapped(text, "    ", [format!("hint: {hint}").as_str()]);
    }
}

/// Writes a line; what does not fit goes on further in. A part that fits a line of its own is kept
/// together, and a word that is too long for any stands alone.
pub(super) fn wrapped<'a>(
    text: &mut String,
    indent: &str,
    parts: impl IntoIterator<Item = &'a str>,
) {
    let inner = format!("{indent}    ");
    let width = |words: &str| words.trim_end().chars().count();
    let mut row = indent.to_owned();
    for part in parts {
        let breakable = inner.len() + width(part) > WIDTH;
        let pieces = if breakable { part.split_inclusive(' ').collect() } else { vec![part] };
        for piece in pieces {
            let is_fresh = row.trim().is_empty();
            if !is_fresh && row.chars().count() + width(piece) > WIDTH {
                line(text, row.trim_end());
                row.clone_from(&inner);
            }
            row += piece;
        }
    }
    line(text, row.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Object, Withheld};

    #[test]
    fn every_cause_has_its_line_and_none_is_wider_than_a_screen() {
        let held = Held {
            host: None,
            object: Object::Outside("dns main".into()),
            why: Withheld::ServerDown {
                causes: vec![
                    "cannot read zone home.example.org".into(),
                    format!("connect to {}: timed out after several tries", "x".repeat(60)),
                ],
                hint: Some("is the tunnel up?".into()),
            },
        };
        let mut text = String::new();
        held_lines(&mut text, &held);
        let lines = [
            "  dns main: cannot read zone home.example.org".to_owned(),
            format!("    connect to {}:", "x".repeat(60)),
            "        timed out after several tries".to_owned(),
            "    hint: is the tunnel up?".to_owned(),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    }
}
