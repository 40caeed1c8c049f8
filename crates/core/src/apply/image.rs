//! Bringing an image to a host: by the host itself, else from here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use sha2::Digest as _;
use tokio::{io::AsyncWriteExt, sync::Mutex};

use super::{Failure, FailureKind, causes_of};
use crate::{
    host::{Host, Progress},
    model::{Checksum, Fleet, ImageName, ImageSource, ImageSpec, hex_of, without_query},
    state::Outcome,
};

const CONNECT: Duration = Duration::from_secs(15);
/// How long nothing may come.
const SILENCE: Duration = Duration::from_mins(1);

/// Where images come from, and one gate each, so that several hosts do not download one twice.
#[derive(Debug)]
pub(super) struct Images<'a> {
    fleet: &'a Fleet,
    cache: PathBuf,
    gates: BTreeMap<ImageName, Mutex<()>>,
}

impl<'a> Images<'a> {
    pub(super) fn new(fleet: &'a Fleet, cache: PathBuf) -> Self {
        let gates = fleet.images.keys().map(|name| (name.clone(), Mutex::new(()))).collect();
        Self { fleet, cache, gates }
    }

    /// Brings an image into a host's pool.
    pub(super) async fn bring(
        &self,
        spec: &ImageSpec,
        host: &dyn Host,
        progress: &Progress,
        what: &str,
    ) -> Result<(), Failure> {
        let host_failure = |error| Failure::of_host(what.to_owned(), &error);
        let path = match &self.fleet.images[&spec.name].source {
            ImageSource::Path(path) => path.clone(),
            ImageSource::Url(url) => {
                if host.fetch_image(spec, url, progress).await.map_err(host_failure)? {
                    return Ok(());
                }
                let _gate = self.gates[&spec.name].lock().await;
                self.download(spec, url, progress, what).await?
            }
        };
        host.store_image(spec, &path, progress).await.map_err(host_failure)
    }

    /// Downloads an image to the cache of this machine; one that is there was verified.
    async fn download(
        &self,
        spec: &ImageSpec,
        url: &str,
        progress: &Progress,
        what: &str,
    ) -> Result<PathBuf, Failure> {
        let path = self.cache.join(&spec.volume);
        if path.exists() {
            return Ok(path);
        }
        let failed = |causes: Vec<String>| Failure {
            what: what.to_owned(),
            causes: [vec![format!("cannot download {}", without_query(url))], causes].concat(),
            hint: Some("neither the host nor this machine got it: is the address right?".into()),
            kind: FailureKind::Input,
            outcome: Outcome::Failed,
        };
        tokio::fs::create_dir_all(&self.cache)
            .await
            .map_err(|error| failed(vec![error.to_string()]))?;
        let staging = self.cache.join(format!(".{}.part", spec.volume));
        let fetched = fetch(url, &staging, &spec.checksum, progress).await;
        if fetched.is_err() {
            drop(tokio::fs::remove_file(&staging).await);
        }
        let digest = fetched.map_err(failed)?;
        if digest != spec.checksum.hex() {
            drop(tokio::fs::remove_file(&staging).await);
            let (url, have, want) = (without_query(url), digest, spec.checksum.hex());
            return Err(Failure {
                what: what.to_owned(),
                causes: vec![format!("{url} hashes to {have}, the fleet says {want}")],
                hint: Some("was the image replaced? check its publisher's checksums".into()),
                kind: FailureKind::Input,
                outcome: Outcome::Failed,
            });
        }
        tokio::fs::rename(&staging, &path)
            .await
            .map_err(|error| failed(vec![error.to_string()]))?;
        Ok(path)
    }
}

/// Downloads to a file and returns the hexadecimal digest of what came.
async fn fetch(
    url: &str,
    to: &Path,
    checksum: &Checksum,
    progress: &Progress,
) -> Result<String, Vec<String>> {
    let words = |error: &dyn std::error::Error| causes_of(error);
    let io = |error: std::io::Error| words(&error);
    let client = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE);
    let client = client.build().map_err(|error| words(&error))?;
    let answer = client
        .get(url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| words(&error.without_url()))?;
    let total = answer.content_length();
    let mut hash = Hash::of(checksum);
    let mut file = tokio::fs::File::create(to).await.map_err(io)?;
    let (mut done, mut body) = (0, answer.bytes_stream());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| words(&error.without_url()))?;
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(io)?;
        done += chunk.len() as u64;
        progress(done, total);
    }
    file.sync_all().await.map_err(io)?;
    Ok(hash.hex())
}

enum Hash {
    Sha256(Box<sha2::Sha256>),
    Sha512(Box<sha2::Sha512>),
}

impl Hash {
    fn of(checksum: &Checksum) -> Self {
        match checksum {
            Checksum::Sha256(_) => Self::Sha256(Box::default()),
            Checksum::Sha512(_) => Self::Sha512(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    fn hex(self) -> String {
        let bytes = match self {
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
        };
        hex_of(&bytes)
    }
}

/// A progress that tells a listener.
pub(super) fn told(step: usize, listener: &Arc<dyn crate::events::Listener>) -> Progress {
    let listener = Arc::clone(listener);
    Arc::new(move |done, total| {
        listener.on(crate::events::Event::StepProgress { step, done, total });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_not_shown() {
        assert_eq!(without_query("https://x.org/a.qcow2?key=poison"), "https://x.org/a.qcow2?…");
        assert_eq!(without_query("https://x.org/a.qcow2"), "https://x.org/a.qcow2");
    }
}
