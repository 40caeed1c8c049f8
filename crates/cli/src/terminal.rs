//! The terminal in raw mode, and back as it was.

use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal whose keys go through as they are pressed; dropping it puts the terminal back as it was,
/// also when a panic does.
pub(crate) struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Takes a terminal out of its usual mode; `None` where it is none.
    pub(crate) fn of(terminal: impl AsFd) -> std::io::Result<Option<Self>> {
        let Ok(before) = tcgetattr(&terminal) else { return Ok(None) };
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let mut raw = before.clone();
        raw.make_raw();
        // The guard is there first: what is set half is put back, too.
        let guard = Self { terminal, before };
        tcsetattr(&guard.terminal, OptionalActions::Flush, &raw)?;
        Ok(Some(guard))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Not to be waited for: output that nobody takes must not hold it up.
        if let Err(error) = tcsetattr(&self.terminal, OptionalActions::Now, &self.before) {
            tracing::debug!(%error, "the terminal is gone");
        }
    }
}
