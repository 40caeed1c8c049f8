//! Reads the part of `ssh_config` that says how a host is reached.
//!
//! What we do not honour and what would change where we end up is refused by name; an option that
//! only tunes a session is passed over.

mod algorithms;
mod reader;
mod times;
mod tokens;
mod words;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) use self::{algorithms::CERTIFICATE, times::Alive};
use self::{
    algorithms::{AUTHORITIES, HOST_KEYS, USER_KEYS, listed},
    reader::{Reader, Value, is_off},
    times::{alive, seconds},
    tokens::{Tokens, with_variables},
};
use super::known_hosts::written;
use crate::model::SshTarget;

/// How a host is reached, with everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The name or address to connect to.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// What leads there, where it is no connection from here.
    pub(crate) via: Option<Via>,
    /// The address or interface of this machine to connect from.
    pub(crate) from: Option<Bound>,
    /// The name its key is known by, as files of known keys write it.
    pub(crate) known_as: String,
    /// The name its certificate must be for.
    pub(crate) called: String,
    /// Key files to try; the usual ones when none is named.
    pub(crate) identities: Vec<PathBuf>,
    /// Certificates of keys; when none is named, those beside the key files.
    pub(crate) certificates: Vec<PathBuf>,
    /// Whether the agent's other keys are left out.
    pub(crate) identities_only: bool,
    /// The agent's socket.
    pub(crate) agent: Option<PathBuf>,
    /// Whether nobody is asked for a passphrase.
    pub(crate) asks_nobody: bool,
    /// The user's files of known keys, then the system's.
    pub(crate) known_hosts: Vec<PathBuf>,
    /// A file of keys that no host may have.
    pub(crate) revoked_keys: Option<PathBuf>,
    pub(crate) algorithms: Algorithms,
    /// Set when `StrictHostKeyChecking` asks for less than we do.
    pub(crate) lax_checking: bool,
    /// How long `ConnectTimeout` allows.
    pub(crate) connect_timeout: Option<Duration>,
    /// How often, and how many times, a silent host is asked whether it is there.
    pub(crate) alive: Alive,
}

/// The algorithms that may be used, by name, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Algorithms {
    /// What the host proves itself with.
    pub(crate) host_keys: Vec<String>,
    /// What logs in.
    pub(crate) user_keys: Vec<String>,
    /// What authorities sign certificates with.
    pub(crate) authorities: Vec<String>,
}

impl Algorithms {
    fn of(reader: &Reader<'_>) -> Result<Self, SshConfigError> {
        Ok(Self {
            host_keys: listed(reader.value("hostkeyalgorithms"), &HOST_KEYS)?,
            user_keys: listed(reader.value("pubkeyacceptedalgorithms"), &USER_KEYS)?,
            authorities: listed(reader.value("casignaturealgorithms"), &AUTHORITIES)?,
        })
    }

    /// Returns all that we know.
    pub(crate) fn usual() -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            host_keys: owned(&HOST_KEYS),
            user_keys: owned(&USER_KEYS),
            authorities: owned(&AUTHORITIES),
        }
    }
}

/// `BindAddress` or `BindInterface`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bound {
    Address(String),
    Interface(String),
}

/// What leads to a host that is not connected to from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Via {
    /// Another host (`ProxyJump`).
    Jump(Box<Route>),
    /// A command's input and output (`ProxyCommand`), for this shell.
    Command { shell: PathBuf, command: String },
}

impl Route {
    /// Returns the place it leads to, in words.
    pub(crate) fn place(&self) -> String {
        let (host, port) = (&self.host, self.port);
        match &self.via {
            None => format!("{host}:{port}"),
            Some(Via::Jump(hop)) => format!("{host}:{port} through {}", hop.place()),
            Some(Via::Command { .. }) => format!("{host}:{port} through ProxyCommand"),
        }
    }
}

/// Says why an `ssh_config` cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SshConfigError {
    #[error("{file}:{line}: `{option}` is not supported yet")]
    Unsupported { file: String, line: usize, option: String },
    #[error("{file}:{line}: {what}")]
    Syntax { file: String, line: usize, what: String },
    #[error("cannot read {file}: {why}")]
    Read { file: String, why: String },
}

/// What surrounds a user: read from the environment once, at the border.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) home: PathBuf,
    pub(crate) user: String,
    pub(crate) agent: Option<PathBuf>,
    /// What runs commands of `ssh_config`.
    pub(crate) shell: PathBuf,
    /// Where the system's `ssh_config` and known keys are.
    pub(crate) system: PathBuf,
}

