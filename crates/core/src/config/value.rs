//! What expressions come to.

use std::collections::BTreeMap;

use hcl_edit::Number;

/// What an expression comes to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(Text),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
    Reference(Reference),
}

/// A text, and whether anything of it comes from outside the fleet's own text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Text {
    pub(super) text: String,
    /// From the environment, the command line or another file: may be secret, so no problem
    /// shows it.
    pub(super) outside: bool,
}

/// A block named by `host.rack1`, `vm.web[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// The kind of block.
    pub(super) kind: &'static str,
    /// Its label, or for a VM its whole name.
    pub(super) name: String,
}

impl Value {
    /// Returns a text of the fleet's own.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(Text { text: text.into(), outside: false })
    }

    /// Returns a text from elsewhere.
    pub(super) fn outside(text: impl Into<String>) -> Self {
        Self::Text(Text { text: text.into(), outside: true })
    }

    /// Returns the kind of value in words.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(_) => "true or false".to_owned(),
            Self::Number(_) => "a number".to_owned(),
            Self::Text(_) => "a text".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Object(_) => "an object".to_owned(),
            Self::Reference(reference) => format!("`{}.{}`", reference.kind, reference.name),
        }
    }

    /// Returns the value as part of a text, if it can be one.
    pub(super) fn in_text(&self) -> Option<Text> {
        let text = match self {
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => return Some(text.clone()),
            _ => return None,
        };
        Some(Text { text, outside: false })
    }
}

impl Text {
    /// Appends another text.
    pub(super) fn push(&mut self, other: &Self) {
        self.text.push_str(&other.text);
        self.outside |= other.outside;
    }
}
