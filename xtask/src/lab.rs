//! `cargo xtask lab`: the lab up, down, and what it does.

use std::path::PathBuf;
use std::time::Instant;

use acceptance::lab::guest::{cached_image, default_cache};
use acceptance::lab::{Lab, Outcome, Zones, powerdns, prometheus};
use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};

use crate::setup::{Needs, setup};
use crate::{root, screen};

/// What to do with the lab.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    act: Act,
    /// Folder of the lab; `/var/tmp/freehold-lab` unless `FREEHOLD_LAB` says otherwise
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
enum Act {
    /// Bring it up; one that is up already stays, one that is broken is made anew
    Up {
        /// Begin without zones on the name server
        #[arg(long)]
        no_zones: bool,
        #[command(flatten)]
        size: Size,
    },
    /// Show which parts answer
    Status,
    /// Remove all of it: processes, namespaces, links, files
    Down,
    /// Bring it up and down, in full and killed half-way, and see that nothing is left
    CheckDown {
        #[command(flatten)]
        size: Size,
    },
}

/// How large a lab is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
struct Size {
    /// How many racks it has, two to ten; all after the second are like the first
    #[arg(long, value_name = "N", default_value_t = 2)]
    racks: u8,
}

/// Does what the arguments say.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let dir = arguments.dir.clone().unwrap_or_else(Lab::default_dir);
    if matches!(arguments.act, Act::Up { .. } | Act::CheckDown { .. }) {
        setup(Needs::Lab)?;
        // Not as root, so that `target` stays the user's own.
        cached_image(&default_cache())?;
    }
    if !root::is_root() {
        return as_root(arguments.act, &dir);
    }
    match arguments.act {
        Act::Up { no_zones, size } => {
            let zones = if no_zones { Zones::None } else { Zones::Usual };
            up(&dir, zones, size.racks.into()).map(drop)
        }
        Act::Status => status(&dir),
        Act::Down => down(&dir),
        Act::CheckDown { size } => check_down(&dir, size.racks),
    }
}

/// Brings the lab up and says how to get in.
pub(crate) fn up(dir: &std::path::Path, zones: Zones, racks: usize) -> Result<Outcome> {
    let started = Instant::now();
    let (lab, outcome) = Lab::up(dir, zones, racks)?;
    let done = match outcome {
        Outcome::Made => "the lab is up",
        Outcome::Remade => "the lab was broken, and is up again",
        Outcome::WasUp => "the lab is up already",
    };
    screen::say(format_args!(
        "{done} in {} ({:.1} s)",
        lab.dir().display(),
        started.elapsed().as_secs_f64()
    ));
    for rack in lab.racks() {
        let config = lab.ssh_config();
        let name = rack.name;
        screen::say(format_args!("  {name:<12}ssh -F {} {name}", config.display()));
    }
    screen::say(format_args!(
        "  powerdns    {} (key in {}/powerdns/api-key)",
        powerdns::API,
        lab.dir().display()
    ));
    screen::say(format_args!("  prometheus  {}", prometheus::URL));
    screen::say(format_args!("  image       {}", lab.image().display()));
    Ok(outcome)
}

/// Removes the lab.
pub(crate) fn down(dir: &std::path::Path) -> Result<()> {
    Lab::down(dir)?;
    screen::say(format_args!("nothing is left of the lab in {}", dir.display()));
    Ok(())
}

fn status(dir: &std::path::Path) -> Result<()> {
    if Lab::leftovers(dir).is_empty() {
        bail!("no lab is up in {}\n\nhint: run `cargo xtask lab up`", dir.display());
    }
    let mut silent = 0;
    for (name, answer) in Lab::status(dir) {
        silent += usize::from(answer.is_err());
        let state = answer.map_or_else(|error| format!("{error:#}"), |()| "answers".to_owned());
        screen::say(format_args!("{name:<12}{state}"));
    }
    ensure!(
        silent == 0,
        "{silent} parts do not answer\n\nhint: `cargo xtask lab up` makes the lab anew"
    );
    Ok(())
}

fn as_root(act: Act, dir: &std::path::Path) -> Result<()> {
    let dir = dir.to_string_lossy();
    let (act, size): (&[&str], _) = match act {
        Act::Up { no_zones: false, size } => (&["up"], Some(size)),
        Act::Up { no_zones: true, size } => (&["up", "--no-zones"], Some(size)),
        Act::Status => (&["status"], None),
        Act::Down => (&["down"], None),
        Act::CheckDown { size } => (&["check-down"], Some(size)),
    };
    let racks = size.map(|size| size.racks.to_string());
    let racks: Vec<&str> = racks.iter().flat_map(|racks| ["--racks", racks]).collect();
    root::again(&[&["lab"], act, &racks, &["--dir", &dir]].concat())
}

/// Kills `up` at moments spread over its whole run: `down` must clear up after each.
fn check_down(dir: &std::path::Path, racks: u8) -> Result<()> {
    ensure!(
        Lab::leftovers(dir).is_empty(),
        "a lab is there\n\nhint: run `cargo xtask lab down` first"
    );
    let program = std::env::current_exe()?;
    // The more racks, the longer a run is.
    let step = 160 + 20 * u64::from(racks);
    for moment in (0..12).map(|nth| nth * step) {
        let racks = racks.to_string();
        let up = ["lab", "up", "--racks", &racks, "--dir"];
        let mut child = std::process::Command::new(&program).args(up).arg(dir).spawn()?;
        std::thread::sleep(std::time::Duration::from_millis(moment));
        child.kill()?;
        child.wait()?;
        let found = Lab::leftovers(dir).len();
        Lab::down(dir)?;
        Lab::down(dir)?;
        screen::say(format_args!("killed after {moment} ms: {found} things found, none left"));
    }
    Ok(())
}
