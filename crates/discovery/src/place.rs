//! Where a target file lies: reading it and putting another in its place.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use freehold_core::{
    host::{Files, Host, HostError, HostErrorKind},
    model::HostName,
    plugins::{Hosts, PluginErrorKind},
};

/// Prometheus runs as another user.
const MODE: u32 = 0o644;

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("{path} on {on} is out of reach")]
    Missing { on: HostName, path: String },
    #[error("{0} has no directory and name")]
    NoFile(PathBuf),
    #[error("the directory {0} does not exist")]
    NoDirectory(PathBuf),
    #[error("cannot {act} {path}")]
    Local { act: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot reach the file on its host")]
    Host(#[source] HostError),
}

impl PlaceError {
    pub(crate) fn kind(&self) -> PluginErrorKind {
        match self {
            Self::Missing { .. } => PluginErrorKind::Unreachable,
            Self::Host(error) => match error.kind {
                HostErrorKind::Unreachable | HostErrorKind::HostKey | HostErrorKind::Login => {
                    PluginErrorKind::Unreachable
                }
                _ => PluginErrorKind::Refused,
            },
            _ => PluginErrorKind::Refused,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { on, .. } => Some(format!("{on} did not answer in this run")),
            Self::NoDirectory(directory) => Some(format!(
                "make it, and let `file_sd_configs` of Prometheus look there: mkdir -p {}",
                directory.display()
            )),
            Self::Host(error) => error.hint.clone(),
            Self::NoFile(_) | Self::Local { .. } => None,
        }
    }
}

/// The machine a file lies on.
#[derive(Debug, Clone)]
pub(crate) enum Medium {
    /// This machine.
    Here,
    /// A physical host.
    Host(HostName),
    /// A VM.
    Guest(Arc<dyn Files>),
}

/// Reads the whole file; `None` where there is none.
pub(crate) async fn read(
    on: &Medium,
    path: &str,
    hosts: &Hosts,
) -> Result<Option<Vec<u8>>, PlaceError> {
    match on {
        Medium::Here => {
            let path = PathBuf::from(path);
            match tokio::fs::read(&path).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(PlaceError::Local { act: "read", path, source }),
            }
        }
        Medium::Host(name) => {
            host(name, path, hosts)?.read_file(path).await.map_err(PlaceError::Host)
        }
        Medium::Guest(guest) => guest.read_file(path).await.map_err(PlaceError::Host),
    }
}

/// Puts these bytes in the file's place, whole or not at all.
pub(crate) async fn write(
    on: &Medium,
    path: &str,
    bytes: Vec<u8>,
    hosts: &Hosts,
) -> Result<(), PlaceError> {
    match on {
        Medium::Here => {
            let path = PathBuf::from(path);
            let task = tokio::task::spawn_blocking({
                let path = path.clone();
                move || replace(&path, &bytes)
            });
            let stopped = |error: tokio::task::JoinError| PlaceError::Local {
                act: "write",
                path,
                source: io::Error::other(error),
            };
            task.await.map_err(stopped)?
        }
        Medium::Host(name) => {
            host(name, path, hosts)?.write_file(path, &bytes).await.map_err(PlaceError::Host)
        }
        Medium::Guest(guest) => guest.write_file(path, &bytes).await.map_err(PlaceError::Host),
    }
}

fn host<'a>(
    name: &HostName,
    path: &str,
    hosts: &'a Hosts,
) -> Result<&'a Arc<dyn Host>, PlaceError> {
    hosts.get(name).ok_or_else(|| PlaceError::Missing { on: name.clone(), path: path.to_owned() })
}

/// Replaces a file of this machine atomically. Prometheus' globs match dot files too, so the
/// staging name ends in something they do not.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), PlaceError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(PlaceError::NoFile(path.to_owned()));
    };
    if !directory.is_dir() {
        return Err(PlaceError::NoDirectory(directory.to_owned()));
    }
    let staging = directory.join(format!(".{}.tmp", name.to_string_lossy()));
    let result = stage(&staging, bytes)
        .and_then(|()| fs::rename(&staging, path))
        .and_then(|()| fs::File::open(directory)?.sync_all());
    if result.is_err()
        && let Err(error) = fs::remove_file(&staging)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %staging.display(), %error, "a staging file is left behind");
    }
    result.map_err(|source| PlaceError::Local { act: "write", path: path.to_owned(), source })
}

fn stage(staging: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::File::create_new(staging)?;
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_a_file_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("freehold.json");
        fs::write(directory.path().join(".freehold.json.tmp"), "from a run that died").unwrap();
        for text in ["[]\n", "[1]\n"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(directory.path()), ["freehold.json"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn keeps_the_old_file_when_it_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("freehold.json");
        fs::write(&path, "old").unwrap();
        // A directory in the staging file's place stops root too.
        let staging = directory.path().join(".freehold.json.tmp");
        fs::create_dir(&staging).unwrap();
        let error = replace(&path, b"new").unwrap_err();
        assert_eq!(error.kind(), PluginErrorKind::Refused);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }

    #[test]
    fn names_a_directory_that_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let error = replace(&directory.path().join("no/freehold.json"), b"[]").unwrap_err();
        assert!(matches!(error, PlaceError::NoDirectory(_)));
        assert!(error.hint().unwrap().contains("mkdir -p"));
    }

    #[tokio::test]
    async fn waits_for_a_host_that_is_missing() {
        let on = Medium::Host("rack1".parse().unwrap());
        let error = read(&on, "/etc/x.json", &Hosts::new()).await.unwrap_err();
        assert_eq!(error.kind(), PluginErrorKind::Unreachable);
    }
}
