//! Reads files of known host keys: `[host]:port`, hashed names, patterns, `@cert-authority`, `@revoked`;
//! and files of keys that no host may have.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::{
    PublicKey,
    ssh_key::known_hosts::{Entry, HostPatterns, Marker},
};
use sha1::Sha1;

use super::{config::Route, pattern::matches_host};

/// A key that stands in a file for the host we connect to.
#[derive(Debug, Clone)]
pub(crate) struct KnownKey {
    pub(crate) key: PublicKey,
    pub(crate) place: Place,
    pub(crate) role: Role,
}

/// What a key in a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The host's own.
    Host,
    /// Of an authority whose certificates count for the host.
    Authority,
    /// Nobody's any more.
    Revoked,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Returns a host's name as such files write it.
pub(crate) fn written(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Returns the keys that files have for a route's host: those of the first of its names that has any, and the
/// revoked ones of all. As OpenSSH: a line without a port speaks for all ports of which no line speaks.
pub(crate) fn keys_for(
    route: &Route,
    files: &[PathBuf],
) -> Result<Vec<KnownKey>, (PathBuf, std::io::Error)> {
    let plain = route.known_as.starts_with('[').then_some(&route.called);
    let (mut known, mut revoked) = (Vec::new(), Vec::new());
    for name in [&route.known_as].into_iter().chain(plain) {
        let mut keys = Vec::new();
        for file in files {
            keys.extend(keys_in(file, name).map_err(|error| (file.clone(), error))?);
        }
        let (gone, valid) = keys.into_iter().partition(|one| one.role == Role::Revoked);
        revoked.extend::<Vec<_>>(gone);
        if known.is_empty() {
            known = valid;
        }
    }
    known.extend(revoked);
    Ok(known)
}

/// Returns the keys a file has for a name as such files write it; a file that is not there has none.
fn keys_in(file: &Path, name: &str) -> std::io::Result<Vec<KnownKey>> {
    let text = match std::fs::read(file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(keys_of(&text, file, name))
}

fn keys_of(text: &str, file: &Path, name: &str) -> Vec<KnownKey> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // A kind of key unknown to us is no error: OpenSSH passes over such lines, too.
        let words: Vec<&str> = line.split_whitespace().collect();
        let Ok(entry) = words.join(" ").parse::<Entry>() else { continue };
        let role = match entry.marker() {
            Some(Marker::CertAuthority) => Role::Authority,
            Some(Marker::Revoked) => Role::Revoked,
            None => Role::Host,
        };
        if names(entry.host_patterns(), name) {
            let place = Place { file: file.to_owned(), line: index + 1 };
            keys.push(KnownKey { key: entry.public_key().clone(), place, role });
        }
    }
    keys
}

/// Reads a file of public keys, one a line (`RevokedHostKeys`). OpenSSH refuses every host where it cannot
/// be read, and so do we.
pub(crate) fn revoked_in(file: &Path) -> Result<Vec<KnownKey>, String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    if bytes.starts_with(KRL) {
        return Err("it is a key revocation list of ssh-keygen -k, which is not supported yet; \
                    list the public keys, one a line"
            .to_owned());
    }
    let text = String::from_utf8_lossy(&bytes);
    let keys = text.lines().enumerate().filter_map(|(index, line)| {
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        let key = words.join(" ").parse().ok()?;
        let place = Place { file: file.to_owned(), line: index + 1 };
        Some(KnownKey { key, place, role: Role::Revoked })
    });
    Ok(keys.collect())
}

/// How a key revocation list begins.
const KRL: &[u8] = b"SSHKRL\n";

fn names(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::Patterns(patterns) => matches_host(patterns, name),
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
            .is_ok_and(|hmac| hmac.chain_update(name).verify_slice(hash).is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAzIQ5Xj2Dwpjrl3MC9PV0ItYvLKyUmJeXWWS7UqnVSt";

    fn found(line: &str, host: &str, port: u16) -> Vec<KnownKey> {
        keys_of(&format!("# a comment\n\n{line}\n"), Path::new("known"), &written(host, port))
    }

    #[test]
    fn finds_names_ports_and_patterns() {
        assert_eq!(found(&format!("rack1,10.0.0.1 {KEY} x"), "rack1", 22).len(), 1);
        assert_eq!(found(&format!("rack1 {KEY}"), "RACK1", 22).len(), 1);
        assert_eq!(found(&format!("rack1 {KEY}"), "rack1", 2222).len(), 0);
        assert_eq!(found(&format!("[rack1]:2222 {KEY}"), "rack1", 2222).len(), 1);
        assert_eq!(found(&format!("*.lan,!b.lan {KEY}"), "a.lan", 22).len(), 1);
        assert_eq!(found(&format!("*.lan,!b.lan {KEY}"), "b.lan", 22).len(), 0);
        let place = &found(&format!("rack1 {KEY}"), "rack1", 22)[0].place;
        assert_eq!(place.to_string(), "known:3");
    }

    #[test]
    fn finds_hashed_names() {
        // ssh-keygen -H of "rack1".
        let mut hmac = Hmac::<Sha1>::new_from_slice(&[7; 20]).unwrap();
        hmac.update(b"rack1");
        let hash = hmac.finalize().into_bytes();
        let text = |bytes: &[u8]| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(bytes)
        };
        let line = format!("|1|{}|{} {KEY}", text(&[7; 20]), text(&hash));
        assert_eq!(found(&line, "rack1", 22).len(), 1);
        assert_eq!(found(&line, "rack2", 22).len(), 0);
    }

    #[test]
    fn knows_markers() {
        let role = |line: String, name| found(&line, name, 22)[0].role;
        assert_eq!(role(format!("@revoked rack1 {KEY}"), "rack1"), Role::Revoked);
        assert_eq!(role(format!("@cert-authority *.lan {KEY}"), "a.lan"), Role::Authority);
        assert_eq!(role(format!("@cert-authority\t*.lan   {KEY}"), "a.lan"), Role::Authority);
        assert!(found(&format!("@cert-authority *.lan {KEY}"), "b", 22).is_empty());
        assert!(found("rack1 ssh-future AAAA", "rack1", 22).is_empty());
    }
}
