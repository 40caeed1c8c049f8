//! `image`.

use std::path::Path;

use super::url;
use crate::{
    config::{
        fields::{Field, Fields, Given, required},
        problem::Reported,
    },
    model::{Checksum, Image, ImageSource},
};

/// Reads an image.
pub(in crate::config) fn image(fields: Fields<'_>) -> Result<Image, Reported> {
    let name = fields.label();
    let source = required(source(fields));
    let checksum = checksum(fields, source.as_ref().ok());
    Ok(Image { name: name?, source: source?, checksum: checksum? })
}

fn source(fields: Fields<'_>) -> Field<ImageSource> {
    let Some(Given { value: text, span }) = fields.text("source")? else { return Ok(None) };
    if text.text.contains("://") {
        return match url::http(&text.text) {
            Ok(url) => Ok(Some(ImageSource::Url(url))),
            Err(why) => Err(fields.invalid("source", &span, &text, why)),
        };
    }
    let path = fields.scope.world.directory.join(&text.text);
    let path = std::path::absolute(&path).unwrap_or(path);
    if path.is_file() {
        return Ok(Some(ImageSource::Path(path)));
    }
    let why = if path.exists() { "is no file" } else { "does not exist" };
    let why = format!("the image {} {why}", shown(&path));
    Err(fields.invalid("source", &span, &text, why))
}

fn checksum(fields: Fields<'_>, source: Option<&ImageSource>) -> Result<Checksum, Reported> {
    let sha256 = fields.parsed_by("sha256", Checksum::sha256);
    let sha512 = fields.parsed_by("sha512", Checksum::sha512);
    match (sha256?, sha512?) {
        (Some(given), None) | (None, Some(given)) => Ok(given.value),
        (Some(_), Some(second)) => {
            let title = fields.block.title();
            let message = format!("{title} has both `sha256` and `sha512`: one is enough");
            Err(fields.fail(&second.span, message))
        }
        (None, None) if fields.meant(&["sha256", "sha512"]) => Err(Reported),
        (None, None) => {
            let title = fields.block.title();
            let problem = fields.block.problem(format!("{title} has no `sha256` or `sha512`"));
            let outside = matches!(fields.text("source"), Ok(Some(given)) if given.value.outside);
            let hint = match source {
                Some(ImageSource::Path(path)) if !outside => {
                    format!("`sha256sum {}` prints it", quoted(path))
                }
                Some(ImageSource::Url(_)) => "its publisher gives it beside the image".to_owned(),
                _ => "`sha256sum FILE` prints it".to_owned(),
            };
            Err(fields.add(problem.hint(hint)))
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn quoted(path: &Path) -> String {
    let path = shown(path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}
