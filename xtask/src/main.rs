//! The project's own chores, `cargo xtask …`: one file each, and what they share in `screen` and `setup`.

mod bench;
mod cargo;
mod demo;
mod lab;
mod root;
mod screen;
mod setup;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's own chores
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Measure against bare libvirt calls and virsh, in turns
    Bench(bench::Arguments),
    /// Show the main job on real parts, from nothing to monitored VMs and back
    Demo(demo::Arguments),
    /// Run the tests, ring by ring, and install what they need
    Test(test::Arguments),
    /// Bring the lab up or down: two libvirt hosts or more, a name server and a Prometheus on this machine
    Lab(lab::Arguments),
    /// Install the packages that building, testing and the lab need
    Setup,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(chore: &Chore) -> Result<()> {
    match chore {
        Chore::Bench(arguments) => bench::run(arguments),
        Chore::Demo(arguments) => demo::run(arguments),
        Chore::Test(arguments) => test::run(arguments),
        Chore::Lab(arguments) => lab::run(arguments),
        Chore::Setup => setup::setup(setup::Needs::Lab),
    }
}
