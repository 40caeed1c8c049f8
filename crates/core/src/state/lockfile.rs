//! `freehold.lock`: what was decided, beside the fleet and in git.
//!
//! People merge it and mend it, so it has no checksum. What can be told of each value is checked,
//! nothing may be claimed twice, and its last line says that it is whole.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    Decisions, StateError, VmDecision,
    bytes::bytes_of,
    clash::vm_of_header,
    replace_file,
    wire::{LOCK_FORMAT, LockWire},
};
use crate::model::{FleetId, VmName};

const HEADER: &str = "\
# What freehold decided about this fleet: hosts, addresses, UUIDs, MACs, keys.
# Written by `freehold apply` and `freehold plan --lock`; commit it, and do not edit it by hand.
";
/// Stands at the end, so that a lock that was cut short is noticed.
const LAST: &str = "# The end of what was decided.";

const RESTORE: &str = "put the committed one back: git checkout freehold.lock";

/// The file `freehold.lock` of one fleet.
#[derive(Debug, Clone)]
pub struct LockFile {
    path: PathBuf,
    fleet: FleetId,
}

/// What is wrong with a lock's text, and what mends it.
struct Bad {
    why: String,
    hint: String,
}

impl LockFile {
    /// Names the lock of the fleet in this directory.
    pub fn of(directory: &Path, fleet: FleetId) -> Self {
        Self { path: directory.join("freehold.lock"), fleet }
    }

    /// Reads it; a missing file is a fleet about which nothing was decided.
    pub fn read(&self) -> Result<Decisions, StateError> {
        match bytes_of(&self.path)? {
            None => Ok(Decisions::default()),
            Some(bytes) => self.parse(&bytes),
        }
    }

    /// Replaces it, unless it says the same already. One that is damaged, as by a merge while a
    /// run was under way, is refused and stays as it is; so is one that nobody could read again.
    pub fn write(&self, decisions: &Decisions) -> Result<(), StateError> {
        if let Some(clash) = decisions.first_clash() {
            return Err(StateError::Clash { path: self.path.clone(), clash });
        }
        let text = self.content(decisions);
        if let Some(old) = bytes_of(&self.path)? {
            if old == text.as_bytes() {
                return Ok(());
            }
            self.parse(&old)?;
        }
        replace_file(&self.path, text.as_bytes(), 0o644)
            .map_err(|source| StateError::Write { path: self.path.clone(), source })
    }

    /// Returns the text of a lock that says this, whether or not it may be written.
    pub fn content(&self, decisions: &Decisions) -> String {
        let wire = LockWire::of(decisions, self.fleet);
        let body = toml::to_string(&wire).expect("decisions are plain TOML");
        format!("{HEADER}{body}\n{LAST}\n")
    }

    fn parse(&self, bytes: &[u8]) -> Result<Decisions, StateError> {
        let damaged = |bad| self.damaged(bad);
        let text =
            std::str::from_utf8(bytes).map_err(|_| damaged(Bad::new("it is no text", RESTORE)))?;
        check_text(text).map_err(damaged)?;
        let decisions = Decisions::from(self.wire_of(text)?);
        check_values(&decisions).map_err(damaged)?;
        check_claims(&decisions, text).map_err(damaged)?;
        Ok(decisions)
    }

    fn damaged(&self, bad: Bad) -> StateError {
        StateError::Damaged { path: self.path.clone(), why: bad.why, hint: bad.hint }
    }

    fn wire_of(&self, text: &str) -> Result<LockWire, StateError> {
        let path = || self.path.clone();
        let damaged = |why: String| self.damaged(Bad::new(why, RESTORE));
        let wire = toml::from_str::<LockWire>(text);
        let format = if let Ok(wire) = &wire {
            wire.format
        } else {
            // What this version cannot read may be a later one's.
            let table: toml::Table =
                text.parse().map_err(|error: toml::de::Error| damaged(error.to_string()))?;
            let format = table.get("format").and_then(toml::Value::as_integer);
            u32::try_from(format.unwrap_or_default()).unwrap_or_default()
        };
        if format > LOCK_FORMAT {
            return Err(StateError::Newer { path: path(), have: format, know: LOCK_FORMAT });
        }
        if format == 0 {
            return Err(damaged("it names no format".into()));
        }
        let wire = wire.map_err(|error| damaged(error.to_string()))?;
        match wire.fleet {
            Some(have) if have != self.fleet => {
                let (have, want) = (have.to_string(), self.fleet.to_string());
                Err(StateError::OtherFleet { path: path(), have, want })
            }
            None if format > 1 => Err(damaged("it does not say whose it is".into())),
            _ if format > 1 && text.lines().rfind(|line| !line.trim().is_empty()) != Some(LAST) => {
                Err(damaged(format!("it is cut short: its last line is not `{LAST}`")))
            }
            _ => Ok(wire),
        }
    }
}

