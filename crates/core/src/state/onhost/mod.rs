//! The store on a host: the files of the folder, under a lock of the host's kernel.
//!
//! One process there holds the lock and makes every write, at the other end of one SSH channel: a run
//! whose lock was taken away has nothing left to write with.

mod held;
mod script;
mod talk;

use std::{error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;

pub use self::talk::Wire;
use self::{
    held::{HostFiles, HostHeld},
    script::SCRIPT,
    talk::{Fault, Greeting, Talk},
};
use super::{
    Contents, Held, Holder, NewJournal, NewState, Pen, Place, Reading, StateError, Store,
    StoreTrouble, Written,
};

/// Runs a script on a host, with parameters, and returns what it reads and writes.
pub type Dial = Arc<dyn Fn(&'static str, Vec<String>) -> BoxFuture<'static, Dialled> + Send + Sync>;

/// What came of it.
pub type Dialled = Result<Box<dyn Wire>, DialError>;

/// Why a script cannot be run on a host.
#[derive(Debug)]
pub struct DialError {
    /// Whether it was told no (its key, the login), other than not answering.
    pub refused: bool,
    /// What the user can do.
    pub hint: Option<String>,
    /// Why.
    pub source: Box<dyn Error + Send + Sync>,
}

/// A fleet's directory on a host.
#[derive(Clone)]
pub struct HostStore {
    host: String,
    directory: String,
    place: Place,
    dial: Dial,
    deadline: Duration,
    copy: Option<Arc<Self>>,
}

impl fmt::Debug for HostStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostStore").field("place", &self.place).finish_non_exhaustive()
    }
}

impl HostStore {
    /// Names a directory on a host, which is reached so. Each exchange has this deadline.
    pub fn new(host: &str, directory: &str, dial: Dial, deadline: Duration) -> Self {
        let (host, directory) = (host.to_owned(), directory.to_owned());
        let place = Place::Host { host: host.clone(), directory: directory.clone() };
        Self { host, directory, place, dial, deadline, copy: None }
    }

    /// The same, with a copy on another host after each run.
    #[must_use]
    pub fn copied_to(self, copy: Self) -> Self {
        Self { copy: Some(Arc::new(copy)), ..self }
    }

    async fn begin(
        &self,
        act: &'static str,
        mode: &str,
        holder: &str,
    ) -> Result<(Talk, Greeting), StateError> {
        let words = [self.directory.as_str(), mode, holder].map(str::to_owned);
        let wire = (self.dial)(SCRIPT, words.into()).await;
        let wire = wire.map_err(|error| StateError::Store {
            place: self.place.to_string(),
            act,
            trouble: if error.refused { StoreTrouble::Refused } else { StoreTrouble::Away },
            hint: self.way_on().or(error.hint),
            source: error.source,
        })?;
        let mut talk = Talk::over(wire, self.deadline);
        let greeting = talk.greeting().await.map_err(|fault| self.error(act, fault))?;
        if matches!(greeting, Greeting::Nowhere) {
            let up = self.directory.rsplit_once('/').map_or("/", |(up, _)| up);
            return Err(StateError::Store {
                place: self.place.to_string(),
                act,
                trouble: StoreTrouble::Refused,
                hint: Some(format!(
                    "is its disk mounted? `freehold host add` makes a new host's pool; a `path` in \
                     the `state` block keeps the state elsewhere on {}",
                    self.host
                )),
                source: format!("there is no directory {up}").into(),
            });
        }
        Ok((talk, greeting))
    }

    /// Says how to go on without the host.
    fn way_on(&self) -> Option<String> {
        self.copy.as_ref().map(|copy| {
            format!(
                "`freehold doctor {}` goes there step by step; if it is lost, a copy of the state \
                 is in {}: write `host = host.{}` in the `state` block",
                self.host, copy.place, copy.host
            )
        })
    }

    fn error(&self, act: &'static str, fault: Fault) -> StateError {
        let place = self.place.to_string();
        let (trouble, hint, source) = match fault {
            Fault::Over => {
                return StateError::Superseded { place, why: "another run took it over".into() };
            }
            Fault::Changed => {
                let why = "somebody else wrote there meanwhile".into();
                return StateError::Superseded { place, why };
            }
            Fault::Away(why) => {
                let doctor = || Some(format!("`freehold doctor {}` goes there", self.host));
                (StoreTrouble::Away, self.way_on().or_else(doctor), why)
            }
            Fault::Full => {
                let hint = format!("make room on the disk of {}", self.place);
                (StoreTrouble::Full, Some(hint), "no space is left there".to_owned())
            }
            Fault::Refused(why) => {
                let hint =
                    format!("`ls -ld {}` on {} tells whose it is", self.directory, self.host);
                (StoreTrouble::Refused, Some(hint), why)
            }
        };
        StateError::Store { place, act, trouble, hint, source: source.into() }
    }

    /// Brings the copy to what was just written. That it cannot be had stops nobody.
    async fn write_copy(&self, holder: &Holder, state: &Written) {
        let Some(copy) = &self.copy else { return };
        if let Err(error) = copy.follow(holder, state).await {
            let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            tracing::warn!("no copy of the state is kept in {}: {error}{why}", copy.place);
        }
    }

    async fn follow(&self, holder: &Holder, state: &Written) -> Result<(), StateError> {
        let mut held = self.take(holder).await?;
        let there = held.contents().await?;
        // It may be the state itself by now, or have been one.
        if there.moved.is_some() || there.history.last().is_some_and(|last| *last > state.serial) {
            return Err(self.error("write", Fault::Changed));
        }
        let there = there.state.map(|bytes| Written { bytes, ..state.clone() });
        held.save(&NewState { state, instead_of: there.as_ref() }).await
    }

    async fn take(&self, holder: &Holder) -> Result<HostHeld, StateError> {
        match self.begin("lock", "lock", &holder.text()).await? {
            (talk, Greeting::Ready) => {
                let files = HostFiles { store: self.clone(), talk, act: "read" };
                Ok(HostHeld::of(files, holder.clone()))
            }
            (_, Greeting::Busy(who)) => {
                let holder = Holder::parse(&who).unwrap_or_else(Holder::unnamed);
                Err(StateError::Locked { holder: holder.to_string() })
            }
            _ => Err(self.error("lock", Fault::Refused("it answers otherwise".into()))),
        }
    }
}

#[async_trait]
impl Store for HostStore {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn open(&self) -> Result<Box<dyn Reading>, StateError> {
        let (talk, _) = self.begin("read", "read", "").await?;
        Ok(Box::new(HostFiles { store: self.clone(), talk, act: "read" }))
    }

    async fn lock(&self, holder: &Holder) -> Result<Box<dyn Held>, StateError> {
        Ok(Box::new(self.take(holder).await?))
    }

    async fn holder(&self) -> Result<Option<Holder>, StateError> {
        match self.begin("read", "who", "").await?.1 {
            Greeting::Busy(who) => Ok(Some(Holder::parse(&who).unwrap_or_else(Holder::unnamed))),
            _ => Ok(None),
        }
    }

    async fn take_over(&self) -> Result<(), StateError> {
        self.begin("unlock", "over", "").await.map(drop)
    }
}
