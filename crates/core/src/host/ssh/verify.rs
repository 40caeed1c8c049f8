//! Says whether a host is who it should be: one function, no off switch.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::{
    certificate::{CertificateFault, Wanted},
    config::{CERTIFICATE, Route},
    known_hosts::{KnownKey, Place, Role, keys_for, revoked_in},
};

/// The keys known for one host.
#[derive(Debug, Clone)]
pub(crate) struct KnownHost {
    /// As files of known keys write it.
    name: String,
    /// The name its certificate must be for.
    called: String,
    keys: Vec<KnownKey>,
    /// Keys that no host may have.
    revoked: Vec<KnownKey>,
    /// What authorities may sign with.
    algorithms: Vec<String>,
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
    #[error(
        "the authority of its host certificate, {fingerprint}, is marked as revoked in {place}"
    )]
    RevokedAuthority { place: Place, fingerprint: String },
    #[error("its host certificate does not count: {fault}; nor is its key known: {fingerprint}")]
    Certificate { fault: CertificateFault, fingerprint: String },
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, String),
}

/// Gathers what is known: the repository's file alone where it knows the host, under any of its names, else
/// the user's and the system's. A revoked key is revoked wherever it says so.
pub(crate) fn known_host(route: &Route, repo: Option<&PathBuf>) -> Result<KnownHost, HostKeyError> {
    let read = |files: &[PathBuf]| {
        let unread =
            |(file, why): (PathBuf, std::io::Error)| HostKeyError::Read(file, why.to_string());
        keys_for(route, files).map_err(unread)
    };
    let mut keys = read(repo.map(std::slice::from_ref).unwrap_or_default())?;
    let pinned = keys.iter().any(|known| known.role != Role::Revoked);
    let others = &route.known_hosts;
    keys.extend(read(others)?.into_iter().filter(|one| one.role == Role::Revoked || !pinned));
    let listed =
        |file: &PathBuf| revoked_in(file).map_err(|why| HostKeyError::Read(file.clone(), why));
    let revoked = route.revoked_keys.as_ref().map(listed).transpose()?.unwrap_or_default();
    let repo = repo.filter(|file| file.exists());
    Ok(KnownHost {
        name: route.known_as.clone(),
        called: route.called.clone(),
        keys,
        revoked,
        algorithms: route.algorithms.authorities.clone(),
        first_file: repo.or_else(|| others.first()).cloned(),
    })
}

impl KnownHost {
    /// Knows one key and no other: that of a guest to which we gave it.
    pub(crate) fn only(name: &str, key: &str) -> Result<Self, HostKeyError> {
        let file = PathBuf::from("freehold.lock");
        let key = PublicKey::from_openssh(key)
            .map_err(|error| HostKeyError::Read(file.clone(), error.to_string()))?;
        let known = KnownKey { key, place: Place { file, line: 0 }, role: Role::Host };
        Ok(Self {
            name: name.to_owned(),
            called: name.to_owned(),
            keys: vec![known],
            revoked: Vec::new(),
            algorithms: Vec::new(),
            first_file: None,
        })
    }

    /// Orders the algorithms to ask the host for: those of the known keys first, so that a host with
    /// keys of several kinds shows the one we know.
    pub(crate) fn algorithms(&self, wanted: &[String]) -> Vec<Algorithm> {
        let plain = wanted.iter().filter(|name| !name.ends_with(CERTIFICATE));
        let mut plain: Vec<Algorithm> = plain.filter_map(|name| name.parse().ok()).collect();
        let known = |algorithm: &Algorithm| {
            self.of(Role::Host).any(|known| is_kind(&known.key.algorithm(), algorithm))
        };
        plain.sort_by_key(|algorithm| !known(algorithm));
        plain
    }

    /// Returns where what a host shows is known from, or the authority that signed it.
    pub(crate) fn place_of(&self, shown: &PublicKeyOrCertificate) -> Option<&Place> {
        let key = shown.public_key();
        let itself = self.of(Role::Host).find(|known| known.key.key_data() == key.key_data());
        let signer = shown.certificate().map(russh::keys::Certificate::signature_key);
        let authority =
            || self.of(Role::Authority).find(|known| Some(known.key.key_data()) == signer);
        itself.or_else(authority).map(|known| &known.place)
    }

