//! `cargo xtask test`: the rings of tests, from the fastest to the slowest.

use std::path::Path;
use std::time::Instant;

use acceptance::lab::{Lab, Outcome, RACKS, Zones};
use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::setup::{Needs, setup};
use crate::{cargo, lab, root, screen};

/// Which tests to run.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Run one ring only; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Ring>,
    /// Kill at every step in every way, which takes three times as long
    #[arg(long)]
    full: bool,
}

/// A ring of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ring {
    /// The formatting
    Fmt,
    /// The lints, warnings being errors
    Clippy,
    /// Tests beside the code, doctests and the documentation
    Unit,
    /// The stores of the state: the folder, a host, a database
    Stores,
    /// The engine at length, and real hosts against the script that the simulated one follows
    Engine,
    /// How hosts are reached, examined, fed and entered
    Hosts,
    /// Runs that are killed at every step, and faults of ways, hosts, disks and by hands
    Kill,
    /// State lost, host burnt, host back again
    Rebuild,
    /// Real hosts and servers: brings the lab up and takes it down
    Lab,
}

const ALL: [Ring; 9] = [
    Ring::Fmt,
    Ring::Clippy,
    Ring::Unit,
    Ring::Stores,
    Ring::Engine,
    Ring::Hosts,
    Ring::Kill,
    Ring::Rebuild,
    Ring::Lab,
];

/// The files of tests that are the ring `hosts`; `lab` has what is in none.
const HOSTS: [&str; 12] = [
    "doctor",
    "fidelity",
    "hostile",
    "hosts",
    "image_faults",
    "image_forms",
    "image_store",
    "images",
    "inside",
    "power",
    "session",
    "ways",
];

/// The files of tests that are the ring `kill`.
const KILL: [&str; 6] = ["faults", "faults_host", "hands", "kill", "kill_booted", "recovery"];

/// The files of tests that are the ring `rebuild`.
const REBUILD: [&str; 1] = ["rebuild"];

/// How many random worlds each property must hold in.
const CASES: &str = "5000";

/// Runs the rings, those without a lab first; the first failure ends it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let rings = if arguments.only.is_empty() { &ALL[..] } else { &arguments.only[..] };
    let (in_lab, plain): (Vec<Ring>, Vec<Ring>) = rings.iter().partition(|ring| ring.needs_lab());
    setup(match in_lab.is_empty() {
        true if plain.contains(&Ring::Stores) => Needs::Stores,
        true => Needs::Build,
        false => Needs::Lab,
    })?;
    let run = |ring: Ring| ring.run(arguments.full);
    plain.into_iter().try_for_each(run)?;
    if !in_lab.is_empty() {
        with_lab(|| in_lab.into_iter().try_for_each(run))?;
    }
    screen::say(format_args!("all is well ({:.1} s)", started.elapsed().as_secs_f64()));
    Ok(())
}

impl Ring {
    fn needs_lab(self) -> bool {
        matches!(self, Self::Engine | Self::Hosts | Self::Kill | Self::Rebuild | Self::Lab)
    }

    fn run(self, full: bool) -> Result<()> {
        match self {
            Self::Fmt => cargo::run("formatting", &["fmt", "--all", "--check"], &[]),
            Self::Clippy => {
                let lint =
                    ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
                cargo::run("lints", &lint, &[])
            }
            Self::Unit => unit(),
            Self::Stores => stores(),
            Self::Engine => engine(),
            Self::Hosts => acceptance("tests of hosts", |file| HOSTS.contains(&file), &[], &[]),
            Self::Kill => kill(full),
            Self::Rebuild => {
                let title = "what is lost comes back";
                acceptance(title, |file| REBUILD.contains(&file), &[], &[])
            }
            Self::Lab => {
                let others = |file: &str| {
                    ![&HOSTS[..], &KILL, &REBUILD].iter().any(|ring| ring.contains(&file))
                };
                acceptance("tests in the lab", others, &[], &[])
            }
        }
    }
}

fn unit() -> Result<()> {
    cargo::run("tests of the crates", &["test", "--locked"], &[])?;
    cargo::run(
        "tests of the chores",
        &["test", "--locked", "-p", "xtask", "-p", "acceptance", "--lib", "--bins"],
        &[],
    )?;
    let document = ["doc", "--locked", "--workspace", "--no-deps"];
    cargo::run("documentation", &document, &[("RUSTDOCFLAGS", "-D warnings")])
}

fn stores() -> Result<()> {
    let here = [("FREEHOLD_STORES", "1")];
    let core = ["test", "--locked", "-p", "freehold-core", "--test", "stores"];
    cargo::run("stores of the state", &core, &here)?;
    let command = ["test", "--locked", "-p", "freehold-cli", "--test", "sharing"];
    cargo::run("two clones of a fleet", &command, &[])
}

fn engine() -> Result<()> {
    let core = ["test", "--locked", "-p", "freehold-core"];
    let suites = ["--test", "engine", "--test", "stories"];
    let cases = [("FREEHOLD_CASES", CASES)];
    cargo::run("the engine at length", &[&core[..], &suites].concat(), &cases)?;
    let config = Lab::attach(&Lab::default_dir())?.ssh_config();
    let config = config.to_string_lossy();
    for rack in RACKS {
        let place = [("FREEHOLD_LAB_SSH_CONFIG", &*config), ("FREEHOLD_LAB_HOST", rack.name)];
        let title = format!("the script of the simulated host on {}", rack.name);
        cargo::run(&title, &[&core[..], &["--test", "conformance"]].concat(), &place)?;
    }
    Ok(())
}

/// Runs what disturbs the lab, one test after another; each says how much it tried.
fn kill(full: bool) -> Result<()> {
    let environment = if full { &[("FREEHOLD_FULL", "1")][..] } else { &[] };
    let aloud = ["--nocapture", "--test-threads=1"];
    acceptance("kills and faults", |file| KILL.contains(&file), &aloud, environment)
}

/// Runs the test files that belong to a ring, with these options of their own.
fn acceptance(
    title: &str,
    belongs: impl Fn(&str) -> bool,
    options: &[&str],
    environment: &[(&str, &str)],
) -> Result<()> {
    cargo::run("the program", &["build", "--locked", "-p", "freehold-cli"], &[])?;
    let mut arguments = ["test", "--locked", "-p", "acceptance"].map(str::to_owned).to_vec();
    for file in test_files()?.into_iter().filter(|file| belongs(file)) {
        arguments.extend(["--test".to_owned(), file]);
    }
    // Faults are injected by signals and cables, which takes root.
    let runner = ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo -E");
    let mut environment = environment.to_vec();
    environment.extend((!root::is_root()).then_some(runner));
    let arguments =
        arguments.iter().map(String::as_str).chain(["--"]).chain(options.iter().copied());
    cargo::run(title, &arguments.collect::<Vec<_>>(), &environment)
}

/// Returns the names of the files of tests, so that none is in no ring.
fn test_files() -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Brings the lab up for some rings, once. A lab that somebody has up already stays up.
fn with_lab(rings: impl FnOnce() -> Result<()>) -> Result<()> {
    let dir = Lab::default_dir();
    let was_up = Lab::attach(&dir).is_ok();
    if !root::is_root() {
        root::again(&["lab", "up"])?;
    } else if lab::up(&dir, Zones::Usual, RACKS.len())? == Outcome::WasUp {
        screen::say("it stays up after the tests");
    }
    let tested = rings();
    if was_up {
        return tested;
    }
    let cleared = if root::is_root() { lab::down(&dir) } else { root::again(&["lab", "down"]) };
    tested.and(cleared)
}
