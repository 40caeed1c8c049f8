//! A folder with a fleet, and `freehold` run in it as a user would: its own environment, no secrets
//! of the machine's.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::lab::{
    Lab,
    command::{Output, Run},
};

/// A fleet's folder in a lab.
#[derive(Debug)]
pub struct Bed {
    place: Place,
    lab: Lab,
    binary: PathBuf,
    environment: BTreeMap<String, OsString>,
}

/// Where a fleet's folder is.
#[derive(Debug)]
pub enum Place {
    /// Gone with the bed.
    Temporary(TempDir),
    /// It stays.
    Folder(PathBuf),
}

impl Bed {
    /// Makes a folder with this text as `fleet.hcl` and runs `freehold init` in it.
    pub fn new(lab: &Lab, fleet: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for the fleet")?;
        let bed = Self::at(lab, Place::Temporary(folder));
        bed.write("fleet.hcl", fleet)?;
        let made = bed.freehold(&["init"]).output()?;
        ensure!(made.success(), "freehold init: {made}");
        Ok(bed)
    }

    /// Names a folder that is laid out already.
    pub fn at(lab: &Lab, place: Place) -> Self {
        Self { place, lab: lab.clone(), binary: binary(), environment: BTreeMap::new() }
            .with_env("FREEHOLD_SSH_CONFIG", lab.ssh_config())
            .with_env("PDNS_API_KEY", lab.powerdns().api_key().unwrap_or_default())
    }

    /// Runs another build of `freehold`.
    #[must_use]
    pub fn with_binary(mut self, path: PathBuf) -> Self {
        self.binary = path;
        self
    }

    /// Sets one environment variable of every run.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Temporary(folder) => folder.path(),
            Place::Folder(path) => path,
        }
    }

    /// Returns the lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Writes a file of the folder.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.path().join(name), text).with_context(|| format!("writing {name}"))
    }

    /// Reads a file of the folder.
    pub fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.path().join(name)).with_context(|| format!("reading {name}"))
    }

    /// Replaces a piece of `fleet.hcl`, which must be there.
    pub fn edit(&self, from: &str, to: &str) -> Result<()> {
        let text = self.read("fleet.hcl")?;
        ensure!(text.contains(from), "fleet.hcl has no {from:?}");
        self.write("fleet.hcl", &text.replace(from, to))
    }

    /// Writes what is new into `freehold.lock`; returns what was said, were it a refusal.
    pub fn decide(&self) -> Result<Output> {
        self.freehold(&["plan", "--lock"]).output()
    }

    /// Prepares a run of `freehold` here; no terminal, five minutes.
    pub fn freehold(&self, arguments: &[&str]) -> Run {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let run = Run::new(&self.binary).cleared().env("PATH", path).env("HOME", self.path());
        let run = self.environment.iter().fold(run, |run, (name, value)| run.env(name, value));
        run.args(arguments).within(self.path()).limit(Duration::from_mins(5))
    }

    /// Runs `freehold`, which must end with this status; returns what it said. Before an `apply`
    /// what is new is decided, as whoever has no terminal must; where that is refused, the apply
    /// says why.
    pub fn expect(&self, status: i32, arguments: &[&str]) -> Result<Output> {
        if arguments.contains(&"apply") {
            self.decide()?;
        }
        let output = self.freehold(arguments).output()?;
        if output.status != status {
            bail!("freehold {} should end with {status}: {output}", arguments.join(" "));
        }
        Ok(output)
    }
}

/// Returns the `freehold` under test: `FREEHOLD_BIN`, else the one cargo built here.
pub fn binary() -> PathBuf {
    std::env::var_os("FREEHOLD_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/freehold"),
        PathBuf::from,
    )
}

/// Asks again and again until the answer is yes; an error says what was asked.
pub fn eventually(what: &str, limit: Duration, ask: impl Fn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    loop {
        let answer = ask();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if started.elapsed() > limit {
            let said = answer.err().map(|error| format!(": {error:#}")).unwrap_or_default();
            bail!("not within {} s: {what}{said}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
