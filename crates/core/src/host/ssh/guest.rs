//! Asks a guest's sshd for its host key, and goes no further.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use russh::{Preferred, client, keys::PublicKeyOrCertificate};
use tokio::time::timeout;

use super::session::safe_algorithms;
use crate::host::{Stream, trouble::Trouble};

struct Look {
    shown: Arc<Mutex<Option<String>>>,
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
            *slot = key.to_openssh().ok();
        }
        // Not a login: we have seen what we came for.
        Ok(false)
    }
}

/// Returns the key that an sshd proves to have, as `ssh-ed25519 AAAA…`.
pub(crate) async fn guest_key(
    stream: Box<dyn Stream>,
    deadline: Duration,
) -> Result<String, Trouble> {
    let shown = Arc::new(Mutex::new(None));
    let look = Look { shown: Arc::clone(&shown) };
    let preferred = Preferred { key: safe_algorithms().into(), ..Preferred::DEFAULT };
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
