//! The files of a fleet, and places in them.

use std::{collections::BTreeSet, fs, ops::Range, path::Path};

use hcl_edit::{Span, parser, structure::Body};

use super::problem::{Problem, Report};

/// A text with a name.
#[derive(Debug)]
pub(super) struct Source {
    /// The file, as seen from the fleet's directory.
    pub(super) name: String,
    /// What it holds.
    pub(super) text: String,
    /// Where it holds secrets, whose lines are not shown.
    secrets: Vec<Range<usize>>,
}

impl Source {
    /// Gives a text its name.
    pub(super) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), secrets: Vec::new() }
    }

    /// Makes a problem of these bytes.
    pub(super) fn problem(&self, span: Range<usize>, message: impl Into<String>) -> Problem {
        let start = self.boundary(span.start);
        let end = self.boundary(span.end).max(start);
        let from = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let to = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let width = self.text[start..end.min(to).max(start)].trim_end().chars().count();
        // The first line of a secret has its key too, and is masked.
        let shown = !self.secrets.iter().any(|s| s.start < from && from < s.end);
        Problem {
            file: self.name.clone(),
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[from..start].chars().count() + 1,
            span: start..end,
            excerpt: shown.then(|| (self.text[from..to].to_owned(), width.max(1))),
            ..Problem::nowhere(message)
        }
    }

    /// Returns `file:line:column` of a byte.
    pub(super) fn place(&self, at: usize) -> String {
        let problem = self.problem(at..at, "");
        format!("{}:{}:{}", problem.file, problem.line, problem.column)
    }

    fn boundary(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        (0..=at).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
    }
}

/// One `*.hcl` file.
#[derive(Debug)]
pub(super) struct File {
    /// Its text.
    pub(super) source: Source,
    /// What it says; `None` when it cannot be read.
    pub(super) body: Option<Body>,
    /// Where keys begin that stand twice in their block; the parser saw other names there.
    pub(super) repeated: BTreeSet<usize>,
}

impl File {
    fn read(path: &Path, report: &Report) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| {
                format!("it is not UTF-8 from byte {} on", error.utf8_error().valid_up_to())
            }),
            Err(error) => Err(error.to_string()),
        };
        match text {
            Ok(text) => Self::parse(Source::new(name, text), report),
            Err(why) => {
                report.add(Problem::nowhere(format!("cannot read {}: {why}", path.display())));
                let source = Source::new(name, "");
                Self { source, body: None, repeated: BTreeSet::new() }
            }
        }
    }

    /// Parses a text. The parser gives up at a key that stands twice in a block, so such keys are
    /// given other names of the same length until it does not.
    fn parse(mut source: Source, report: &Report) -> Self {
        let mut text = source.text.clone();
        let mut repeated = BTreeSet::new();
        loop {
            let error = match parser::parse_body(&text) {
                Ok(body) => {
                    source.secrets = secrets(&body);
                    return Self { source, body: Some(body), repeated };
                }
                Err(error) => error,
            };
            let at = error.location().offset();
            if error.message().contains("redefined attribute")
                && repeated.insert(at)
                && let Some(renamed) = rename_key(&text, at)
            {
                text = renamed;
                continue;
            }
            let problem = source.problem(at..at, error.message());
            report.add(if is_secret(&source.text, at) { problem.sealed() } else { problem });
            return Self { source, body: None, repeated };
        }
    }
}

/// Returns where a file holds secrets.
fn secrets(body: &Body) -> Vec<Range<usize>> {
    let blocks = body.blocks().flat_map(|block| block.body.attributes());
    let keys = blocks.filter(|attribute| attribute.key.as_str() == "api_key");
    keys.filter_map(|attribute| attribute.value.span()).collect()
}

/// Says whether a place of a file that cannot be parsed may be within a secret of several lines.
fn is_secret(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.rfind("api_key").is_some_and(|key| before[key..].contains("<<"))
}

/// Returns the text with the key at this place renamed, so that it is not repeated any more.
fn rename_key(text: &str, at: usize) -> Option<String> {
    let key = text.get(at..)?.split(|c: char| !(c.is_alphanumeric() || "_-".contains(c))).next()?;
    let (last, _) = key.char_indices().last()?;
    if key.len() != last + 1 {
        return None;
    }
    ('a'..='z').find_map(|letter| {
        let mut renamed = text.to_owned();
        renamed.replace_range(at + last..at + key.len(), letter.encode_utf8(&mut [0; 4]));
        let again =
            parser::parse_body(&renamed).is_err_and(|error| error.location().offset() == at);
        (!again).then_some(renamed)
    })
}

/// Reads all `*.hcl` files of a directory, in the order of their names.
pub(super) fn read_directory(directory: &Path, report: &Report) -> Vec<File> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            let directory = directory.display();
            report.add(Problem::nowhere(format!("cannot read {directory}: {error}")));
            return Vec::new();
        }
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
            path.extension().is_some_and(|extension| extension == "hcl") && !hidden
        })
        .collect();
    paths.sort();
    if paths.is_empty() {
        let directory = directory.display();
        let problem = Problem::nowhere(format!("there is no fleet in {directory}: no file *.hcl"));
        report.add(problem.hint("`freehold init` begins one"));
    }
    paths.iter().map(|path| File::read(path, report)).collect()
}
