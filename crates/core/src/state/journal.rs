//! The journal: an intent is on disk before the call that carries it out.
//!
//! One line of JSON each, append only. Intents that arrive while the disk is busy share one fsync.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    Fact, Snapshot, StateError,
    atomic::{directory_of, sync_directory},
    fact::FactWire,
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "lowercase")]
enum Line {
    Begin { format: u32, lineage: Uuid, serial: u64 },
    Intent { step: usize, what: String, claims: Vec<FactWire>, settles: Vec<FactWire> },
    Outcome { step: usize, how: Outcome },
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

/// What a journal is written to.
trait Disk: Write {
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Journal {
    /// Begins the journal of the run that will write `serial`. What was there was folded in.
    pub(super) fn begin(path: &Path, lineage: Uuid, serial: u64) -> Result<Self, StateError> {
        let write = |source| StateError::Write { path: path.to_owned(), source };
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(write)?;
        file.set_len(0).map_err(write)?;
        let begin = Line::Begin { format: super::wire::FORMAT, lineage, serial };
        file.write_all(text_of(&begin).as_bytes()).map_err(write)?;
        file.sync_all().map_err(write)?;
        sync_directory(directory_of(path)).map_err(write)?;
        let (queue, requests) = mpsc::unbounded_channel();
        let fsync_nanos = Arc::new(AtomicU64::new(0));
        let nanos = Arc::clone(&fsync_nanos);
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || write_lines(&mut file, requests, &nanos))
            .map_err(write)?;
        Ok(Self { path: path.to_owned(), queue, fsync_nanos })
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
        let request = Request { line: text_of(&line), synced: Some(synced) };
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
        let line = text_of(&Line::Outcome { step, how });
        if self.queue.send(Request { line, synced: None }).is_err() {
            tracing::warn!("the journal's writer is gone");
        }
    }

    /// Returns how long this run waited for the disk so far.
    pub fn fsync_time(&self) -> Duration {
        Duration::from_nanos(self.fsync_nanos.load(Ordering::Relaxed))
    }
}

fn text_of(line: &Line) -> String {
    let mut text = serde_json::to_string(line).expect("journal lines are plain JSON");
    text.push('\n');
    text
}

/// How long an intent waits at most for others to share its fsync.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// Writes until the first error: from there on the end of the file is unknown (a torn line, pages
/// that an fsync gave up on), so nothing more is written and everybody is refused.
fn write_lines(
    disk: &mut impl Disk,
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
            state = write_batch(disk, &batch).map_err(|error| (error.kind(), error.to_string()));
            (ended, cost) = (Instant::now(), begun.elapsed());
            let spent = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
            nanos.fetch_add(spent, Ordering::Relaxed);
        }
        for synced in batch.into_iter().filter_map(|request| request.synced) {
            // Who asked may have been cancelled; the line is on disk all the same.
            drop(synced.send(state.clone()));
        }
    }
}

fn write_batch(disk: &mut impl Disk, batch: &[Request]) -> io::Result<()> {
    let text: String = batch.iter().map(|request| request.line.as_str()).collect();
    disk.write_all(text.as_bytes())?;
    if batch.iter().any(|request| request.synced.is_some()) { disk.sync() } else { Ok(()) }
}

/// Takes into the snapshot what a journal says happened after it; returns whether that was anything.
pub(super) fn fold(path: &Path, snapshot: &mut Snapshot) -> Result<bool, StateError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(StateError::Read { path: path.to_owned(), source }),
    };
    // The last line may be torn by a power cut and then never took effect.
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let mut lines = whole.lines().enumerate().map(|(number, line)| parse_line(path, number, line));
    let Some(Line::Begin { lineage, serial, .. }) = lines.next().transpose()? else {
        return Ok(false);
    };
    // Damage further down is nobody's concern when the run is in the state already.
    if lineage != snapshot.lineage || serial <= snapshot.serial {
        return Ok(false);
    }
    let rest: Vec<Line> = lines.collect::<Result<_, _>>()?;
    fold_lines(&rest, snapshot);
    snapshot.serial = serial;
    Ok(!rest.is_empty())
}

fn parse_line(path: &Path, number: usize, line: &str) -> Result<Line, StateError> {
    serde_json::from_str(line).map_err(|error| StateError::Damaged {
        path: path.to_owned(),
        why: format!("line {}: {error}", number + 1),
        hint: "move the file away; what it told is then found by looking".into(),
    })
}

