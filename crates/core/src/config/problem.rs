//! What is wrong with a fleet's text, and how it is shown.

use std::{cell::RefCell, fmt, ops::Range};

/// One mistake, at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as seen from the fleet's directory; empty when it has no place in a file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// Its bytes in the file.
    pub span: Range<usize>,
    /// What is wrong; shows nothing that only the environment or another file knows.
    pub message: String,
    /// Other places that belong to it.
    pub notes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line it stands in and how many of its characters are meant.
    pub(super) excerpt: Option<(String, usize)>,
}

impl Problem {
    /// Makes a problem that has no place in a file.
    pub(super) fn nowhere(message: impl Into<String>) -> Self {
        Self {
            file: String::new(),
            line: 0,
            column: 0,
            span: 0..0,
            message: message.into(),
            notes: Vec::new(),
            hint: None,
            excerpt: None,
        }
    }

    /// Adds what to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do about it, if anything.
    pub(super) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// Adds another place.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Keeps the source line to itself: it holds a secret.
    pub(super) fn sealed(mut self) -> Self {
        self.excerpt = None;
        self
    }

    fn render(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", printable(&self.message))?;
        if !self.file.is_empty() {
            let gutter = self.line.to_string();
            let blank = " ".repeat(gutter.len());
            writeln!(f, "{blank}--> {}:{}:{}", printable(&self.file), self.line, self.column)?;
            if let Some((line, width)) = &self.excerpt {
                let (line, before, width) = window(&masked(line), self.column - 1, *width);
                let marks = "^".repeat(width);
                writeln!(f, "{blank} |\n{gutter} | {line}")?;
                writeln!(f, "{blank} | {}{marks}\n{blank} |", " ".repeat(before))?;
            }
        }
        self.notes.iter().try_for_each(|note| f.write_str(&wrapped("note: ", note)))?;
        self.hint.iter().try_for_each(|hint| f.write_str(&wrapped("hint: ", hint)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.render(f)
    }
}

/// How many characters of a source line are shown.
const EXCERPT: usize = 70;

/// Returns the part of a line around a place, the place's column in it and its width there.
fn window(line: &str, column: usize, width: usize) -> (String, usize, usize) {
    let line: Vec<char> = line.trim_end().chars().map(visible).collect();
    let column = column.min(line.len());
    let end = (column + width).clamp(column, line.len().max(column));
    let start = if end <= EXCERPT { 0 } else { column.saturating_sub(EXCERPT / 3) };
    let stop = (start + EXCERPT).min(line.len());
    let shown = line[start..stop.max(start)].iter().collect();
    (shown, column - start, end.min(stop).saturating_sub(column).max(1))
}

/// How wide notes and hints are.
const WIDTH: usize = 80;

/// Breaks a text into lines that begin below one another.
fn wrapped(head: &str, text: &str) -> String {
    let mut lines = head.to_owned();
    let mut column = head.len();
    for (index, word) in printable(text).split(' ').enumerate() {
        let width = word.chars().count();
        if index > 0 && column + 1 + width > WIDTH {
            lines.push('\n');
            lines.push_str(&" ".repeat(head.len()));
            column = head.len();
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += width;
    }
    lines.push('\n');
    lines
}

/// Takes terminal control out of a text that others wrote.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { visible(c) }).collect()
}

fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Hides secrets that people write into the text itself.
fn masked(line: &str) -> String {
    let secret = line
        .find("api_key")
        .and_then(|key| line[key..].find('=').map(|equals| key + equals + 1))
        .or_else(|| line.find("-----BEGIN"));
    match secret {
        Some(start) => {
            line[..start].to_owned() + &line[start..].replace(|c: char| !c.is_whitespace(), "*")
        }
        None => line.to_owned(),
    }
}

/// All mistakes of a fleet's text; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// In the order of files and lines.
    pub list: Vec<Problem>,
}

impl Problems {
    /// Returns what the user sees.
    pub fn render(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.render(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Says that something is wrong and was reported already, so that nobody reports it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reported;

/// Gathers problems.
#[derive(Debug, Default)]
pub(super) struct Report(RefCell<Vec<Problem>>);

impl Report {
    /// Takes a problem, unless it has it.
    pub(super) fn add(&self, problem: Problem) -> Reported {
        let mut list = self.0.borrow_mut();
        if !list.contains(&problem) {
            list.push(problem);
        }
        Reported
    }

    /// Returns how many problems there are.
    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Returns all problems in the order of files and lines, or nothing when there are none.
    pub(super) fn into_problems(self) -> Option<Problems> {
        let mut list = self.0.into_inner();
        list.sort_by(|a, b| {
            let key = |p: &Problem| (p.file.clone(), p.span.start, p.span.end);
            key(a).cmp(&key(b))
        });
        (!list.is_empty()).then_some(Problems { list })
    }
}

/// Returns the candidate that was probably meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &str| strsim::damerau_levenshtein(word, candidate);
    candidates
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(2) / 2).min(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Returns a hint that names what was probably meant, or else what there is.
pub(super) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(meant) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{meant}`?"));
    }
    let all: Vec<_> = candidates.into_iter().take(13).map(|name| format!("`{name}`")).collect();
    (!all.is_empty() && all.len() <= 12).then(|| format!("there is {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_window_of_a_long_line() {
        let line = format!("{}memroy = 1", "x".repeat(200));
        let (shown, before, width) = window(&line, 200, 6);
        assert!(shown.chars().count() <= EXCERPT);
        assert_eq!(&shown[before..before + width], "memroy");
    }

    #[test]
    fn hides_secrets_and_terminal_control() {
        assert!(!masked("  api_key = \"poison\"").contains("poison"));
        assert!(!masked("k = [\"-----BEGIN OPENSSH PRIVATE KEY-----\\nb3Bl\"]").contains("b3Bl"));
        assert!(!printable("a\u{1b}[31m").contains('\u{1b}'));
    }

    #[test]
    fn guesses_what_was_meant() {
        assert_eq!(nearest("memroy", ["memory", "metrics"]), Some("memory"));
        assert_eq!(nearest("colour", ["memory", "cpus"]), None);
    }
}
