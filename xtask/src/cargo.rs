//! Running cargo, with a title and the time it took.

use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::screen;

/// Says whether cargo sets a variable for one package.
fn is_of_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Runs cargo with our terminal; `title` says what for.
pub(crate) fn run(title: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let started = Instant::now();
    screen::say(format_args!("── {title}: cargo {}", arguments.join(" ")));
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut cargo = Command::new(program);
    // What the outer cargo says of this package is none of the inner one's: build scripts that
    // depend on it (ring's) would run again each time.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_package(name)) {
        cargo.env_remove(name);
    }
    let status = cargo.args(arguments).envs(environment.iter().copied()).status();
    let status = status.context("starting cargo")?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(status.success(), "{title} failed after {seconds:.1} s");
    screen::say(format_args!("── {title}: well ({seconds:.1} s)"));
    Ok(())
}
