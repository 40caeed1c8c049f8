//! Logs in with keys and certificates, the agent's and files'; never with a password.

use russh::{
    MethodKind, MethodSet,
    client::{AuthResult, Handle},
    keys::HashAlg,
};

use super::{
    agent::{self, Agent},
    config::Route,
    identities::{Holder, Identity, Shown, identities},
    passphrases::Passphrases,
    patience::Patience,
    session::Client,
    signer::{Pen, SignError},
};
use crate::host::{HostErrorKind, trouble::Trouble};

/// What is said of a host that hangs up on a login.
pub(super) const HUNG_UP: &str = "the host hung up";

/// Logs in and says what with, and what was tried before; or says everything that was tried.
pub(super) async fn login(
    handle: &mut Handle<Client>,
    route: &Route,
    (passphrases, patience): (&Passphrases, &Patience),
) -> Result<String, Trouble> {
    let mut tried = Vec::new();
    let mut agent = agent_of(handle, route, &mut tried).await;
    let held = agent.as_mut().map(|agent| std::mem::take(&mut agent.held)).unwrap_or_default();
    let (identities, left_out) = identities(route, held);
    tried.extend(left_out);
    let passphrases =
        if route.asks_nobody { passphrases.asking_nobody() } else { passphrases.clone() };
    let mut attempt = Attempt {
        handle,
        route,
        agent,
        passphrases,
        patience,
        tried,
        takes: None,
        wants_more: false,
    };
    for identity in identities {
        if attempt.offer(identity).await? {
            return Ok(attempt.tried.join("; "));
        }
        attempt.still_there()?;
    }
    Err(attempt.failed())
}

async fn agent_of(
    handle: &Handle<Client>,
    route: &Route,
    tried: &mut Vec<String>,
) -> Option<Agent> {
    let socket = route.agent.as_ref()?;
    match agent::ask(socket, handle.agent_session_binding()).await {
        Ok(agent) => {
            if agent.held.is_empty() {
                tried.push("the agent (it holds no key)".to_owned());
            }
            Some(agent)
        }
        Err(error) => {
            tried.push(format!("the agent at {} ({error})", socket.display()));
            None
        }
    }
}

struct Attempt<'a> {
    handle: &'a mut Handle<Client>,
    route: &'a Route,
    agent: Option<Agent>,
    passphrases: Passphrases,
    patience: &'a Patience,
    /// What did not work, in words.
    tried: Vec<String>,
    /// What the host last said that it takes.
    takes: Option<MethodSet>,
    /// Whether a key was right, and not enough.
    wants_more: bool,
}

impl Attempt<'_> {
    /// Shows the host a key; only of one that it would take something is signed.
    async fn offer(&mut self, mut identity: Identity) -> Result<bool, Trouble> {
        let mut opened = None;
        if let (Shown::Hidden, Holder::File(file)) = (&identity.shown, &identity.holder) {
            match self.passphrases.unlocked(file, self.patience).await {
                Ok(key) => {
                    identity.shown = Shown::Key(key.public_key().clone());
                    opened = Some(key);
                }
                Err(why) => {
                    self.tried.push(format!("{} ({why})", identity.name));
                    return Ok(false);
                }
            }
        }
        let hash = match self.hash_for(&identity.shown).await? {
            Ok(hash) => hash,
            Err(why) => {
                self.tried.push(format!("{} ({why})", identity.described()));
                return Ok(false);
            }
        };
        let described = identity.described();
        let mut pen = match (identity.holder, opened, &mut self.agent) {
            (_, Some(key), _) => Pen::Key(key),
            (Holder::File(file), None, _) => Pen::File(file, &self.passphrases, self.patience),
            (Holder::Agent(held), None, Some(agent)) => Pen::Agent(&mut agent.client, held),
            (Holder::Agent(_), None, None) => return Ok(false),
        };
        let user = self.route.user.clone();
        let answer = match identity.shown {
            Shown::Key(key) => {
                self.handle.authenticate_publickey_with(user, key, hash, &mut pen).await
            }
            Shown::Certificate(one) => {
                self.handle.authenticate_certificate_with(user, *one, hash, &mut pen).await
            }
            Shown::Hidden => return Ok(false),
        };
        Ok(self.answered(answer, &described))
    }

    fn answered(&mut self, answer: Result<AuthResult, SignError>, described: &str) -> bool {
        match answer {
            Ok(AuthResult::Success) => {
                self.tried.push(format!("{described} (accepted)"));
                return true;
            }
            Ok(AuthResult::Failure { partial_success: true, remaining_methods }) => {
                self.tried.push(format!("{described} (good, but the host wants more)"));
                self.takes = Some(remaining_methods);
                self.wants_more = true;
            }
            Ok(AuthResult::Failure { remaining_methods, .. }) => {
                self.tried.push(format!("{described} (refused)"));
                self.takes = Some(remaining_methods);
            }
            Err(error) => self.tried.push(format!("{described} ({error})")),
        }
        false
    }

    /// Returns what an RSA key is to sign with; the inner error says why a key is of no use. The server
    /// says which RSA signatures it takes; asking costs nothing for other keys.
    async fn hash_for(&self, shown: &Shown) -> Result<Result<Option<HashAlg>, String>, Trouble> {
        let accepted = |hash| self.route.algorithms.user_keys.contains(&shown.algorithm(hash));
        if !shown.is_rsa() {
            let why = "its kind is not among PubkeyAcceptedAlgorithms".to_owned();
            return Ok(if accepted(HashAlg::Sha512) { Ok(None) } else { Err(why) });
        }
        let best = self.handle.best_supported_rsa_hash().await.map_err(Trouble::unreachable)?;
        if best == Some(None) {
            return Ok(Err("the host takes RSA with SHA-1 only, which is broken".to_owned()));
        }
        // A host that knows SHA-512 knows SHA-256: both came at once.
        let known = match best.flatten() {
            Some(HashAlg::Sha256) => vec![HashAlg::Sha256],
            _ => vec![HashAlg::Sha512, HashAlg::Sha256],
        };
        let hash = known.into_iter().find(|hash| accepted(*hash));
        let why = || "RSA is not among PubkeyAcceptedAlgorithms".to_owned();
        Ok(hash.map(Some).ok_or_else(why))
    }

    /// sshd hangs up after a number of refused keys (`MaxAuthTries`).
    fn still_there(&self) -> Result<(), Trouble> {
        if !self.handle.is_closed() {
            return Ok(());
        }
        let tried = self.tried.join("; ");
        Err(Trouble::new(HostErrorKind::Login, format!("{HUNG_UP}; tried: {tried}"))
            .hint("name the right key with IdentityFile and set IdentitiesOnly in ~/.ssh/config"))
    }

    fn failed(&self) -> Trouble {
        let tried = match self.tried.as_slice() {
            [] => "there was no key to try".to_owned(),
            tried => format!("tried: {}", tried.join("; ")),
        };
        let user = &self.route.user;
        let other = self.takes.as_ref().filter(|takes| {
            self.wants_more || !takes.is_empty() && !takes.contains(&MethodKind::PublicKey)
        });
        let takes = other.map(|takes| {
            let names: Vec<&str> = takes.iter().map(Into::into).collect();
            format!("; the host asks for {}, and freehold logs in with keys only", names.join(", "))
        });
        let why = format!("no login as {user}: {tried}{}", takes.unwrap_or_default());
        Trouble::new(HostErrorKind::Login, why)
            .hint("add a key to your SSH agent, or name one with IdentityFile in ~/.ssh/config")
    }
}
