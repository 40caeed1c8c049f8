//! Who holds the lock of a store, for those who wait.

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// The machine that runs on.
    pub machine: String,
    /// What runs there.
    pub command: String,
    /// Since when, by the clock of that machine.
    pub since: String,
}

impl Holder {
    /// Returns this process, that runs this command from now on.
    pub fn here(command: &str) -> Self {
        Self {
            pid: std::process::id(),
            machine: this_machine(),
            command: command.to_owned(),
            since: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
        }
    }

    /// Returns somebody who did not say who he is.
    pub(super) fn unnamed() -> Self {
        let unknown = || "?".to_owned();
        Self { pid: 0, machine: unknown(), command: "another run".to_owned(), since: unknown() }
    }

    /// Says whether it is a process of this machine.
    pub fn is_here(&self) -> bool {
        this_machine() == self.machine
    }

    /// Says whether its process is there; of another machine's one cannot know.
    pub(super) fn lives(&self) -> bool {
        !self.is_here() || Path::new(&format!("/proc/{}", self.pid)).exists()
    }

    /// Returns it as it stands in a store.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("a holder is plain JSON")
    }

    /// Reads it as it stands in a store; `None` where nobody is named.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, machine, command, since } = self;
        write!(f, "`{command}` (process {pid} on {machine}, since {since})")
    }
}

fn this_machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
