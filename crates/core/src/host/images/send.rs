//! An image is sent from this machine.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use sha2::Digest as _;

use super::{
    Finished, Images, check_here,
    scripts::{BLOCK, NO_ROOM, PEEK, SEND},
    vanished, wrong,
};
use crate::{
    host::{HostErrorKind, Progress, files::done, ssh::Stdin, trouble::Trouble},
    model::{ImageSpec, hex_of},
};

/// How often a connection may be lost before nothing more has come.
const TRIES: u32 = 5;

impl Images {
    /// Sends an image from this machine: what the host has of it already is not sent again.
    pub(crate) async fn store(
        &self,
        spec: &ImageSpec,
        source: &Path,
        progress: &Progress,
    ) -> Result<(), Trouble> {
        let length = check_here(source, spec.form).await?;
        let _turn = self.turn(spec).await;
        let _upload = self.uploads.acquire().await.map_err(Trouble::failed)?;
        if self.has(spec).await? {
            return Ok(());
        }
        for _ in 0..TRIES {
            if !self.sent(spec, (source, length), progress).await? {
                return Ok(());
            }
            match self.finish(spec, progress).await? {
                Finished::Named => return Ok(()),
                Finished::Wrong(have) => return Err(wrong(spec, &have)),
                Finished::Nothing => {}
            }
        }
        Err(vanished(spec))
    }

    /// Sends what the host has not; says whether that is left to be checked.
    async fn sent(
        &self,
        spec: &ImageSpec,
        (source, length): (&Path, u64),
        progress: &Progress,
    ) -> Result<bool, Trouble> {
        let (mut tries, mut best) = (0, 0);
        loop {
            let Some(kept) = self.kept(spec, source, progress).await? else { return Ok(false) };
            if kept > best {
                (tries, best) = (0, kept);
            }
            match self.rest(spec, (source, length, kept), progress).await {
                Ok(()) => return Ok(true),
                // A transfer is no act whose outcome matters: the host is asked what it has.
                Err(trouble) if trouble.kind == HostErrorKind::Unreachable && tries < TRIES => {
                    tracing::warn!(image = %spec.name, error = %trouble.source, "cut, going on");
                    tries += 1;
                    tokio::time::sleep(super::PAUSE).await;
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Returns how much of the file the host has, as it is here; `None` where it has the image. What was
    /// cut may end in garbage: blocks whose digests differ do not count.
    async fn kept(
        &self,
        spec: &ImageSpec,
        source: &Path,
        progress: &Progress,
    ) -> Result<Option<u64>, Trouble> {
        let how = (Stdin::Nothing, self.long_deadline);
        let Some(output) = self.alone(spec, (PEEK, []), how, progress).await? else {
            return Ok(None);
        };
        let said = String::from_utf8_lossy(&output.good()?).into_owned();
        let source = source.to_owned();
        let compared = tokio::task::spawn_blocking(move || same(&said, source)).await;
        let kept = compared.map_err(Trouble::failed)?.map_err(Trouble::input)?;
        if kept > 0 {
            tracing::info!(image = %spec.name, kept, "the host has a part of it");
        }
        Ok(Some(kept))
    }

    async fn rest(
        &self,
        spec: &ImageSpec,
        (source, length, kept): (&Path, u64, u64),
        progress: &Progress,
    ) -> Result<(), Trouble> {
        let (size, from) = (length.to_string(), kept.to_string());
        let how = (Stdin::File(source, kept, progress), self.deadline);
        let Some(output) = self.alone(spec, (SEND, [&size, &from]), how, progress).await? else {
            return Ok(());
        };
        match output.code {
            NO_ROOM => Err(super::no_room(Some(length - kept))),
            _ => done(&output),
        }
    }
}

/// Compares what a host told of its part with the file here; returns how much is the same.
fn same(said: &str, source: PathBuf) -> std::io::Result<u64> {
    let mut lines = said.lines();
    let there: u64 = lines.next().and_then(|size| size.parse().ok()).unwrap_or(0);
    let mut file = File::open(source)?;
    let length = file.metadata()?.len();
    let (mut kept, mut piece) = (0, vec![0; 1 << 20]);
    for digest in lines {
        let end = (kept + BLOCK).min(there);
        if end > length || end <= kept {
            break;
        }
        file.seek(SeekFrom::Start(kept))?;
        let mut hash = sha2::Sha256::new();
        let mut part = file.by_ref().take(end - kept);
        while let read @ 1.. = part.read(&mut piece)? {
            hash.update(&piece[..read]);
        }
        if hex_of(&hash.finalize()) != digest {
            break;
        }
        kept = end;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> String {
        hex_of(&sha2::Sha256::digest(bytes))
    }

    #[test]
    fn only_what_is_the_same_is_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let block = usize::try_from(BLOCK).unwrap();
        let bytes: Vec<u8> = (0..=250).cycle().take(block + 1000).collect();
        std::fs::write(file.path(), &bytes).unwrap();
        let first = digest(&bytes[..block]);
        let kept = |said: &str| same(said, file.path().to_owned()).unwrap();
        assert_eq!(kept("0\n"), 0);
        assert_eq!(kept(&format!("500\n{}\n", digest(&bytes[..500]))), 500);
        let size = BLOCK + 400;
        let tail = digest(&bytes[block..block + 400]);
        assert_eq!(kept(&format!("{size}\n{first}\n{tail}\n")), size);
        assert_eq!(kept(&format!("{size}\n{first}\n{first}\n")), BLOCK, "a torn tail");
        assert_eq!(kept(&format!("{size}\n{tail}\n{tail}\n")), 0);
        let longer = BLOCK + 2000;
        assert_eq!(kept(&format!("{longer}\n{first}\n{tail}\n")), BLOCK, "longer than ours");
        assert_eq!(kept("nonsense"), 0);
    }
}
