//! Everything an expression can see: names, variables, locals, files, the environment.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
    rc::Rc,
};

use hcl_edit::{
    Span,
    expr::{Expression, ObjectKey},
    structure::Attribute,
};

use super::{
    Inputs,
    block::Block,
    evaluate::Scope,
    problem::{Problem, Report, Reported, did_you_mean},
    source::{File, Source},
    value::{Reference, Text, Value},
};
use crate::model::Digest;

/// Everything an expression can see.
pub(super) struct World<'a> {
    pub(super) report: &'a Report,
    pub(super) directory: &'a Path,
    pub(super) inputs: &'a Inputs,
    /// Whether every file could be read; else a name that is missing may stand in one that was not.
    pub(super) complete: bool,
    /// How deep templates call templates.
    pub(super) depth: Cell<usize>,
    /// Labels by kind, and whether their block has a `count`.
    names: BTreeMap<&'static str, BTreeMap<&'a str, bool>>,
    variables: BTreeMap<&'a str, &'a Block<'a>>,
    locals: BTreeMap<&'a str, (&'a Source, &'a Attribute)>,
    settled: RefCell<BTreeMap<String, Result<Value, Reported>>>,
    /// What is being evaluated, to see a name that depends on itself.
    pending: RefCell<Vec<String>>,
    files: RefCell<BTreeMap<PathBuf, Result<Rc<Source>, String>>>,
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Kinds of blocks that others refer to.
pub(super) const REFERABLE: [&str; 7] =
    ["host", "network", "image", "vm", "dns", "zone", "prometheus"];

/// How many locals may stand in one another, and templates call one another.
const DEPTH: usize = 50;

