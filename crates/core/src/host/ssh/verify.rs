//! Says whether a host is who it should be: one function, no off switch.

use std::{borrow::Cow, path::PathBuf};

use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::known_hosts::{KnownKey, Place, keys_in};

/// The keys known for one host.
#[derive(Debug, Clone)]
pub(crate) struct KnownHost {
    /// As files of known keys write it.
    name: String,
    keys: Vec<KnownKey>,
    /// Where the user is told to add a key.
    first_file: Option<PathBuf>,
}

/// Says why a host is not taken for the one we mean.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostKeyError {
    #[error(
        "its host key is not known: {fingerprint}\n  to trust it, compare that with what \
         `ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub` says on the host itself, then add this \
         line{to}:\n  {line}"
    )]
    Unknown { fingerprint: String, kind: &'static str, to: String, line: String },
    #[error(
        "its host key is not the one in {place}: it shows {fingerprint}; somebody may be in the \
         middle, or the host was installed again"
    )]
    Changed { place: Place, fingerprint: String },
    #[error("its host key {fingerprint} is marked as revoked in {place}")]
    Revoked { place: Place, fingerprint: String },
    #[error("the host showed a certificate, which is not supported yet")]
    Certificate,
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, String),
}

/// Gathers what is known: the repository's file alone where it knows the host, else the user's and
/// the system's. A revoked key is revoked wherever it says so.
pub(crate) fn known_host(
    name: &str,
    repo: Option<&PathBuf>,
    others: &[PathBuf],
) -> Result<KnownHost, HostKeyError> {
    let read = |file: &PathBuf| {
        keys_in(file, name).map_err(|why| HostKeyError::Read(file.clone(), why.to_string()))
    };
    let repo_keys = repo.map(read).transpose()?.unwrap_or_default();
    let pinned = repo_keys.iter().any(|known| !known.revoked);
    let mut keys = repo_keys;
    for file in others {
        keys.extend(read(file)?.into_iter().filter(|known| known.revoked || !pinned));
    }
    let repo = repo.filter(|file| file.exists());
    let first_file = repo.or_else(|| others.first()).cloned();
    Ok(KnownHost { name: name.to_owned(), keys, first_file })
}

impl KnownHost {
    /// Knows one key and no other: that of a guest to which we gave it.
    pub(crate) fn only(name: &str, key: &str) -> Result<Self, HostKeyError> {
        let file = PathBuf::from("freehold.lock");
        let key = PublicKey::from_openssh(key)
            .map_err(|error| HostKeyError::Read(file.clone(), error.to_string()))?;
        let known = KnownKey { key, place: Place { file, line: 0 }, revoked: false };
        Ok(Self { name: name.to_owned(), keys: vec![known], first_file: None })
    }

    /// Returns the algorithms to ask the host for: those of the known keys, so that a host with
    /// keys of several kinds shows the one we know; all when none is known.
    pub(crate) fn algorithms(&self, all: &[Algorithm]) -> Cow<'static, [Algorithm]> {
        let known = |algorithm: &Algorithm| {
            self.keys.iter().filter(|known| !known.revoked).any(|known| {
                match (known.key.algorithm(), algorithm) {
                    (Algorithm::Rsa { .. }, Algorithm::Rsa { hash }) => hash.is_some(),
                    (have, want) => have == *want,
                }
            })
        };
        let some: Vec<Algorithm> = all.iter().filter(|one| known(one)).cloned().collect();
        Cow::Owned(if some.is_empty() { all.to_vec() } else { some })
    }

    /// Returns where a key is known from.
    pub(crate) fn place_of(&self, shown: &PublicKey) -> Option<&Place> {
        let same = |known: &&KnownKey| known.key.key_data() == shown.key_data();
        self.keys.iter().filter(same).find(|known| !known.revoked).map(|known| &known.place)
    }

    /// Verifies the key a host shows.
    pub(crate) fn verify(&self, shown: &PublicKey) -> Result<(), HostKeyError> {
        let fingerprint = shown.fingerprint(HashAlg::Sha256).to_string();
        let same = |known: &&KnownKey| known.key.key_data() == shown.key_data();
        if let Some(revoked) = self.keys.iter().filter(same).find(|known| known.revoked) {
            return Err(HostKeyError::Revoked { place: revoked.place.clone(), fingerprint });
        }
        let mut trusted = self.keys.iter().filter(|known| !known.revoked);
        if trusted.clone().any(|known| same(&known)) {
            return Ok(());
        }
        // Of the same kind if there is one: that line is the one to look at.
        let kind = shown.algorithm();
        let nearest = trusted.clone().find(|known| known.key.algorithm() == kind);
        if let Some(known) = nearest.or_else(|| trusted.next()) {
            return Err(HostKeyError::Changed { place: known.place.clone(), fingerprint });
        }
        let key = PublicKey::from(shown.key_data().clone()).to_openssh().unwrap_or_default();
        Err(HostKeyError::Unknown {
            fingerprint,
            kind: kind_of(shown),
            to: self
                .first_file
                .as_ref()
                .map(|f| format!(" to {}", f.display()))
                .unwrap_or_default(),
            line: format!("{} {key}", self.name),
        })
    }
}

