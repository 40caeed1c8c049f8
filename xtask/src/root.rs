//! Acts that need root: done directly by root, through `sudo` by everybody else.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What a chore run again through sudo must still know.
const KEPT: &str = "--preserve-env=FREEHOLD_LAB,CI";

/// Says whether we are root.
pub(crate) fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Runs `argv` as root, with our terminal.
pub(crate) fn run(argv: &[&str]) -> Result<()> {
    let sudo: &[&str] = if is_root() { &[] } else { &["sudo", KEPT] };
    let argv = [sudo, argv].concat();
    let (program, arguments) = argv.split_first().context("nothing to run")?;
    let status = Command::new(program).args(arguments).status();
    let status = status.with_context(|| format!("starting {program}"))?;
    ensure!(status.success(), "`{}` ended with {status}", argv.join(" "));
    Ok(())
}

/// Writes a file as root.
pub(crate) fn write(path: &str, content: &str) -> Result<()> {
    if is_root() {
        return fs::write(path, content).with_context(|| format!("writing {path}"));
    }
    let scratch = std::env::temp_dir().join(format!("xtask-{}", std::process::id()));
    fs::write(&scratch, content).with_context(|| format!("writing {}", scratch.display()))?;
    let source = scratch.to_str().context("the folder for temporary files is not text")?;
    let copied = run(&["cp", source, path]);
    fs::remove_file(&scratch).with_context(|| format!("removing {}", scratch.display()))?;
    copied
}

/// Runs this very program again as root with `arguments`.
pub(crate) fn again(arguments: &[&str]) -> Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    let status = Command::new("sudo")
        .args([KEPT, "--"])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::inherit())
        .status()
        .context("starting sudo")?;
    ensure!(status.success(), "sudo ended with {status}");
    Ok(())
}
