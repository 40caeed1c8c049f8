//! How a lab comes up, is found again, and goes.
//!
//! Everything is found by name or by mark, never remembered: so `down` works after `up` was killed at any
//! moment, and twice in a row.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::guest::{cached_image, default_cache};
use super::rack::{EVERY, RACKS, Rack, Spec};
use super::{Lab, PowerDns, Prometheus, access, network, powerdns, process};

/// Lies in every folder that is a lab, from its first moment on: no other folder is ever removed. Says how
/// many racks the lab is to have.
const SIGN: &str = ".freehold-lab";
/// Written last: a lab with it was once all up.
const FINISHED: &str = "lab.json";

/// What `up` found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Made,
    /// A broken one was cleared away, and made anew.
    Remade,
    /// It was up already.
    WasUp,
}

/// The zones to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zones {
    /// Those of [`powerdns::ZONES`].
    Usual,
    /// None.
    None,
}

impl Lab {
    /// Brings the lab in `dir` up: all of it answers when this returns. One that is up already may have
    /// more racks than `racks`, and not fewer.
    pub fn up(dir: &Path, zones: Zones, racks: usize) -> Result<(Self, Outcome)> {
        ensure!(
            rustix::process::getuid().is_root(),
            "a lab needs root: namespaces, bridges, port 53"
        );
        let wanted = EVERY.get(..racks).filter(|wanted| wanted.len() >= RACKS.len());
        let wanted = wanted.with_context(|| {
            format!("a lab has {} to {} racks, not {racks}", RACKS.len(), EVERY.len())
        })?;
        if let Ok(lab) = Self::attach(dir) {
            lab.refuse_fewer(racks)?;
            return Ok((lab, Outcome::WasUp));
        }
        refuse_second(dir)?;
        let outcome = if leftovers(dir).is_empty() { Outcome::Made } else { Outcome::Remade };
        Self::down(dir).context("clearing away what is left of an earlier lab")?;
        let image = cached_image(&default_cache())?;
        let dir = claim(dir, racks)?;
        let lab = Self { dir, image, racks: wanted };
        lab.start(zones)?;
        lab.finish()?;
        Ok((lab, outcome))
    }

    /// Finds the lab that is up in `dir`.
    pub fn attach(dir: &Path) -> Result<Self> {
        let hint =
            || format!("no lab is up in {}\n\nhint: run `cargo xtask lab up`", dir.display());
        let dir = dir.canonicalize().with_context(hint)?;
        let written = fs::read_to_string(dir.join(FINISHED)).with_context(hint)?;
        let written: Value = serde_json::from_str(&written).with_context(hint)?;
        let image = written.get("image").and_then(Value::as_str).with_context(hint)?;
        let racks = racks_of(&dir);
        let lab = Self { dir: dir.clone(), image: PathBuf::from(image), racks };
        lab.check().with_context(|| format!("the lab in {} is broken", dir.display()))?;
        Ok(lab)
    }

    /// Returns each part of the lab in `dir` with its state in words.
    pub fn status(dir: &Path) -> Vec<(String, Result<()>)> {
        let dir = settled(dir);
        let racks = racks_of(&dir).iter();
        let racks = racks.map(|spec| (spec.name.to_owned(), Rack::new(&dir, *spec).answers()));
        let powerdns = ("powerdns".to_owned(), PowerDns::new(&dir).answers());
        let prometheus = ("prometheus".to_owned(), Prometheus::new(&dir).answers());
        let parts = racks.chain([powerdns, prometheus]);
        parts.map(|(name, answer)| (name, answer.map(drop))).collect()
    }

    /// Removes all there is of the lab in `dir`; nothing there is no error.
    pub fn down(dir: &Path) -> Result<()> {
        refuse_second(dir)?;
        let dir = settled(dir);
        process::kill_lab(&dir)?;
        network::remove()?;
        remove_folder(&dir)?;
        let left = leftovers(&dir);
        ensure!(left.is_empty(), "still there: {}", left.join(", "));
        Ok(())
    }

    /// Returns what is there of a lab in `dir`, in words.
    pub fn leftovers(dir: &Path) -> Vec<String> {
        leftovers(&settled(dir))
    }

    fn refuse_fewer(&self, racks: usize) -> Result<()> {
        let have = self.racks.len();
        ensure!(
            have >= racks,
            "a lab of {have} racks is up, and {racks} are asked for\n\nhint: run `cargo xtask lab down` first"
        );
        Ok(())
    }

