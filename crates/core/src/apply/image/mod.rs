//! Bringing an image to a host: by the host itself, else from here.

mod cache;
mod download;
mod error;
mod unpack;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::Mutex;

use self::{cache::Part, error::DownloadError, unpack::UnpackError};
use super::{Failure, FailureKind, causes_of};
use crate::{
    events::{Event, Listener},
    host::{Fetched, Host, Progress},
    model::{Checksum, Fleet, ImageForm, ImageSource, ImageSpec, Size, without_query},
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
        let volumes = fleet.images.values().map(|image| image_spec(fleet, image).volume);
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
        if !spec.form.is_plain() && !host.unpacks(spec.form).await.map_err(host_failure)? {
            let (spec, path) = self.made(spec, progress).await.map_err(|error| error.on(what))?;
            return host.store_image(&spec, &path, progress).await.map_err(host_failure);
        }
        let path = match &self.fleet.images[&spec.name].source {
            ImageSource::Path(path) => path.clone(),
            ImageSource::Url(url) => {
                let fetched = host.fetch_image(spec, url, progress).await.map_err(host_failure)?;
                let Fetched::Not(why) = fetched else { return Ok(()) };
                let _gate = self.gates[&spec.volume].lock().await;
                let there = format!("host {} cannot fetch it by itself: {why}", host.name());
                let here = self.download(spec, url, progress).await;
                here.map_err(|error| error.after(there).on(what))?
            }
        };
        host.store_image(spec, &path, progress).await.map_err(host_failure)
    }

    /// Returns where an image lies here as it is published, verified.
    async fn published(&self, spec: &ImageSpec, progress: &Progress) -> Result<PathBuf, Refused> {
        let path = match &self.fleet.images[&spec.name].source {
            ImageSource::Url(url) => return self.download(spec, url, progress).await,
            ImageSource::Path(path) => path,
        };
        let io = |error| Refused::of(&DownloadError::here(path, error));
        let length = tokio::fs::metadata(path).await.map_err(io)?.len();
        let have = download::digest(path, &spec.checksum).await.map_err(io)?;
        if have == spec.checksum.hex() {
            return Ok(path.clone());
        }
        let (url, want) = (shown(path), spec.checksum.hex().to_owned());
        Err(Refused::of(&DownloadError::Digest { url, length, have, want }))
    }

    /// Returns a plain qcow2 file made here, and what it must hash to.
    async fn made(
        &self,
        spec: &ImageSpec,
        progress: &Progress,
    ) -> Result<(ImageSpec, PathBuf), Refused> {
        let _gate = self.gates[&spec.volume].lock().await;
        let to = self.cache.join(&spec.volume);
        let io = |error| Refused::of(&DownloadError::here(&self.cache, error));
        if !to.exists() {
            tokio::fs::create_dir_all(&self.cache).await.map_err(io)?;
            let from = self.published(spec, progress).await?;
            let part = Part::lock(&to).await.map_err(io)?;
            let (made, form, most) = (to.clone(), spec.form, spec.most);
            let work = tokio::task::spawn_blocking(move || make(&part, &from, &made, form, most));
            let worked =
                work.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            worked.map_err(|error| Refused::unpacked(&error))?;
        }
        let any = Checksum::Sha256(String::new());
        let checksum = Checksum::Sha256(download::digest(&to, &any).await.map_err(io)?);
        let form = ImageForm::default();
        Ok((ImageSpec { checksum, form, ..spec.clone() }, to))
    }

    /// Downloads an image to the cache of this machine; one that is there was verified.
    async fn download(
        &self,
        spec: &ImageSpec,
        url: &str,
        progress: &Progress,
    ) -> Result<PathBuf, Refused> {
        let ending = if spec.form.is_plain() { "" } else { ".published" };
        let path = self.cache.join(format!("{}{ending}", spec.volume));
        if path.exists() {
            return Ok(path);
        }
        let first = format!("cannot download {}", without_query(url));
        let refused = |error: DownloadError| Refused::of(&error).after_all(first.clone());
        let io = |error| refused(DownloadError::here(&self.cache, error));
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
            return Err(refused(error));
        }
        part.finish(&path).map_err(io)?;
        Ok(path)
    }
}

/// Makes a plain file of a published one, unless another process has by now; holds the part meanwhile.
fn make(
    part: &Part,
    from: &Path,
    to: &Path,
    form: ImageForm,
    most: Size,
) -> Result<(), UnpackError> {
    if to.exists() {
        part.remove();
        return Ok(());
    }
    let beside = part.beside();
    let made = unpack::unpack(from, &beside, form, most)
        .and_then(|()| cache::rename(&beside, to).map_err(UnpackError::Write));
    drop(std::fs::remove_file(&beside));
    part.remove();
    made
}

/// Why an image was not had here: causes, outermost first, and what to do.
#[derive(Debug)]
struct Refused {
    causes: Vec<String>,
    hint: &'static str,
}

impl Refused {
    fn of(error: &DownloadError) -> Self {
        Self { causes: causes_of(error), hint: error.hint() }
    }

    fn unpacked(error: &UnpackError) -> Self {
        Self { causes: causes_of(error), hint: error.hint() }
    }

    /// Says first what was tried.
    fn after_all(mut self, what: String) -> Self {
        self.causes.insert(0, what);
        self
    }

    /// Says, after what was tried, what failed before.
    fn after(mut self, before: String) -> Self {
        self.causes.insert(1.min(self.causes.len()), before);
        self
    }

    fn on(self, what: &str) -> Failure {
        Failure {
            what: what.to_owned(),
            causes: self.causes,
            hint: Some(self.hint.to_owned()),
            kind: FailureKind::Input,
            outcome: Outcome::Failed,
        }
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
