//! Logs in with the agent's keys and with key files; never with a password.

use std::{path::Path, sync::Arc};

use russh::{
    client::{AuthResult, Handle},
    keys::{
        Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, decode_secret_key,
        load_public_key,
    },
};

use super::{agent, config::Route, session::Client};
use crate::host::{HostErrorKind, trouble::Trouble};

/// Logs in, or says everything that was tried.
pub(super) async fn login(handle: &mut Handle<Client>, route: &Route) -> Result<(), Trouble> {
    let mut attempt = Attempt { handle, user: &route.user, tried: Vec::new(), offered: Vec::new() };
    if attempt.agent(route).await? || attempt.files(route).await? {
        return Ok(());
    }
    let tried = match attempt.tried.as_slice() {
        [] => "there was no key to try".to_owned(),
        tried => format!("tried: {}", tried.join("; ")),
    };
    let user = &route.user;
    Err(Trouble::new(HostErrorKind::Login, format!("no login as {user}: {tried}"))
        .hint("add a key to your SSH agent, or name one with IdentityFile in ~/.ssh/config"))
}

struct Attempt<'a> {
    handle: &'a mut Handle<Client>,
    user: &'a str,
    /// What did not work, in words.
    tried: Vec<String>,
    /// Keys the host has refused: it counts tries.
    offered: Vec<PublicKey>,
}

impl Attempt<'_> {
    async fn agent(&mut self, route: &Route) -> Result<bool, Trouble> {
        let Some(socket) = &route.agent else { return Ok(false) };
        let mut agent = match agent::ask(socket).await {
            Ok(agent) => agent,
            Err(error) => {
                self.tried.push(format!("the agent at {} ({error})", socket.display()));
                return Ok(false);
            }
        };
        let named: Vec<PublicKey> = route.identities.iter().filter_map(|f| public_of(f)).collect();
        let is_named = |key: &PublicKey| named.iter().any(|one| one.key_data() == key.key_data());
        agent.keys.retain(|(key, _)| !route.identities_only || is_named(key));
        agent.keys.sort_by_key(|(key, _)| !is_named(key));
        if agent.keys.is_empty() {
            self.tried.push("the agent (it holds no fitting key)".to_owned());
        }
        for (key, comment) in std::mem::take(&mut agent.keys) {
            let hash = self.hash_for(&key).await?;
            let user = self.user.to_owned();
            let answer = self
                .handle
                .authenticate_publickey_with(user, key.clone(), hash, &mut agent.client)
                .await;
            match answer {
                Ok(AuthResult::Success) => return Ok(true),
                Ok(AuthResult::Failure { .. }) => {
                    self.refused(&key, &format!("agent key {comment}"));
                }
                Err(error) => self.tried.push(format!("agent key {comment} ({error})")),
            }
            self.still_there()?;
        }
        Ok(false)
    }

    async fn files(&mut self, route: &Route) -> Result<bool, Trouble> {
        for file in &route.identities {
            let name = file.display();
            let key = match read_key(file) {
                Ok(Some(key)) => key,
                Ok(None) => continue,
                Err(why) => {
                    self.tried.push(format!("{name} ({why})"));
                    continue;
                }
            };
            let public = key.public_key().clone();
            if self.offered.iter().any(|one| one.key_data() == public.key_data()) {
                continue;
            }
            let hash = self.hash_for(&public).await?;
            let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
            let user = self.user.to_owned();
            match self.handle.authenticate_publickey(user, key).await {
                Ok(AuthResult::Success) => return Ok(true),
                Ok(AuthResult::Failure { .. }) => self.refused(&public, &name.to_string()),
                Err(error) => self.tried.push(format!("{name} ({error})")),
            }
            self.still_there()?;
        }
        Ok(false)
    }

    fn refused(&mut self, key: &PublicKey, name: &str) {
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        self.tried.push(format!("{name} {fingerprint} (refused)"));
        self.offered.push(key.clone());
    }

    /// sshd hangs up after a number of refused keys (`MaxAuthTries`).
    fn still_there(&self) -> Result<(), Trouble> {
        if !self.handle.is_closed() {
            return Ok(());
        }
        let tried = self.tried.join("; ");
        Err(Trouble::new(HostErrorKind::Login, format!("the host hung up; tried: {tried}"))
            .hint("name the right key with IdentityFile and set IdentitiesOnly in ~/.ssh/config"))
    }

    /// The server says which RSA signatures it takes; asking costs nothing for other keys.
    async fn hash_for(&self, key: &PublicKey) -> Result<Option<HashAlg>, Trouble> {
        if !matches!(key.algorithm(), Algorithm::Rsa { .. }) {
            return Ok(None);
        }
        let best = self.handle.best_supported_rsa_hash().await.map_err(Trouble::unreachable)?;
        Ok(best.flatten().or(Some(HashAlg::Sha512)))
    }
}

/// Returns the public half of a key file: of `FILE.pub`, or of a file that is public itself.
fn public_of(file: &Path) -> Option<PublicKey> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    load_public_key(Path::new(&beside)).or_else(|_| load_public_key(file)).ok()
}

/// Reads a private key; `None` where there is no file, or only the agent has it.
fn read_key(file: &Path) -> Result<Option<PrivateKey>, String> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if text.parse::<PublicKey>().is_ok() {
        return Ok(None);
    }
    match decode_secret_key(&text, None) {
        Ok(key) => Ok(Some(key)),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            Err("it is encrypted: add it to an SSH agent".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}
