//! What goes wrong, at which changing call of the whole fleet.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::Notify;

/// What goes wrong with one changing call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    /// The run is killed before the call arrives.
    KillBefore,
    /// The run is killed when the call has happened.
    KillAfter,
    /// As before, and the journal's lines that nobody waited for are lost.
    KillAndLoseOutcomes,
    /// It is refused.
    Fail,
    /// It happens, its reply is lost.
    LostReply,
    /// Its host, or the server, answers nothing from here on.
    Gone,
    /// It happens, its reply is lost, and nothing arrives from here on.
    LostThenGone,
}

impl Trick {
    pub(crate) const ALL: [Self; 7] = [
        Self::KillBefore,
        Self::KillAfter,
        Self::KillAndLoseOutcomes,
        Self::Fail,
        Self::LostReply,
        Self::Gone,
        Self::LostThenGone,
    ];
}

/// Counts the changing calls of a fleet and spoils some.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    inner: Mutex<Inner>,
    death: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    calls: usize,
    tricks: BTreeMap<usize, Trick>,
    fired: usize,
    dead: bool,
    loses_outcomes: bool,
}

impl Fate {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Spoils the `nth` changing call from now, counted from 0.
    pub(crate) fn spoil(&self, nth: usize, trick: Trick) {
        let mut inner = self.inner();
        let at = inner.calls + nth;
        inner.tricks.insert(at, trick);
    }

    /// Returns how many tricks were played.
    pub(crate) fn fired(&self) -> usize {
        self.inner().fired
    }

    /// Returns how many changing calls there were.
    pub(crate) fn calls(&self) -> usize {
        self.inner().calls
    }

    /// Plays no more tricks; a killed run is over.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner();
        inner.tricks.clear();
        inner.dead = false;
        inner.loses_outcomes = false;
    }

    /// Returns once the run is killed.
    pub(crate) async fn death(&self) {
        while !self.inner().dead {
            self.death.notified().await;
        }
    }

    pub(crate) fn loses_outcomes(&self) -> bool {
        self.inner().loses_outcomes
    }

    /// Is asked before every changing call; a run that is dead calls no more.
    pub(crate) async fn before(&self) -> Option<Trick> {
        let trick = {
            let mut inner = self.inner();
            if inner.dead { Err(()) } else { Ok(inner.next()) }
        };
        match trick {
            Err(()) => std::future::pending().await,
            Ok(Some(Trick::KillBefore)) => self.die(false).await,
            Ok(trick) => trick,
        }
    }

    /// Is told after every changing call.
    pub(crate) async fn after(&self, trick: Option<Trick>) {
        match trick {
            Some(Trick::KillAfter) => self.die(false).await,
            Some(Trick::KillAndLoseOutcomes) => self.die(true).await,
            _ => {}
        }
    }

    async fn die<T>(&self, loses_outcomes: bool) -> T {
        {
            let mut inner = self.inner();
            inner.dead = true;
            inner.loses_outcomes = loses_outcomes;
        }
        self.death.notify_one();
        std::future::pending().await
    }
}

impl Inner {
    fn next(&mut self) -> Option<Trick> {
        let trick = self.tricks.remove(&self.calls);
        self.calls += 1;
        self.fired += usize::from(trick.is_some());
        trick
    }
}