fn fold_lines(lines: &[Line], snapshot: &mut Snapshot) {
    let mut settling = std::collections::BTreeMap::new();
    for line in lines {
        match line {
            Line::Begin { .. } => {}
            Line::Intent { step, claims, settles, .. } => {
                for fact in claims {
                    snapshot.fold(&fact.clone().into());
                }
                settling.insert(*step, settles);
            }
            Line::Outcome { step, how: Outcome::Done } => {
                let facts = settling.remove(step).into_iter().flatten();
                facts.for_each(|fact| snapshot.fold(&fact.clone().into()));
            }
            Line::Outcome { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{FleetId, VmName},
        state::{VmRecord, decisions::tests::two_vms},
    };

    fn vm_fact() -> Fact {
        let (vm, decision) = two_vms().vms.into_iter().next().unwrap();
        let record = VmRecord {
            uuid: decision.uuid,
            host: decision.host.clone(),
            incarnation: 1,
            disks: Vec::new(),
            seed: "seed".into(),
            made: false,
            unready: false,
            protect: false,
            applied: None,
        };
        Fact::Vm { vm, record, decision }
    }

    async fn journal_of(path: &Path, snapshot: &Snapshot, how: Option<Outcome>) {
        let journal = Journal::begin(path, snapshot.lineage, snapshot.serial + 1).unwrap();
        let gone = Fact::VmGone { vm: "web-0".parse().unwrap(), kept: None };
        journal.intent(0, "define", &[vm_fact()], &[]).await.unwrap();
        journal.intent(1, "remove", &[], &[gone]).await.unwrap();
        if let Some(how) = how {
            journal.outcome(1, how);
        }
        journal.intent(2, "look", &[], &[]).await.unwrap();
    }

    #[tokio::test]
    async fn claims_hold_from_the_intent_and_removals_from_the_outcome() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let cases = [(None, 1), (Some(Outcome::Unknown), 1), (Some(Outcome::Done), 0)];
        for (how, left) in cases {
            let mut snapshot = Snapshot::new(FleetId::from_bytes([7; 16]));
            journal_of(&path, &snapshot, how).await;
            assert!(fold(&path, &mut snapshot).unwrap());
            assert_eq!(snapshot.vms.len(), left, "{how:?}");
            assert_eq!(snapshot.serial, 1);
            assert!(!fold(&path, &mut snapshot).unwrap(), "folding twice");
        }
    }

    #[test]
    fn facts_of_older_journals_still_read() {
        let read = |text: &str| Fact::from(serde_json::from_str::<FactWire>(text).unwrap());
        let vm: VmName = "web-0".parse().unwrap();
        let gone = Fact::VmGone { vm, kept: None };
        assert_eq!(read(r#"{"fact":"vm-gone","vm":"web-0"}"#), gone);
        let mut older = serde_json::to_value(FactWire::from(&vm_fact())).unwrap();
        let record = older["record"].as_object_mut().unwrap();
        assert!(record.remove("unready").is_none(), "what is false is not written");
        assert_eq!(read(&older.to_string()), vm_fact());
    }

    #[tokio::test]
    async fn a_torn_last_line_never_took_effect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut snapshot = Snapshot::new(FleetId::from_bytes([7; 16]));
        journal_of(&path, &snapshot, None).await;
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"entry\":\"outcome\",\"st").unwrap();
        assert!(fold(&path, &mut snapshot).unwrap());
        file.write_all(b"\n{}\n").unwrap();
        snapshot.serial = 0;
        assert!(matches!(fold(&path, &mut snapshot), Err(StateError::Damaged { .. })));
    }

    #[tokio::test]
    async fn a_damaged_journal_blocks_only_who_needs_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut snapshot = Snapshot::new(FleetId::from_bytes([7; 16]));
        journal_of(&path, &snapshot, None).await;
        let text = std::fs::read_to_string(&path).unwrap();
        let (begin, rest) = text.split_once('\n').unwrap();
        // A line that was torn and the next one written behind it.
        let glued = format!("{begin}\n{{\"entry\":\"intent\",\"st{rest}");
        std::fs::write(&path, glued).unwrap();
        assert!(matches!(fold(&path, &mut snapshot), Err(StateError::Damaged { .. })));
        assert_eq!((snapshot.serial, snapshot.vms.len()), (0, 0), "nothing of it is taken in");
        snapshot.serial = 1;
        assert!(!fold(&path, &mut snapshot).unwrap(), "its run is in the state already");
        snapshot.serial = 0;
        snapshot.lineage = Uuid::from_u128(1);
        assert!(!fold(&path, &mut snapshot).unwrap(), "it is another history's");
    }

    fn journal_on(mut disk: impl Disk + Send + 'static) -> Journal {
        let (queue, requests) = mpsc::unbounded_channel();
        let nanos = Arc::new(AtomicU64::new(0));
        let journal = Journal { path: "test".into(), queue, fsync_nanos: Arc::clone(&nanos) };
        thread::spawn(move || write_lines(&mut disk, requests, &nanos));
        journal
    }

    #[tokio::test]
    async fn a_full_disk_refuses_the_intent() {
        let journal = journal_on(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let error = journal.intent(0, "define", &[], &[]).await.unwrap_err();
        assert!(matches!(error, StateError::Write { .. }));
    }

    /// Fails once, at a write or at a sync; anything written after that is a mistake.
    struct FailsOnce {
        at_sync: bool,
        failed: bool,
    }

    impl FailsOnce {
        fn fail(&mut self, due: bool) -> io::Result<()> {
            assert!(!self.failed, "it was told that nothing can be relied on any more");
            self.failed = due;
            if due { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
        }
    }

    impl Write for FailsOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.fail(!self.at_sync).map(|()| bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk for FailsOnce {
        fn sync(&mut self) -> io::Result<()> {
            self.fail(self.at_sync)
        }
    }

    #[tokio::test]
    async fn after_one_error_everything_is_refused() {
        for at_sync in [false, true] {
            let journal = journal_on(FailsOnce { at_sync, failed: false });
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
}
