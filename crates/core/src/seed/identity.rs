//! The secret that guests' SSH host keys derive from, so that a guest made again is no stranger.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use hkdf::Hkdf;
use russh::keys::ssh_key::{
    LineEnding, PrivateKey,
    private::{Ed25519Keypair, KeypairData},
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize;

use super::SeedError;
use crate::model::{Digest, FleetId, Secret, VmName};

/// The first word of the identity's file: what it is, and its form.
const FORM: &str = "freehold-identity-1";
const MODE: u32 = 0o600;

/// The fleet's identity: 32 random bytes, made once and kept out of git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    secret: Secret<[u8; 32]>,
}

/// A guest's SSH host key, worked out when it is asked for: a plan of many guests asks for few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    seed: Secret<[u8; 32]>,
    digest_key: Secret<[u8; 32]>,
    /// Stands in the private key as its comment.
    vm: VmName,
}

impl HostKey {
    /// Returns the private key in OpenSSH's form.
    pub fn private_openssh(&self) -> Secret<String> {
        // No random number goes in: the form's check value is derived from the key where none is
        // given, so the text is the same each time.
        let text = self.key(self.vm.as_str()).to_openssh(LineEnding::LF).expect(PLAIN);
        Secret::new(text.as_str().to_owned())
    }

    /// Returns the public key in OpenSSH's one-line form, without a comment: `ssh-ed25519 AAAA…`.
    pub fn public(&self) -> String {
        let public = self.key("").public_key().to_openssh().expect(PLAIN);
        public.trim_end().to_owned()
    }

    fn key(&self, comment: &str) -> PrivateKey {
        let pair = Ed25519Keypair::from_seed(self.seed.expose());
        PrivateKey::new(KeypairData::Ed25519(pair), comment).expect(PLAIN)
    }

    /// Returns the key of digests over what goes into the guest's seed.
    pub(super) fn digest_key(&self) -> &Secret<[u8; 32]> {
        &self.digest_key
    }
}

/// Why no key fails to be written.
const PLAIN: &str = "a key of 32 bytes can be written";

impl Identity {
    /// The name of its file in the store's directory.
    pub const FILE: &str = "identity.key";

