//! Brings images into a pool: sent by us, or fetched by the host itself; checked before they get
//! their name.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use super::{
    Progress,
    command::Command,
    files::{self, done},
    qcow2::{HEADER_LENGTH, Header, ImageError},
    ssh::Stdin,
    transport::Transport,
    trouble::Trouble,
};
use crate::model::{ImageSpec, Size, without_query};

/// How many images may come to one host at a time.
const UPLOADS: usize = 2;

/// Exit codes of our scripts.
const NO_TOOL: u32 = 127;
const NO_ROOM: u32 = 28;

/// `$1` directory, `$2` staging name, `$3` length, `$4` what older runs' staging names begin with.
/// The state's lock sees to it that those runs are over.
const SEND: &str = r#"
    cd -- "$1" || exit 1;
    rm -f -- "$4"*;
    free=$(stat -f -c '%a %S' .) || exit 1;
    if [ $(( ${free% *} * ${free#* } )) -le "$3" ]; then exit 28; fi;
    trap 'rm -f -- "$2"; exit 1' HUP INT TERM PIPE;
    if cat > "$2" && [ "$(wc -c < "$2")" -eq "$3" ]; then exit 0; fi;
    rm -f -- "$2"; echo 'the file did not arrive completely' >&2; exit 1
"#;

/// `$1` directory, `$2` staging name, `$3` what older runs' begin with. The address comes on stdin,
/// since everybody reads the process list. Fails with 127 where there is no tool. A fetch goes on
/// when we are gone, so what it leaves is for the next run to remove.
const FETCH: &str = r#"
    cd -- "$1" || exit 1;
    rm -f -- "$3"*;
    trap 'rm -f -- "$2"; exit 1' HUP INT TERM PIPE;
    IFS= read -r url || exit 1;
    if command -v curl >/dev/null 2>&1; then
      printf 'url = "%s"\n' "$url" |
        curl -K - -gfsSL --proto =http,https --proto-redir =http,https --connect-timeout 15
        --retry 2 --speed-limit 1000 --speed-time 60 -o "$2" && exit 0;
      code=$?; rm -f -- "$2"; [ $code = 23 ] && exit 28; exit 1;
    fi;
    if command -v wget >/dev/null 2>&1; then
      printf '%s\n' "$url" |
        wget -q --tries 2 --timeout 60 --connect-timeout 15 -O "$2" -i - && exit 0;
      code=$?; rm -f -- "$2"; [ $code = 3 ] && exit 28; exit 1;
    fi;
    exit 127
"#;

const HEAD: &str = r#"exec head -c "$2" -- "$1""#;

/// `$1` program, `$2` staging path.
const DIGEST: &str = r#"
    set -- "$("$1" < "$2")" && [ -n "$1" ] && printf '%s\n' "${1%% *}"
"#;

/// Into its name: readable, since QEMU may run as another user than who wrote it.
const FINISH: &str = r#"
    chmod 0644 -- "$1" && sync -- "$1" && mv -T -- "$1" "$2" && sync -- "$(dirname -- "$2")"
"#;

/// The images of one pool.
#[derive(Debug)]
pub(crate) struct Images {
    transport: Arc<Transport>,
    pool: String,
    deadline: Duration,
    long_deadline: Duration,
    uploads: Semaphore,
    /// One image may have several names in a fleet; its file comes once.
    turns: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    /// What guests see of images in the pool.
    sizes: Mutex<BTreeMap<String, Size>>,
}

impl Images {
    pub(crate) fn of(
        transport: Arc<Transport>,
        pool: &str,
        deadline: Duration,
        long_deadline: Duration,
    ) -> Self {
        let uploads = Semaphore::new(UPLOADS);
        let (turns, sizes) = (Mutex::default(), Mutex::default());
        Self { transport, pool: pool.to_owned(), deadline, long_deadline, uploads, turns, sizes }
    }

    /// Sends an image from this machine.
    pub(crate) async fn store(
        &self,
        spec: &ImageSpec,
        source: &Path,
        progress: &Progress,
    ) -> Result<(), Trouble> {
        let length = check_here(source).await?;
        let _turn = self.turn(spec).await;
        let _upload = self.uploads.acquire().await.map_err(Trouble::failed)?;
        if self.has(spec).await? {
            return Ok(());
        }
        let (staging, stale) = staging(spec);
        let sent = async {
            let size = length.to_string();
            let command = Command::new(SEND, [self.pool.as_str(), &staging, &size, &stale])?;
            let stdin = Stdin::File(source, progress);
            let output = self.transport.run(&command, stdin, self.deadline).await?;
            if output.code == NO_ROOM {
                return Err(no_room(Size::from_bytes(length)));
            }
            done(&output)?;
            self.finish(spec, &staging).await
        };
        self.clean_unless(sent.await, &staging).await
    }

    /// Has the host fetch an image; `false` when it cannot.
    pub(crate) async fn fetch(
        &self,
        spec: &ImageSpec,
        url: &str,
        progress: &Progress,
    ) -> Result<bool, Trouble> {
        // A line of curl's own language, in quotes: config lets neither of these through.
        let odd = |c: char| c.is_control() || "\"\\".contains(c);
        if !(url.starts_with("https://") || url.starts_with("http://")) || url.contains(odd) {
            return Ok(false);
        }
        let _turn = self.turn(spec).await;
        let _upload = self.uploads.acquire().await.map_err(Trouble::failed)?;
        if self.has(spec).await? {
            return Ok(true);
        }
        let (staging, stale) = staging(spec);
        let fetched = async {
            let command = Command::new(FETCH, [self.pool.as_str(), &staging, &stale])?;
            let (day, address) = (Duration::from_hours(24), format!("{url}\n"));
            let stdin = Stdin::Bytes(address.as_bytes());
            let output = tokio::select! {
                output = self.transport.run(&command, stdin, day) => output?,
                never = self.watch(&staging, progress) => never,
            };
            match output.code {
                0 => self.finish(spec, &staging).await.map(|()| true),
                NO_ROOM => Err(Trouble::failed("the pool's file system is full")
                    .hint("make room in the pool's file system")),
                NO_TOOL => Ok(false),
                _ => {
                    let (why, url) = (output.complaint(), without_query(url));
                    tracing::info!(why, url, "the host cannot fetch it");
                    Ok(false)
                }
            }
        };
        self.clean_unless(fetched.await, &staging).await
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
            let (path, length) = (format!("{}/{volume}", self.pool), HEADER_LENGTH.to_string());
            let command = Command::new(HEAD, [path.as_str(), &length])?;
            let head = self.transport.run(&command, Stdin::Nothing, self.deadline).await?.good()?;
            let size = Header::of_image(&head).map_err(refused)?.virtual_size;
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

    /// Tells how much has come, until it is dropped.
    async fn watch<T>(&self, staging: &str, progress: &Progress) -> T {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let path = format!("{}/{staging}", self.pool);
            let Ok(command) = Command::new(r#"exec stat -c %s -- "$1""#, [path.as_str()]) else {
                continue;
            };
            if let Ok(output) = self.transport.run(&command, Stdin::Nothing, self.deadline).await
                && let Ok(bytes) = String::from_utf8_lossy(&output.stdout).trim().parse()
            {
                progress(bytes, None);
            }
        }
    }

    async fn has(&self, spec: &ImageSpec) -> Result<bool, Trouble> {
        let path = format!("{}/{}", self.pool, spec.volume);
        let command = Command::new(
            r#"cd -- "$2" && [ -e "$1" ] && echo yes || cd -- "$2""#,
            [path.as_str(), &self.pool],
        )?;
        let output = self.transport.run(&command, Stdin::Nothing, self.deadline).await?;
        Ok(output.good()? == b"yes\n")
    }

    /// Checks what lies on the host, and gives it its name.
    async fn finish(&self, spec: &ImageSpec, staging: &str) -> Result<(), Trouble> {
        let path = format!("{}/{staging}", self.pool);
        let length = HEADER_LENGTH.to_string();
        let head = self.run(HEAD, [path.as_str(), &length]).await?;
        Header::of_image(&head).map_err(refused)?;
        let digest = self.run(DIGEST, [spec.checksum.program(), &path]).await?;
        let have = String::from_utf8_lossy(&digest).trim().to_ascii_lowercase();
        let want = spec.checksum.hex();
        if have != want {
            let why = format!("its checksum is {have}, not {want}");
            return Err(Trouble::input(why).hint("has the publisher replaced it?"));
        }
        let target = format!("{}/{}", self.pool, spec.volume);
        self.run(FINISH, [path.as_str(), &target]).await.map(drop)
    }

    async fn run<const N: usize>(
        &self,
        script: &'static str,
        words: [&str; N],
    ) -> Result<Vec<u8>, Trouble> {
        let command = Command::new(script, words)?;
        // Reading or syncing many gigabytes takes its time.
        self.transport.run(&command, Stdin::Nothing, self.long_deadline * 10).await?.good()
    }

    async fn clean_unless<T>(
        &self,
        result: Result<T, Trouble>,
        staging: &str,
    ) -> Result<T, Trouble> {
        if result.is_err() {
            let path = format!("{}/{staging}", self.pool);
            if let Err(error) = files::remove(&self.transport, &path, self.deadline).await {
                tracing::warn!(path, error = %error.source, "a staging file is left");
            }
        }
        result
    }
}

/// Returns the name an image has while it comes, and what the names of older runs begin with.
fn staging(spec: &ImageSpec) -> (String, String) {
    let stale = format!(".staging-{}-{}-", spec.fleet.short(), spec.volume);
    (format!("{stale}{}", std::process::id()), stale)
}

fn refused(error: ImageError) -> Trouble {
    let hint = error.hint();
    let trouble = Trouble::input(error);
    match hint {
        Some(hint) => trouble.hint(hint),
        None => trouble,
    }
}

fn no_room(size: Size) -> Trouble {
    Trouble::failed(format!("the pool's file system has less than {size} free"))
        .hint("make room in the pool's file system")
}

/// Checks a file of this machine and returns its length.
async fn check_here(source: &Path) -> Result<u64, Trouble> {
    use tokio::io::AsyncReadExt as _;
    let name = source.display();
    let bad = |error: std::io::Error| Trouble::input(format!("{name}: {error}"));
    let file = tokio::fs::File::open(source).await.map_err(bad)?;
    let length = file.metadata().await.map_err(bad)?.len();
    let mut head = Vec::new();
    file.take(HEADER_LENGTH as u64).read_to_end(&mut head).await.map_err(bad)?;
    Header::of_image(&head).map_err(refused)?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_an_older_run_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let pool = dir.path().to_str().unwrap();
        for left in [".staging-a-x-1", ".staging-a-x-22", ".staging-b-x-1", ".staging-a-y-1"] {
            std::fs::write(dir.path().join(left), "half").unwrap();
        }
        let words = [pool, ".staging-a-x-3", "4", ".staging-a-x-"];
        let command = Command::new(SEND, words).unwrap();
        let soon = Duration::from_secs(10);
        let sent = Transport::Local.run(&command, Stdin::Bytes(b"cut"), soon).await.unwrap();
        assert_eq!(sent.complaint(), "the file did not arrive completely");
        let left = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, [".staging-a-y-1", ".staging-b-x-1"]);
    }
}
