//! `prometheus`.

use std::path::Path;

use super::url::http;
use crate::{
    config::{
        fields::{Fields, Given, required},
        problem::Reported,
    },
    model::{Place, TargetFile},
};

/// Reads a file of scrape targets.
pub(in crate::config) fn target_file(fields: Fields<'_>) -> Result<TargetFile, Reported> {
    let name = fields.label();
    let on = place(fields);
    let path = path(fields, on.as_ref().ok());
    let url = fields.parsed_by("url", http);
    let url = url?.map(|given| given.value.trim_end_matches('/').to_owned());
    Ok(TargetFile { name: name?, on: on?, path: path?, url })
}

fn place(fields: Fields<'_>) -> Result<Place, Reported> {
    let Some(Given { value, .. }) = fields.reference("on", &["host", "vm"])? else {
        return Ok(Place::Here);
    };
    // A label that is no name was reported at its block.
    match value.kind {
        "host" => value.name.parse().map(Place::Host).map_err(|_| Reported),
        _ => value.name.parse().map(Place::Vm).map_err(|_| Reported),
    }
}

fn path(fields: Fields<'_>, on: Option<&Place>) -> Result<String, Reported> {
    let given = required(fields.text("path"))?;
    let path = given.value.text.as_str();
    let why = if Path::new(path).extension().is_none_or(|extension| extension != "json") {
        Some(format!("`{path}` does not end in .json, so Prometheus would not take it"))
    } else if path.contains(|c: char| c.is_control() || "*?[]".contains(c)) {
        Some(format!("`{path}` is one file, without wildcards"))
    } else if on.is_some_and(|on| *on != Place::Here) && !path.starts_with('/') {
        Some(format!("`{path}` must be absolute, as it lies on another machine"))
    } else {
        None
    };
    if let Some(why) = why {
        return Err(fields.invalid("path", &given.span, &given.value, why));
    }
    if on != Some(&Place::Here) {
        return Ok(path.to_owned());
    }
    let path = fields.scope.world.directory.join(path);
    let path = std::path::absolute(&path).unwrap_or(path);
    path.into_os_string()
        .into_string()
        .map_err(|_| fields.fail(&given.span, "the path of the fleet's directory is not UTF-8"))
}