    /// Makes a new one from the system's randomness.
    pub fn generate() -> Result<Self, SeedError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(SeedError::Random)?;
        Ok(Self::taken(&mut bytes))
    }

    /// Reads it; refuses a file that others can read.
    pub fn load(path: &Path) -> Result<Self, SeedError> {
        let failed = |source| SeedError::ReadIdentity { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SeedError::IdentityMode { path: path.to_owned(), mode });
        }
        let mut text = fs::read_to_string(path).map_err(failed)?;
        let identity = Self::parse(&text).ok_or_else(|| SeedError::IdentityForm(path.to_owned()));
        text.zeroize();
        identity
    }

    /// Writes it to a new file that only its owner can read; never over one that is there.
    pub fn save(&self, path: &Path) -> Result<(), SeedError> {
        let failed = |source| SeedError::WriteIdentity { path: path.to_owned(), source };
        let mut encoded = STANDARD.encode(self.secret.expose());
        let mut text = format!("{FORM} {encoded}\n");
        encoded.zeroize();
        let written = write_new(path, text.as_bytes());
        text.zeroize();
        written.map_err(failed)
    }

    /// Returns what names it in the open: `SHA256:…`, of a value that leads nowhere else.
    pub fn fingerprint(&self) -> String {
        let public = self.derived(&[b"freehold identity 1"]);
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(public.expose())))
    }

    /// Returns a digest that only who has the secret can compute: of what may hold secrets itself.
    pub fn keyed(&self, digest: &Digest) -> Digest {
        let key = self.derived(&[b"freehold text 1"]);
        Digest::of([key.expose().as_slice(), digest.as_str().as_bytes()])
    }

    /// Returns a guest's host key; another `epoch` is another key.
    pub fn host_key(&self, fleet: FleetId, vm: &VmName, epoch: u32) -> HostKey {
        let epoch = epoch.to_be_bytes();
        let subject = [fleet.as_bytes().as_slice(), &epoch, vm.as_str().as_bytes()];
        let derived = |purpose: &[u8]| self.derived(&[&[purpose], &subject[..]].concat());
        HostKey {
            seed: derived(b"freehold host key 1"),
            digest_key: derived(b"freehold seed 1"),
            vm: vm.clone(),
        }
    }

    /// Takes the bytes over and wipes where they were.
    fn taken(bytes: &mut [u8; 32]) -> Self {
        let secret = Secret::new(*bytes);
        bytes.zeroize();
        Self { secret }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        if words.next()? != FORM {
            return None;
        }
        let mut decoded = STANDARD.decode(words.next()?).ok()?;
        let bytes: Result<[u8; 32], _> = decoded.as_slice().try_into();
        decoded.zeroize();
        if words.next().is_some() {
            return None;
        }
        bytes.ok().map(|mut bytes| Self::taken(&mut bytes))
    }

    /// Derives 32 bytes for one purpose (RFC 5869). The last part alone may vary in length.
    fn derived(&self, info: &[&[u8]]) -> Secret<[u8; 32]> {
        let mut bytes = [0; 32];
        Hkdf::<Sha256>::new(None, self.secret.expose())
            .expand(&info.concat(), &mut bytes)
            .expect("32 bytes are far below HKDF's 255 blocks");
        let derived = Secret::new(bytes);
        bytes.zeroize();
        derived
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    fn identity(byte: u8) -> Identity {
        Identity { secret: Secret::new([byte; 32]) }
    }

    fn key(identity: &Identity, fleet: u8, vm: &str, epoch: u32) -> HostKey {
        identity.host_key(FleetId::from_bytes([fleet; 16]), &vm.parse().unwrap(), epoch)
    }

    #[test]
    fn derives_the_same_key_each_time_and_another_for_all_else() {
        let first = key(&identity(1), 7, "web-0", 0);
        assert_eq!(first, key(&identity(1), 7, "web-0", 0));
        // Kept for ever: a change of this text is a change of every guest's key.
        assert_eq!(
            first.public(),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICdPiUfNl5iw0GSLHeY1ar0KYTUlPIbXO2plrnysf3Su"
        );
        for other in [
            key(&identity(2), 7, "web-0", 0),
            key(&identity(1), 8, "web-0", 0),
            key(&identity(1), 7, "web-1", 0),
            key(&identity(1), 7, "web-0", 1),
        ] {
            assert_ne!(other.public(), first.public());
            assert_ne!(other.digest_key(), first.digest_key());
        }
    }

    #[test]
    fn writes_a_key_that_openssh_reads() {
        let key = key(&identity(1), 7, "web-0", 0);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write_new(&path, key.private_openssh().expose().as_bytes()).unwrap();
        let output = Command::new("ssh-keygen").arg("-yf").arg(&path).output().unwrap();
        let public = String::from_utf8(output.stdout).unwrap();
        assert_eq!(public.trim(), format!("{} web-0", key.public()), "{:?}", output.stderr);
    }

    #[test]
    fn reads_back_its_file_and_never_writes_over_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity.key");
        let identity = Identity::generate().unwrap();
        identity.save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Identity::load(&path).unwrap(), identity);
        assert!(Identity::generate().unwrap().save(&path).is_err());
        assert_eq!(Identity::load(&path).unwrap().fingerprint(), identity.fingerprint());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Identity::load(&path).unwrap_err();
        assert!(matches!(error, SeedError::IdentityMode { mode: 0o640, .. }));
        assert!(error.hint().unwrap().contains("chmod 600"));
    }

    #[test]
    fn refuses_what_is_no_identity() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Identity::load(&directory.path().join("none")).unwrap_err().hint().is_some());
        let half = STANDARD.encode([1; 16]);
        let whole = STANDARD.encode([1; 32]);
        for (n, text) in [
            String::new(),
            FORM.to_owned(),
            format!("{FORM} {half}"),
            format!("{FORM} {whole} more"),
            format!("freehold-identity-2 {whole}"),
            whole.clone(),
        ]
        .iter()
        .enumerate()
        {
            let path = directory.path().join(n.to_string());
            write_new(&path, text.as_bytes()).unwrap();
            let error = Identity::load(&path).unwrap_err();
            assert!(matches!(error, SeedError::IdentityForm(_)), "{text}");
            assert!(!error.to_string().contains(&whole));
        }
    }

    #[test]
    fn shows_no_secret() {
        let identity = identity(1);
        let key = key(&identity, 7, "web-0", 0);
        let shown = format!("{identity:?} {key:?} {}", identity.fingerprint());
        assert!(!shown.contains("PRIVATE") && !shown.contains("1, 1"), "{shown}");
        assert!(identity.fingerprint().starts_with("SHA256:"));
    }
}
