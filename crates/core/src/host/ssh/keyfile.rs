//! Files of private keys: what is seen of one without its passphrase, and what is in it.

use std::{
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use russh::keys::{PrivateKey, PublicKey, decode_secret_key, load_public_key};
use rustix::process::getuid;

/// What a file shows to everybody who may read it.
#[derive(Debug)]
pub(super) struct KeyFile {
    /// `None` where only the passphrase brings it to light.
    pub(super) public: Option<PublicKey>,
    pub(super) kept: Kept,
}

/// Where the private key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Open,
    UnderPassphrase,
    /// In an agent: the file is of the public key alone.
    Elsewhere,
}

/// Looks at a key file; `None` where there is none. One that others may read is refused, as by OpenSSH.
pub(super) fn read(file: &Path) -> Result<Option<KeyFile>, String> {
    let Some(text) = text_of(file)? else { return Ok(None) };
    if let Ok(public) = text.parse::<PublicKey>() {
        return Ok(Some(KeyFile { public: Some(public), kept: Kept::Elsewhere }));
    }
    let mode = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if mode.uid() == getuid().as_raw() && mode.mode() & 0o77 != 0 {
        let mode = mode.mode() & 0o777;
        return Err(format!("others may read it, its mode is {mode:04o}; chmod 600"));
    }
    let kept = if is_locked(&text) { Kept::UnderPassphrase } else { Kept::Open };
    let beside = || {
        let mut name = file.as_os_str().to_owned();
        name.push(".pub");
        load_public_key(PathBuf::from(name)).ok()
    };
    // OpenSSH's own format shows the public half even of a locked key.
    let inside = || PrivateKey::from_openssh(&text).map(|key| key.public_key().clone()).ok();
    let public = match (beside().or_else(inside), kept) {
        (None, Kept::Open) => Some(decoded(&text, None)?.public_key().clone()),
        (public, _) => public,
    };
    Ok(Some(KeyFile { public, kept }))
}

/// Reads the private key; with a passphrase that is wrong it is an error like any other.
pub(super) fn open(file: &Path, passphrase: Option<&str>) -> Result<PrivateKey, String> {
    let text = text_of(file)?.ok_or("it is gone")?;
    decoded(&text, passphrase)
}

fn text_of(file: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn decoded(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, String> {
    decode_secret_key(text, passphrase).map_err(|error| error.to_string())
}

fn is_locked(text: &str) -> bool {
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
        || PrivateKey::from_openssh(text).is_ok_and(|key| key.is_encrypted())
}