/// Returns the kind of a key, as its file on a host has it in its name.
pub(crate) fn kind_of(key: &PublicKey) -> &'static str {
    match key.algorithm() {
        Algorithm::Ed25519 => "ed25519",
        Algorithm::Ecdsa { .. } => "ecdsa",
        _ => "rsa",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAzIQ5Xj2Dwpjrl3MC9PV0ItYvLKyUmJeXWWS7UqnVSt";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGMS8sCJ0+cGabE/Zhn8eCqt4E0pVCx8xbfZyMUz8knw";

    fn known(repo: Option<&str>, user: &str) -> KnownHost {
        let dir = tempfile::tempdir().unwrap();
        let (in_repo, in_home) = (dir.path().join("repo"), dir.path().join("home"));
        std::fs::write(&in_home, user).unwrap();
        if let Some(repo) = repo {
            std::fs::write(&in_repo, repo).unwrap();
        }
        known_host("rack1", repo.map(|_| &in_repo), &[in_home]).unwrap()
    }

    fn key(text: &str) -> PublicKey {
        text.parse().unwrap()
    }

    #[test]
    fn takes_the_known_key_only() {
        let host = known(None, &format!("rack1 {A}\n"));
        assert_eq!(host.verify(&key(A)), Ok(()));
        let error = host.verify(&key(B)).unwrap_err();
        assert!(matches!(error, HostKeyError::Changed { .. }), "{error}");
        assert!(error.to_string().contains("home:1"), "{error}");
    }

    #[test]
    fn an_unknown_key_comes_with_the_line_to_add() {
        let error = known(None, "").verify(&key(A)).unwrap_err().to_string();
        assert!(error.contains("SHA256:"), "{error}");
        assert!(error.contains(&format!("rack1 {A}")), "{error}");
    }

    #[test]
    fn the_repository_overrules_the_user_but_not_a_revocation() {
        let host = known(Some(&format!("rack1 {A}\n")), &format!("rack1 {B}\n"));
        assert_eq!(host.verify(&key(A)), Ok(()));
        assert!(matches!(host.verify(&key(B)), Err(HostKeyError::Changed { .. })));
        let host = known(Some(&format!("rack1 {A}\n")), &format!("@revoked rack1 {A}\n"));
        assert!(matches!(host.verify(&key(A)), Err(HostKeyError::Revoked { .. })));
        let host = known(Some("other {A}\n"), &format!("rack1 {B}\n"));
        assert_eq!(host.verify(&key(B)), Ok(()));
    }

    #[test]
    fn asks_for_the_kinds_it_knows() {
        let all = [Algorithm::Ed25519, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }];
        let host = known(None, &format!("rack1 {A}\n"));
        assert_eq!(host.algorithms(&all).as_ref(), [Algorithm::Ed25519]);
        assert_eq!(known(None, "").algorithms(&all).len(), 2);
    }
}
