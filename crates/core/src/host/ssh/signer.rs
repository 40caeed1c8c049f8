//! Signs for a login: the agent does, or a key file, which is unlocked when it is first needed.

use std::{path::PathBuf, sync::Arc};

use russh::{
    Signer,
    keys::{
        HashAlg, PrivateKey,
        agent::{AgentIdentity, client::AgentClient},
        signature,
        ssh_encoding::Encode as _,
        ssh_key::{self, Signature, private::KeypairData},
    },
};
use tokio::net::UnixStream;

use super::{passphrases::Passphrases, patience::Patience};

/// Who signs this time.
pub(super) enum Pen<'a> {
    Agent(&'a mut AgentClient<UnixStream>, Box<AgentIdentity>),
    File(PathBuf, &'a Passphrases, &'a Patience),
    Key(Arc<PrivateKey>),
}

/// Says why nobody signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    #[error("the connection was lost")]
    Lost,
    #[error(transparent)]
    Agent(#[from] russh::keys::Error),
    #[error("{0}")]
    Key(String),
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        Self::Lost
    }
}

impl Signer for Pen<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        let key = match self {
            // With what it holds: it may know the key, and not the certificate that was shown.
            Self::Agent(client, held) => return Ok(client.sign_request(held, hash, data).await?),
            Self::File(file, passphrases, patience) => {
                passphrases.unlocked(file, patience).await.map_err(SignError::Key)?
            }
            Self::Key(key) => Arc::clone(key),
        };
        let signature = signed(&key, hash, &data).map_err(|why| SignError::Key(why.to_string()))?;
        signature.encode(&mut data).map_err(|why| SignError::Key(why.to_string()))?;
        Ok(data)
    }
}

fn signed(key: &PrivateKey, hash: Option<HashAlg>, data: &[u8]) -> ssh_key::Result<Vec<u8>> {
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(pair) => {
            signature::Signer::try_sign(&(pair, Some(hash.unwrap_or(HashAlg::Sha512))), data)?
        }
        _ => signature::Signer::try_sign(key, data)?,
    };
    Ok(signature.encode_vec()?)
}