impl<'a> World<'a> {
    /// Looks over the blocks of all files.
    pub(super) fn new(
        report: &'a Report,
        directory: &'a Path,
        inputs: &'a Inputs,
        blocks: &'a [Block<'a>],
        complete: bool,
    ) -> Self {
        let mut world = Self {
            report,
            directory,
            inputs,
            complete,
            depth: Cell::new(0),
            names: REFERABLE.iter().map(|kind| (*kind, BTreeMap::new())).collect(),
            variables: BTreeMap::new(),
            locals: BTreeMap::new(),
            settled: RefCell::default(),
            pending: RefCell::default(),
            files: RefCell::default(),
        };
        for block in blocks {
            match block.schema.kind {
                "variable" => {
                    world.variables.insert(block.label, block);
                }
                "locals" => world.add_locals(block),
                kind => {
                    if let Some(names) = world.names.get_mut(kind) {
                        names.insert(block.label, block.keys.contains_key("count"));
                    }
                }
            }
        }
        world
    }

    fn add_locals(&mut self, block: &'a Block<'a>) {
        for (name, attribute) in &block.keys {
            let Some((source, first)) = self.locals.insert(name, (block.source, attribute)) else {
                continue;
            };
            let span = attribute.key.span().unwrap_or_default();
            let problem = block.source.problem(span, format!("local `{name}` is given twice"));
            let first = source.place(first.key.span().unwrap_or_default().start);
            self.report.add(problem.note(format!("first at {first}")));
        }
    }

    /// Evaluates what nothing may have asked for, so that its mistakes show too.
    pub(super) fn settle_all(&self) {
        for name in self.locals.keys() {
            self.local(name).ok();
        }
        for name in self.variables.keys() {
            self.variable(name).ok();
        }
        for name in self.inputs.variables.keys() {
            if self.complete && !self.variables.contains_key(name.as_str()) {
                let message = format!("`--var {name}=…`: the fleet has no variable `{name}`");
                let names = self.variables.keys().copied();
                self.report.add(Problem::nowhere(message).maybe_hint(did_you_mean(name, names)));
            }
        }
    }

    /// Returns the value of `var.NAME` or `local.NAME`.
    pub(super) fn named(
        &self,
        source: &Source,
        span: &Range<usize>,
        root: &'static str,
        name: &str,
    ) -> Result<Value, Reported> {
        let known = match root {
            "var" => self.variables.contains_key(name),
            _ => self.locals.contains_key(name),
        };
        if !known {
            let message = format!("`{root}.{name}` is not declared");
            let hint = match root {
                "var" => did_you_mean(name, self.variables.keys().copied()),
                _ => did_you_mean(name, self.locals.keys().copied()),
            };
            return Err(self.missing(source.problem(span.clone(), message).maybe_hint(hint)));
        }
        let whole = format!("{root}.{name}");
        let pending = self.pending.borrow().clone();
        let begin = pending.iter().position(|other| *other == whole);
        if begin.is_some() || pending.len() > DEPTH {
            let message = match begin {
                Some(begin) => {
                    let path = pending[begin..].join("` and `");
                    format!("`{whole}` depends on itself, by way of `{path}`")
                }
                None => format!("`{whole}` stands in more than {DEPTH} others"),
            };
            return Err(self.report.add(source.problem(span.clone(), message)));
        }
        if root == "var" { self.variable(name) } else { self.local(name) }
    }

    /// Reports that a name is missing, unless it may stand in a file that could not be read.
    pub(super) fn missing(&self, problem: Problem) -> Reported {
        if self.complete { self.report.add(problem) } else { Reported }
    }

    fn local(&self, name: &str) -> Result<Value, Reported> {
        let Some((source, attribute)) = self.locals.get(name) else { return Err(Reported) };
        self.settle(format!("local.{name}"), || {
            Scope::new(self, source, None).evaluate(&attribute.value)
        })
    }

    fn variable(&self, name: &str) -> Result<Value, Reported> {
        let Some(block) = self.variables.get(name) else { return Err(Reported) };
        self.settle(format!("var.{name}"), || self.variable_of(block, name))
    }

    /// Evaluates what has a name once.
    fn settle(
        &self,
        name: String,
        evaluate: impl FnOnce() -> Result<Value, Reported>,
    ) -> Result<Value, Reported> {
        if let Some(settled) = self.settled.borrow().get(&name) {
            return settled.clone();
        }
        self.pending.borrow_mut().push(name.clone());
        let value = evaluate();
        self.pending.borrow_mut().pop();
        self.settled.borrow_mut().insert(name, value.clone());
        value
    }

    fn variable_of(&self, block: &Block<'_>, name: &str) -> Result<Value, Reported> {
        let scope = Scope::new(self, block.source, None);
        let evaluate = |attribute: &&Attribute| scope.evaluate(&attribute.value);
        let description = block.keys.get("description").map(evaluate).transpose()?;
        let default = block.keys.get("default").map(evaluate).transpose()?;
        let environment = || (self.inputs.environment)(&format!("FREEHOLD_VAR_{name}"));
        let Some(given) = self.inputs.variables.get(name).cloned().or_else(environment) else {
            return default.ok_or_else(|| {
                let about = match description {
                    Some(Value::Text(text)) if !text.outside => format!(" ({})", text.text),
                    _ => String::new(),
                };
                let message = format!("variable \"{name}\" has no value{about}");
                let hint = format!("give `--var {name}=…`, FREEHOLD_VAR_{name}, or a `default`");
                self.report.add(block.problem(message).hint(hint))
            });
        };
        match default {
            None | Some(Value::Null | Value::Text(_)) => Ok(Value::outside(given)),
            Some(default) => {
                let value = given.parse().ok().and_then(|expression| literal(&expression));
                let alike = |value: &Value| {
                    std::mem::discriminant(value) == std::mem::discriminant(&default)
                };
                value.filter(alike).ok_or_else(|| {
                    let what = default.what();
                    let message = format!("variable \"{name}\" must be {what}, as its default is");
                    self.report.add(block.problem(message))
                })
            }
        }
    }

    /// Returns the reference to a block, if it is declared.
    pub(super) fn reference(
        &self,
        source: &Source,
        span: Range<usize>,
        kind: &'static str,
        name: &str,
        index: Option<u64>,
    ) -> Result<Value, Reported> {
        let names = &self.names[kind];
        let add = |message: String, hint: String| {
            self.report.add(source.problem(span.clone(), message).hint(hint))
        };
        let refer = |name: String| Ok(Value::Reference(Reference { kind, name }));
        match (names.get(name), index) {
            (Some(true), Some(index)) => refer(format!("{name}-{index}")),
            (Some(true), None) if kind == "vm" => {
                let message = format!("vm \"{name}\" has a `count`, so `vm.{name}` is several");
                Err(add(message, format!("write `vm.{name}[0]` for the first")))
            }
            (Some(_), Some(_)) => {
                let message = format!("{kind} \"{name}\" is one, it takes no index");
                Err(add(message, format!("write `{kind}.{name}`")))
            }
            (Some(_), None) => refer(name.to_owned()),
            (None, None) if kind == "vm" && self.is_counted(name) => refer(name.to_owned()),
            (None, _) => {
                let message = format!("{kind} \"{name}\" is not declared");
                let hint = did_you_mean(name, names.keys().copied());
                Err(self.missing(source.problem(span, message).maybe_hint(hint)))
            }
        }
    }

    /// Says whether a name is that of one VM of a `count`.
    fn is_counted(&self, name: &str) -> bool {
        name.rsplit_once('-').is_some_and(|(block, index)| {
            index.parse::<usize>().is_ok_and(|number| number.to_string() == index)
                && self.names["vm"].get(block) == Some(&true)
        })
    }

    /// Returns references that a bare name may stand for.
    pub(super) fn meant_by(&self, name: &str) -> Option<String> {
        let kind = REFERABLE.iter().find(|kind| self.names[*kind].contains_key(name));
        kind.map(|kind| format!("{kind}.{name}"))
            .or_else(|| self.locals.contains_key(name).then(|| format!("local.{name}")))
            .or_else(|| self.variables.contains_key(name).then(|| format!("var.{name}")))
    }

    /// Returns the digest of the fleet's files, of those they read and of given variables.
    pub(super) fn digest(&self, files: &[File]) -> Digest {
        let own = files.iter().map(|file| (file.source.name.clone(), file.source.text.clone()));
        let read = self.files.borrow();
        let read = read.iter().filter_map(|(path, source)| {
            let path = path.strip_prefix(self.directory).unwrap_or(path);
            Some((path.display().to_string(), source.as_ref().ok()?.text.clone()))
        });
        let given = self.inputs.variables.clone().into_iter();
        let parts: Vec<(String, String)> = own.chain(read).chain(given).collect();
        Digest::of(parts.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]))
    }

    /// Returns a file's text; each file is read once.
    pub(super) fn file(&self, path: &Text) -> Result<Rc<Source>, String> {
        let whole = self.directory.join(&path.text);
        let path = if path.outside { "the file" } else { path.text.as_str() };
        if let Some(known) = self.files.borrow().get(&whole) {
            return known.clone();
        }
        let read = fs::read(&whole).map_err(|error| format!("cannot read {path}: {error}"));
        let text = read.and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| format!("cannot read {path}: it is not UTF-8"))
        });
        let source = text.map(|text| Rc::new(Source::new(path, text)));
        self.files.borrow_mut().insert(whole, source.clone());
        source
    }
}

/// Returns the value of an expression that is written out whole. Its texts come from outside.
fn literal(expression: &Expression) -> Option<Value> {
    Some(match expression {
        Expression::Null(_) => Value::Null,
        Expression::Bool(value) => Value::Bool(*value.value()),
        Expression::Number(number) => Value::Number(*number.value()),
        Expression::String(text) => Value::outside(text.value()),
        Expression::Array(array) => Value::List(array.iter().map(literal).collect::<Option<_>>()?),
        Expression::Object(object) => {
            let pair = |(key, value): (&ObjectKey, &hcl_edit::expr::ObjectValue)| {
                let key = match key {
                    ObjectKey::Ident(ident) => ident.as_str().to_owned(),
                    ObjectKey::Expression(Expression::String(text)) => text.value().clone(),
                    ObjectKey::Expression(_) => return None,
                };
                Some((key, literal(value.expr())?))
            };
            Value::Object(object.iter().map(pair).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
