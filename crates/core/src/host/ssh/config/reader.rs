//! Reads the files: which lines apply, and what each option is first given.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    SshConfigError, Surroundings,
    tokens::{Tokens, filled},
    words::{Line, line_of},
};
use crate::{
    host::ssh::pattern::{matches_host, matches_list},
    model::SshTarget,
};

/// How deep files may include one another, as in OpenSSH.
const DEPTH: usize = 16;

/// How long a command of `Match exec` may take.
const EXEC: Duration = Duration::from_secs(10);

/// What the files say about one target.
pub(super) struct Reader<'a> {
    target: &'a SshTarget,
    around: &'a Surroundings,
    /// The first value of each option wins.
    values: BTreeMap<String, Value>,
    /// The options that add up.
    sums: BTreeMap<String, Vec<Value>>,
    /// Set in the second reading, which `Match final` asks for: the name that the first arrived at.
    last: Option<String>,
    wants_last: bool,
}

/// What an option was given, and where.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) line: Line,
    pub(super) file: String,
    pub(super) number: usize,
}

impl Value {
    pub(super) fn first(&self) -> &str {
        self.line.words.first().map(String::as_str).unwrap_or_default()
    }

    /// Says whether it means "as if it were not there".
    pub(super) fn is_off(&self) -> bool {
        is_off(self.first())
    }

    /// Says whether it is `none`, to options that take `no` for a name.
    pub(super) fn is_none(&self) -> bool {
        self.line.raw.trim().eq_ignore_ascii_case("none")
    }

    pub(super) fn bad(&self, what: impl Into<String>) -> SshConfigError {
        SshConfigError::Syntax { file: self.file.clone(), line: self.number, what: what.into() }
    }

    pub(super) fn unsupported(&self) -> SshConfigError {
        SshConfigError::Unsupported {
            file: self.file.clone(),
            line: self.number,
            option: format!("{} {}", self.line.option, self.line.raw),
        }
    }
}

/// Returns what a `Match` compares with: `host x`, `host=x`, `host = x`.
fn pattern_of<'a>(
    joined: Option<&'a str>,
    words: &mut impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    match joined {
        Some("") => words.next(),
        Some(list) => Some(list),
        None => {
            let word = words.next()?;
            match word.strip_prefix('=') {
                Some("") => words.next(),
                Some(list) => Some(list),
                None => Some(word),
            }
        }
    }
}

pub(super) fn is_off(word: &str) -> bool {
    word.is_empty() || word.eq_ignore_ascii_case("none") || word.eq_ignore_ascii_case("no")
}

impl<'a> Reader<'a> {
    /// Reads the files that count for a target: this one alone, or the user's and the system's.
    pub(super) fn of(
        target: &'a SshTarget,
        file: Option<&Path>,
        around: &'a Surroundings,
    ) -> Result<Self, SshConfigError> {
        let usual = [around.home.join(".ssh/config"), around.system.join("ssh_config")];
        let files: Vec<&Path> = match file {
            Some(file) => vec![file],
            None => usual.iter().map(PathBuf::as_path).filter(|file| file.exists()).collect(),
        };
        let (values, sums) = (BTreeMap::new(), BTreeMap::new());
        let mut reader = Self { target, around, values, sums, last: None, wants_last: false };
        for file in &files {
            reader.file(file, 0)?;
        }
        if reader.wants_last {
            reader.last = Some(reader.host()?);
            for file in &files {
                reader.file(file, 0)?;
            }
        }
        Ok(reader)
    }

    pub(super) fn value(&self, option: &str) -> Option<&Value> {
        self.values.get(option)
    }

