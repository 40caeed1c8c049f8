//! The files of a store on a host, read and written through the conversation.

use std::{fmt, io, sync::Arc};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Handle, sync::Mutex};

use super::{
    Contents, Fault, Held, Holder, HostStore, NewJournal, NewState, Pen, Reading, StateError, Talk,
};
use crate::model::hex_of;

/// The files, for whoever reads them.
pub(super) struct HostFiles {
    pub(super) store: HostStore,
    pub(super) talk: Talk,
    pub(super) act: &'static str,
}

impl fmt::Debug for HostFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFiles").field("store", &self.store).finish_non_exhaustive()
    }
}

impl HostFiles {
    async fn read(&mut self) -> Result<Contents, Fault> {
        let talk = &mut self.talk;
        talk.say("contents", b"").await?;
        let state = talk.given().await?;
        let journal = talk.given().await?;
        let moved = talk.given().await?;
        let line = talk.line().await?;
        let words = line.strip_prefix("history").unwrap_or_default();
        let mut history: Vec<u64> =
            words.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        history.sort_unstable();
        let moved = moved.map(|note| String::from_utf8_lossy(&note).trim().to_owned());
        Ok(Contents { state, journal, history, moved })
    }
}

#[async_trait]
impl Reading for HostFiles {
    async fn contents(&mut self) -> Result<Contents, StateError> {
        let read = self.read().await;
        read.map_err(|fault| self.store.error(self.act, fault))
    }

    async fn copy(&mut self, serial: u64) -> Result<Option<Vec<u8>>, StateError> {
        let read = async {
            self.talk.say(&format!("copy {serial:08}"), b"").await?;
            self.talk.given().await
        };
        let read = read.await;
        read.map_err(|fault| self.store.error(self.act, fault))
    }
}

/// The files while the lock is ours.
#[derive(Debug)]
pub(super) struct HostHeld {
    /// Shared with the pen of the journal.
    files: Arc<Mutex<HostFiles>>,
    store: HostStore,
    holder: Holder,
}

impl HostHeld {
    pub(super) fn of(files: HostFiles, holder: Holder) -> Self {
        let store = files.store.clone();
        Self { files: Arc::new(Mutex::new(files)), store, holder }
    }

    async fn tell(&self, line: &str, bytes: &[u8]) -> Result<(), StateError> {
        let told = self.files.lock().await.talk.tell(line, bytes).await;
        told.map_err(|fault| self.store.error("write", fault))
    }
}

#[async_trait]
impl Reading for HostHeld {
    async fn contents(&mut self) -> Result<Contents, StateError> {
        self.files.lock().await.contents().await
    }

    async fn copy(&mut self, serial: u64) -> Result<Option<Vec<u8>>, StateError> {
        self.files.lock().await.copy(serial).await
    }
}

#[async_trait]
impl Held for HostHeld {
    async fn begin(&mut self, journal: &NewJournal<'_>) -> Result<Box<dyn Pen>, StateError> {
        let (serial, first) = (journal.serial, journal.first.as_bytes());
        let keep = u8::from(journal.keep_old);
        self.tell(&format!("begin {serial} {} {keep}", first.len()), first).await?;
        let (files, runtime) = (Arc::clone(&self.files), Handle::current());
        Ok(Box::new(HostPen { files, runtime, serial }))
    }

    async fn save(&mut self, state: &NewState<'_>) -> Result<(), StateError> {
        let digest = |bytes: &[u8]| hex_of(&Sha256::digest(bytes));
        let new = state.state;
        let old = state.instead_of.map_or_else(|| "-".to_owned(), |old| digest(&old.bytes));
        let (serial, length) = (new.serial, new.bytes.len());
        let line = format!("save {serial:08} {length} {} {old}", digest(&new.bytes));
        self.tell(&line, &new.bytes).await?;
        // Of a store that copies this one, `copy` is nothing.
        Box::pin(self.store.write_copy(&self.holder, new)).await;
        Ok(())
    }

    async fn retire(&mut self, note: &str) -> Result<(), StateError> {
        let note = format!("{note}\n");
        self.tell(&format!("retire {}", note.len()), note.as_bytes()).await
    }
}

/// Adds to the journal of one run.
struct HostPen {
    files: Arc<Mutex<HostFiles>>,
    runtime: Handle,
    serial: u64,
}

impl Pen for HostPen {
    fn write(&mut self, lines: &str, durable: bool) -> io::Result<()> {
        let line = format!("append {} {} {}", self.serial, lines.len(), u8::from(durable));
        let told = self.runtime.block_on(async {
            let mut files = self.files.lock().await;
            let told = files.talk.tell(&line, lines.as_bytes()).await;
            told.map_err(|fault| files.store.error("write", fault))
        });
        told.map_err(io::Error::other)
    }
}
