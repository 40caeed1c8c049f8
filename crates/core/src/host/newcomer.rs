//! A host that nobody has vouched for yet: the key it shows, before anything is entrusted to it.

use super::{
    ConnectOptions, HostError,
    connect::ssh_options,
    ssh::{destination, host_key},
    trouble::Trouble,
};
use crate::model::{HostName, SshTarget};

/// A host as it introduces itself. Nobody has logged in to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// Where it is, as `ssh_config` has it: `root@10.0.0.1:22`.
    pub place: String,
    /// The fingerprint of its host key, `SHA256:…`.
    pub fingerprint: String,
    /// The kind of that key, as its file on the host has it in its name: `ed25519`.
    pub kind: &'static str,
    /// `file:line` where the key is known from, if it is.
    pub known: Option<String>,
    /// The line for a file of known hosts.
    pub line: String,
}

/// Asks a host for its key, which it proves to have.
///
/// # Errors
///
/// It does not answer; or its key is another than the known one, or revoked.
pub async fn meet(
    name: &HostName,
    target: &SshTarget,
    options: &ConnectOptions,
) -> Result<Newcomer, HostError> {
    let options = ssh_options(options);
    let met = async {
        let there = destination(target, &options).await?;
        let shown = host_key(target, &options).await?;
        Ok::<_, Trouble>(Newcomer {
            place: format!("{}@{}", there.user, there.place),
            fingerprint: shown.fingerprint,
            kind: shown.kind,
            known: shown.known,
            line: format!("{} {}", there.known_as, shown.key),
        })
    };
    met.await.map_err(|trouble| trouble.on(name, format!("ask {target} for its host key")))
}
