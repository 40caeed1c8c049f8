//! Asks a guest's sshd for its host key, and goes no further.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
    time::Duration,
};

use russh::{
    Preferred, client,
    keys::{Algorithm, PublicKey, PublicKeyOrCertificate},
};
use tokio::time::timeout;

use super::session::safe_algorithms;
use crate::host::{Stream, trouble::Trouble};

struct Look {
    shown: Arc<Mutex<Option<PublicKey>>>,
}

impl client::Handler for Look {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        if let (PublicKeyOrCertificate::PublicKey { key, .. }, Ok(mut slot)) =
            (shown, self.shown.lock())
        {
            let mut key = key.clone();
            key.set_comment("");
            *slot = Some(key);
        }
        // Not a login: we have seen what we came for.
        Ok(false)
    }
}

/// Returns the key that a guest's sshd proves to have, as `ssh-ed25519 AAAA…`.
pub(crate) async fn guest_key(
    stream: Box<dyn Stream>,
    deadline: Duration,
) -> Result<String, Trouble> {
    let key = shown_key(stream, safe_algorithms().into(), deadline).await?;
    key.to_openssh().map_err(Trouble::failed)
}

/// Returns the key that an sshd proves to have, of one of these kinds; its comment is empty.
pub(super) async fn shown_key(
    stream: Box<dyn Stream>,
    kinds: Cow<'static, [Algorithm]>,
    deadline: Duration,
) -> Result<PublicKey, Trouble> {
    let shown = Arc::new(Mutex::new(None));
    let look = Look { shown: Arc::clone(&shown) };
    let preferred = Preferred { key: kinds, ..Preferred::DEFAULT };
    let config = Arc::new(client::Config { preferred, ..client::Config::default() });
    let result = timeout(deadline, client::connect_stream(config, stream, look)).await;
    let shown = shown.lock().ok().and_then(|mut shown| shown.take());
    match (shown, result) {
        (Some(key), _) => Ok(key),
        (None, Ok(Err(error))) => Err(Trouble::unreachable(error)),
        (None, Err(_)) => Err(Trouble::unreachable("its sshd did not answer in time")),
        (None, Ok(Ok(_))) => Err(Trouble::failed("it showed no host key")),
    }
}
