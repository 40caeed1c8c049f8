//! Blocks of a file, held against the schema.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use hcl_edit::{
    Span,
    structure::{self, Attribute, Body, Structure},
};

use super::{
    problem::{Problem, Report, did_you_mean, nearest},
    schema::{Absent, Schema},
    source::{File, Source},
};

/// A block whose words are all known.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// The file it stands in.
    pub(super) source: &'a Source,
    /// What it may hold.
    pub(super) schema: &'static Schema,
    /// Its label; empty where its kind has none.
    pub(super) label: &'a str,
    /// Where its label stands, else its kind.
    pub(super) label_span: Range<usize>,
    /// Where its kind and label stand.
    pub(super) head: Range<usize>,
    /// Its known keys.
    pub(super) keys: BTreeMap<&'a str, &'a Attribute>,
    /// Keys that misspelt ones were meant to be, so that nobody reports them missing too.
    pub(super) meant: BTreeSet<&'static str>,
    /// The known blocks within it, in order.
    pub(super) blocks: Vec<Self>,
}

impl Block<'_> {
    /// Returns how people would call it: `vm "web"`.
    pub(super) fn title(&self) -> String {
        match self.schema.label {
            Some(_) => format!("{} \"{}\"", self.schema.kind, self.label),
            None => self.schema.kind.to_owned(),
        }
    }

    /// Returns where it stands, for another place's problem.
    pub(super) fn place(&self) -> String {
        self.source.place(self.head.start)
    }

    /// Makes a problem of its head.
    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
        self.source.problem(self.head.clone(), message)
    }

    /// Returns the blocks of a kind within it.
    pub(super) fn inner(&self, kind: &'static str) -> impl Iterator<Item = &Self> {
        self.blocks.iter().filter(move |block| block.schema.kind == kind)
    }
}

/// Reads blocks against the schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a, 'r> {
    file: &'a File,
    report: &'r Report,
}

impl<'a, 'r> Reader<'a, 'r> {
    /// Makes a reader of one file.
    pub(super) fn new(file: &'a File, report: &'r Report) -> Self {
        Self { file, report }
    }

    /// Returns the blocks of the file, reporting what does not belong there.
    pub(super) fn blocks(self, language: &'static Schema) -> Vec<Block<'a>> {
        let Some(body) = &self.file.body else { return Vec::new() };
        let mut blocks = Vec::new();
        for structure in body {
            match structure {
                Structure::Block(block) => blocks.extend(self.block(block, language, "")),
                Structure::Attribute(attribute) => {
                    let name = attribute.key.as_str();
                    let message = format!("`{name}` stands outside of a block");
                    let problem = self.problem(attribute.key.span(), message);
                    self.report.add(problem.hint("values with a name go into `locals { … }`"));
                }
            }
        }
        blocks
    }

    fn block(
        self,
        block: &'a structure::Block,
        outer: &'static Schema,
        outer_title: &str,
    ) -> Option<Block<'a>> {
        let kind = block.ident.as_str();
        let Some(schema) = outer.block(kind) else {
            self.unknown_block(block, outer, outer_title);
            return None;
        };
        let ident = block.ident.span().unwrap_or_default();
        let label_span = block.labels.first().and_then(Span::span);
        let end = block.labels.last().and_then(Span::span).map_or(ident.end, |span| span.end);
        let head = ident.start..end;
        if block.labels.len() != usize::from(schema.label.is_some()) {
            let message = match schema.label {
                Some(_) => format!("a block `{kind}` has one label"),
                None => format!("a block `{kind}` has no label"),
            };
            let hint = format!("write `{} {{ … }}`", schema.head());
            self.report.add(self.problem(Some(head), message).hint(hint));
            return None;
        }
        let mut read = Block {
            source: &self.file.source,
            schema,
            label: block.labels.first().map_or("", |label| label.as_str()),
            label_span: label_span.unwrap_or(ident),
            head,
            keys: BTreeMap::new(),
            meant: BTreeSet::new(),
            blocks: Vec::new(),
        };
        self.fill(&mut read, &block.body);
        Some(read)
    }

