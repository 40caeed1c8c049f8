//! Questions at the terminal.

use std::io::{BufRead, IsTerminal, Write};

use crate::screen;

/// Says whether somebody is there to answer.
pub(crate) fn somebody() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for yes; everything else is no. `hint` is for a run that nobody is there to ask about.
pub(crate) fn agrees(question: &str, hint: &str) -> bool {
    let is_yes = |answer: &str| matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes");
    is_agreed(&format!("{question} [y/N]"), hint, is_yes)
}

/// Asks for yes, or for these very words.
pub(crate) fn agrees_or(question: &str, words: &str, hint: &str) -> bool {
    let is_yes = |answer: &str| answer == words || answer.eq_ignore_ascii_case("yes");
    is_agreed(&format!("{question} [yes/no, or the fingerprint]"), hint, is_yes)
}

/// Asks for a number to be typed: who does so has read it.
pub(crate) fn agrees_to(number: usize, question: &str, hint: &str) -> bool {
    is_agreed(question, hint, |answer| answer == number.to_string())
}

/// Asks, and says so where nothing is done.
fn is_agreed(question: &str, hint: &str, agrees: impl FnOnce(&str) -> bool) -> bool {
    if !somebody() {
        screen::say(&format!("nothing was done; nobody is there to ask\n\nhint: {hint}"));
        return false;
    }
    let agreed = agrees(&answer(question));
    if !agreed {
        screen::say("nothing was done");
    }
    agreed
}

/// Asks and returns the answer, trimmed; nothing when the input ended.
fn answer(question: &str) -> String {
    let mut err = std::io::stderr().lock();
    drop(write!(err, "{question} ").and_then(|()| err.flush()));
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(_) => line.trim().to_owned(),
        Err(_) => String::new(),
    }
}
