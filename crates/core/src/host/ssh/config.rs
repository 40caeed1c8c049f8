//! Reads the part of `ssh_config` that says how a host is reached.
//!
//! What we do not honour and what would change where we end up is refused by name; an option that
//! only tunes a session is passed over.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::pattern::matches_list;
use crate::model::SshTarget;

/// How a host is reached, with everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The name or address to connect to, and the name its key is known by.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// Key files to try; the usual ones when none is named.
    pub(crate) identities: Vec<PathBuf>,
    /// Whether the agent's other keys are left out.
    pub(crate) identities_only: bool,
    /// The agent's socket.
    pub(crate) agent: Option<PathBuf>,
    /// The user's files of known keys.
    pub(crate) known_hosts: Vec<PathBuf>,
    /// Set when `StrictHostKeyChecking` asks for less than we do.
    pub(crate) lax_checking: bool,
}

impl Route {
    /// Returns the place it leads to, in words.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
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
}

impl Surroundings {
    pub(crate) fn of_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            home: std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")),
            user: text("USER").or_else(|| text("LOGNAME")).unwrap_or_else(|| "root".to_owned()),
            agent: text("SSH_AUTH_SOCK").map(PathBuf::from),
        }
    }
}

/// Options that would lead elsewhere, or make another key the right one.
const REFUSED: [&str; 10] = [
    "proxyjump",
    "proxycommand",
    "hostkeyalias",
    "certificatefile",
    "knownhostscommand",
    "pkcs11provider",
    "bindaddress",
    "bindinterface",
    "revokedhostkeys",
    "canonicalizehostname",
];

/// Values of these that mean "as if it were not there".
fn is_off(value: &str) -> bool {
    value.eq_ignore_ascii_case("none") || value.eq_ignore_ascii_case("no")
}

/// Returns how a target is reached by this file; none is the same as an empty one.
pub(crate) fn route(
    target: &SshTarget,
    file: Option<&Path>,
    around: &Surroundings,
) -> Result<Route, SshConfigError> {
    let mut reader =
        Reader { host: &target.host, around, values: BTreeMap::new(), lists: BTreeMap::new() };
    let usual = around.home.join(".ssh/config");
    if let Some(file) = file.or_else(|| usual.exists().then_some(usual.as_path())) {
        reader.file(file, 0)?;
    }
    reader.finish(target)
}

struct Reader<'a> {
    host: &'a str,
    around: &'a Surroundings,
    /// The first value of each option wins.
    values: BTreeMap<String, Value>,
    /// Options that add up.
    lists: BTreeMap<String, Vec<String>>,
}

struct Value {
    words: Vec<String>,
    file: String,
    line: usize,
}

