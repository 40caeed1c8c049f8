//! What the chores say: to standard error, one line at a time.

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};

/// Says one line.
pub(crate) fn say(line: impl Display) {
    // Nobody listens any more: the work goes on.
    drop(writeln!(io::stderr(), "{line}"));
}

/// Says what failed, and why, cause by cause.
pub(crate) fn failure(error: &anyhow::Error) {
    say(format_args!("error: {error}"));
    for cause in error.chain().skip(1) {
        say(format_args!("  because: {cause}"));
    }
}

/// Asks a question that Enter answers with yes; without a terminal, or on a CI machine, yes is assumed.
pub(crate) fn agreed(question: &str) -> bool {
    if std::env::var_os("CI").is_some() || !io::stdin().is_terminal() {
        return true;
    }
    drop(write!(io::stderr(), "{question} [Y/n] "));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes")
}
