//! `freehold host add`: a new machine becomes a host, its key vouched for by somebody.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use freehold_core::{
    config::with_host,
    host::{Newcomer, connect, meet},
    model::{Accel, Connection, DaemonMode, Host, HostName},
    state::replace_file,
};

use crate::{
    args::{Args, HostAdd},
    ask,
    context::Context,
    failure::{Exit, Failure},
    screen,
};

/// The repository's file of known hosts.
pub(crate) const KNOWN_HOSTS: &str = "known_hosts";

/// Each step is kept when a later one fails, and passed over when it is done already.
pub(crate) async fn add(args: &Args, add: &HostAdd) -> Result<Exit, Failure> {
    let mut context = Context::open(args)?;
    let directory = context.directory.clone();
    let name = name_of(add)?;
    let declared = declared(&context, &name, add)?;
    let newcomer = meet(&name, &add.target, &context.options).await?;
    if !is_vouched_for(&newcomer, add)? {
        return Ok(Exit::Input);
    }
    let known_hosts = directory.join(KNOWN_HOSTS);
    let in_repo = format!("{}:", known_hosts.display());
    if !newcomer.known.as_ref().is_some_and(|place| place.starts_with(&in_repo)) {
        record(&known_hosts, &newcomer.line)
            .map_err(|error| Failure::input("cannot write known_hosts").because(&error))?;
    }
    context.options.repo_known_hosts = Some(known_hosts);
    let host = declared.clone().unwrap_or_else(|| Host {
        name: name.clone(),
        connection: Connection::Ssh(add.target.clone()),
        libvirt: mode_of(add),
        pool: add.pool.clone(),
        accel: Accel::Auto,
        labels: std::collections::BTreeMap::new(),
    });
    make_pool(&host, &context).await?;
    if declared.is_some() {
        screen::data(&format!("host {name} is declared already"));
    } else {
        declare(args, &directory, &host)?;
    }
    screen::data(&format!("next: freehold doctor {name}"));
    Ok(Exit::Done)
}

fn mode_of(add: &HostAdd) -> DaemonMode {
    if add.session { DaemonMode::Session } else { DaemonMode::System }
}

/// Returns the name it is to have: the one given, or the first part of its address.
fn name_of(add: &HostAdd) -> Result<HostName, Failure> {
    if let Some(name) = &add.name {
        return Ok(name.clone());
    }
    let address = &add.target.host;
    let is_name = address.parse::<std::net::IpAddr>().is_err();
    let first = address.split('.').next().unwrap_or_default();
    let name = is_name.then(|| first.to_lowercase().parse().ok()).flatten();
    name.ok_or_else(|| {
        Failure::input(format!("{address} is no name for a host")).hint("give it one: --name rack1")
    })
}

/// Returns the host where it is declared as the same one.
fn declared(context: &Context, name: &HostName, add: &HostAdd) -> Result<Option<Host>, Failure> {
    let Some(host) = context.fleet.hosts.get(name) else {
        let same = Connection::Ssh(add.target.clone());
        let twin = context.fleet.hosts.values().find(|host| host.connection == same);
        return match twin {
            None => Ok(None),
            Some(twin) => Err(Failure::input(format!(
                "{} is declared already, as host {}",
                add.target, twin.name
            ))
            .hint(format!("freehold host add {} --name {}", add.target, twin.name))),
        };
    };
    let same_pool = add.pool.as_ref().is_none_or(|pool| pool == host.pool_path());
    if add.session && host.libvirt != DaemonMode::Session {
        return Err(Failure::input(format!("host {name} is declared with {}", host.libvirt.uri()))
            .hint("leave --session out, or change its block"));
    }
    match &host.connection {
        Connection::Ssh(target) if *target == add.target && same_pool => Ok(Some(host.clone())),
        Connection::Ssh(target) if same_pool => {
            Err(Failure::input(format!("host {name} is declared already, as {target}"))
                .hint("change its block, or give this one another --name"))
        }
        Connection::Ssh(_) => {
            Err(Failure::input(format!("host {name} has its pool in {}", host.pool_path()))
                .hint("leave --pool out, or change its block"))
        }
        Connection::Local => Err(Failure::input(format!("host {name} is this machine"))
            .hint("give the new one another --name")),
    }
}

