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
    Snapshot, StateError, VmDecision, VmRecord,
    atomic::{directory_of, sync_directory},
    wire::{VmDecisionWire, VmRecordWire},
};
use crate::model::{EditKey, HostName, NetworkName, VmName};

/// Something that became true, in the terms of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// We know this host by this id.
    Host {
        /// The host.
        host: HostName,
        /// The id on its card.
        id: Uuid,
    },
    /// A network is ours.
    Network {
        /// Its host.
        host: HostName,
        /// Its name.
        network: NetworkName,
        /// Its UUID.
        uuid: Uuid,
    },
    /// A network is gone.
    NetworkGone {
        /// Its host.
        host: HostName,
        /// Its name.
        network: NetworkName,
    },
    /// A VM is ours, begun at least.
    Vm {
        /// Its name.
        vm: VmName,
        /// What was begun.
        record: VmRecord,
        /// What was decided about it.
        decision: VmDecision,
    },
    /// A VM is whole, or is about to be taken apart.
    VmMade {
        /// Its name.
        vm: VmName,
        /// Which.
        made: bool,
    },
    /// A VM is gone.
    VmGone {
        /// Its name.
        vm: VmName,
    },
    /// A plugin published these values; none means they were taken away.
    Published {
        /// The plugin.
        plugin: String,
        /// What they are about.
        key: EditKey,
        /// The values.
        values: Vec<String>,
    },
}

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

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
enum FactWire {
    Host { host: HostName, id: Uuid },
    Network { host: HostName, network: NetworkName, uuid: Uuid },
    NetworkGone { host: HostName, network: NetworkName },
    Vm { vm: VmName, record: VmRecordWire, decision: Box<VmDecisionWire> },
    VmMade { vm: VmName, made: bool },
    VmGone { vm: VmName },
    Published { plugin: String, key: EditKey, values: Vec<String> },
}

impl From<&Fact> for FactWire {
    fn from(fact: &Fact) -> Self {
        match fact.clone() {
            Fact::Host { host, id } => Self::Host { host, id },
            Fact::Network { host, network, uuid } => Self::Network { host, network, uuid },
            Fact::NetworkGone { host, network } => Self::NetworkGone { host, network },
            Fact::Vm { vm, record, decision } => {
                let decision = Box::new(VmDecisionWire::from(&decision));
                Self::Vm { vm, record: VmRecordWire::from(&record), decision }
            }
            Fact::VmMade { vm, made } => Self::VmMade { vm, made },
            Fact::VmGone { vm } => Self::VmGone { vm },
            Fact::Published { plugin, key, values } => Self::Published { plugin, key, values },
        }
    }
}

impl From<FactWire> for Fact {
    fn from(wire: FactWire) -> Self {
        match wire {
            FactWire::Host { host, id } => Self::Host { host, id },
            FactWire::Network { host, network, uuid } => Self::Network { host, network, uuid },
            FactWire::NetworkGone { host, network } => Self::NetworkGone { host, network },
            FactWire::Vm { vm, record, decision } => {
                Self::Vm { vm, record: record.into(), decision: (*decision).into() }
            }
            FactWire::VmMade { vm, made } => Self::VmMade { vm, made },
            FactWire::VmGone { vm } => Self::VmGone { vm },
            FactWire::Published { plugin, key, values } => Self::Published { plugin, key, values },
        }
    }
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
    synced: Option<oneshot::Sender<Result<(), (io::ErrorKind, String)>>>,
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

fn write_lines(file: &mut File, mut requests: mpsc::UnboundedReceiver<Request>, nanos: &AtomicU64) {
    while let Some(first) = requests.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(next) = requests.try_recv() {
            batch.push(next);
        }
        let text: String = batch.iter().map(|request| request.line.as_str()).collect();
        let must_sync = batch.iter().any(|request| request.synced.is_some());
        let begun = Instant::now();
        let mut result = file.write_all(text.as_bytes());
        if must_sync && result.is_ok() {
            result = file.sync_data();
        }
        let spent = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        nanos.fetch_add(spent, Ordering::Relaxed);
        for synced in batch.into_iter().filter_map(|request| request.synced) {
            let answer = match &result {
                Ok(()) => Ok(()),
                Err(error) => Err((error.kind(), error.to_string())),
            };
            // Who asked may have been cancelled; the line is on disk all the same.
            drop(synced.send(answer));
        }
    }
}

/// Takes into the snapshot what a journal says happened after it; returns whether that was anything.
pub(super) fn fold(path: &Path, snapshot: &mut Snapshot) -> Result<bool, StateError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(StateError::Read { path: path.to_owned(), source }),
    };
    let lines = read_lines(path, &text)?;
    let Some((Line::Begin { lineage, serial, .. }, rest)) = lines.split_first() else {
        return Ok(false);
    };
    if *lineage != snapshot.lineage || *serial <= snapshot.serial {
        return Ok(false);
    }
    fold_lines(rest, snapshot);
    snapshot.serial = *serial;
    Ok(!rest.is_empty())
}

/// Parses whole lines; the last one may be torn by a power cut and then never took effect.
fn read_lines(path: &Path, text: &str) -> Result<Vec<Line>, StateError> {
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    whole
        .lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| StateError::Damaged {
                path: path.to_owned(),
                why: format!("line {}: {error}", number + 1),
                hint: "move the file away; what it told is then found by looking".into(),
            })
        })
        .collect()
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
    use crate::{model::FleetId, state::decisions::tests::two_vms};

    fn vm_fact() -> Fact {
        let (vm, decision) = two_vms().vms.into_iter().next().unwrap();
        let record = VmRecord {
            uuid: decision.uuid,
            host: decision.host.clone(),
            incarnation: 1,
            disks: Vec::new(),
            seed: "seed".into(),
            made: false,
        };
        Fact::Vm { vm, record, decision }
    }

    async fn journal_of(path: &Path, snapshot: &Snapshot, how: Option<Outcome>) {
        let journal = Journal::begin(path, snapshot.lineage, snapshot.serial + 1).unwrap();
        let gone = Fact::VmGone { vm: "web-0".parse().unwrap() };
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
    async fn a_full_disk_refuses_the_intent() {
        let snapshot = Snapshot::new(FleetId::from_bytes([7; 16]));
        let (queue, requests) = mpsc::unbounded_channel();
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let nanos = Arc::new(AtomicU64::new(0));
        let journal = Journal { path: "/dev/full".into(), queue, fsync_nanos: Arc::clone(&nanos) };
        thread::spawn(move || write_lines(&mut full, requests, &nanos));
        let error = journal.intent(0, "define", &[], &[]).await.unwrap_err();
        assert!(matches!(error, StateError::Write { .. }), "{snapshot:?}");
    }
}