    fn check(&self) -> Result<()> {
        ensure!(network::owner().as_deref() == Some(&self.dir), "its bridge is not there");
        for (name, answer) in Self::status(&self.dir) {
            answer.with_context(|| format!("{name} does not answer"))?;
        }
        Ok(())
    }

    fn start(&self, zones: Zones) -> Result<()> {
        let racks: Vec<Rack> = self.racks.iter().map(|spec| Rack::new(&self.dir, *spec)).collect();
        network::create(&self.dir)?;
        access::create_user_key(&self.dir)?;
        for rack in &racks {
            rack.start()?;
        }
        access::write_client_files(&self.dir, self.racks)?;
        self.powerdns().lay_out()?;
        self.powerdns().start()?;
        self.prometheus().lay_out(self.racks)?;
        self.prometheus().start()?;
        self.powerdns().wait()?;
        if zones == Zones::Usual {
            powerdns::ZONES.iter().try_for_each(|zone| self.create_zone(zone))?;
        }
        racks.iter().try_for_each(Rack::wait)?;
        self.prometheus().wait()
    }

    fn finish(&self) -> Result<()> {
        access::give_to_caller(&self.dir)?;
        let written = json!({ "image": self.image });
        fs::write(self.dir.join(FINISHED), written.to_string()).context("writing lab.json")
    }
}

/// Names and addresses are fixed, so a lab elsewhere must go first.
fn refuse_second(dir: &Path) -> Result<()> {
    let dir = settled(dir);
    match network::owner() {
        Some(owner) if owner != dir => bail!(
            "another lab is up in {}\n\nhint: run `cargo xtask lab down --dir {0}`",
            owner.display()
        ),
        _ => Ok(()),
    }
}

/// Makes the folder ours, which it must not have been to somebody else.
fn claim(dir: &Path, racks: usize) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let dir = dir.canonicalize().with_context(|| format!("finding {}", dir.display()))?;
    ensure!(is_empty(&dir)?, "{} is not empty and no lab of ours", dir.display());
    fs::write(dir.join(SIGN), racks.to_string()).context("signing the lab's folder")?;
    for folder in ["log", "run", "ssh"] {
        fs::create_dir(dir.join(folder)).with_context(|| format!("creating {folder}"))?;
    }
    Ok(dir)
}

/// Returns the racks of the lab in `dir`; a sign that was cut short says nothing, and the lab is usual.
fn racks_of(dir: &Path) -> &'static [Spec] {
    let sign = fs::read_to_string(dir.join(SIGN)).unwrap_or_default();
    let racks = sign.trim().parse().ok().and_then(|racks: usize| EVERY.get(..racks));
    racks.filter(|racks| !racks.is_empty()).unwrap_or(&RACKS)
}

/// The sign goes last, so that a `down` killed half-way can be run again.
fn remove_folder(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    if !dir.join(SIGN).exists() {
        ensure!(is_empty(dir)?, "{} holds no lab of ours, so it is left alone", dir.display());
        return fs::remove_dir(dir).with_context(|| format!("removing {}", dir.display()));
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name() == SIGN {
            continue;
        }
        let removed = if entry.file_type()?.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))
}

fn is_empty(dir: &Path) -> Result<bool> {
    let mut listing = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    Ok(listing.next().is_none())
}

fn leftovers(dir: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = format!(" {}/", dir.display());
    let mounts =
        mounts.lines().filter(|line| line.contains(&below)).map(|line| format!("mount {line}"));
    let processes = process::processes_of(dir);
    let processes = processes.iter().map(|pid| format!("process {}", pid.as_raw_nonzero()));
    let folder = dir.exists().then(|| format!("folder {}", dir.display()));
    network::leftovers().into_iter().chain(processes).chain(mounts).chain(folder).collect()
}

/// A folder that is gone has no canonical path, but its processes still carry it.
fn settled(dir: &Path) -> PathBuf {
    dir.canonicalize().or_else(|_| std::path::absolute(dir)).unwrap_or_else(|_| dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_how_many_racks_its_lab_has() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(racks_of(dir.path()).len(), RACKS.len(), "one that is signed by nobody");
        fs::create_dir(dir.path().join("lab")).unwrap();
        let lab = claim(&dir.path().join("lab"), 10).unwrap();
        assert_eq!(racks_of(&lab).len(), 10);
        fs::write(lab.join(SIGN), "").unwrap();
        assert_eq!(racks_of(&lab).len(), RACKS.len(), "one whose sign was cut short");
    }
}
