//! Several connections to one libvirt, as many as calls that wait for long ask for.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::host::trouble::Trouble;

/// libvirtd answers five requests of a connection at a time, keepalives included.
pub(super) const CALLS: usize = 4;
/// How many connections there are at most.
const MOST: usize = 3;
/// How long a call waits for its turn before another connection is opened: reading a thousand VMs on ten
/// hosts needs no second one, and each has its price in memory, here and there.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection, or the place of one that was lost.
#[derive(Debug)]
pub(super) struct Line<C> {
    pub(super) open: tokio::sync::Mutex<Option<Arc<C>>>,
    busy: AtomicUsize,
}

impl<C> Line<C> {
    fn of(open: Option<Arc<C>>) -> Arc<Self> {
        Arc::new(Self { open: tokio::sync::Mutex::new(open), busy: AtomicUsize::new(0) })
    }
}

/// A call's place on one of the connections.
#[derive(Debug)]
pub(super) struct Place<C> {
    pub(super) line: Arc<Line<C>>,
    _permit: OwnedSemaphorePermit,
}

impl<C> Drop for Place<C> {
    fn drop(&mut self) {
        self.line.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The connections.
#[derive(Debug)]
pub(super) struct Lines<C> {
    all: Mutex<Vec<Arc<Line<C>>>>,
    free: Arc<Semaphore>,
    growing: tokio::sync::Mutex<()>,
    patience: Duration,
}

impl<C> Lines<C> {
    /// One, that is not open yet.
    pub(super) fn one() -> Self {
        Self::with_patience(PATIENCE)
    }

    fn with_patience(patience: Duration) -> Self {
        Self {
            all: Mutex::new(vec![Line::of(None)]),
            free: Arc::new(Semaphore::new(CALLS)),
            growing: tokio::sync::Mutex::default(),
            patience,
        }
    }

    /// Returns the connection that is opened first.
    pub(super) fn first(&self) -> Arc<Line<C>> {
        Arc::clone(&self.all()[0])
    }

    /// Waits for a place on this connection, else on the one that has most to spare; where that takes
    /// long, opens another. One that cannot be opened is done without.
    pub(super) async fn place<'a>(
        &self,
        on: Option<&Arc<Line<C>>>,
        dial: impl Fn() -> BoxFuture<'a, Result<C, Trouble>> + Send + Sync,
    ) -> Result<Place<C>, Trouble> {
        loop {
            let permit = Arc::clone(&self.free).acquire_owned();
            if let Ok(permit) = timeout(self.patience, permit).await {
                return Ok(self.taken(permit.map_err(Trouble::failed)?, on));
            }
            // One that waits opens it for all.
            let Ok(_growing) = self.growing.try_lock() else { continue };
            if self.all().len() == MOST {
                let permit = Arc::clone(&self.free).acquire_owned().await;
                return Ok(self.taken(permit.map_err(Trouble::failed)?, on));
            }
            match dial().await {
                Ok(open) => {
                    self.all().push(Line::of(Some(Arc::new(open))));
                    self.free.add_permits(CALLS);
                }
                Err(error) => tracing::debug!(error = %error.source, "no other connection"),
            }
        }
    }

    /// So many permits as places: there is always one with a place to spare.
    fn taken(&self, permit: OwnedSemaphorePermit, on: Option<&Arc<Line<C>>>) -> Place<C> {
        let lines = self.all();
        let idlest = || lines.iter().min_by_key(|line| line.busy.load(Ordering::Acquire));
        let line = on.or_else(idlest).expect("there is one from the beginning");
        let line = Arc::clone(line);
        line.busy.fetch_add(1, Ordering::AcqRel);
        Place { line, _permit: permit }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Line<C>>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, future::ready};

    use super::*;

    /// So short that whoever waits has waited for long.
    const SHORT: Duration = Duration::from_millis(5);

    async fn place(lines: &Lines<usize>, dialled: &AtomicUsize) -> Option<Place<usize>> {
        let dial = || ready(Ok(dialled.fetch_add(1, Ordering::SeqCst))).boxed();
        timeout(Duration::from_millis(200), lines.place(None, dial)).await.ok().map(Result::unwrap)
    }

    #[tokio::test]
    async fn calls_that_wait_for_long_open_others_up_to_a_bound() {
        let (lines, dialled) = (Lines::with_patience(SHORT), AtomicUsize::new(0));
        let mut places = Vec::new();
        for _ in 0..CALLS {
            places.push(place(&lines, &dialled).await.unwrap());
        }
        assert_eq!(dialled.load(Ordering::SeqCst), 0, "nobody waits yet");
        for _ in CALLS..CALLS * MOST {
            places.push(place(&lines, &dialled).await.unwrap());
        }
        assert_eq!(dialled.load(Ordering::SeqCst), MOST - 1);
        let busy = |lines: &Lines<usize>| -> Vec<_> {
            lines.all().iter().map(|line| line.busy.load(Ordering::SeqCst)).collect()
        };
        assert_eq!(busy(&lines), [CALLS; MOST]);
        assert!(place(&lines, &dialled).await.is_none(), "there is a bound");
        // Whoever ends leaves its place, on whichever connection that was.
        drop(places.remove(5));
        places.push(place(&lines, &dialled).await.unwrap());
        assert_eq!(busy(&lines), [CALLS; MOST]);
        places.clear();
        assert_eq!(busy(&lines), [0; MOST]);
        assert_eq!(dialled.load(Ordering::SeqCst), MOST - 1);
    }

    #[tokio::test]
    async fn a_connection_that_cannot_be_opened_is_done_without() {
        let lines: Lines<usize> = Lines::with_patience(SHORT);
        let refused = || ready(Err(Trouble::unreachable("no more clients"))).boxed();
        let mut places = Vec::new();
        for _ in 0..CALLS {
            places.push(lines.place(None, refused).await.unwrap());
        }
        let waiting = lines.place(None, refused);
        let free = async {
            tokio::time::sleep(SHORT * 10).await;
            drop(places.pop());
        };
        let (waited, ()) = tokio::join!(waiting, free);
        drop(waited.unwrap());
        assert_eq!(lines.all().len(), 1);
    }
}
