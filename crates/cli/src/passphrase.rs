//! Asks for a key's passphrase: at the terminal, or by the program in `SSH_ASKPASS`, each where ssh would.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use freehold_core::{
    host::{AskPassphrase, NoAnswer},
    model::Secret,
};
use rustix::{
    process::{Signal, getpid, kill_process},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr},
};

use crate::screen;

/// Asks whoever runs the command.
pub(crate) struct Person;

/// Where a person is asked.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Terminal,
    Program,
    Nowhere,
}

impl AskPassphrase for Person {
    fn ask(&self, key: &Path, again: bool) -> Result<Secret<String>, NoAnswer> {
        let variable = |name: &str| std::env::var(name).ok();
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
        let sorry = if again { "That was not it. " } else { "" };
        let question = format!("{sorry}Enter passphrase for key '{}': ", key.display());
        match (place(terminal.is_ok(), &variable), terminal) {
            (Place::Terminal, Ok(terminal)) => {
                screen::in_peace(|| at_terminal(terminal, &question))
                    .map_err(|_| NoAnswer::Declined)
            }
            (Place::Program, _) => {
                let program = variable("SSH_ASKPASS").unwrap_or_else(|| ASKPASS.to_owned());
                by_program(&program, &question)
            }
            _ => Err(NoAnswer::NobodyThere(
                ": add the key to an SSH agent, or set SSH_ASKPASS and SSH_ASKPASS_REQUIRE=force"
                    .to_owned(),
            )),
        }
    }
}

/// What asks where `SSH_ASKPASS` is not set.
const ASKPASS: &str = "/usr/bin/ssh-askpass";

/// Decides as OpenSSH does: the terminal goes first, a program needs a display, and `SSH_ASKPASS_REQUIRE`
/// changes either.
fn place(terminal: bool, variable: &dyn Fn(&str) -> Option<String>) -> Place {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let display = is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    let require = variable("SSH_ASKPASS_REQUIRE").unwrap_or_default().to_ascii_lowercase();
    let (allowed, preferred) = match require.as_str() {
        "force" => (true, true),
        "prefer" => (display, display),
        "never" => (false, false),
        _ => (display, false),
    };
    match (allowed, preferred, terminal) {
        (_, true, _) | (true, _, false) => Place::Program,
        (_, false, true) => Place::Terminal,
        (false, false, false) => Place::Nowhere,
    }
}

/// Runs a program that asks; its exit code says whether there was an answer.
fn by_program(program: &str, question: &str) -> Result<Secret<String>, NoAnswer> {
    let run =
        Command::new(program).arg(question).stdin(Stdio::null()).stderr(Stdio::null()).output();
    match run {
        Ok(output) if output.status.success() => {
            let said = Secret::new(output.stdout);
            let first = said.expose().split(|byte| matches!(byte, b'\n' | b'\r')).next();
            Ok(Secret::new(String::from_utf8_lossy(first.unwrap_or_default()).into_owned()))
        }
        Ok(_) => Err(NoAnswer::Declined),
        Err(error) => Err(NoAnswer::NobodyThere(format!(": cannot run {program}: {error}"))),
    }
}

/// The terminal without echo and without signals, as it was again at the end.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn of(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO
            | LocalModes::ECHONL
            | LocalModes::ICANON
            | LocalModes::ISIG
            | LocalModes::IEXTEN;
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // A terminal that is gone needs neither.
        tcsetattr(&self.terminal, OptionalActions::Now, &self.before).unwrap_or_default();
        self.terminal.write_all(b"\n").unwrap_or_default();
    }
}

/// Asks at the terminal. Ctrl-C and Ctrl-\\ do what they always do, but only after the terminal is itself again:
/// the kernel's own signal would end us before that.
fn at_terminal(terminal: File, question: &str) -> io::Result<Secret<String>> {
    let mut silent = Silent::of(terminal)?;
    silent.terminal.write_all(format!("\r{question}").as_bytes())?;
    let typed = line_of(&mut silent.terminal);
    drop(silent);
    match typed? {
        Typed::Line(line) => Ok(line),
        Typed::Signal(signal) => {
            kill_process(getpid(), signal)?;
            Err(ErrorKind::Interrupted.into())
        }
    }
}

/// What somebody typed.
enum Typed {
    Line(Secret<String>),
    /// A key that sends a signal.
    Signal(Signal),
}

/// Reads a line typed without the terminal's help.
fn line_of(from: &mut impl Read) -> io::Result<Typed> {
    let mut typed = Secret::new(Vec::with_capacity(1024));
    let mut key = [0];
    loop {
        match from.read(&mut key) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match key[0] {
            b'\r' | b'\n' => break,
            0x03 => return Ok(Typed::Signal(Signal::INT)),
            0x1c => return Ok(Typed::Signal(Signal::QUIT)),
            // Ctrl-Z: there is nothing to go on with meanwhile.
            0x1a => {}
            0x04 if typed.expose().is_empty() => break,
            0x08 | 0x7f => typed = shorter(&typed),
            0x15 => typed = Secret::new(Vec::with_capacity(1024)),
            byte => typed = longer(&typed, byte),
        }
    }
    Ok(Typed::Line(Secret::new(String::from_utf8_lossy(typed.expose()).into_owned())))
}

/// Without its last character, which may be of several bytes.
fn shorter(typed: &Secret<Vec<u8>>) -> Secret<Vec<u8>> {
    let bytes = typed.expose();
    let end = bytes.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
    Secret::new(bytes[..end].to_vec())
}

fn longer(typed: &Secret<Vec<u8>>, byte: u8) -> Secret<Vec<u8>> {
    Secret::new([typed.expose().as_slice(), &[byte]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_where_ssh_asks() {
        let d = ("DISPLAY", ":0");
        let require = |how| ("SSH_ASKPASS_REQUIRE", how);
        for (terminal, set, want) in [
            (true, vec![], Place::Terminal),
            (true, vec![d], Place::Terminal),
            (false, vec![], Place::Nowhere),
            (false, vec![("DISPLAY", "")], Place::Nowhere),
            (false, vec![d], Place::Program),
            (false, vec![("WAYLAND_DISPLAY", "wayland-0")], Place::Program),
            (true, vec![require("force")], Place::Program),
            (false, vec![require("FORCE")], Place::Program),
            (true, vec![d, require("prefer")], Place::Program),
            (true, vec![require("prefer")], Place::Terminal),
            (true, vec![d, require("never")], Place::Terminal),
            (false, vec![d, require("never")], Place::Nowhere),
        ] {
            let variable = |name: &str| {
                let value = set.iter().find(|(one, _)| *one == name);
                value.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(place(terminal, &variable), want, "{terminal} {set:?}");
        }
    }

    #[test]
    fn a_line_is_typed_as_at_a_terminal() {
        let typed = |keys: &str| match line_of(&mut keys.as_bytes())? {
            Typed::Line(line) => Ok(line.expose().clone()),
            Typed::Signal(signal) => Err(io::Error::other(format!("{signal:?}"))),
        };
        assert_eq!(typed("abc\rd").unwrap(), "abc");
        assert_eq!(typed("a\u{e9}\x7f\x08b\n").unwrap(), "b");
        assert_eq!(typed("wrong\x15right\n").unwrap(), "right");
        assert_eq!(typed("\x04abc\n").unwrap(), "");
        assert_eq!(typed("a\x1ab\n").unwrap(), "ab");
        for (keys, signal) in [("a\x03", Signal::INT), ("a\x1c\n", Signal::QUIT)] {
            assert_eq!(typed(keys).unwrap_err().to_string(), format!("{signal:?}"));
        }
    }
}
