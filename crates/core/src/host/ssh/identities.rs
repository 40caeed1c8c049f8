//! What may log in, in the order OpenSSH tries it: certificates named by `CertificateFile`, the agent's keys
//! that `ssh_config` names, the agent's others, key files and the certificates beside them.

use std::path::{Path, PathBuf};

use russh::keys::{
    Algorithm, Certificate, HashAlg, PublicKey,
    agent::AgentIdentity,
    load_public_key,
    ssh_key::{certificate::CertType, public::KeyData},
};

use super::{
    config::Route,
    keyfile::{self, Kept},
};

/// One thing to log in with.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) shown: Shown,
    /// In words.
    pub(super) name: String,
    pub(super) holder: Holder,
}

/// What the host is shown.
#[derive(Debug, Clone)]
pub(super) enum Shown {
    Key(PublicKey),
    Certificate(Box<Certificate>),
    /// Nobody knows it before the key file is unlocked.
    Hidden,
}

/// Who signs.
#[derive(Debug, Clone)]
pub(super) enum Holder {
    /// The agent, with what it holds: the key, or a certificate for it.
    Agent(Box<AgentIdentity>),
    File(PathBuf),
}

impl Shown {
    pub(super) fn key(&self) -> Option<&KeyData> {
        match self {
            Self::Key(key) => Some(key.key_data()),
            Self::Certificate(certificate) => Some(certificate.public_key()),
            Self::Hidden => None,
        }
    }

    /// Returns its algorithm's name where RSA signs with this hash.
    pub(super) fn algorithm(&self, hash: HashAlg) -> String {
        let of = |algorithm: Algorithm| match algorithm {
            Algorithm::Rsa { .. } => Algorithm::Rsa { hash: Some(hash) },
            other => other,
        };
        match self {
            Self::Key(key) => of(key.algorithm()).to_string(),
            Self::Certificate(certificate) => of(certificate.algorithm()).to_certificate_type(),
            Self::Hidden => String::new(),
        }
    }

    pub(super) fn is_rsa(&self) -> bool {
        matches!(self.key().map(KeyData::algorithm), Some(Algorithm::Rsa { .. }))
    }
}

impl Identity {
    /// Names it with its fingerprint.
    pub(super) fn described(&self) -> String {
        match self.shown.key() {
            Some(key) => format!("{} {}", self.name, key.fingerprint(HashAlg::Sha256)),
            None => self.name.clone(),
        }
    }
}

/// Returns what may log in, and what was left out and why.
pub(super) fn identities(route: &Route, held: Vec<AgentIdentity>) -> (Vec<Identity>, Vec<String>) {
    let mut left_out = Vec::new();
    let mut files = of_files(route, &held, &mut left_out);
    let mut first = Vec::new();
    for file in &route.certificates {
        match certificate_in(file) {
            Ok(certificate) => match holder_of(&certificate, file, &held, &files) {
                Some(holder) => first.push(Identity {
                    name: file.display().to_string(),
                    shown: Shown::Certificate(Box::new(certificate)),
                    holder,
                }),
                None => left_out.push(format!("{} (its key is nowhere)", file.display())),
            },
            Err(why) => left_out.push(format!("{} ({why})", file.display())),
        }
    }
    let mut others = Vec::new();
    for identity in held {
        let shown = match &identity {
            AgentIdentity::PublicKey { key, .. } => Shown::Key(key.clone()),
            AgentIdentity::Certificate { certificate, .. } => {
                Shown::Certificate(Box::new(certificate.clone()))
            }
        };
        let name = format!("agent key {}", identity.comment());
        let holder = Holder::Agent(Box::new(identity));
        match files.iter().position(|file| is_same(&file.shown, &shown)) {
            Some(at) => {
                files.remove(at);
                first.push(Identity { shown, name, holder });
            }
            None if route.identities_only => {}
            None => others.push(Identity { shown, name, holder }),
        }
    }
    // What only the agent could sign is nothing to try without it.
    files.retain(|file| match &file.holder {
        Holder::File(path) => keyfile::read(path)
            .is_ok_and(|file| file.is_some_and(|file| file.kept != Kept::Elsewhere)),
        Holder::Agent(_) => true,
    });
    first.extend(others);
    first.extend(files);
    (first, left_out)
}

fn is_same(one: &Shown, other: &Shown) -> bool {
    match (one, other) {
        (Shown::Key(one), Shown::Key(other)) => one.key_data() == other.key_data(),
        (Shown::Certificate(one), Shown::Certificate(other)) => {
            one.to_bytes().ok() == other.to_bytes().ok()
        }
        _ => false,
    }
}

/// Returns the key files with the certificates beside them; those count where none is named.
fn of_files(route: &Route, held: &[AgentIdentity], left_out: &mut Vec<String>) -> Vec<Identity> {
    let mut found = Vec::new();
    for file in &route.identities {
        let name = file.display().to_string();
        let key = match keyfile::read(file) {
            Ok(Some(key)) => key.public,
            // The agent may have it.
            Ok(None) => match load_public_key(beside(file, ".pub")) {
                Ok(public) => Some(public),
                Err(_) => continue,
            },
            Err(why) => {
                left_out.push(format!("{name} ({why})"));
                continue;
            }
        };
        let holder = Holder::File(file.clone());
        let shown = key.map_or(Shown::Hidden, Shown::Key);
        found.push(Identity { shown, name, holder });
        let certificate = beside(file, "-cert.pub");
        if route.certificates.is_empty() && certificate.exists() {
            let name = certificate.display().to_string();
            match certificate_in(&certificate) {
                // The file it lies beside is among those found.
                Ok(one) => {
                    if let Some(holder) = holder_of(&one, &certificate, held, &found) {
                        let shown = Shown::Certificate(Box::new(one));
                        found.push(Identity { shown, name, holder });
                    } else {
                        left_out.push(format!("{name} (it is not of the key beside it)"));
                    }
                }
                Err(why) => left_out.push(format!("{name} ({why})")),
            }
        }
    }
    found
}

fn certificate_in(file: &Path) -> Result<Certificate, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let certificate = Certificate::from_openssh(&text).map_err(|error| error.to_string())?;
    match certificate.cert_type() {
        CertType::User => Ok(certificate),
        CertType::Host => Err("it is a host's certificate".to_owned()),
    }
}

/// Finds the private key of a certificate: in the agent, in a key file, in the file it is named after.
fn holder_of(
    certificate: &Certificate,
    file: &Path,
    held: &[AgentIdentity],
    files: &[Identity],
) -> Option<Holder> {
    let key = certificate.public_key();
    let is_key = |held: &&AgentIdentity| held.public_key().key_data() == key;
    if let Some(held) = held.iter().find(is_key) {
        return Some(Holder::Agent(Box::new(held.clone())));
    }
    let same = files.iter().find(|identity| identity.shown.key() == Some(key));
    let named = || {
        files.iter().find(|identity| match &identity.holder {
            Holder::File(path) => {
                matches!(identity.shown, Shown::Hidden) && beside(path, "-cert.pub") == file
            }
            Holder::Agent(_) => false,
        })
    };
    same.or_else(named).map(|identity| identity.holder.clone())
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
