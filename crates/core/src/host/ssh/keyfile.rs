//! Files of private keys: what is seen of one without its passphrase, and what is in it.

use std::{
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use russh::keys::{Error, PrivateKey, PublicKey, decode_secret_key, load_public_key, ssh_key};
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
        (None, Kept::Open) => Some(opened(&text, file)?.public_key().clone()),
        (public, _) => public,
    };
    Ok(Some(KeyFile { public, kept }))
}

/// Says why a private key does not come out of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shut {
    /// It takes another passphrase.
    WrongPassphrase,
    /// No passphrase helps.
    ForGood(String),
}

/// Reads the private key.
pub(super) fn open(file: &Path, passphrase: Option<&str>) -> Result<PrivateKey, Shut> {
    let text = text_of(file).and_then(|text| text.ok_or_else(|| "it is gone".to_owned()));
    decode_secret_key(&text.map_err(Shut::ForGood)?, passphrase).map_err(|error| {
        if passphrase.is_none() || is_unsupported(&error) {
            return Shut::ForGood(in_words(&error, file));
        }
        Shut::WrongPassphrase
    })
}

/// Says before anybody is asked that no passphrase will open it.
pub(super) fn refuse_strange_locks(file: &Path) -> Result<(), String> {
    let text = text_of(file)?.unwrap_or_default();
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") && !is_pbes2(&text) {
        return Err(format!("PKCS#8 without PBES2 is not supported; {}", rewritten(file)));
    }
    let Some(lock) = text.lines().find_map(|line| line.strip_prefix("DEK-Info: ")) else {
        return Ok(());
    };
    let cipher = lock.split(',').next().unwrap_or_default();
    if cipher == "AES-128-CBC" && text.contains("-----BEGIN RSA PRIVATE KEY-----") {
        return Ok(());
    }
    Err(format!("PEM under {cipher} is not supported; {}", rewritten(file)))
}

/// How the way in which a PKCS#8 file is locked begins: 1.2.840.113549.1.5.13.
const PBES2: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13];

fn is_pbes2(text: &str) -> bool {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let bytes = STANDARD.decode(body.split_whitespace().collect::<String>()).unwrap_or_default();
    bytes.windows(PBES2.len()).take(32).any(|oid| oid == PBES2)
}

fn in_words(error: &Error, file: &Path) -> String {
    if is_unsupported(error) { format!("{error}; {}", rewritten(file)) } else { error.to_string() }
}

fn rewritten(file: &Path) -> String {
    format!("write it in OpenSSH's own form: ssh-keygen -p -f {}", file.display())
}

/// With a passphrase that is wrong, anything else may be.
fn is_unsupported(error: &Error) -> bool {
    match error {
        Error::UnknownAlgorithm(_) | Error::UnsupportedKeyType { .. } => true,
        Error::SshKey(error) => matches!(
            error,
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. }
        ),
        Error::Pkcs8(error) => error.to_string().contains("unsupported"),
        _ => false,
    }
}

fn text_of(file: &Path) -> Result<Option<String>, String> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn opened(text: &str, file: &Path) -> Result<PrivateKey, String> {
    decode_secret_key(text, None).map_err(|error| in_words(&error, file))
}

fn is_locked(text: &str) -> bool {
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
        || PrivateKey::from_openssh(text).is_ok_and(|key| key.is_encrypted())
}