    /// Returns all that was given to an option that adds up: `IdentityFile`, `CertificateFile`.
    pub(super) fn all(&self, option: &str) -> &[Value] {
        self.sums.get(option).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the name to connect to, as far as was read.
    pub(super) fn host(&self) -> Result<String, SshConfigError> {
        let Some(value) = self.values.get("hostname") else { return Ok(self.target.host.clone()) };
        let meaning = |token| (token == 'h').then(|| Cow::from(&self.target.host));
        let unknown = |token| value.bad(format!("`{token}` means nothing in HostName"));
        filled(value.first(), meaning).map_err(unknown)
    }

    /// Returns the login there, as far as was read.
    pub(super) fn user(&self) -> String {
        let named = self.values.get("user").map(|value| value.first().to_owned());
        let user = self.target.user.clone().or(named);
        user.unwrap_or_else(|| self.around.user.clone())
    }

    fn file(&mut self, file: &Path, depth: usize) -> Result<(), SshConfigError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|why| SshConfigError::Read { file: name.clone(), why: why.to_string() })?;
        let mut applies = true;
        for (index, text) in text.lines().enumerate() {
            let number = index + 1;
            let line = line_of(text).map_err(|what| SshConfigError::Syntax {
                file: name.clone(),
                line: number,
                what: what.to_owned(),
            })?;
            let Some(line) = line else { continue };
            let value = Value { line, file: name.clone(), number };
            match value.line.option.as_str() {
                "host" => applies = matches_list(&value.line.words, &self.target.host),
                "match" => applies = self.matches(&value)?,
                _ if !applies => {}
                "include" if depth >= DEPTH => {
                    return Err(value.bad("Include is nested too deeply"));
                }
                "include" => {
                    for word in &value.line.words {
                        let (dir, last) = word.rsplit_once('/').unwrap_or(("", word));
                        if dir.contains(['*', '?', '[']) || last.contains('[') {
                            return Err(value.unsupported());
                        }
                        for found in self.included(word, file) {
                            self.file(&found, depth + 1)?;
                        }
                    }
                }
                _ => self.option(value),
            }
        }
        Ok(())
    }

    /// Answers a `Match`: all that it asks must hold.
    fn matches(&mut self, value: &Value) -> Result<bool, SshConfigError> {
        let mut words = value.line.words.iter().map(String::as_str);
        let mut holds = !value.line.words.is_empty();
        while let Some(word) = words.next() {
            let (negated, what) = match word.strip_prefix('!') {
                Some(what) => (true, what),
                None => (false, word),
            };
            let (what, joined) = match what.split_once('=') {
                Some((what, list)) => (what, Some(list)),
                None => (what, None),
            };
            let what = what.to_ascii_lowercase();
            let answer = match what.as_str() {
                "all" => true,
                "final" | "canonical" => {
                    self.wants_last |= what == "final";
                    self.last.is_some()
                }
                "host" | "originalhost" | "user" | "localuser" | "exec" => {
                    let Some(list) = pattern_of(joined, &mut words) else {
                        return Err(value.bad(format!("Match {what} needs a pattern")));
                    };
                    // A command is not run for what does not hold already.
                    holds && self.answers(&what, list, value)?
                }
                _ => return Err(value.unsupported()),
            };
            holds &= answer != negated;
        }
        Ok(holds)
    }

    fn answers(&self, what: &str, list: &str, value: &Value) -> Result<bool, SshConfigError> {
        let name = match what {
            "host" => self.last.clone().map_or_else(|| self.host(), Ok)?,
            "originalhost" => self.target.host.clone(),
            "user" => self.user(),
            "localuser" => self.around.user.clone(),
            _ => return self.runs_well(list, value),
        };
        let patterns: Vec<String> = list.split(',').map(str::to_owned).collect();
        let is_host = matches!(what, "host" | "originalhost");
        Ok(if is_host { matches_host(&patterns, &name) } else { matches_list(&patterns, &name) })
    }

    /// Runs the command of `Match exec`: its exit code answers.
    fn runs_well(&self, command: &str, value: &Value) -> Result<bool, SshConfigError> {
        let (host, user) = (self.host()?, self.user());
        let tokens = Tokens {
            given: &self.target.host,
            host: &host,
            port: self.port()?,
            user: &user,
            local_user: &self.around.user,
            home: &self.around.home.to_string_lossy(),
            alias: self.values.get("hostkeyalias").map_or(self.target.host.as_str(), Value::first),
        };
        let unknown = |token| value.bad(format!("`{token}` means nothing here"));
        let command = tokens.filled(command).map_err(unknown)?;
        let mut shell = Command::new(&self.around.shell);
        shell.arg("-c").arg(&command).stdin(Stdio::null()).stdout(Stdio::null());
        let failed = |error| value.bad(format!("cannot run `{command}`: {error}"));
        let mut child = shell.stderr(Stdio::null()).spawn().map_err(failed)?;
        let end = Instant::now() + EXEC;
        while Instant::now() < end {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(child.kill().and_then(|()| child.wait()));
        Err(value.bad(format!("`{command}` did not end within {} s", EXEC.as_secs())))
    }

    pub(super) fn port(&self) -> Result<u16, SshConfigError> {
        match (self.target.port, self.values.get("port")) {
            (Some(port), _) => Ok(port),
            (None, None) => Ok(22),
            (None, Some(value)) => {
                let port = value.first().parse().ok().filter(|port| *port != 0);
                port.ok_or_else(|| value.bad(format!("`{}` is no port", value.first())))
            }
        }
    }

    /// Returns the files an `Include` names, in lexical order; wildcards in the last part only.
    fn included(&self, word: &str, from: &Path) -> Vec<PathBuf> {
        let path = self.around.expand_home(word);
        let base = if from.starts_with(&self.around.system) {
            self.around.system.clone()
        } else {
            self.around.home.join(".ssh")
        };
        // An absolute path replaces the base.
        let path = base.join(path);
        let (Some(dir), Some(last)) =
            (path.parent(), path.file_name().and_then(|last| last.to_str()))
        else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let (pattern, hidden) = ([last.to_owned()], last.starts_with('.'));
        let fits = |name: &str| (hidden || !name.starts_with('.')) && matches_list(&pattern, name);
        let mut found: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_str().is_some_and(fits))
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .collect();
        found.sort();
        found
    }

    fn option(&mut self, value: Value) {
        let option = match value.line.option.as_str() {
            option @ ("identityfile" | "certificatefile") => {
                let sum = self.sums.entry(option.to_owned()).or_default();
                // The second reading says it once more.
                if sum.iter().all(|before| before.line.words != value.line.words) {
                    sum.push(value);
                }
                return;
            }
            // Its older names.
            "pubkeyacceptedkeytypes" => "pubkeyacceptedalgorithms",
            // Whichever comes first keeps the other out.
            "proxyjump" | "proxycommand" => "proxy",
            option => option,
        };
        // `ProxyJump none` keeps out another ProxyJump, and no command.
        if value.line.option == "proxycommand" {
            let none = |before: &Value| before.line.option == "proxyjump" && before.is_none();
            if self.values.get(option).is_some_and(none) {
                self.values.remove(option);
            }
        }
        self.values.entry(option.to_owned()).or_insert(value);
    }
}
