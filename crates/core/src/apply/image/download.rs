//! Downloads a file to this machine, and goes on where it ended.

use std::{io::Read as _, path::Path, time::Duration};

use futures::StreamExt as _;
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE},
    redirect::{Attempt, Policy},
};
use tokio::io::AsyncWriteExt as _;

use super::{cache::Part, error::DownloadError};
use crate::{
    host::Progress,
    model::{Checksum, ImageSpec, hex_of, without_query},
};

const CONNECT: Duration = Duration::from_secs(15);
/// How long nothing may come.
const SILENCE: Duration = Duration::from_mins(1);
/// How often a server may send one elsewhere.
const REDIRECTS: usize = 10;
/// How often it is asked for the rest, as long as each time brings something.
const TRIES: usize = 50;

/// Downloads the whole of a file, and checks it. Where pieces of two versions came together it begins
/// anew, once.
pub(super) async fn whole(
    part: &Part,
    spec: &ImageSpec,
    url: &str,
    progress: &Progress,
) -> Result<(), DownloadError> {
    let client = Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE);
    let client = client.redirect(Policy::custom(redirect)).build();
    let client = client.map_err(DownloadError::Request)?;
    let here = |error| DownloadError::here(&part.path, error);
    let mut pieces = part.length().map_err(here)? > 0;
    loop {
        let came = rest(&client, part, url, progress).await;
        let length = part.length().map_err(here)?;
        let have = digest(&part.path, &spec.checksum).await.map_err(here)?;
        // Whatever the server said of its length.
        if have == spec.checksum.hex() {
            return Ok(());
        }
        pieces |= came?;
        if !pieces {
            let (url, want) = (without_query(url), spec.checksum.hex().to_owned());
            return Err(DownloadError::Digest { url, length, have, want });
        }
        tracing::info!(image = %spec.name, "what was put together is wrong: from the start");
        part.cut(0).map_err(here)?;
        part.note(url, None).map_err(here)?;
        pieces = false;
    }
}

/// Downloads what is missing; says whether that took more than one piece.
async fn rest(
    client: &Client,
    part: &Part,
    url: &str,
    progress: &Progress,
) -> Result<bool, DownloadError> {
    let here = |error| DownloadError::here(&part.path, error);
    let (mut best, mut pieces) = (part.length().map_err(here)?, false);
    let mut tries = 0;
    loop {
        let Err(error) = piece(client, part, url, progress).await else { return Ok(pieces) };
        let length = part.length().map_err(here)?;
        let is_cut = matches!(error, DownloadError::Cut { .. } | DownloadError::Short { .. });
        tries += 1;
        if !is_cut || length <= best || tries == TRIES {
            return Err(error);
        }
        tracing::warn!(url = without_query(url), length, "cut, going on");
        (best, pieces) = (length, true);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Asks for what is missing, once.
async fn piece(
    client: &Client,
    part: &Part,
    url: &str,
    progress: &Progress,
) -> Result<(), DownloadError> {
    let here = |error| DownloadError::here(&part.path, error);
    let mut from = part.length().map_err(here)?;
    let answer = ask(client, part, url, from).await?;
    match answer.status() {
        // There is nothing behind what has come: its digest tells whether that is all.
        StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => return Ok(()),
        StatusCode::PARTIAL_CONTENT if begin(answer.headers()) == Some(from) => {}
        status if status.is_success() => {
            part.cut(0).map_err(here)?;
            from = 0;
        }
        status => {
            // reqwest hands on what it cannot follow.
            let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            return Err(match to.filter(|_| status.is_redirection()) {
                Some(to) => DownloadError::Elsewhere(without_query(to)),
                None => DownloadError::Status(status),
            });
        }
    }
    part.note(url, version(answer.headers())).map_err(here)?;
    let total = answer.content_length().map(|length| from + length);
    let file = tokio::fs::OpenOptions::new().append(true).open(&part.path).await;
    let mut file = file.map_err(here)?;
    let (mut done, mut body) = (from, answer.bytes_stream());
    progress(done, total);
    while let Some(chunk) = body.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                file.flush().await.map_err(here)?;
                let source = error.without_url();
                return Err(match total {
                    Some(want) => DownloadError::Short { have: done, want },
                    None => DownloadError::Cut { have: done, source },
                });
            }
        };
        file.write_all(&chunk).await.map_err(here)?;
        done += chunk.len() as u64;
        progress(done, total);
    }
    file.flush().await.map_err(here)
}

async fn ask(
    client: &Client,
    part: &Part,
    url: &str,
    from: u64,
) -> Result<Response, DownloadError> {
    let mut request = client.get(url);
    if from > 0 {
        request = request.header(RANGE, format!("bytes={from}-"));
        if let Some(version) = part.version(url) {
            request = request.header(IF_RANGE, version);
        }
    }
    request.send().await.map_err(|error| {
        refused(&error).unwrap_or_else(|| DownloadError::Request(error.without_url()))
    })
}

/// Returns where a part of a file begins: `bytes 100-199/200`.
fn begin(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

/// Returns what names this version of a file for `If-Range`: a strong `ETag`, else its time.
fn version(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    text(ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(LAST_MODIFIED))
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Elsewhere(String),
    #[error("too many redirects")]
    Loop,
}

fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if !["http", "https"].contains(&attempt.url().scheme()) {
        let place = without_query(attempt.url().as_str());
        return attempt.error(Refused::Elsewhere(place));
    }
    if attempt.previous().len() > REDIRECTS {
        return attempt.error(Refused::Loop);
    }
    attempt.follow()
}

fn refused(error: &reqwest::Error) -> Option<DownloadError> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        match error.downcast_ref::<Refused>() {
            Some(Refused::Elsewhere(place)) => {
                return Some(DownloadError::Elsewhere(place.clone()));
            }
            Some(Refused::Loop) => return Some(DownloadError::Loop(REDIRECTS)),
            None => source = error.source(),
        }
    }
    None
}

/// Returns the digest of a file.
pub(super) async fn digest(path: &Path, checksum: &Checksum) -> std::io::Result<String> {
    let (path, checksum) = (path.to_owned(), checksum.clone());
    let hashed = tokio::task::spawn_blocking(move || match checksum {
        Checksum::Sha256(_) => hashed::<sha2::Sha256>(&path),
        Checksum::Sha512(_) => hashed::<sha2::Sha512>(&path),
    });
    hashed.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn hashed<H: sha2::Digest>(path: &Path) -> std::io::Result<String> {
    let (mut file, mut hash) = (std::fs::File::open(path)?, H::new());
    let mut piece = vec![0; 1 << 20];
    while let read @ 1.. = file.read(&mut piece)? {
        hash.update(&piece[..read]);
    }
    Ok(hex_of(&hash.finalize()))
}