    fn fill(self, block: &mut Block<'a>, body: &'a Body) {
        let title = block.title();
        let mut misplaced = Vec::new();
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => {
                    if self.is_new_key(attribute, block) && self.is_known_key(attribute, block) {
                        block.keys.insert(attribute.key.as_str(), attribute);
                    }
                }
                Structure::Block(inner) => {
                    if block.schema.key(inner.ident.as_str()).is_some() {
                        misplaced.push(inner.ident.as_str());
                    }
                    block.blocks.extend(self.block(inner, block.schema, &title));
                }
            }
        }
        for key in block.schema.keys {
            let there = block.keys.contains_key(key.name)
                || block.meant.contains(key.name)
                || misplaced.contains(&key.name);
            if key.default == Absent::Required && !there {
                let problem = block.problem(format!("{title} has no `{}`", key.name));
                self.report.add(problem.hint(format!("it takes {}", key.holds)));
            }
        }
        self.check_repeated(&block.blocks, &title);
    }

    /// Reports a key that stands in the block already.
    fn is_new_key(self, attribute: &'a Attribute, block: &Block<'a>) -> bool {
        let span = attribute.key.span().unwrap_or_default();
        if !self.file.repeated.contains(&span.start) {
            return true;
        }
        let name = self.file.source.text.get(span.clone()).unwrap_or_default();
        let message = format!("`{name}` is given twice in {}", block.title());
        let mut problem = self.problem(Some(span), message);
        if let Some(first) = block.keys.get(name).and_then(|first| first.key.span()) {
            problem = problem.note(format!("first at {}", self.file.source.place(first.start)));
        }
        self.report.add(problem);
        false
    }

    fn is_known_key(self, attribute: &'a Attribute, block: &mut Block<'a>) -> bool {
        let schema = block.schema;
        let name = attribute.key.as_str();
        if schema.free || schema.key(name).is_some() {
            return true;
        }
        let title = block.title();
        let at = |message: String| self.problem(attribute.key.span(), message);
        if let Some(inner) = schema.block(name) {
            let problem = at(format!("`{name}` in {title} is a block"));
            self.report.add(problem.hint(format!("write `{} {{ … }}`", inner.head())));
        } else if schema.later.contains(&name) {
            self.report.add(at(format!("`{name}` in {title} is not supported yet")));
        } else {
            let problem = at(format!("unknown key `{name}` in {title}"));
            let keys = schema.keys.iter().map(|key| key.name);
            block.meant.extend(nearest(name, keys.clone()));
            let words = keys.chain(schema.blocks.iter().map(|block| block.kind));
            self.report.add(problem.maybe_hint(did_you_mean(name, words)));
        }
        false
    }

    fn unknown_block(self, block: &'a structure::Block, outer: &'static Schema, title: &str) {
        let kind = block.ident.as_str();
        let place = if title.is_empty() { String::new() } else { format!(" in {title}") };
        let at = |message: String| self.problem(block.ident.span(), message);
        if outer.later.contains(&kind) {
            self.report.add(at(format!("`{kind}`{place} is not supported yet")));
        } else if outer.key(kind).is_some() {
            let problem = at(format!("`{kind}`{place} is a key, not a block"));
            self.report.add(problem.hint(format!("write `{kind} = …`")));
        } else {
            let problem = at(format!("unknown block `{kind}`{place}"));
            let kinds = outer.blocks.iter().map(|block| block.kind);
            let hint = match nearest(kind, kinds.clone()) {
                Some(meant) => Some(format!("did you mean `{meant}`?")),
                None => did_you_mean(kind, kinds),
            };
            self.report.add(problem.maybe_hint(hint));
        }
    }

    /// Reports blocks that stand twice within another.
    fn check_repeated(self, blocks: &[Block<'a>], title: &str) {
        let mut seen: BTreeMap<(&str, &str), &Block<'a>> = BTreeMap::new();
        for block in blocks {
            // The same network and the same zone are judged where they are decoded.
            let free = block.schema.many && block.schema.label.is_none_or(|of| of == "NETWORK");
            if free {
                continue;
            }
            if let Some(first) = seen.insert((block.schema.kind, block.label), block) {
                let message = format!("{} stands twice in {title}", block.title());
                let note = format!("first at {}", first.place());
                self.report.add(block.problem(message).note(note));
            }
        }
    }

    fn problem(self, span: Option<Range<usize>>, message: String) -> Problem {
        self.file.source.problem(span.unwrap_or_default(), message)
    }
}
