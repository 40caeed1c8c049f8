//! What goes wrong in a conversation with a host.

use crate::model::HostName;

/// An act on a host that failed; the chain below says why.
#[derive(Debug, thiserror::Error)]
#[error("{host}: cannot {act}")]
pub struct HostError {
    /// The host.
    pub host: HostName,
    /// What was tried, with its subject: `define domain web-0`, `connect to 10.0.0.1:22`.
    pub act: String,
    /// Whether it may have happened all the same.
    pub certainty: Certainty,
    /// What the user can do.
    pub hint: Option<String>,
    /// What kind of trouble it is, for exit codes and for what to do next.
    pub kind: HostErrorKind,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Whether a failed act may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It did not happen.
    DidNot,
    /// The connection was lost or the deadline passed after the request left: look before repeating.
    Unknown,
}

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The host, its sshd or its libvirtd does not answer.
    Unreachable,
    /// Its host key is not the known one, or no key is known.
    HostKey,
    /// The login was refused.
    Login,
    /// What was given to it is wrong: a digest, an image's header.
    Input,
    /// It refused because something is there that is not ours, or in use.
    Conflict,
    /// Anything else the host said.
    Failed,
}
