//! `cargo xtask test`: the rings of tests, from the fastest to the slowest.

use std::time::Instant;

use acceptance::lab::{Lab, Outcome, Zones};
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
    /// Real hosts and servers: brings the lab up and takes it down
    Lab,
}

const ALL: [Ring; 4] = [Ring::Fmt, Ring::Clippy, Ring::Unit, Ring::Lab];

/// Runs the rings; the first failure ends it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let rings = if arguments.only.is_empty() { &ALL[..] } else { &arguments.only[..] };
    setup(if rings.contains(&Ring::Lab) { Needs::Lab } else { Needs::Build })?;
    for ring in rings {
        ring.run()?;
    }
    screen::say(format_args!("all is well ({:.1} s)", started.elapsed().as_secs_f64()));
    Ok(())
}

impl Ring {
    fn run(self) -> Result<()> {
        match self {
            Self::Fmt => cargo::run("formatting", &["fmt", "--all", "--check"], &[]),
            Self::Clippy => {
                let lint =
                    ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
                cargo::run("lints", &lint, &[])
            }
            Self::Unit => unit(),
            Self::Lab => in_the_lab(),
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

/// A lab that somebody has up already stays up.
fn in_the_lab() -> Result<()> {
    cargo::run("the program", &["build", "--locked", "-p", "freehold-cli"], &[])?;
    let dir = Lab::default_dir();
    let was_up = Lab::attach(&dir).is_ok();
    if !root::is_root() {
        root::again(&["lab", "up"])?;
    } else if lab::up(&dir, Zones::Usual)? == Outcome::WasUp {
        screen::say("it stays up after the tests");
    }
    // Faults are injected by signals and cables, which takes root.
    let runner = ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo -E");
    let environment = if root::is_root() { &[][..] } else { &[runner][..] };
    let tested =
        cargo::run("tests in the lab", &["test", "--locked", "-p", "acceptance"], environment);
    if was_up {
        return tested;
    }
    let cleared = if root::is_root() { lab::down(&dir) } else { root::again(&["lab", "down"]) };
    tested.and(cleared)
}
