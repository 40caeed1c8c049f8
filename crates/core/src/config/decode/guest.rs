//! What a VM tells its guest and outsiders: `cloud_init`, `dns`, `metrics`, `ansible`.

use russh::keys::PublicKey;

use super::seconds::ttl;
use crate::{
    config::{
        fields::{Fields, Given, One, required},
        problem::Reported,
        value::{Text, Value},
    },
    model::{CloudInit, Exporter, VmDns},
};

/// Reads what the guest is told.
pub(super) fn cloud_init(fields: Fields<'_>) -> Result<CloudInit, Reported> {
    let ssh_keys = ssh_keys(fields);
    let user_data = fields.text("user_data");
    let user = fields.parsed_by("user", login);
    Ok(CloudInit {
        ssh_keys: ssh_keys?,
        user_data: user_data?.map(|given| given.value.text),
        user: user?.map(|given| given.value),
    })
}

/// Reads public keys; a text may hold several, one a line, as `authorized_keys` does.
fn ssh_keys(fields: Fields<'_>) -> Result<Vec<String>, Reported> {
    let mut keys = Vec::new();
    let mut failed = None;
    for Given { value, span } in fields.list("ssh_keys", One::IsWrong)?.unwrap_or_default() {
        let Value::Text(text) = value else {
            failed = Some(fields.wrong("ssh_keys", &span, "a list of texts", &value));
            continue;
        };
        match public_keys(&text) {
            Ok(found) => keys.extend(found),
            Err((why, hint)) => {
                let problem = fields.problem(&span, why).hint(hint);
                // What is written out here may be a secret put in the wrong place.
                let problem = if text.outside { problem } else { problem.sealed() };
                failed = Some(fields.add(problem));
            }
        }
    }
    failed.map_or(Ok(keys), Err)
}

fn public_keys(text: &Text) -> Result<Vec<String>, (&'static str, &'static str)> {
    if text.text.contains("PRIVATE KEY") || text.text.contains("PuTTY-User-Key-File") {
        let hint = "the public key is in the file beside it that ends in .pub";
        return Err(("`ssh_keys` holds a private key, which never belongs here", hint));
    }
    let lines = text.text.lines().map(str::trim);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let valid = |line: &&str| PublicKey::from_openssh(line).is_ok();
    if lines.is_empty() || !lines.iter().all(valid) {
        let hint = "it takes the line of a file like ~/.ssh/id_ed25519.pub";
        return Err(("`ssh_keys` holds what is no OpenSSH public key", hint));
    }
    Ok(lines.into_iter().map(str::to_owned).collect())
}

/// Parses a login name, as useradd takes it.
fn login(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    let begin = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if !begin || text.len() > 32 || !text.chars().all(plain) {
        return Err(format!("`{text}` is no login name"));
    }
    Ok(text.to_owned())
}

/// Reads where the VM's names go.
pub(super) fn zones(fields: Fields<'_>) -> Result<Vec<VmDns>, Reported> {
    let mut zones: Vec<VmDns> = Vec::new();
    let mut failed = None;
    for block in fields.block.inner("dns") {
        let fields = fields.within(block);
        match vm_dns(fields) {
            Ok(dns) if zones.iter().any(|other| other.zone == dns.zone) => {
                let span = fields.key_span("zone");
                failed = Some(fields.fail(&span, format!("zone \"{}\" stands twice", dns.zone)));
            }
            Ok(dns) => zones.push(dns),
            Err(reported) => failed = Some(reported),
        }
    }
    failed.map_or(Ok(zones), Err)
}

fn vm_dns(fields: Fields<'_>) -> Result<VmDns, Reported> {
    let zone = required(fields.named("zone", "zone"));
    let ttl = fields.parsed_by("ttl", ttl);
    Ok(VmDns { zone: zone?, ttl: ttl?.map(|given| given.value) })
}

/// Reads what can be scraped.
pub(super) fn exporters(fields: Fields<'_>) -> Result<Vec<Exporter>, Reported> {
    let read = |block| exporter(fields.within(block));
    let exporters: Vec<_> = fields.block.inner("metrics").map(read).collect();
    exporters.into_iter().collect()
}

fn exporter(fields: Fields<'_>) -> Result<Exporter, Reported> {
    let name = fields.label();
    let port = required(fields.whole("port", 1..=65535));
    let path = fields.parsed_by("path", |text| {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if !text.starts_with('/') || text.contains(odd) {
            return Err(format!("`{text}` is no path: it begins with `/` and has no blanks"));
        }
        Ok(text.to_owned())
    });
    let port = u16::try_from(port?).map_err(|_| Reported)?;
    Ok(Exporter { name: name?, port, path: path?.map(|given| given.value) })
}

/// Reads the Ansible groups.
pub(super) fn groups(fields: Fields<'_>) -> Result<Vec<String>, Reported> {
    let Some(block) = fields.block.inner("ansible").next() else { return Ok(Vec::new()) };
    let groups = fields.within(block).texts("groups", One::IsWrong, group)?;
    let mut named: Vec<String> = Vec::new();
    for Given { value, span } in groups.unwrap_or_default() {
        if named.contains(&value) {
            return Err(fields.fail(&span, format!("group `{value}` stands twice")));
        }
        named.push(value);
    }
    Ok(named)
}

/// Parses a group's name (Ansible's `TRANSFORM_INVALID_GROUP_CHARS` would rename others).
fn group(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begin = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begin || !text.chars().all(plain) {
        return Err(format!(
            "`{text}` is no group: letters, digits and underscores, not a digit first"
        ));
    }
    Ok(text.to_owned())
}
