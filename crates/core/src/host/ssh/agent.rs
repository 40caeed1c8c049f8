//! The user's SSH agent: lists its keys, and signs with them.

use std::path::Path;

use russh::keys::{
    PublicKey,
    agent::{AgentIdentity, client::AgentClient},
};
use tokio::net::UnixStream;

/// An agent that answered.
pub(super) struct Agent {
    pub(super) client: AgentClient<UnixStream>,
    /// Its keys, with their comments; certificates are left out.
    pub(super) keys: Vec<(PublicKey, String)>,
}

/// Asks the agent at this socket for its keys.
pub(super) async fn ask(socket: &Path) -> Result<Agent, russh::keys::Error> {
    let mut client = AgentClient::connect_uds(socket).await?;
    let keys = client
        .request_identities()
        .await?
        .into_iter()
        .filter_map(|identity| match identity {
            AgentIdentity::PublicKey { key, comment } => Some((key, comment)),
            AgentIdentity::Certificate { .. } => None,
        })
        .collect();
    Ok(Agent { client, keys })
}
