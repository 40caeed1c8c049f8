//! Asks a guest's sshd for its host key, and goes no further.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use russh::{
    Preferred, client,
    keys::{PublicKey, PublicKeyOrCertificate},
};
use tokio::time::timeout;

use super::{
    cord::{Cord, WORDY},
    session::safe_algorithms,
};
use crate::host::{Stream, trouble::Trouble};

struct Look {
    shown: Arc<Mutex<Option<PublicKeyOrCertificate>>>,
}

impl client::Handler for Look {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        if let Ok(mut slot) = self.shown.lock() {
            *slot = Some(match shown {
                PublicKeyOrCertificate::PublicKey { key, hash_alg } => {
                    PublicKeyOrCertificate::PublicKey { key: key.clone(), hash_alg: *hash_alg }
                }
                PublicKeyOrCertificate::Certificate(one) => {
                    PublicKeyOrCertificate::Certificate(one.clone())
                }
            });
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
    let preferred = Preferred { key: safe_algorithms().into(), ..Preferred::DEFAULT };
    written(&shown_key(stream, preferred, deadline).await?.public_key())
}

/// Returns a key as `ssh-ed25519 AAAA…`, without its comment.
pub(super) fn written(key: &PublicKey) -> Result<String, Trouble> {
    PublicKey::from(key.key_data().clone()).to_openssh().map_err(Trouble::failed)
}

/// Returns what an sshd proves to have, a key or a certificate of one, of the kinds that are preferred.
pub(super) async fn shown_key(
    stream: Box<dyn Stream>,
    preferred: Preferred,
    deadline: Duration,
) -> Result<PublicKeyOrCertificate, Trouble> {
    let shown = Arc::new(Mutex::new(None));
    let look = Look { shown: Arc::clone(&shown) };
    let config = Arc::new(client::Config { preferred, ..client::Config::default() });
    let (cord, knife) = Cord::of(stream);
    let result = timeout(deadline, client::connect_stream(config, cord, look)).await;
    let shown = shown.lock().ok().and_then(|mut shown| shown.take());
    match (shown, result) {
        (Some(key), _) => Ok(key),
        (None, _) if knife.was_too_much() => {
            let most = WORDY >> 10;
            Err(Trouble::unreachable(format!(
                "its sshd said more than {most} KiB before the login"
            )))
        }
        (None, Ok(Err(error))) => Err(Trouble::unreachable(error)),
        (None, Err(_)) => Err(Trouble::unreachable("its sshd did not answer in time")),
        (None, Ok(Ok(_))) => Err(Trouble::failed("it showed no host key")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn past_the_deadline_an_sshd_is_cut_off() {
        let (ours, mut theirs) = duplex(1 << 16);
        theirs.write_all(b"SSH-2.0-slow\r\n").await.unwrap();
        let why = guest_key(Box::new(ours), Duration::from_millis(100)).await.unwrap_err();
        assert!(why.source.to_string().contains("did not answer in time"), "{why:?}");
        let heard = async { theirs.read_to_end(&mut Vec::new()).await };
        timeout(Duration::from_secs(5), heard).await.unwrap().unwrap();
    }
}
