//! `freehold.lock`: what was decided, beside the fleet and in git.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Decisions, StateError, replace_file,
    wire::{FORMAT, LockWire},
};

const HEADER: &str = "\
# What freehold decided about this fleet: hosts, addresses, UUIDs, MACs, keys.
# Written by `freehold apply`; commit it, and do not edit it by hand.
";

/// The file `freehold.lock` of one fleet.
#[derive(Debug, Clone)]
pub struct LockFile {
    path: PathBuf,
}

impl LockFile {
    /// Names the lock of the fleet in this directory.
    pub fn of(directory: &Path) -> Self {
        Self { path: directory.join("freehold.lock") }
    }

    /// Reads it; a missing file is a fleet about which nothing was decided.
    pub fn read(&self) -> Result<Decisions, StateError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Decisions::default());
            }
            Err(source) => return Err(StateError::Read { path: self.path.clone(), source }),
        };
        self.parse(&text)
    }

    /// Replaces it, unless it says the same already.
    pub fn write(&self, decisions: &Decisions) -> Result<(), StateError> {
        let body = toml::to_string(&LockWire::from(decisions)).expect("decisions are plain TOML");
        let text = format!("{HEADER}{body}");
        if std::fs::read_to_string(&self.path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        replace_file(&self.path, text.as_bytes(), 0o644)
            .map_err(|source| StateError::Write { path: self.path.clone(), source })
    }

    fn parse(&self, text: &str) -> Result<Decisions, StateError> {
        let damaged = |why: String, hint: &str| StateError::Damaged {
            path: self.path.clone(),
            why,
            hint: hint.to_owned(),
        };
        if text.trim().is_empty() {
            let hint =
                "restore it with `git checkout freehold.lock`; remove it only for a new fleet";
            return Err(damaged("it is empty".into(), hint));
        }
        if let Some(line) = text.lines().position(|line| line.starts_with("<<<<<<<")) {
            let why = format!("line {} has a conflict marker of git", line + 1);
            return Err(damaged(why, "settle the merge, keeping both sides' [vm] tables"));
        }
        let hint = "restore it with `git checkout freehold.lock`";
        let wire: LockWire =
            toml::from_str(text).map_err(|error| damaged(error.to_string(), hint))?;
        if wire.format > FORMAT {
            let (have, know) = (wire.format, FORMAT);
            return Err(StateError::Newer { path: self.path.clone(), have, know });
        }
        let decisions = Decisions::from(wire);
        match decisions.first_clash() {
            None => Ok(decisions),
            Some(why) => {
                let hint = "two branches may have decided the same: delete the newer [vm] table \
                            and apply again";
                Err(damaged(why, hint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::decisions::tests::two_vms;

    fn lock() -> (tempfile::TempDir, LockFile) {
        let folder = tempfile::tempdir().unwrap();
        let lock = LockFile::of(folder.path());
        (folder, lock)
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let (_folder, lock) = lock();
        assert_eq!(lock.read().unwrap(), Decisions::default());
        lock.write(&two_vms()).unwrap();
        assert_eq!(lock.read().unwrap(), two_vms());
    }

    #[test]
    fn refuses_what_git_or_hands_left() {
        let (folder, lock) = lock();
        let path = folder.path().join("freehold.lock");
        for (text, fragment) in [
            ("", "empty"),
            ("format = 1\n<<<<<<< HEAD\n", "conflict marker"),
            ("format = 2\n", "format 2"),
            ("format = 1\nsurprise = 1\n", "surprise"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = lock.read().unwrap_err().to_string();
            assert!(error.contains(fragment), "{text:?}: {error}");
        }
    }

    #[test]
    fn refuses_two_vms_with_one_address() {
        let (_folder, lock) = lock();
        let mut decisions = two_vms();
        let address = decisions.vms.values().next().unwrap().nics[0].address;
        decisions.vms.values_mut().last().unwrap().nics[0].address = address;
        lock.write(&decisions).unwrap();
        let error = lock.read().unwrap_err().to_string();
        assert!(error.contains("web-0") && error.contains("web-1"), "{error}");
    }
}