impl Surroundings {
    pub(crate) fn of_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            home: std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")),
            user: text("USER").or_else(|| text("LOGNAME")).unwrap_or_else(|| "root".to_owned()),
            agent: text("SSH_AUTH_SOCK").map(PathBuf::from),
            shell: text("SHELL").map_or_else(|| PathBuf::from("/bin/sh"), PathBuf::from),
            system: PathBuf::from("/etc/ssh"),
        }
    }

    fn expand_home(&self, word: &str) -> PathBuf {
        match word.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None if word == "~" => self.home.clone(),
            None => PathBuf::from(word),
        }
    }
}

/// Options that would lead elsewhere, or make another key the right one.
const REFUSED: [&str; 4] =
    ["knownhostscommand", "pkcs11provider", "canonicalizehostname", "proxyusefdpass"];

/// How many hosts may lead to one another.
const HOPS: usize = 8;

/// Returns how a target is reached by this file; without one by the user's and the system's.
pub(crate) fn route(
    target: &SshTarget,
    file: Option<&Path>,
    around: &Surroundings,
) -> Result<Route, SshConfigError> {
    Finder { file, around }.route(target, Lead::OfItsOwn(0))
}

struct Finder<'a> {
    file: Option<&'a Path>,
    around: &'a Surroundings,
}

/// How the way to a host is found.
#[derive(Clone, Copy)]
enum Lead {
    /// As its own lines say, so many hosts on from the one that is meant.
    OfItsOwn(usize),
    /// Over the host before it in a list, whatever its own lines say.
    OverTheOneBefore,
}

