//! Damaged files are kept aside, by us or by the command a hint gives; none is ever written over.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Renames a file to `NAME.damaged-TIME` beside it and returns where it is now.
pub(super) fn keep_aside(path: &Path) -> io::Result<PathBuf> {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut names = (0_u32..).map(|count| match count {
        0 => with_ending(path, &format!("damaged-{stamp}")),
        count => with_ending(path, &format!("damaged-{stamp}-{count}")),
    });
    let place = names.find(|name| !name.exists()).expect("there are more names than files");
    fs::rename(path, &place)?;
    tracing::warn!("{} was damaged; it is kept as {}", path.display(), place.display());
    Ok(place)
}

/// Returns the command that moves a damaged file aside.
pub(super) fn mv(path: &Path) -> String {
    format!("mv {} {}", word(path), word(&with_ending(path, "damaged")))
}

/// Returns the command that puts a copy in a damaged file's place and keeps that one.
pub(super) fn mv_and_cp(path: &Path, copy: &Path) -> String {
    format!("{} && {}", mv(path), cp(copy, path))
}

/// Returns the command that copies a file.
pub(super) fn cp(from: &Path, to: &Path) -> String {
    format!("cp {} {}", word(from), word(to))
}

/// Returns a path as a POSIX shell takes it.
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_damaged_files_are_both_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        for text in ["one", "two"] {
            fs::write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(keep_aside(&path).unwrap()).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn commands_can_be_pasted() {
        assert_eq!(
            mv_and_cp(Path::new("/a/state.json"), Path::new("/a b/c")),
            "mv /a/state.json /a/state.json.damaged && cp '/a b/c' /a/state.json"
        );
    }
}
