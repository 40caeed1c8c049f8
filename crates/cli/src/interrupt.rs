//! Who wants a run to end: Ctrl-C, or SIGTERM from whoever started it.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Both signals, from when this is made on: neither ends the process by itself any more.
#[derive(Debug)]
pub(crate) struct Wishes {
    keyboard: Signal,
    service: Signal,
}

impl Wishes {
    pub(crate) fn heard() -> Result<Self, Failure> {
        let hear = |kind| {
            signal(kind).map_err(|error| Failure::input("signals cannot be heard").because(&error))
        };
        let keyboard = hear(SignalKind::interrupt())?;
        Ok(Self { keyboard, service: hear(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.keyboard.recv() => {}
            _ = self.service.recv() => {}
        }
    }
}
