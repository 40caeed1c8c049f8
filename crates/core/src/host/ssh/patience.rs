//! A deadline that stands still while a person is asked something.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How long a login may take, not counting the time in which somebody types a passphrase.
pub(super) struct Patience(watch::Sender<State>);

#[derive(Clone, Copy)]
struct State {
    end: Instant,
    asking: Option<Instant>,
    /// How long answers took so far.
    asked: Duration,
}

/// Somebody is being asked, as long as this lives.
pub(super) struct Asking<'a>(&'a Patience);

impl Patience {
    pub(super) fn of(limit: Duration) -> Self {
        Self(watch::Sender::new(State {
            end: Instant::now() + limit,
            asking: None,
            asked: Duration::ZERO,
        }))
    }

    /// Stops the clock.
    pub(super) fn asking(&self) -> Asking<'_> {
        self.0.send_modify(|state| state.asking = Some(Instant::now()));
        Asking(self)
    }

    /// Says how long people took to answer.
    pub(super) fn asked(&self) -> Duration {
        self.0.borrow().asked
    }

    /// Ends when the time is up.
    pub(super) async fn spent(&self) {
        let mut states = self.0.subscribe();
        loop {
            let State { end, asking, .. } = *states.borrow_and_update();
            let changed = async { drop(states.changed().await) };
            if asking.is_some() {
                changed.await;
                continue;
            }
            tokio::select! {
                () = sleep_until(end) => return,
                () = changed => {}
            }
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| {
            let took = state.asking.take().map(|since| since.elapsed()).unwrap_or_default();
            state.end += took;
            state.asked += took;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test]
    async fn the_time_of_an_answer_does_not_count() {
        let patience = Patience::of(Duration::from_millis(200));
        let begun = Instant::now();
        let answer = async {
            let _asking = patience.asking();
            sleep(Duration::from_millis(500)).await;
        };
        let (early, ()) =
            tokio::join!(timeout(Duration::from_millis(400), patience.spent()), answer);
        assert!(early.is_err());
        patience.spent().await;
        assert!(begun.elapsed() >= Duration::from_millis(700));
    }
}
