//! Brings images into a pool: sent by us, or fetched by the host itself; checked before they get
//! their name. What was cut goes on where it ended.

mod fetch;
mod scripts;
mod send;
mod unpack;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use sha2::Digest as _;
use tokio::{
    sync::{Mutex, OnceCell, OwnedMutexGuard, Semaphore},
    time::Instant,
};

use self::scripts::{
    BUSY, CHANGED, FINISH, HEAD, NO_LOCK, NOTHING, REMOVE, SIZE, STIR, SWEEP, THERE, WRONG,
};
use super::{
    Progress,
    command::Command,
    files::done,
    qcow2::{HEADER_LENGTH, Header, ImageError},
    ssh::Stdin,
    transport::{Output, Transport},
    trouble::Trouble,
};
use crate::model::{ImageForm, ImageSpec, Size, hex_of};

/// How many images may come to one host at a time.
const UPLOADS: usize = 2;

/// How often one looks whether somebody else is done, and how much has come.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one waits for somebody with whom nothing comes. Checking a large file is silent,
/// too.
const STILL: Duration = Duration::from_mins(5);

/// The images of one pool.
#[derive(Debug)]
pub(crate) struct Images {
    transport: Arc<Transport>,
    pool: String,
    deadline: Duration,
    /// Reading or syncing many gigabytes takes its time.
    long_deadline: Duration,
    uploads: Semaphore,
    /// One image may have several names in a fleet; its file comes once.
    turns: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    /// What guests see of images in the pool.
    sizes: Mutex<BTreeMap<String, Size>>,
    swept: OnceCell<()>,
}

/// How a file on its way became an image.
#[derive(Debug, PartialEq, Eq)]
enum Finished {
    Named,
    /// It is something else; it is removed.
    Wrong(String),
    /// It is gone, or empty: somebody took it away.
    Nothing,
}

impl Images {
    pub(crate) fn of(
        transport: Arc<Transport>,
        pool: &str,
        deadline: Duration,
        long_deadline: Duration,
    ) -> Self {
        Self {
            transport,
            pool: pool.to_owned(),
            deadline,
            long_deadline: long_deadline * 10,
            uploads: Semaphore::new(UPLOADS),
            turns: Mutex::default(),
            sizes: Mutex::default(),
            swept: OnceCell::new(),
        }
    }

