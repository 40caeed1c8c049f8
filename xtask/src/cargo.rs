//! Running cargo, with a title and the time it took.

use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::screen;

/// Runs cargo with our terminal; `title` says what for.
pub(crate) fn run(title: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let started = Instant::now();
    screen::say(format_args!("── {title}: cargo {}", arguments.join(" ")));
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let status = Command::new(program).args(arguments).envs(environment.iter().copied()).status();
    let status = status.context("starting cargo")?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(status.success(), "{title} failed after {seconds:.1} s");
    screen::say(format_args!("── {title}: well ({seconds:.1} s)"));
    Ok(())
}