impl Finder<'_> {
    fn route(&self, target: &SshTarget, lead: Lead) -> Result<Route, SshConfigError> {
        let reader = Reader::of(target, self.file, self.around)?;
        for option in REFUSED {
            if let Some(value) = reader.value(option).filter(|value| !value.is_off()) {
                return Err(value.unsupported());
            }
        }
        let (host, port, user) = (reader.host()?.to_lowercase(), reader.port()?, reader.user());
        let alias = reader.value("hostkeyalias").map(|value| value.first().to_lowercase());
        let tokens = Tokens {
            given: &target.host,
            host: &host,
            port,
            user: &user,
            local_user: &self.around.user,
            home: &self.around.home.to_string_lossy(),
            alias: alias.as_deref().unwrap_or(&target.host),
        };
        let via = match lead {
            Lead::OfItsOwn(depth) => self.via(&reader, &tokens, depth)?,
            Lead::OverTheOneBefore => None,
        };
        let lax = reader.value("stricthostkeychecking").map(|value| value.first().to_lowercase());
        let revoked = reader.value("revokedhostkeys").filter(|value| !value.is_none());
        keys_may_log_in(&reader)?;
        Ok(Route {
            via,
            from: bound(&reader),
            known_as: alias.clone().unwrap_or_else(|| written(&host, port)),
            called: alias.clone().unwrap_or_else(|| host.clone()),
            identities: self.identities(&reader, &tokens)?,
            certificates: self.paths(reader.all("certificatefile"), &tokens)?,
            identities_only: reader.value("identitiesonly").is_some_and(|value| !value.is_off()),
            agent: self.agent(&reader, &tokens)?,
            asks_nobody: reader.value("batchmode").is_some_and(|value| !value.is_off()),
            known_hosts: self.known_hosts(&reader, &tokens)?,
            revoked_keys: revoked
                .map(|value| self.path(value.first(), value, &tokens))
                .transpose()?,
            algorithms: Algorithms::of(&reader)?,
            lax_checking: matches!(lax.as_deref(), Some("no" | "off" | "accept-new")),
            connect_timeout: seconds(&reader, "connecttimeout")?,
            alive: alive(&reader)?,
            host,
            port,
            user,
        })
    }

    fn identities(
        &self,
        reader: &Reader<'_>,
        tokens: &Tokens<'_>,
    ) -> Result<Vec<PathBuf>, SshConfigError> {
        match reader.all("identityfile") {
            [] => Ok(["id_rsa", "id_ecdsa", "id_ed25519"]
                .map(|name| self.around.home.join(".ssh").join(name))
                .to_vec()),
            values => self.paths(values, tokens),
        }
    }

    fn known_hosts(
        &self,
        reader: &Reader<'_>,
        tokens: &Tokens<'_>,
    ) -> Result<Vec<PathBuf>, SshConfigError> {
        let mut files = match reader.value("userknownhostsfile") {
            Some(value) => self.paths(std::slice::from_ref(value), tokens)?,
            None => ["known_hosts", "known_hosts2"]
                .map(|name| self.around.home.join(".ssh").join(name))
                .to_vec(),
        };
        files.extend(match reader.value("globalknownhostsfile") {
            Some(value) => self.paths(std::slice::from_ref(value), tokens)?,
            None => ["ssh_known_hosts", "ssh_known_hosts2"]
                .map(|name| self.around.system.join(name))
                .to_vec(),
        });
        Ok(files)
    }

    /// Returns what leads there. The hosts of a list lead to one another, the first from here.
    fn via(
        &self,
        reader: &Reader<'_>,
        tokens: &Tokens<'_>,
        depth: usize,
    ) -> Result<Option<Via>, SshConfigError> {
        let Some(value) = reader.value("proxy").filter(|value| !value.is_none()) else {
            return Ok(None);
        };
        if value.line.option == "proxycommand" {
            let filled = tokens.filled(&value.line.raw);
            let unknown = |token| value.bad(format!("`{token}` means nothing in ProxyCommand"));
            let command = format!("exec {}", filled.map_err(unknown)?);
            return Ok(Some(Via::Command { shell: self.around.shell.clone(), command }));
        }
        if depth == HOPS {
            return Err(
                value.bad("ProxyJump leads through too many hosts; does it lead to itself?")
            );
        }
        let mut way: Option<Route> = None;
        for hop in value.first().split(',') {
            let target: SshTarget = hop.trim().parse().map_err(|why: String| value.bad(why))?;
            way = Some(match way.take() {
                None => self.route(&target, Lead::OfItsOwn(depth + 1))?,
                Some(before) => {
                    let hop = self.route(&target, Lead::OverTheOneBefore)?;
                    Route { via: Some(Via::Jump(Box::new(before))), ..hop }
                }
            });
        }
        Ok(way.map(|hop| Via::Jump(Box::new(hop))))
    }

    fn agent(
        &self,
        reader: &Reader<'_>,
        tokens: &Tokens<'_>,
    ) -> Result<Option<PathBuf>, SshConfigError> {
        match reader.value("identityagent") {
            None => Ok(self.around.agent.clone()),
            Some(value) if value.first() == "SSH_AUTH_SOCK" => Ok(self.around.agent.clone()),
            Some(value) if value.is_off() => Ok(None),
            Some(value) => match value.first().strip_prefix('$').filter(|n| !n.starts_with('{')) {
                Some(variable) => Ok(std::env::var_os(variable).map(PathBuf::from)),
                None => self.path(value.first(), value, tokens).map(Some),
            },
        }
    }

    fn paths(&self, values: &[Value], tokens: &Tokens<'_>) -> Result<Vec<PathBuf>, SshConfigError> {
        let words = values.iter().flat_map(|value| {
            value.line.words.iter().filter(|word| !is_off(word)).map(move |word| (word, value))
        });
        words.map(|(word, value)| self.path(word, value, tokens)).collect()
    }

    fn path(
        &self,
        word: &str,
        value: &Value,
        tokens: &Tokens<'_>,
    ) -> Result<PathBuf, SshConfigError> {
        let word =
            with_variables(word, &|name| std::env::var(name).ok()).map_err(|why| value.bad(why))?;
        let unknown = |token| value.bad(format!("`{token}` means nothing here"));
        Ok(self.around.expand_home(&tokens.filled(&word).map_err(unknown)?))
    }
}

/// Refuses a configuration under which keys do not log in: nothing else of ours does.
fn keys_may_log_in(reader: &Reader<'_>) -> Result<(), SshConfigError> {
    const WHY: &str = "leaves out publickey, and freehold logs in with keys only";
    if let Some(value) = reader.value("preferredauthentications") {
        let mut methods = value.first().split(',');
        if methods.all(|method| method.trim() != "publickey") {
            return Err(value.bad(format!("PreferredAuthentications {} {WHY}", value.first())));
        }
    }
    match reader.value("pubkeyauthentication").filter(|value| value.is_off()) {
        Some(value) => Err(value.bad(format!("PubkeyAuthentication {} {WHY}", value.first()))),
        None => Ok(()),
    }
}

/// An address goes before an interface, as in OpenSSH.
fn bound(reader: &Reader<'_>) -> Option<Bound> {
    let given = |option| {
        let value = reader.value(option).filter(|value| !value.is_none())?;
        Some(value.first().to_owned())
    };
    let address = given("bindaddress").map(Bound::Address);
    address.or_else(|| given("bindinterface").map(Bound::Interface))
}

#[cfg(test)]
mod tests;