/// Whether its key is known, or somebody says that it is the right one.
fn is_vouched_for(newcomer: &Newcomer, add: &HostAdd) -> Result<bool, Failure> {
    let Newcomer { place, fingerprint, kind, known, .. } = newcomer;
    let shown = format!("{} is {place}\nits host key is {fingerprint} ({kind})", add.target);
    screen::say(&shown);
    if let Some(wanted) = &add.fingerprint {
        return if wanted == fingerprint {
            Ok(true)
        } else {
            Err(Failure::input(format!("its host key is {fingerprint}, not {wanted}")).hint(
                "is it the fingerprint of its key of that kind? somebody may be in the middle",
            ))
        };
    }
    if let Some(known) = known {
        screen::say(&format!("which is known from {known}"));
        return Ok(true);
    }
    screen::say(&format!(
        "compare it with what the host says of itself, at its console:\n  ssh-keygen -lf \
         /etc/ssh/ssh_host_{kind}_key.pub"
    ));
    let hint = format!("once you have compared it: --fingerprint {fingerprint}");
    Ok(ask::agrees_or("is it that one?", fingerprint, &hint))
}

/// Adds a line to a file of known hosts that has it not.
fn record(path: &Path, line: &str) -> io::Result<()> {
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if before.lines().any(|known| known.trim() == line) {
        return Ok(());
    }
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    rewrite(path, &format!("{before}{gap}{line}\n"))?;
    screen::data(&format!("wrote it to {KNOWN_HOSTS}: commit that file, and clones know it"));
    Ok(())
}

/// Replaces a file that is the user's own: its mode stays, and a link leads to the same file.
fn rewrite(path: &Path, text: &str) -> io::Result<()> {
    let (path, mode) = match path.canonicalize() {
        Ok(real) => {
            let mode = fs::metadata(&real)?.permissions().mode() & 0o7777;
            (real, mode)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (path.to_owned(), 0o644),
        Err(error) => return Err(error),
    };
    replace_file(&path, text.as_bytes(), mode)
}

async fn make_pool(host: &Host, context: &Context) -> Result<(), Failure> {
    let open = connect(host, &context.options).await?;
    let seen = open.observe(&[]).await?;
    if seen.pool.is_some_and(|pool| pool.active) {
        screen::data(&format!("its pool in {} is there", host.pool_path()));
        return Ok(());
    }
    open.create_pool().await?;
    screen::data(&format!("made its pool in {}", host.pool_path()));
    Ok(())
}

/// Writes the host's block, and takes it back where the fleet could not be read with it.
fn declare(args: &Args, directory: &Path, host: &Host) -> Result<(), Failure> {
    let name = &host.name;
    let Some(new) = with_host(directory, host) else {
        return Err(Failure::input(format!("no file to write host {name} to")));
    };
    let write = |text: &str| {
        rewrite(&new.path, text).map_err(|error| {
            Failure::input(format!("cannot write {}", new.path.display())).because(&error)
        })
    };
    write(&new.after)?;
    if let Err(failure) = Context::open(args) {
        write(&new.before)?;
        return Err(failure);
    }
    let file = new.path.file_name().unwrap_or_default().to_string_lossy();
    screen::data(&format!("wrote host {name} to {file}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(target: &str) -> Option<String> {
        let target = target.parse().unwrap();
        let add = HostAdd { target, name: None, pool: None, fingerprint: None, session: false };
        name_of(&add).ok().map(|name| name.to_string())
    }

    #[test]
    fn a_host_is_named_by_its_address_where_that_has_a_name() {
        assert_eq!(named("root@Rack3.example.org:22"), Some("rack3".to_owned()));
        assert_eq!(named("10.0.0.13"), None);
        assert_eq!(named("fd00::1"), None);
    }

    #[test]
    fn a_line_is_written_once_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (path, real) = (dir.path().join("known_hosts"), dir.path().join("shared"));
        fs::write(&real, "").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        record(&path, "a ssh-ed25519 A").unwrap();
        fs::write(&path, "# mine\na ssh-ed25519 A").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        record(&path, "b ssh-ed25519 B").unwrap();
        record(&path, "a ssh-ed25519 A").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!((path.is_symlink(), mode(&real)), (true, 0o600));
        assert_eq!(text, "# mine\na ssh-ed25519 A\nb ssh-ed25519 B\n");
    }
}