impl Reader<'_> {
    fn file(&mut self, file: &Path, depth: usize) -> Result<(), SshConfigError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|why| SshConfigError::Read { file: name.clone(), why: why.to_string() })?;
        let mut applies = true;
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let words = words_of(line).map_err(|what| SshConfigError::Syntax {
                file: name.clone(),
                line: line_number,
                what: what.to_owned(),
            })?;
            let Some((option, words)) = words.split_first() else { continue };
            let option = option.to_ascii_lowercase();
            let unsupported = |option: &str| SshConfigError::Unsupported {
                file: name.clone(),
                line: line_number,
                option: option.to_owned(),
            };
            match option.as_str() {
                "host" => applies = matches_list(words, self.host),
                "match" => applies = self.matches(words).ok_or_else(|| unsupported(line.trim()))?,
                _ if !applies => {}
                "include" if depth >= 8 => return Err(unsupported("Include (nested too deeply)")),
                "include" => {
                    for word in words {
                        for found in self.included(word) {
                            self.file(&found, depth + 1)?;
                        }
                    }
                }
                _ => self.option(&option, words, &name, line_number),
            }
        }
        Ok(())
    }

    /// Answers a `Match` that needs nothing but the name as given; `None` for any other.
    fn matches(&self, words: &[String]) -> Option<bool> {
        match words {
            [all] if all.eq_ignore_ascii_case("all") => Some(true),
            [what, list] if what.eq_ignore_ascii_case("originalhost") => {
                let patterns: Vec<String> = list.split(',').map(str::to_owned).collect();
                Some(matches_list(&patterns, self.host))
            }
            _ => None,
        }
    }

    /// Returns the files an `Include` names, in lexical order; wildcards in the last part only.
    fn included(&self, word: &str) -> Vec<PathBuf> {
        let path = self.expand_home(word);
        let path = if path.is_relative() { self.around.home.join(".ssh").join(path) } else { path };
        let (Some(dir), Some(last)) =
            (path.parent(), path.file_name().and_then(|last| last.to_str()))
        else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let pattern = [last.to_owned()];
        let mut found: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| {
                entry.file_name().to_str().is_some_and(|name| matches_list(&pattern, name))
            })
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .collect();
        found.sort();
        found
    }

    fn option(&mut self, option: &str, words: &[String], file: &str, line: usize) {
        if option == "identityfile" {
            self.lists.entry(option.to_owned()).or_default().extend(words.iter().cloned());
            return;
        }
        self.values.entry(option.to_owned()).or_insert_with(|| Value {
            words: words.to_vec(),
            file: file.to_owned(),
            line,
        });
    }

    fn first(&self, option: &str) -> Option<&str> {
        self.values.get(option)?.words.first().map(String::as_str)
    }

    fn finish(&self, target: &SshTarget) -> Result<Route, SshConfigError> {
        for option in REFUSED {
            if let Some(value) = self.values.get(option)
                && !value.words.first().is_none_or(|word| is_off(word))
            {
                return Err(SshConfigError::Unsupported {
                    file: value.file.clone(),
                    line: value.line,
                    option: format!("{option} {}", value.words.join(" ")),
                });
            }
        }
        let host = self
            .first("hostname")
            .map_or_else(|| target.host.clone(), |name| name.replace("%h", &target.host));
        let port = match (target.port, self.values.get("port")) {
            (Some(port), _) => port,
            (None, None) => 22,
            (None, Some(value)) => {
                let word = value.words.first().map(String::as_str).unwrap_or_default();
                word.parse().map_err(|_| SshConfigError::Syntax {
                    file: value.file.clone(),
                    line: value.line,
                    what: format!("`{word}` is no port"),
                })?
            }
        };
        let user = target.user.clone().or_else(|| self.first("user").map(str::to_owned));
        let user = user.unwrap_or_else(|| self.around.user.clone());
        let expand = |word: &String| self.expand(word, &host, port, &user);
        let home_ssh = self.around.home.join(".ssh");
        let identities = match self.lists.get("identityfile") {
            Some(words) => words.iter().filter(|word| !is_off(word)).map(expand).collect(),
            None => ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| home_ssh.join(name)).to_vec(),
        };
        let known_hosts = match self.values.get("userknownhostsfile") {
            Some(value) => value.words.iter().filter(|word| !is_off(word)).map(expand).collect(),
            None => vec![home_ssh.join("known_hosts"), home_ssh.join("known_hosts2")],
        };
        let agent = match self.first("identityagent") {
            None | Some("SSH_AUTH_SOCK") => self.around.agent.clone(),
            Some(word) if is_off(word) => None,
            Some(word) => Some(self.expand(word, &host, port, &user)),
        };
        let lax = self.first("stricthostkeychecking").map(str::to_ascii_lowercase);
        Ok(Route {
            identities,
            known_hosts,
            agent,
            identities_only: self.first("identitiesonly").is_some_and(|word| !is_off(word)),
            lax_checking: matches!(lax.as_deref(), Some("no" | "off" | "accept-new")),
            host,
            port,
            user,
        })
    }

    fn expand_home(&self, word: &str) -> PathBuf {
        match word.strip_prefix("~/") {
            Some(rest) => self.around.home.join(rest),
            None if word == "~" => self.around.home.clone(),
            None => PathBuf::from(word),
        }
    }

    fn expand(&self, word: &str, host: &str, port: u16, user: &str) -> PathBuf {
        let mut text = String::new();
        let mut chars = word.chars();
        while let Some(c) = chars.next() {
            match (c, c == '%') {
                (_, true) => match chars.next() {
                    Some('h') => text.push_str(host),
                    Some('p') => text.push_str(&port.to_string()),
                    Some('r') => text.push_str(user),
                    Some('u') => text.push_str(&self.around.user),
                    Some('n') => text.push_str(self.host),
                    Some('d') => text.push_str(&self.around.home.to_string_lossy()),
                    Some('%') => text.push('%'),
                    other => text.extend(['%'].into_iter().chain(other)),
                },
                (c, false) => text.push(c),
            }
        }
        self.expand_home(&text)
    }
}

/// Splits a line as OpenSSH does: `Option value`, `Option=value`, double quotes, `#` at the start.
fn words_of(line: &str) -> Result<Vec<String>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Vec::new());
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (option, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let mut rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let mut words = vec![option.to_owned()];
    while !rest.is_empty() && !rest.starts_with('#') {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (word, tail) = quoted.split_once('"').ok_or("a quotation mark is missing")?;
            words.push(word.to_owned());
            rest = tail.trim_start();
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
    }
    Ok(words)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
