//! Bringing an image to a host: by the host itself, else from here.

mod cache;
mod download;
mod error;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::Mutex;

use self::{cache::Part, error::DownloadError};
use super::{Failure, FailureKind, causes_of};
use crate::{
    events::{Event, Listener},
    host::{Fetched, Host, Progress},
    model::{Fleet, ImageSource, ImageSpec, without_query},
    plan::image_spec,
    state::Outcome,
};

/// Where images come from, and one gate each, so that several hosts do not download one twice.
#[derive(Debug)]
pub(super) struct Images<'a> {
    fleet: &'a Fleet,
    cache: PathBuf,
    gates: BTreeMap<String, Mutex<()>>,
}

impl<'a> Images<'a> {
    pub(super) fn new(fleet: &'a Fleet, cache: PathBuf) -> Self {
        let volumes = fleet.images.values().map(|image| image_spec(image).volume);
        let gates = volumes.map(|volume| (volume, Mutex::new(()))).collect();
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
                let fetched = host.fetch_image(spec, url, progress).await.map_err(host_failure)?;
                let Fetched::Not(why) = fetched else { return Ok(()) };
                let _gate = self.gates[&spec.volume].lock().await;
                let here = self.download(spec, url, progress).await;
                here.map_err(|error| {
                    let first = format!("cannot download {}", without_query(url));
                    let there = format!("host {} cannot fetch it by itself: {why}", host.name());
                    let mut causes = vec![first, there];
                    causes.extend(causes_of(&error));
                    let (kind, outcome) = (FailureKind::Input, Outcome::Failed);
                    Failure {
                        what: what.to_owned(),
                        causes,
                        hint: Some(error.hint().into()),
                        kind,
                        outcome,
                    }
                })?
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
    ) -> Result<PathBuf, DownloadError> {
        let path = self.cache.join(&spec.volume);
        if path.exists() {
            return Ok(path);
        }
        let io = |error| DownloadError::here(&self.cache, error);
        tokio::fs::create_dir_all(&self.cache).await.map_err(io)?;
        let part = Part::lock(&path).await.map_err(io)?;
        if path.exists() {
            return Ok(path);
        }
        let whole = download::whole(&part, spec, url, progress).await;
        if let Err(error) = whole {
            if !error.leaves_a_part() || part.length().is_ok_and(|length| length == 0) {
                part.remove();
            }
            return Err(error);
        }
        part.finish(&path).map_err(io)?;
        Ok(path)
    }
}

/// A progress that tells a listener.
pub(super) fn told(step: usize, listener: &Arc<dyn Listener>) -> Progress {
    let listener = Arc::clone(listener);
    Arc::new(move |done, total| {
        listener.on(Event::StepProgress { step, done, total });
    })
}

/// Shows a path in an error.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
