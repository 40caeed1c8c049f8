//! An image on its way to the cache: its bytes so far, and what the server called that version of it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// What has come of a file; locked as long as the value lives, by whatever process.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    /// Holds the lock.
    file: File,
    /// Address and version, one a line.
    note: PathBuf,
}

impl Part {
    /// Opens the part of a file that will have this path, and waits while another process has it.
    pub(super) async fn lock(whole: &Path) -> io::Result<Self> {
        let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
        let beside = |ending| {
            whole.with_file_name(format!(".{}.{ending}", name.as_deref().unwrap_or_default()))
        };
        let (path, note) = (beside("part"), beside("from"));
        loop {
            let open = || {
                let mut options = OpenOptions::new();
                options.create(true).truncate(false).read(true).write(true).open(&path)
            };
            let file = open()?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    tracing::info!(path = %path.display(), "another process downloads it: waiting");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Whoever was done meanwhile gave the file its name, or removed it.
            if is_same(&file, &path) {
                return Ok(Self { path, file, note });
            }
        }
    }

    /// Returns how much has come.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Cuts it.
    pub(super) fn cut(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    /// Returns what the server called this version, when it came from this address.
    pub(super) fn version(&self, url: &str) -> Option<String> {
        let note = std::fs::read_to_string(&self.note).ok()?;
        let (from, version) = note.split_once('\n')?;
        (from == digest_of(url)).then(|| version.to_owned())
    }

    /// Notes what the server calls the version that comes now. An address may be a key.
    pub(super) fn note(&self, url: &str, version: Option<&str>) -> io::Result<()> {
        match version {
            Some(version) => std::fs::write(&self.note, format!("{}\n{version}", digest_of(url))),
            None => match std::fs::remove_file(&self.note) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// Gives it its name.
    pub(super) fn finish(&self, whole: &Path) -> io::Result<()> {
        self.note("", None)?;
        rename(&self.path, whole)
    }

    /// Returns a path beside it for what is made of it; nobody else writes there while it is locked.
    pub(super) fn beside(&self) -> PathBuf {
        self.path.with_added_extension("made")
    }

    /// Takes it away.
    pub(super) fn remove(&self) {
        for path in [&self.path, &self.note] {
            drop(std::fs::remove_file(path));
        }
    }
}

/// Gives a file its name once its bytes are on the disk: a name is taken for the whole file.
pub(super) fn rename(file: &Path, name: &Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    std::fs::rename(file, name)?;
    match name.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn digest_of(url: &str) -> String {
    crate::model::Digest::of([url.as_bytes()]).to_string()
}

fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}
