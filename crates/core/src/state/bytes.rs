//! Reading a file that need not be there.

use std::{fs, io, path::Path};

use super::StateError;

/// Returns what a file holds; `None` only when there is no such file.
pub(super) fn bytes_of(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Read { path: path.to_owned(), source }),
    }
}
