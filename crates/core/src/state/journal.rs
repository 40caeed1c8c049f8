//! The journal: an intent is on disk before the call that carries it out.
//!
//! One line of JSON each, append only, each with a checksum (`line.rs`). Intents that arrive while the disk is busy share one fsync.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{
    Fact, Pen, StateError,
    fact::FactWire,
    line::{Chain, Line},
};

/// How a step ended, as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is done.
    Done,
    /// It certainly did not happen.
    Failed,
    /// It may have happened: to be settled by looking.
    Unknown,
}

/// An open journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    queue: mpsc::UnboundedSender<Request>,
    fsync_nanos: Arc<AtomicU64>,
}

struct Request {
    line: String,
    /// Answered once the line is on disk; `None` does not wait.
    synced: Option<oneshot::Sender<Result<(), Broken>>>,
}

/// Why nothing can be written any more.
type Broken = (io::ErrorKind, String);

impl Journal {
    /// Goes on with the journal that a pen has begun; `path` is what it is called.
    pub(super) fn begin(
        mut pen: Box<dyn Pen>,
        chain: Chain,
        path: PathBuf,
    ) -> Result<Self, StateError> {
        let (queue, requests) = mpsc::unbounded_channel();
        let fsync_nanos = Arc::new(AtomicU64::new(0));
        let nanos = Arc::clone(&fsync_nanos);
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || write_lines(&mut *pen, chain, requests, &nanos))
            .map_err(|source| StateError::Write { path: path.clone(), source })?;
        Ok(Self { path, queue, fsync_nanos })
    }

    /// Puts an intent on disk: `claims` hold from now on, `settles` once the step is done.
    pub async fn intent(
        &self,
        step: usize,
        what: &str,
        claims: &[Fact],
        settles: &[Fact],
    ) -> Result<(), StateError> {
        let line = Line::Intent {
            step,
            what: what.to_owned(),
            claims: claims.iter().map(FactWire::from).collect(),
            settles: settles.iter().map(FactWire::from).collect(),
        };
        let (synced, answer) = oneshot::channel();
        let request = Request { line: line.text(), synced: Some(synced) };
        let gone = || (io::ErrorKind::BrokenPipe, "the journal's writer is gone".to_owned());
        let result = match self.queue.send(request) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        };
        result.map_err(|(kind, text)| StateError::Write {
            path: self.path.clone(),
            source: io::Error::new(kind, text),
        })
    }

    /// Notes how a step ended. Losing this line costs a look, never an object.
    pub fn outcome(&self, step: usize, how: Outcome) {
        let line = Line::Outcome { step, how }.text();
        if self.queue.send(Request { line, synced: None }).is_err() {
            tracing::warn!("the journal's writer is gone");
        }
    }

    /// Returns how long this run waited for the disk so far.
    pub fn fsync_time(&self) -> Duration {
        Duration::from_nanos(self.fsync_nanos.load(Ordering::Relaxed))
    }
}

/// How long an intent waits at most for others to share its fsync.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// Writes until the first error: from there on the end of the file is unknown (a torn line, pages
/// that an fsync gave up on), so nothing more is written and everybody is refused.
fn write_lines(
    pen: &mut dyn Pen,
    mut chain: Chain,
    mut requests: mpsc::UnboundedReceiver<Request>,
    nanos: &AtomicU64,
) {
    let mut state: Result<(), Broken> = Ok(());
    let (mut ended, mut cost) = (Instant::now(), Duration::ZERO);
    while let Some(first) = requests.blocking_recv() {
        // The disk gets one part in twenty-five of the time: what comes meanwhile shares an fsync.
        // What comes alone, as in a small fleet, does not wait.
        let rest = (cost * 24).min(LONGEST_REST).saturating_sub(ended.elapsed());
        thread::sleep(rest);
        let mut batch = vec![first];
        while let Ok(next) = requests.try_recv() {
            batch.push(next);
        }
        if state.is_ok() {
            let begun = Instant::now();
            state = write_batch(pen, &mut chain, &batch)
                .map_err(|error| (error.kind(), error.to_string()));
            (ended, cost) = (Instant::now(), begun.elapsed());
            let spent = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
            nanos.fetch_add(spent, Ordering::Relaxed);
        } else {
            let outcomes = batch.iter().filter(|request| request.synced.is_none());
            let text: String = outcomes.map(|request| chain.seal(&request.line)).collect();
            if !text.is_empty() {
                pen.last_words(&text);
            }
        }
        for synced in batch.into_iter().filter_map(|request| request.synced) {
            // Who asked may have been cancelled; the line is on disk all the same.
            drop(synced.send(state.clone()));
        }
    }
}

fn write_batch(pen: &mut dyn Pen, chain: &mut Chain, batch: &[Request]) -> io::Result<()> {
    let text: String = batch.iter().map(|request| chain.seal(&request.line)).collect();
    pen.write(&text, batch.iter().any(|request| request.synced.is_some()))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    fn journal_of(pen: impl Pen + 'static) -> Journal {
        Journal::begin(Box::new(pen), Chain::default(), "test".into()).unwrap()
    }

    #[tokio::test]
    async fn a_full_disk_refuses_the_intent() {
        let journal = journal_of(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let error = journal.intent(0, "define", &[], &[]).await.unwrap_err();
        assert!(matches!(error, StateError::Write { .. }));
    }

    /// Fails once; anything written after that is a mistake.
    struct FailsOnce {
        failed: bool,
    }

    impl Pen for FailsOnce {
        fn write(&mut self, _: &str, _: bool) -> io::Result<()> {
            assert!(!self.failed, "it was told that nothing can be relied on any more");
            self.failed = true;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
    }

    #[tokio::test]
    async fn after_one_error_everything_is_refused() {
        let journal = journal_of(FailsOnce { failed: false });
        for step in 0..3 {
            let result = journal.intent(step, "define", &[], &[]).await;
            match result {
                Err(StateError::Write { source, .. }) => {
                    assert_eq!(source.kind(), io::ErrorKind::StorageFull, "step {step}");
                }
                other => panic!("{other:?}"),
            }
            journal.outcome(step, Outcome::Failed);
        }
    }
}