    async fn turn(&self, spec: &ImageSpec) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(self.turns.lock().await.entry(spec.volume.clone()).or_default());
        turn.lock_owned().await
    }

    /// Refuses a disk that is smaller than the image it would be cloned from: what is past its end
    /// would be cut off. A header is read once.
    pub(crate) async fn refuse_larger(&self, volume: &str, disk: Size) -> Result<(), Trouble> {
        let mut sizes = self.sizes.lock().await;
        let size = if let Some(size) = sizes.get(volume) {
            *size
        } else {
            let size = Header::of_image(&self.head(volume).await?).map_err(refused)?.virtual_size;
            sizes.insert(volume.to_owned(), size);
            size
        };
        drop(sizes);
        if size <= disk {
            return Ok(());
        }
        let why = format!("the disk has {disk}, its image {size}");
        Err(Trouble::input(why).hint(format!("give the root disk a size of {size} or more")))
    }

    /// Says whether an image is there. Once, before the first: what was left long ago goes.
    async fn has(&self, spec: &ImageSpec) -> Result<bool, Trouble> {
        let path = format!("{}/{}", self.pool, spec.volume);
        let words = [path.as_str(), &self.pool];
        let output =
            self.run(r#"cd -- "$2" && [ -e "$1" ] && echo yes || cd -- "$2""#, words).await?;
        let sweep = || async { drop(self.run(SWEEP, [self.pool.as_str()]).await) };
        self.swept.get_or_init(sweep).await;
        Ok(output == b"yes\n")
    }

    /// Runs a script that works on an image's staging file alone, and waits while somebody else does;
    /// `None` where the image has its name by then.
    async fn alone<const N: usize>(
        &self,
        spec: &ImageSpec,
        (script, more): (&'static str, [&str; N]),
        (stdin, deadline): (Stdin<'_>, Duration),
        progress: &Progress,
    ) -> Result<Option<Output>, Trouble> {
        let staging = staging(spec);
        let words = [self.pool.as_str(), &staging, &spec.volume].into_iter().chain(more);
        let command = Command::new(script, words)?;
        let mut seen = (None, Instant::now());
        let mut told = false;
        loop {
            let output = self.transport.run(&command, stdin, deadline).await?;
            match output.code {
                THERE => return Ok(None),
                BUSY => {
                    if !told {
                        tracing::warn!(image = %spec.name, "another run is bringing it: waiting");
                    }
                    told = true;
                    tokio::time::sleep(PAUSE).await;
                    self.tell_size(&staging, None, progress).await;
                    let path = format!("{}/{staging}", self.pool);
                    let now = self.run(STIR, [path.as_str()]).await.ok();
                    if now != seen.0 {
                        seen = (now, Instant::now());
                    } else if seen.1.elapsed() > STILL {
                        return Err(held(&path));
                    }
                }
                NO_LOCK => return Err(unlocked(&self.pool, &output)),
                _ => return Ok(Some(output)),
            }
        }
    }

    /// Checks what lies on the host, and gives it its name.
    async fn finish(&self, spec: &ImageSpec, progress: &Progress) -> Result<Finished, Trouble> {
        if !spec.form.is_plain() {
            return self.unpack(spec, progress).await;
        }
        let length = HEADER_LENGTH.to_string();
        loop {
            let head = match self.head(&staging(spec)).await {
                Ok(head) => head,
                // Somebody else, who waited for the same, was faster.
                Err(_) if self.has(spec).await? => return Ok(Finished::Named),
                Err(_) if self.size(&staging(spec)).await.is_none() => {
                    return Ok(Finished::Nothing);
                }
                Err(trouble) => return Err(trouble),
            };
            if let Err(error) = Header::of_image(&head) {
                self.remove(spec).await;
                return Err(refused(error));
            }
            let seen = hex_of(&sha2::Sha256::digest(&head));
            let (kind, want) = (spec.checksum.kind(), spec.checksum.hex());
            let finish = (FINISH, [kind, want, &seen, &length]);
            let how = (Stdin::Nothing, self.long_deadline);
            let Some(output) = self.alone(spec, finish, how, progress).await? else {
                return Ok(Finished::Named);
            };
            match output.code {
                WRONG => {
                    let have = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                    return Ok(Finished::Wrong(have));
                }
                NOTHING => return Ok(Finished::Nothing),
                CHANGED => {}
                _ => return done(&output).map(|()| Finished::Named),
            }
        }
    }

    async fn head(&self, name: &str) -> Result<Vec<u8>, Trouble> {
        let (path, length) = (format!("{}/{name}", self.pool), HEADER_LENGTH.to_string());
        self.run(HEAD, [path.as_str(), &length]).await
    }

    async fn tell_size(&self, staging: &str, total: Option<u64>, progress: &Progress) {
        if let Some(bytes) = self.size(staging).await {
            progress(bytes, total);
        }
    }

    async fn size(&self, staging: &str) -> Option<u64> {
        let path = format!("{}/{staging}", self.pool);
        let output = self.run(SIZE, [path.as_str()]).await.ok()?;
        String::from_utf8_lossy(&output).trim().parse().ok()
    }

    async fn run<const N: usize>(
        &self,
        script: &'static str,
        words: [&str; N],
    ) -> Result<Vec<u8>, Trouble> {
        self.transport
            .run(&Command::new(script, words)?, Stdin::Nothing, self.deadline)
            .await?
            .good()
    }

    /// Takes away what is not worth going on with, unless somebody works on it.
    async fn remove(&self, spec: &ImageSpec) {
        let file = staging(spec);
        let removed = async {
            let command = Command::new(REMOVE, [self.pool.as_str(), &file, &spec.volume])?;
            let output = self.transport.run(&command, Stdin::Nothing, self.deadline).await?;
            // Who works on it, or brought it, sees to it.
            if matches!(output.code, BUSY | THERE) { Ok(()) } else { done(&output) }
        };
        if let Err(trouble) = removed.await {
            tracing::warn!(file, error = %trouble.source, "a staging file is left");
        }
    }
}

/// Returns the name an image has while it comes.
fn staging(spec: &ImageSpec) -> String {
    format!(".staging-{}", spec.volume)
}

fn refused(error: ImageError) -> Trouble {
    let hint = error.hint();
    let trouble = Trouble::input(error);
    match hint {
        Some(hint) => trouble.hint(hint),
        None => trouble,
    }
}

fn wrong(spec: &ImageSpec, have: &str) -> Trouble {
    let why = format!("its checksum is {have}, not {}", spec.checksum.hex());
    Trouble::input(why).hint("has the publisher replaced it?")
}

/// What came was not there to be checked, time after time.
fn vanished(spec: &ImageSpec) -> Trouble {
    let why = format!("{} was empty or gone each time it was to be checked", staging(spec));
    Trouble::conflict(why).hint("is the source empty, or does something clean up the pool?")
}

/// Somebody holds the lock, and nothing comes.
fn held(path: &str) -> Trouble {
    let why = format!("another run has held {path} for 5 minutes, and nothing comes");
    let hint = format!("`fuser -v {path}` on the host says who: let it end, or end it");
    Trouble::conflict(why).hint(hint)
}

fn unlocked(pool: &str, output: &Output) -> Trouble {
    Trouble::failed(format!("`flock` cannot lock a file in {pool}"))
        .after(&output.complaint())
        .hint("install util-linux's `flock` on the host; the pool's file system must know locks")
}

fn no_room(size: Option<u64>) -> Trouble {
    let why = match size {
        Some(size) => {
            format!(
                "the pool's file system has less than {} free",
                Size::from_bytes(size).rounded()
            )
        }
        None => "the pool's file system is full".to_owned(),
    };
    Trouble::failed(why).hint("make room in the pool's file system")
}

/// Checks a file of this machine and returns its length. What is packed is checked once it is unpacked.
async fn check_here(source: &Path, form: ImageForm) -> Result<u64, Trouble> {
    use tokio::io::AsyncReadExt as _;
    let name = source.display();
    let bad = |error: std::io::Error| Trouble::input(format!("{name}: {error}"));
    let file = tokio::fs::File::open(source).await.map_err(bad)?;
    let length = file.metadata().await.map_err(bad)?.len();
    let mut head = Vec::new();
    file.take(HEADER_LENGTH as u64).read_to_end(&mut head).await.map_err(bad)?;
    if form.is_plain() {
        Header::of_image(&head).map_err(refused)?;
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
