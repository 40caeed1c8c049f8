//! Reads a block's keys as values of the model's types.

use std::{collections::BTreeMap, fmt::Display, ops::Range, ops::RangeInclusive, str::FromStr};

use hcl_edit::{Span, expr::Expression};

use super::{
    block::Block,
    evaluate::Scope,
    problem::{Problem, Reported, did_you_mean},
    schema::Absent,
    value::{Reference, Text, Value},
};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// What a key holds: nothing when it is not given, an error when that was reported.
pub(super) type Field<T> = Result<Option<T>, Reported>;

/// Returns what a required key holds; that it is missing was reported.
pub(super) fn required<T>(field: Field<T>) -> Result<T, Reported> {
    field.and_then(|value| value.ok_or(Reported))
}

/// A block's keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) block: &'a Block<'a>,
    pub(super) scope: Scope<'a>,
}

impl<'a> Fields<'a> {
    /// Returns the keys of a block within this one.
    pub(super) fn within(self, block: &'a Block<'a>) -> Self {
        Self { block, ..self }
    }

    /// Makes a problem of a place in the block.
    pub(super) fn problem(self, span: &Range<usize>, message: impl Into<String>) -> Problem {
        self.block.source.problem(span.clone(), message)
    }

    /// Takes a problem.
    pub(super) fn add(self, problem: Problem) -> Reported {
        self.scope.world.report.add(problem)
    }

    /// Reports a problem of a place in the block.
    pub(super) fn fail(self, span: &Range<usize>, message: impl Into<String>) -> Reported {
        self.add(self.problem(span, message))
    }

    /// Reads the block's label as a name.
    pub(super) fn label<T: FromStr<Err: Display>>(self) -> Result<T, Reported> {
        let parsed = self.block.label.parse();
        parsed.map_err(|error: T::Err| self.fail(&self.block.label_span, error.to_string()))
    }

    /// Returns where a key stands, else the head of the block.
    pub(super) fn key_span(self, key: &str) -> Range<usize> {
        let attribute = self.block.keys.get(key);
        attribute.and_then(|a| a.key.span()).unwrap_or_else(|| self.block.head.clone())
    }

    /// Says whether a key is given, be its value good or bad.
    pub(super) fn has(self, key: &str) -> bool {
        self.block.keys.contains_key(key)
    }

