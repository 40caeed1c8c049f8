//! Conversations with physical hosts, in the words of the domain (in both senses).
//!
//! A [`Host`] knows how to look at one host and to make one thing at a time on it. It decides
//! nothing, and it never does two of the plan's steps in one call. It must not know plans, state
//! or the terminal.

mod backing;
mod card;
mod clock;
mod command;
mod connect;
mod console;
pub mod doctor;
mod error;
mod files;
mod guest;
mod images;
mod libvirt;
mod listing;
mod newcomer;
mod observe;
mod onlook;
mod outside;
mod plain;
mod qcow2;
mod real;
mod shell;
pub mod simulated;
mod ssh;
mod taken;
mod transport;
mod trouble;
mod tunnel;
mod uses;
mod way;

use std::{fmt, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use uuid::Uuid;

pub use command::quote;
pub use connect::{
    ConnectOptions, Deadlines, GuestKeyError, connect, guest_host_key, is_pinned, leave,
};
pub use error::{Certainty, HostError, HostErrorKind};
pub use guest::{Guest, GuestTarget};
pub use newcomer::{Newcomer, meet};
pub use onlook::ReadOnly;
pub use plain::Plain;
pub use qcow2::ImageError;
pub use shell::shell;
pub use ssh::{AskPassphrase, NoAnswer, Passphrases};

use crate::model::{
    DomainSpec, DomainState, FleetId, HostCard, HostName, HostView, ImageForm, ImageSpec,
    KeptDomain, Mark, NetworkSpec, Ours, Size, VolumeSpec,
};

/// Called with bytes done and, when known, bytes in all.
pub type Progress = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

/// What came of a host's own try to fetch an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It lies in the pool.
    Here,
    /// It cannot, and this is why.
    Not(String),
}

/// One physical host. Calls may run at the same time; each has a deadline of its own and says in
/// its error whether it certainly did not happen. What takes [`Ours`] looks at the object's mark
/// right before it acts, and refuses another's.
#[async_trait]
pub trait Host: Send + Sync + fmt::Debug {
    /// Returns the host's name in the fleet.
    fn name(&self) -> &HostName;

    /// Reads everything a plan must know. `bridges` are those whose existence matters. Read-only.
    async fn observe(&self, bridges: &[String]) -> Result<HostView, HostError>;

    /// Returns by how many seconds its clock is ahead of ours; behind where negative. Read-only.
    async fn clock(&self) -> Result<i64, HostError>;

    /// Makes our pool and starts it; one that is there is left alone.
    async fn create_pool(&self) -> Result<(), HostError>;

    /// Replaces one fleet's part of `freehold-host.json` in our pool, atomically: others may have
    /// written theirs since it was looked at. Refused when it is another host's by now.
    async fn write_card(&self, fleet: FleetId, card: &HostCard) -> Result<(), HostError>;

    /// Makes libvirt see files that were written past it; once per batch.
    async fn refresh_pool(&self) -> Result<(), HostError>;

    /// Defines a network, marks it, sets autostart and starts it. Safe to repeat.
    async fn define_network(&self, spec: &NetworkSpec) -> Result<(), HostError>;

    /// Stops and undefines a network. Refused while any domain is attached to it.
    async fn remove_network(&self, network: &Ours) -> Result<(), HostError>;

    /// Brings an image from a file of this machine into the pool: staging name, digest checked on
    /// the host, fsync, rename. One that is there is left alone; of one that was cut the rest is sent.
    async fn store_image(
        &self,
        spec: &ImageSpec,
        source: &Path,
        progress: &Progress,
    ) -> Result<(), HostError>;

    /// Says whether the host has the tools to make plain qcow2 of an image of this form.
    async fn unpacks(&self, form: ImageForm) -> Result<bool, HostError>;

    /// Has the host itself fetch an image; [`Fetched::Not`] when it cannot (no tool, no way there).
    /// The digest and the header are checked before the file gets its name. What was cut goes on where
    /// it ended, by whatever way and whoever's run.
    async fn fetch_image(
        &self,
        spec: &ImageSpec,
        url: &str,
        progress: &Progress,
    ) -> Result<Fetched, HostError>;

