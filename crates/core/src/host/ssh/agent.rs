//! The user's SSH agent: lists its keys, and signs with them. It is never forwarded.

use std::path::Path;

use russh::keys::agent::{AgentIdentity, AgentSessionBinding, client::AgentClient};
use tokio::net::UnixStream;

/// An agent that answered.
pub(super) struct Agent {
    pub(super) client: AgentClient<UnixStream>,
    /// Its keys and certificates, with their comments.
    pub(super) held: Vec<AgentIdentity>,
}

/// Asks the agent at this socket for its keys. It is told which connection they are for: one that is bound to
/// hosts (`ssh-add -h`) shows itself only then.
pub(super) async fn ask(
    socket: &Path,
    connection: Option<&AgentSessionBinding>,
) -> Result<Agent, russh::keys::Error> {
    let mut client = AgentClient::connect_uds(socket).await?;
    if let Some(connection) = connection
        && let Err(error) = client.bind_session(connection, false).await
    {
        tracing::debug!(%error, "the agent binds no keys to hosts");
    }
    let held = client.request_identities().await?;
    Ok(Agent { client, held })
}
