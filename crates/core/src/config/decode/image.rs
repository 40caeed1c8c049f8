//! `image`.

use std::path::Path;

use super::url;
use crate::{
    config::{
        fields::{Field, Fields, Given, required},
        problem::Reported,
    },
    model::{Checksum, Image, ImageForm, ImageFormat, ImageSource, Packing},
};

/// Reads an image.
pub(in crate::config) fn image(fields: Fields<'_>) -> Result<Image, Reported> {
    let name = fields.label();
    let source = required(source(fields));
    let checksum = checksum(fields, source.as_ref().ok());
    let form = form(fields, source.as_ref().ok());
    Ok(Image { name: name?, source: source?, checksum: checksum?, form: form? })
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

/// What is not said follows from the name.
fn form(fields: Fields<'_>, source: Option<&ImageSource>) -> Result<ImageForm, Reported> {
    let packings = Packing::ALL.map(|(packing, word, _)| (word, packing));
    let packing = fields.word("compression", &packings, &[]);
    let formats = [("qcow2", ImageFormat::Qcow2), ("raw", ImageFormat::Raw)];
    let format = fields.word("format", &formats, &["vmdk", "vhd", "vhdx", "vdi"]);
    let named = match source {
        Some(ImageSource::Path(path)) => ImageForm::of_name(&path.to_string_lossy()),
        Some(ImageSource::Url(url)) => ImageForm::of_name(url),
        None => ImageForm::default(),
    };
    let packing = packing?.map_or(named.packing, |given| given.value);
    Ok(ImageForm { packing, format: format?.map_or(named.format, |given| given.value) })
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
