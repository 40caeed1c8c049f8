//! `state`.

use super::host::absolute_path;
use crate::{
    config::{
        fields::{Fields, required},
        problem::{Reported, did_you_mean},
    },
    model::{HostName, Secret, StateStore},
};

/// The kinds of stores, and which keys are about each.
const KINDS: [(&str, &[&str]); 2] = [("ssh", &["host", "copy", "path"]), ("postgres", &["url"])];

/// Reads where the state is kept.
pub(in crate::config) fn state_store(fields: Fields<'_>) -> Result<StateStore, Reported> {
    let label = fields.block.label;
    let Some((kind, keys)) = KINDS.iter().find(|(kind, _)| *kind == label) else {
        let message = format!("the state cannot be kept in \"{label}\"");
        let hint = did_you_mean(label, KINDS.iter().map(|(kind, _)| *kind));
        let problem = fields.problem(&fields.block.label_span, message);
        return Err(fields.add(problem.maybe_hint(hint)));
    };
    let others = KINDS.iter().flat_map(|(_, keys)| *keys).filter(|key| !keys.contains(key));
    let mut strange: Vec<Reported> = Vec::new();
    for key in others.filter(|key| fields.has(key)) {
        let problem = fields
            .problem(&fields.key_span(key), format!("`{key}` is not about a state in \"{kind}\""));
        let list = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        strange.push(fields.add(problem.hint(format!("it takes {list}"))));
    }
    let store = if *kind == "ssh" { on_a_host(fields) } else { in_a_database(fields) };
    strange.pop().map_or(store, Err)
}

fn on_a_host(fields: Fields<'_>) -> Result<StateStore, Reported> {
    let host = needed(fields, "host", "host.rack1")
        .and_then(|()| required(fields.named::<HostName>("host", "host")));
    let copy = fields.named::<HostName>("copy", "host");
    let path = fields.parsed_by("path", absolute_path)?.map(|given| given.value);
    let (host, copy) = (host?, copy?);
    if copy.as_ref() == Some(&host) {
        let span = fields.key_span("copy");
        let problem = fields.problem(&span, format!("`copy` is host \"{host}\", as `host` is"));
        let hint = "name another host: the copy is for the day this one is lost";
        return Err(fields.add(problem.hint(hint)));
    }
    Ok(StateStore::Ssh { host, copy, path })
}

fn in_a_database(fields: Fields<'_>) -> Result<StateStore, Reported> {
    needed(fields, "url", "env(\"FREEHOLD_STATE_URL\")")?;
    let given = required(fields.text("url"))?;
    let url = given.value.text;
    let fine = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    if !fine || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        // It may hold a password, so it is not shown.
        let problem = fields.problem(&given.span, "`url` is no URL of a PostgreSQL database");
        let hint = "write it as postgres://USER:PASSWORD@HOST/DATABASE; a URL read from a file \
                    ends with its line: `trimspace(file(…))`";
        return Err(fields.add(problem.hint(hint).sealed()));
    }
    Ok(StateStore::Postgres { url: Secret::new(url) })
}

/// Reports that a key is missing, unless it was misspelt.
fn needed(fields: Fields<'_>, key: &str, example: &str) -> Result<(), Reported> {
    if fields.has(key) {
        return Ok(());
    }
    if fields.meant(&[key]) {
        return Err(Reported);
    }
    let problem = fields.block.problem(format!("{} needs `{key}`", fields.block.title()));
    Err(fields.add(problem.hint(format!("as in `{key} = {example}`"))))
}
