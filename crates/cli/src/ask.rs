//! Questions at the terminal.

use std::io::{BufRead, IsTerminal, Write};

/// Says whether somebody is there to answer.
pub(crate) fn somebody() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks and returns the answer, trimmed; nothing when the input ended.
pub(crate) fn answer(question: &str) -> String {
    let mut err = std::io::stderr().lock();
    drop(write!(err, "{question} ").and_then(|()| err.flush()));
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(_) => line.trim().to_owned(),
        Err(_) => String::new(),
    }
}

/// Asks for yes; everything else is no.
pub(crate) fn agrees(question: &str) -> bool {
    matches!(answer(&format!("{question} [y/N]")).to_ascii_lowercase().as_str(), "y" | "yes")
}
