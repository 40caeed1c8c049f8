//! From the text of a fleet to the wanted [`Fleet`](crate::model::Fleet), or to every mistake in it at once. Knows files
//! and the words of the language; knows no host, no state and no terminal.

mod block;
mod check;
mod decode;
mod evaluate;
mod fields;
mod functions;
mod insert;
mod interpolate;
mod load;
mod operation;
mod problem;
mod reference;
mod schema;
mod source;
mod template;
mod traversal;
mod value;
mod world;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub use decode::{absolute_path, time};
pub use insert::{Inserted, with_host};
pub use load::load;
pub use problem::{Problem, Problems, nearest};
pub use reference::reference;
pub use template::starter;

/// Answers with the value of an environment variable, if it is set.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What a fleet's text can ask for from outside.
#[derive(Clone)]
pub struct Inputs {
    /// Given by `--var NAME=VALUE`.
    pub variables: BTreeMap<String, String>,
    /// What `env("NAME")` and `FREEHOLD_VAR_NAME` are.
    pub environment: Environment,
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        let names = self.variables.keys();
        f.debug_struct("Inputs").field("variables", &names).finish_non_exhaustive()
    }
}