impl Bad {
    fn new(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { why: why.into(), hint: hint.into() }
    }
}

/// Finds what merges leave behind, which TOML would put in its own words.
fn check_text(text: &str) -> Result<(), Bad> {
    if text.trim().is_empty() {
        return Err(Bad::new("it is empty", RESTORE));
    }
    let mut tables: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if let Some(marker) = conflict_marker(line) {
            return Err(Bad::new(
                format!("line {number} is a conflict marker of git: {marker}"),
                "settle the merge: keep the [vm] tables of both sides and delete the markers",
            ));
        }
        let Some(vm) = vm_of_header(line) else { continue };
        if let Some(before) = tables.insert(vm, number) {
            return Err(Bad::new(
                format!("vm {vm} has two tables, at lines {before} and {number}"),
                format!(
                    "two branches decided about the same VM: delete one of its tables, the one \
                     that was not applied, then run `freehold plan --lock` ({RESTORE} begins \
                     again)"
                ),
            ));
        }
    }
    Ok(())
}

/// Returns the marker a line begins with; `|||||||` is diff3's.
fn conflict_marker(line: &str) -> Option<&'static str> {
    let markers = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];
    markers.into_iter().find(|marker| {
        line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

fn check_values(decisions: &Decisions) -> Result<(), Bad> {
    if decisions.identity.as_deref().is_some_and(|text| !text.starts_with("SHA256:")) {
        return Err(Bad::new("`identity` is no fingerprint", RESTORE));
    }
    let bad = |(name, vm): (&VmName, &VmDecision)| {
        problem_of(vm).map(|why| Bad::new(format!("vm {name}: {why}"), RESTORE))
    };
    decisions.vms.iter().find_map(bad).map_or(Ok(()), Err)
}

/// Says what of a decision freehold never writes.
fn problem_of(vm: &VmDecision) -> Option<String> {
    let is_key = vm
        .host_key
        .strip_prefix("ssh-ed25519 ")
        .is_some_and(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_graphic()));
    let is_volume = |name: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fine)
    };
    if vm.uuid.is_nil() || vm.uuid.get_variant() != uuid::Variant::RFC4122 {
        Some(format!("`uuid` is no UUID of RFC 9562: {}", vm.uuid))
    } else if vm.incarnation == 0 || vm.key_epoch == 0 {
        Some("`incarnation` and `key_epoch` count from 1".into())
    } else if !is_key {
        Some("`host_key` is no line `ssh-ed25519 …`".into())
    } else if let Some(nic) = vm.nics.iter().find(|nic| !nic.mac.is_local()) {
        Some(format!("mac {} is not a locally administered one", nic.mac))
    } else {
        let bad = vm.disks.iter().find(|disk| !is_volume(&disk.volume));
        bad.map(|disk| format!("`{}` is no name of a volume", disk.volume))
    }
}

fn check_claims(decisions: &Decisions, text: &str) -> Result<(), Bad> {
    let Some(clash) = decisions.first_clash() else { return Ok(()) };
    let lines: Vec<_> = clash.lines(text).iter().map(ToString::to_string).collect();
    let place = match &lines[..] {
        [one, other] => format!(" (lines {one} and {other})"),
        _ => String::new(),
    };
    let hint = format!(
        "two branches may have decided the same: delete the [vm] table of the one that was not \
         applied, then run `freehold plan --lock` (`freehold status` tells; {RESTORE} begins again)"
    );
    Err(Bad::new(format!("{clash}{place}"), hint))
}

#[cfg(test)]
#[path = "lockfile_tests.rs"]
mod tests;
