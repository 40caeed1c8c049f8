//! Lists of algorithms: which host keys are asked for, which keys log in, how authorities sign.

use super::{SshConfigError, reader::Value};
use crate::host::ssh::pattern::matches_list;

/// How a certificate's kind ends.
pub(crate) const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// What a host may prove itself with. RSA signs with SHA-2 only.
pub(super) const HOST_KEYS: [&str; 12] = [
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// What logs in: the same, and keys of security tokens, which an agent holds.
pub(super) const USER_KEYS: [&str; 16] = [
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// What an authority may sign a certificate with.
pub(super) const AUTHORITIES: [&str; 8] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// Returns the algorithms a value asks for, of those we know: `a,b` are these, `+a` is one more, `-a` one
/// less, `^a` first; each may be a pattern.
pub(super) fn listed(value: Option<&Value>, known: &[&str]) -> Result<Vec<String>, SshConfigError> {
    let all = || known.iter().map(|name| (*name).to_owned());
    let Some(value) = value else { return Ok(all().collect()) };
    let (how, list) = match value.first().split_at_checked(1) {
        Some((how @ ("+" | "-" | "^"), list)) => (how, list),
        _ => ("", value.first()),
    };
    let patterns: Vec<String> = list.split(',').map(str::to_owned).collect();
    let fits = |name: &String| matches_list(&patterns, name);
    let named = || {
        let mut named: Vec<String> = Vec::new();
        for pattern in &patterns {
            let of = all().filter(|name| matches_list(std::slice::from_ref(pattern), name));
            let new: Vec<String> = of.filter(|name| !named.contains(name)).collect();
            named.extend(new);
        }
        named
    };
    let wanted: Vec<String> = match how {
        // All that we know is in the list from the start.
        "+" => all().collect(),
        "-" => all().filter(|name| !fits(name)).collect(),
        "^" => named().into_iter().chain(all().filter(|name| !fits(name))).collect(),
        _ => named(),
    };
    if wanted.is_empty() {
        let option = &value.line.option;
        return Err(value.bad(format!("`{option}` leaves no algorithm that freehold knows")));
    }
    Ok(wanted)
}