    /// Returns the kinds of certificate to ask the host for: none where no authority is known for it.
    pub(crate) fn certificates(&self, wanted: &[String]) -> Vec<Algorithm> {
        if self.of(Role::Authority).next().is_none() {
            return Vec::new();
        }
        let kinds = wanted.iter().filter_map(|name| name.strip_suffix(CERTIFICATE));
        kinds.filter_map(|kind| kind.parse().ok()).collect()
    }

    /// Verifies what a host shows, now.
    pub(crate) fn verify_now(&self, shown: &PublicKeyOrCertificate) -> Result<(), HostKeyError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.verify(shown, now.as_secs())
    }

    /// Verifies what a host shows, at this moment (seconds since 1970). A certificate that does not
    /// count leaves the key within it, as in OpenSSH: that one may be known.
    pub(crate) fn verify(
        &self,
        shown: &PublicKeyOrCertificate,
        now: u64,
    ) -> Result<(), HostKeyError> {
        let key = shown.public_key();
        self.is_revoked(shown)?;
        let Some(certificate) = shown.certificate() else { return self.verify_key(&key) };
        let authorities: Vec<&PublicKey> =
            self.of(Role::Authority).map(|known| &known.key).collect();
        let wanted = Wanted {
            called: &self.called,
            authorities: &authorities,
            algorithms: &self.algorithms,
            now,
        };
        let Err(fault) = wanted.judge(certificate) else { return Ok(()) };
        self.verify_key(&key).map_err(|error| match error {
            HostKeyError::Unknown { fingerprint, .. } => {
                HostKeyError::Certificate { fault, fingerprint }
            }
            error => error,
        })
    }

    fn of(&self, role: Role) -> impl Iterator<Item = &KnownKey> {
        self.keys.iter().filter(move |known| known.role == role)
    }

    fn is_revoked(&self, shown: &PublicKeyOrCertificate) -> Result<(), HostKeyError> {
        let key = shown.public_key();
        let authority = shown.certificate().map(|one| PublicKey::from(one.signature_key().clone()));
        for known in self.of(Role::Revoked).chain(&self.revoked) {
            let place = || known.place.clone();
            if known.key.key_data() == key.key_data() {
                return Err(HostKeyError::Revoked { place: place(), fingerprint: print(&key) });
            }
            let same = |authority: &&PublicKey| known.key.key_data() == authority.key_data();
            if let Some(authority) = authority.as_ref().filter(same) {
                let fingerprint = print(authority);
                return Err(HostKeyError::RevokedAuthority { place: place(), fingerprint });
            }
        }
        Ok(())
    }

    fn verify_key(&self, shown: &PublicKey) -> Result<(), HostKeyError> {
        let fingerprint = print(shown);
        if self.of(Role::Host).any(|known| known.key.key_data() == shown.key_data()) {
            return Ok(());
        }
        // Of the same kind if there is one: that line is the one to look at.
        let kind = shown.algorithm();
        let nearest = self.of(Role::Host).find(|known| known.key.algorithm() == kind);
        if let Some(known) = nearest.or_else(|| self.of(Role::Host).next()) {
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

fn print(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Says whether a key of this kind is used with this algorithm.
fn is_kind(key: &Algorithm, algorithm: &Algorithm) -> bool {
    match (key, algorithm) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { hash }) => hash.is_some(),
        (have, want) => have == want,
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::{
        PrivateKey,
        certificate::{Builder, CertType},
        private::Ed25519Keypair,
    };

    use super::*;
    use crate::host::ssh::config::{Algorithms, Surroundings, route};

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAzIQ5Xj2Dwpjrl3MC9PV0ItYvLKyUmJeXWWS7UqnVSt";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGMS8sCJ0+cGabE/Zhn8eCqt4E0pVCx8xbfZyMUz8knw";

    fn known_by(repo: Option<&str>, user: &str, more: &str) -> Result<KnownHost, HostKeyError> {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let around = Surroundings {
            home: at("nowhere"),
            user: "alice".to_owned(),
            agent: None,
            shell: PathBuf::from("/bin/sh"),
            system: at("nowhere"),
        };
        let config = format!("UserKnownHostsFile {}\n{more}", at("home").display());
        std::fs::write(at("config"), config.replace("HERE", &at("").display().to_string()))
            .unwrap();
        std::fs::write(at("home"), user).unwrap();
        std::fs::write(at("revoked"), format!("# gone\n{B}\n")).unwrap();
        std::fs::write(at("krl"), b"SSHKRL\n\0\0\0\0").unwrap();
        if let Some(repo) = repo {
            std::fs::write(at("repo"), repo).unwrap();
        }
        let route = route(&"rack1".parse().unwrap(), Some(&at("config")), &around).unwrap();
        known_host(&route, repo.map(|_| at("repo")).as_ref())
    }

    fn known(repo: Option<&str>, user: &str) -> KnownHost {
        known_by(repo, user, "").unwrap()
    }

    fn key(text: &str) -> PublicKeyOrCertificate {
        text.parse::<PublicKey>().unwrap().into()
    }

    #[test]
    fn takes_the_known_key_only() {
        let host = known(None, &format!("rack1 {A}\n"));
        assert_eq!(host.verify(&key(A), 0), Ok(()));
        let error = host.verify(&key(B), 0).unwrap_err();
        assert!(matches!(error, HostKeyError::Changed { .. }), "{error}");
        assert!(error.to_string().contains("home:1"), "{error}");
    }

    #[test]
    fn an_unknown_key_comes_with_the_line_to_add() {
        let error = known(None, "").verify(&key(A), 0).unwrap_err().to_string();
        assert!(error.contains("SHA256:"), "{error}");
        assert!(error.contains(&format!("rack1 {A}")), "{error}");
    }

    #[test]
    fn the_repository_overrules_the_user_but_not_a_revocation() {
        let host = known(Some(&format!("rack1 {A}\n")), &format!("rack1 {B}\n"));
        assert_eq!(host.verify(&key(A), 0), Ok(()));
        assert!(matches!(host.verify(&key(B), 0), Err(HostKeyError::Changed { .. })));
        let host = known(Some(&format!("rack1 {A}\n")), &format!("@revoked rack1 {A}\n"));
        assert!(matches!(host.verify(&key(A), 0), Err(HostKeyError::Revoked { .. })));
        let host = known(Some("other {A}\n"), &format!("rack1 {B}\n"));
        assert_eq!(host.verify(&key(B), 0), Ok(()));
    }

    #[test]
    fn the_repository_overrules_under_either_name() {
        let port = "Port 2222";
        let user = format!("[rack1]:2222 {B}\n");
        let host = known_by(Some(&format!("rack1 {A}\n")), &user, port).unwrap();
        assert_eq!(host.verify(&key(A), 0), Ok(()));
        assert!(matches!(host.verify(&key(B), 0), Err(HostKeyError::Changed { .. })));
        let both = format!("rack1 {B}\n[rack1]:2222 {A}\n");
        for (repo, user) in [(None, &*both), (Some(&*both), "")] {
            let host = known_by(repo, user, port).unwrap();
            assert_eq!(host.verify(&key(A), 0), Ok(()));
            assert!(matches!(host.verify(&key(B), 0), Err(HostKeyError::Changed { .. })));
        }
        let host = known_by(None, &format!("rack1 {B}\n"), port).unwrap();
        assert_eq!(host.verify(&key(B), 0), Ok(()));
        for (repo, user) in [(Some(&*user), "@revoked rack1 "), (None, "@revoked [rack1]:2222 ")] {
            let host = known_by(repo, &format!("rack1 {B}\n{user}{B}\n"), port).unwrap();
            assert!(matches!(host.verify(&key(B), 0), Err(HostKeyError::Revoked { .. })));
        }
    }

    #[test]
    fn a_list_of_revoked_keys_holds_for_all() {
        let host = known_by(None, &format!("rack1 {B}\n"), "RevokedHostKeys HERErevoked").unwrap();
        let error = host.verify(&key(B), 0).unwrap_err().to_string();
        assert!(error.contains("revoked:2"), "{error}");
        for (file, why) in [("krl", "ssh-keygen -k"), ("gone", "No such file")] {
            let error = known_by(None, "", &format!("RevokedHostKeys HERE{file}")).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn asks_for_the_kinds_it_knows_first() {
        let all = Algorithms::usual().host_keys;
        let host = known(None, &format!("rack1 {A}\n"));
        assert_eq!(host.algorithms(&all)[0], Algorithm::Ed25519);
        let wanted = ["rsa-sha2-512", "ssh-ed25519"].map(str::to_owned);
        assert_eq!(host.algorithms(&wanted)[0], Algorithm::Ed25519);
        assert_eq!(known(None, "").algorithms(&wanted)[1], Algorithm::Ed25519);
        assert!(host.certificates(&all).is_empty());
        let trusting = known(None, &format!("@cert-authority * {A}\n"));
        assert_eq!(trusting.certificates(&all).len(), 6);
    }

    fn private(seed: u8) -> PrivateKey {
        Ed25519Keypair::from_seed(&[seed; 32]).into()
    }

    /// A certificate for rack1 from the second 1000 to the second 2000, but for what `change` does.
    fn certificate(change: impl FnOnce(&mut Builder)) -> PublicKeyOrCertificate {
        of_kind(CertType::Host, change)
    }

    fn of_kind(kind: CertType, change: impl FnOnce(&mut Builder)) -> PublicKeyOrCertificate {
        let subject = private(1);
        let mut builder = Builder::new([7; 16], subject.public_key(), 1000, 2000).unwrap();
        builder.cert_type(kind).unwrap();
        change(&mut builder);
        builder.sign(&private(2)).unwrap().into()
    }

    fn named(name: &'static str) -> impl FnOnce(&mut Builder) {
        move |builder| {
            builder.valid_principal(name).unwrap();
        }
    }

    fn line(marker: &str, seed: u8) -> String {
        format!("{marker}rack1 {}\n", private(seed).public_key().to_openssh().unwrap())
    }

    #[test]
    fn a_certificate_counts_if_all_is_well_with_it() {
        let host = known(None, &line("@cert-authority ", 2));
        assert_eq!(host.verify(&certificate(named("rack1")), 1000), Ok(()));
        for (shown, now, why) in [
            (certificate(named("rack2")), 1500, "it is for rack2, not for rack1"),
            (certificate(named("rack*")), 1500, "it is for rack*, not for rack1"),
            (certificate(named("rack1")), 999, "it begins 1970-01-01T00:16:40Z"),
            (certificate(named("rack1")), 2000, "it has expired"),
            (of_kind(CertType::User, named("rack1")), 1500, "it is a user's"),
            (
                certificate(|builder| {
                    builder.valid_principal("rack1").unwrap();
                    builder.critical_option("force-command", "x").unwrap();
                }),
                1500,
                "conditions that a host cannot meet: force-command",
            ),
        ] {
            let error = host.verify(&shown, now).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error =
            known(None, "@cert-authority rack1 ").verify(&certificate(named("rack1")), 1500);
        assert!(error.unwrap_err().to_string().contains("no @cert-authority line"));
    }

    #[test]
    fn a_forged_certificate_does_not_count() {
        let host = known(None, &line("@cert-authority ", 2));
        let bytes =
            |shown: &PublicKeyOrCertificate| shown.certificate().unwrap().to_bytes().unwrap();
        // Another name than what was signed, and another signature.
        let mut renamed = bytes(&certificate(named("rack2")));
        let at = renamed.windows(5).position(|word| word == b"rack2").unwrap();
        renamed[at + 4] = b'1';
        let mut signed = bytes(&certificate(named("rack1")));
        *signed.last_mut().unwrap() ^= 1;
        for forged in [renamed, signed] {
            let forged = russh::keys::Certificate::from_bytes(&forged).unwrap();
            let error = host.verify(&forged.into(), 1500).unwrap_err().to_string();
            assert!(error.contains("its signature is wrong"), "{error}");
        }
    }

    #[test]
    fn who_is_revoked_vouches_for_nobody() {
        let trusts = line("@cert-authority ", 2);
        let host = known(None, &(trusts.clone() + &line("@revoked ", 2)));
        let error = host.verify(&certificate(named("rack1")), 1500).unwrap_err();
        assert!(matches!(error, HostKeyError::RevokedAuthority { .. }), "{error}");
        let host = known(None, &(trusts + &line("@revoked ", 1)));
        let error = host.verify(&certificate(named("rack1")), 1500).unwrap_err();
        assert!(matches!(error, HostKeyError::Revoked { .. }), "{error}");
    }

    #[test]
    fn the_key_within_a_certificate_may_be_known() {
        let host = known(None, &(line("@cert-authority ", 2) + &line("", 1)));
        assert_eq!(host.verify(&certificate(named("rack1")), 9999), Ok(()));
    }

    #[test]
    fn authorities_sign_with_what_they_may() {
        let more = "CASignatureAlgorithms rsa-sha2-512";
        let host = known_by(None, &line("@cert-authority ", 2), more).unwrap();
        let error = host.verify(&certificate(named("rack1")), 1500).unwrap_err().to_string();
        assert!(error.contains("its authority signed it with ssh-ed25519"), "{error}");
    }
}