    /// Says whether one of these keys was misspelt, so that it is not missing.
    pub(super) fn meant(self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.block.meant.contains(key))
    }

    /// Reads whatever a key holds.
    pub(super) fn value(self, key: &str) -> Field<Given<Value>> {
        let Some(attribute) = self.block.keys.get(key) else { return Ok(None) };
        let value = self.scope.evaluate(&attribute.value)?;
        let span = attribute.value.span().unwrap_or_default();
        if value != Value::Null {
            return Ok(Some(Given { value, span }));
        }
        match self.block.schema.key(key) {
            Some(known) if known.default == Absent::Required => {
                let title = self.block.title();
                Err(self.fail(&span, format!("`{key}` in {title} must not be null")))
            }
            _ => Ok(None),
        }
    }

    /// Reports that a value is of the wrong kind.
    pub(super) fn wrong(
        self,
        key: &str,
        span: &Range<usize>,
        want: &str,
        have: &Value,
    ) -> Reported {
        let message = format!("`{key}` must be {want}, this is {}", have.what());
        let holds = self.block.schema.key(key).map(|key| format!("it takes {}", key.holds));
        self.add(self.problem(span, message).maybe_hint(holds))
    }

    /// Reports that a text is not valid; shows why unless the text comes from outside.
    pub(super) fn invalid(
        self,
        key: &str,
        span: &Range<usize>,
        text: &Text,
        why: impl Display,
    ) -> Reported {
        if !text.outside {
            return self.fail(span, why.to_string());
        }
        let message = format!("the value of `{key}` is not valid; not shown as it is from outside");
        let holds = self.block.schema.key(key).map(|key| format!("it takes {}", key.holds));
        self.add(self.problem(span, message).maybe_hint(holds))
    }

    /// Reads a text.
    pub(super) fn text(self, key: &str) -> Field<Given<Text>> {
        let Some(Given { value, span }) = self.value(key)? else { return Ok(None) };
        match value {
            Value::Text(value) => Ok(Some(Given { value, span })),
            other => Err(self.wrong(key, &span, "a text", &other)),
        }
    }

    /// Reads a text that is something's written form.
    pub(super) fn parsed<T: FromStr<Err: Display>>(self, key: &str) -> Field<Given<T>> {
        self.parsed_by(key, str::parse)
    }

    /// Reads a text by a parser.
    pub(super) fn parsed_by<T, E: Display>(
        self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Field<Given<T>> {
        let Some(Given { value: text, span }) = self.text(key)? else { return Ok(None) };
        match parse(&text.text) {
            Ok(value) => Ok(Some(Given { value, span })),
            Err(why) => Err(self.invalid(key, &span, &text, why)),
        }
    }

    /// Reads one of a few words; `later` are words of a later version.
    pub(super) fn word<T: Copy>(
        self,
        key: &str,
        words: &[(&str, T)],
        later: &[&str],
    ) -> Field<Given<T>> {
        let Some(Given { value: text, span }) = self.text(key)? else { return Ok(None) };
        let word = text.text.as_str();
        if let Some((_, value)) = words.iter().find(|(known, _)| *known == word) {
            return Ok(Some(Given { value: *value, span }));
        }
        if later.contains(&word) {
            return Err(self.fail(&span, format!("`{key} = \"{word}\"` is not supported yet")));
        }
        if text.outside {
            return Err(self.invalid(key, &span, &text, ""));
        }
        let problem = self.problem(&span, format!("`{key}` cannot be \"{word}\""));
        let hint = did_you_mean(word, words.iter().map(|(known, _)| *known));
        Err(self.add(problem.maybe_hint(hint)))
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(self, key: &str) -> Field<bool> {
        let Some(Given { value, span }) = self.value(key)? else { return Ok(None) };
        match value {
            Value::Bool(value) => Ok(Some(value)),
            Value::Text(Text { text, outside: true }) if text == "true" => Ok(Some(true)),
            Value::Text(Text { text, outside: true }) if text == "false" => Ok(Some(false)),
            other => Err(self.wrong(key, &span, "true or false", &other)),
        }
    }

    /// Reads a whole number within bounds.
    pub(super) fn whole(self, key: &str, bounds: RangeInclusive<u64>) -> Field<u64> {
        let Some(Given { value, span }) = self.value(key)? else { return Ok(None) };
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            // What is given from outside is text, whatever it means.
            Value::Text(Text { text, outside: true }) => text.parse().ok(),
            other => return Err(self.wrong(key, &span, "a number", other)),
        };
        let within = number.filter(|number| bounds.contains(number));
        within.map(Some).ok_or_else(|| {
            let (first, last) = (bounds.start(), bounds.end());
            self.fail(&span, format!("`{key}` must be a whole number from {first} to {last}"))
        })
    }

    /// Reads a list; a single value counts as a list of one when `one` says so.
    pub(super) fn list(self, key: &str, one: One) -> Field<Vec<Given<Value>>> {
        let Some(attribute) = self.block.keys.get(key) else { return Ok(None) };
        // A list that is written out has a place for each element.
        if let Expression::Array(array) = &attribute.value {
            let element = |expression: &Expression| {
                let span = expression.span().unwrap_or_default();
                self.scope.evaluate(expression).map(|value| Given { value, span })
            };
            let elements: Vec<_> = array.iter().map(element).collect();
            return elements.into_iter().collect::<Result<_, _>>().map(Some);
        }
        let Some(Given { value, span }) = self.value(key)? else { return Ok(None) };
        match value {
            Value::List(list) => {
                let given = |value| Given { value, span: span.clone() };
                Ok(Some(list.into_iter().map(given).collect()))
            }
            value if one == One::CountsAsList => Ok(Some(vec![Given { value, span }])),
            other => Err(self.wrong(key, &span, "a list", &other)),
        }
    }

    /// Reads a list of texts, each by a parser.
    pub(super) fn texts<T, E: Display>(
        self,
        key: &str,
        one: One,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Field<Vec<Given<T>>> {
        let Some(list) = self.list(key, one)? else { return Ok(None) };
        let element = |Given { value, span }: Given<Value>| match value {
            Value::Text(text) => match parse(&text.text) {
                Ok(value) => Ok(Given { value, span }),
                Err(why) => Err(self.invalid(key, &span, &text, why)),
            },
            other => Err(self.wrong(key, &span, "a list of texts", &other)),
        };
        let parsed: Vec<_> = list.into_iter().map(element).collect();
        parsed.into_iter().collect::<Result<_, _>>().map(Some)
    }

    /// Reads an object of labels.
    pub(super) fn labels(self, key: &str) -> Result<BTreeMap<String, String>, Reported> {
        let Some(Given { value, span }) = self.value(key)? else { return Ok(BTreeMap::new()) };
        let Value::Object(object) = value else {
            return Err(self.wrong(key, &span, "an object of texts", &value));
        };
        let mut labels = BTreeMap::new();
        for (name, value) in object {
            let mut characters = name.chars();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let begin = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            if !begin || !characters.all(plain) || name.starts_with("__") {
                let problem = self.problem(&span, format!("`{name}` cannot be a label"));
                let hint = "a label's name has letters, digits and underscores, and begins with a \
                            letter";
                return Err(self.add(problem.hint(hint)));
            }
            let Some(text) = value.in_text() else {
                return Err(self.wrong(key, &span, "an object of texts", &value));
            };
            labels.insert(name, text.text);
        }
        Ok(labels)
    }

    /// Takes a value that refers to a block of one of these kinds.
    pub(super) fn refers(
        self,
        key: &str,
        kinds: &[&str],
        given: Given<Value>,
    ) -> Result<Given<Reference>, Reported> {
        let Given { value, span } = given;
        let form = kinds.iter().map(|kind| format!("`{kind}.NAME`")).collect::<Vec<_>>();
        let want = format!("a reference like {}", form.join(" or "));
        match value {
            Value::Reference(value) if kinds.contains(&value.kind) => Ok(Given { value, span }),
            Value::Text(Text { text, outside: false }) => {
                let message = format!("`{key}` must be {want}, this is a text");
                let hint = format!("write `{}.{text}`, without quotes", kinds[0]);
                Err(self.add(self.problem(&span, message).hint(hint)))
            }
            other => Err(self.wrong(key, &span, &want, &other)),
        }
    }

    /// Reads a reference to a block of one of these kinds.
    pub(super) fn reference(self, key: &str, kinds: &[&str]) -> Field<Given<Reference>> {
        match self.value(key)? {
            Some(given) => self.refers(key, kinds, given).map(Some),
            None => Ok(None),
        }
    }

    /// Reads a reference and parses the name in it.
    pub(super) fn named<T: FromStr>(self, key: &str, kind: &str) -> Field<T> {
        let Some(Given { value, .. }) = self.reference(key, &[kind])? else { return Ok(None) };
        // A label that is no name was reported at its block.
        value.name.parse().map(Some).map_err(|_| Reported)
    }
}

/// Whether a single value counts as a list of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum One {
    CountsAsList,
    IsWrong,
}
