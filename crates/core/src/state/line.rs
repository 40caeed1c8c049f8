//! One line of the journal, and the checksum it begins with.
//!
//! A line is JSON whose first key is a sum over the rest of it and the line before: a flipped bit,
//! an edit, a line that is missing or stands twice are all seen.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Outcome, fact::FactWire};
use crate::model::hex_of;

/// The format of journals written today; lines of format 1 have no sum.
pub(super) const JOURNAL_FORMAT: u32 = 2;

const HEAD: &str = "{\"sum\":\"";
/// How many digits of a SHA-256 a line carries.
const DIGITS: usize = 16;

/// What a line says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "lowercase")]
pub(super) enum Line {
    Begin { format: u32, lineage: Uuid, serial: u64 },
    Intent { step: usize, what: String, claims: Vec<FactWire>, settles: Vec<FactWire> },
    Outcome { step: usize, how: Outcome },
}

impl Line {
    /// Returns the line without its sum.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("journal lines are plain JSON")
    }

    /// Reads a line that has no sum.
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// The sums of one journal: each takes the one before in.
#[derive(Debug, Default)]
pub(super) struct Chain(String);

impl Chain {
    /// Returns the line as it stands in the file, its end included.
    pub(super) fn seal(&mut self, text: &str) -> String {
        let body = &text[1..];
        self.0 = self.sum(body);
        format!("{HEAD}{}\",{body}\n", self.0)
    }

    /// Says whether a line claims to have a sum.
    pub(super) fn is_sealed(text: &str) -> bool {
        text.starts_with(HEAD)
    }

    /// Reads a line of the file; the error says what is wrong with it.
    pub(super) fn open(&mut self, text: &str) -> Result<Line, String> {
        let sealed = text.strip_prefix(HEAD).and_then(|rest| rest.split_at_checked(DIGITS));
        let sealed = sealed.and_then(|(sum, rest)| Some((sum, rest.strip_prefix("\",")?)));
        let (sum, body) = sealed.ok_or("it has no checksum")?;
        if sum != self.sum(body) {
            return Err("its checksum does not match".into());
        }
        let line = Line::parse(&format!("{{{body}")).map_err(|error| error.to_string())?;
        sum.clone_into(&mut self.0);
        Ok(line)
    }

    fn sum(&self, body: &str) -> String {
        let digest = Sha256::new().chain_update(&self.0).chain_update(body).finalize();
        hex_of(&digest)[..DIGITS].to_owned()
    }
}