    /// Makes a qcow2 volume. One of that name is left alone when size and backing agree, and an
    /// error otherwise.
    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), HostError>;

    /// Writes a small file (a seed) into the pool atomically, mode 0600.
    async fn write_volume(&self, name: &str, content: &[u8]) -> Result<(), HostError>;

    /// Renames a volume of ours within the pool (to the trash and back); the target must not exist.
    /// Refused when any domain names the volume, by whatever way, or a disk stands on it, wherever.
    async fn rename_volume(&self, from: &str, to: &str) -> Result<(), HostError>;

    /// Removes a volume: a seed, or one from the trash. Same refusals as a rename, of one from the
    /// trash also where nobody can tell what another's disk stands on; one that is not there counts as
    /// removed.
    async fn remove_volume(&self, name: &str) -> Result<(), HostError>;

    /// Defines a domain that is not there, in one call with its mark, and sets its autostart.
    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), HostError>;

    /// Sets whether a domain starts with its host.
    async fn set_autostart(&self, domain: &Ours, autostart: bool) -> Result<(), HostError>;

    /// Starts a domain; one that runs is left alone.
    async fn start_domain(&self, domain: &Ours) -> Result<(), HostError>;

    /// Returns what a domain does; `None` when it is not there. Read-only.
    async fn domain_state(&self, domain: &Ours) -> Result<Option<DomainState>, HostError>;

    /// Asks a domain to shut down by ACPI, waits for that as long as it is told, and says whether it is
    /// off. It is never turned off; with nothing to wait for it is asked once.
    async fn shut_down_domain(&self, domain: &Ours, wait: Duration) -> Result<bool, HostError>;

    /// Shuts a domain down by ACPI and, past the deadline, turns it off; one that is off is left
    /// alone.
    async fn stop_domain(&self, domain: &Ours, deadline: Duration) -> Result<(), HostError>;

    /// Returns what a domain is defined as, for the trash, passwords of its consoles included: it is
    /// for a file that nobody else may read ([`Host::write_volume`]), and for no log. `None` when it
    /// is not there.
    async fn domain_xml(&self, uuid: Uuid) -> Result<Option<String>, HostError>;

    /// Changes what a domain that is there is defined as, by patching its current inactive XML: what
    /// the spec manages becomes as the spec says (CPUs, memory, disks and seed in our pool,
    /// interfaces by MAC, what runs its code, mark), disks and interfaces that are gone are taken
    /// away, everything else stays as it is. A running machine goes
    /// on as it is until its next start. Refused when the definition is another than the one seen.
    async fn update_domain(&self, domain: &Ours, spec: &DomainSpec) -> Result<(), HostError>;

    /// Puts our mark on a domain of that UUID and name, whether it runs or not: on one that bears
    /// ours already, or none. Refused when it bears another's.
    async fn mark_domain(&self, uuid: Uuid, name: &str, mark: &Mark) -> Result<(), HostError>;

    /// Gives a domain that is off the name of the spec, and its mark. Its UUID stays. Done already
    /// counts as done, and a rename that was cut short before the mark is finished.
    async fn rename_domain(&self, domain: &Ours, spec: &DomainSpec) -> Result<(), HostError>;

    /// Makes a qcow2 volume of ours larger, under its domain while that runs. Never smaller; one of
    /// that size is left alone. Refused where an overlay stands on it.
    async fn grow_volume(&self, domain: &Ours, volume: &str, size: Size) -> Result<(), HostError>;

    /// Defines a domain again from the XML that was kept when it was undefined, without autostart
    /// (which no XML holds). One that is there and bears its mark is left alone; refused when UUID or
    /// name are another's by now, and where the XML is not of this domain.
    async fn restore_domain(&self, domain: &Ours, xml: &str) -> Result<(), HostError>;

    /// Reads what [`Host::domain_xml`] returned once; asks nobody.
    fn kept_domain(&self, xml: &str) -> Result<KeptDomain, HostError>;

    /// Undefines a domain that is off; its NVRAM and TPM state stay. One that is not there is left alone.
    /// Refused where something of the user's would be lost: a saved run, snapshots, on libvirt before
    /// 8.9 a TPM's state.
    async fn undefine_domain(&self, domain: &Ours) -> Result<(), HostError>;

    /// Opens the serial console of a domain that runs, over a connection of its own. Refused while
    /// somebody else is connected to it; `force` puts them out.
    async fn open_console(&self, domain: &Ours, force: bool) -> Result<Console, HostError>;

    /// Returns the last lines of a domain's serial console, as far as they were kept.
    async fn console_tail(&self, uuid: Uuid, lines: usize) -> Result<String, HostError>;

    /// Returns what a domain's serial console said since a place in it, byte for byte; without one the
    /// end of all that was kept, whether the domain runs or not.
    async fn console_since(
        &self,
        uuid: Uuid,
        since: Option<ConsolePlace>,
    ) -> Result<ConsoleNews, HostError>;

    /// Opens a TCP connection from the host (`direct-tcpip`).
    async fn dial(&self, address: Ipv4Addr, port: u16) -> Result<Box<dyn Stream>, HostError>;

    /// Reads a whole file; `None` when it does not exist.
    async fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, HostError>;

    /// Replaces a file atomically, mode 0644: `.<name>.freehold-tmp` beside it, fsync, rename.
    async fn write_file(&self, path: &str, content: &[u8]) -> Result<(), HostError>;
}

/// A domain's serial console while it is open.
pub struct Console {
    /// What the guest says, and what it is told; shutting down the writing half leaves it.
    pub bytes: Box<dyn Stream>,
    /// Comes once there is nothing more to read: why the connection was lost, or nothing where the
    /// console came to its end there (the guest went off, somebody took over, or it was left).
    pub end: BoxFuture<'static, Option<HostError>>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Console")
    }
}

/// A place in what a serial console said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsolePlace {
    /// The file that keeps it: one that is full is put aside for another.
    file: u64,
    offset: u64,
}

/// What a serial console said up to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleNews {
    /// What was said; [`Plain`] makes it fit for a terminal.
    pub bytes: Vec<u8>,
    /// Where the next begins.
    pub place: ConsolePlace,
}

/// A machine that holds files.
#[async_trait]
pub trait Files: Send + Sync + fmt::Debug {
    /// Reads a whole file; `None` when it does not exist.
    async fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, HostError>;

    /// Replaces a file atomically, mode 0644, as [`Host::write_file`] does.
    async fn write_file(&self, path: &str, content: &[u8]) -> Result<(), HostError>;
}

/// A byte stream in both directions.
pub trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Stream for T {}
