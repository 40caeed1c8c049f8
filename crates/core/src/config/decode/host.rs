//! `fleet` and `host`.

use std::time::Duration;

use super::seconds::seconds;
use crate::{
    config::{
        fields::{Fields, required},
        problem::Reported,
    },
    model::{Accel, Connection, DaemonMode, FleetId, Host, SshTarget},
};

/// Reads the fleet's id.
pub(in crate::config) fn fleet_id(fields: Fields<'_>) -> Result<FleetId, Reported> {
    if fields.block.label.is_empty() {
        return Err(fields.fail(&fields.block.label_span, "a fleet has a name"));
    }
    required(fields.parsed::<FleetId>("id")).map(|given| given.value)
}

/// Reads a physical host.
/// How long the trash is kept where the text does not say.
const RETAIN: Duration = Duration::from_hours(30 * 24);

pub(in crate::config) fn retain(fields: Fields<'_>) -> Result<Duration, Reported> {
    let given = fields.parsed_by("retain", seconds)?;
    Ok(given.map_or(RETAIN, |given| Duration::from_secs(given.value)))
}

pub(in crate::config) fn host(fields: Fields<'_>) -> Result<Host, Reported> {
    let name = fields.label();
    let connection = connection(fields);
    let words = [("auto", Accel::Auto), ("kvm", Accel::Kvm), ("tcg", Accel::Tcg)];
    let accel = fields.word("accel", &words, &[]);
    let pool = fields.parsed_by("pool", absolute_path);
    let modes = [("system", DaemonMode::System), ("session", DaemonMode::Session)];
    let libvirt = fields.word("libvirt", &modes, &[]);
    let labels = fields.labels("labels");
    let (pool, libvirt) = (pool?, libvirt?);
    if let (None, Some(given)) = (&pool, &libvirt)
        && given.value == DaemonMode::Session
        && !fields.meant(&["pool"])
    {
        let title = fields.block.title();
        let problem = fields
            .problem(&given.span, format!("{title} has `libvirt = \"session\"` and no `pool`"));
        let hint = "give it a directory of the login's own: `pool = \"/home/admin/freehold\"`";
        return Err(fields.add(problem.hint(hint)));
    }
    Ok(Host {
        name: name?,
        libvirt: libvirt.map(|given| given.value).unwrap_or_default(),
        connection: connection?,
        accel: accel?.map_or(Accel::Auto, |given| given.value),
        pool: pool.map(|given| given.value),
        labels: labels?,
    })
}

fn connection(fields: Fields<'_>) -> Result<Connection, Reported> {
    let ssh = fields.parsed::<SshTarget>("ssh");
    let local = fields.word("connection", &[("local", ())], &["ssh", "tls", "tcp"]);
    match (ssh?, local?) {
        (Some(target), None) => Ok(Connection::Ssh(target.value)),
        (None, Some(_)) => Ok(Connection::Local),
        (Some(_), Some(local)) => {
            let title = fields.block.title();
            let message = format!("{title} has both `ssh` and `connection`: one is enough");
            Err(fields.fail(&local.span, message))
        }
        (None, None) if fields.meant(&["ssh", "connection"]) => Err(Reported),
        (None, None) => {
            let title = fields.block.title();
            let problem = fields.block.problem(format!("{title} does not say how it is reached"));
            let hint = "give `ssh = \"root@rack1.example.org\"`, or `connection = \"local\"`";
            Err(fields.add(problem.hint(hint)))
        }
    }
}

/// Parses the path of a pool's directory: absolute, not the root, without anything that a shell or a mount
/// could take in another way.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn absolute_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("`{text}` is no absolute path"));
    }
    if text.contains(char::is_control) || text.split('/').any(|part| part == "..") {
        return Err(format!("`{text}` is no plain path"));
    }
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() {
        return Err("the pool must not be the root directory".to_owned());
    }
    Ok(trimmed.to_owned())
}
