//! Builds every command run on a host: one quoting function, one shell, one locale.
//!
//! A script is a constant of ours and takes its subjects as positional parameters, so that no name
//! or path is ever pasted into shell text.

use super::trouble::Trouble;

/// A command for `/bin/sh`: a script of ours and the parameters it is called with.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    script: &'static str,
    parameters: Vec<String>,
}

impl Command {
    /// Makes a command of a script, which sees the parameters as `$1`, `$2`, …
    pub(crate) fn new<'a>(
        script: &'static str,
        parameters: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Trouble> {
        let parameters: Vec<String> = parameters.into_iter().map(str::to_owned).collect();
        if let Some(odd) = parameters.iter().find(|word| word.contains('\0')) {
            return Err(Trouble::input(format!("{odd:?} has a NUL byte")));
        }
        Ok(Self { script, parameters })
    }

    /// Returns the words to run, without another shell around them.
    pub(crate) fn words(&self) -> Vec<String> {
        let script = format!("LC_ALL=C; export LC_ALL; umask 077; {}", one_line(self.script));
        let fixed = ["/bin/sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()];
        fixed.into_iter().chain(self.parameters.iter().cloned()).collect()
    }

    /// Returns the text sshd hands to the user's login shell.
    pub(crate) fn text(&self) -> String {
        let words: Vec<String> = self.words().iter().map(|word| quote(word)).collect();
        words.join(" ")
    }
}

/// Joins a script's lines: csh refuses a line break within quotes.
fn one_line(script: &str) -> String {
    let lines: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// Quotes a word for a POSIX shell.
///
/// Quotation marks and backslashes stand outside of the quotes, since fish takes a backslash within
/// single quotes for an escape; the login shell need not be a POSIX one.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+@%=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::from("'");
    for c in word.chars() {
        match c {
            '\'' => quoted.push_str("'\\''"),
            '\\' => quoted.push_str("'\\\\'"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shell(text: &str) -> Vec<u8> {
        let out = std::process::Command::new("/bin/sh").args(["-c", text]).output().unwrap();
        assert!(out.status.success(), "{text}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn a_real_shell_reads_back_the_word(word in "[^\0]{0,40}") {
            let text = format!("printf %s {}", quote(&word));
            prop_assert_eq!(shell(&text), word.as_bytes());
        }

        #[test]
        fn a_script_gets_its_parameters_untouched(words in prop::collection::vec("[^\0]{0,12}", 0..4)) {
            let command =
                Command::new(r#"for word do printf "%s;" "$word"; done"#, words.iter().map(String::as_str))
                    .unwrap();
            let mut said = shell(&command.text());
            let want: Vec<&str> = words.iter().map(String::as_str).collect();
            prop_assert_eq!(said.pop(), (!words.is_empty()).then_some(b';'));
            prop_assert_eq!(String::from_utf8(said).unwrap(), want.join(";"));
        }
    }

    #[test]
    fn refuses_a_nul_byte() {
        assert!(Command::new("true", ["a\0b"]).is_err());
    }

    #[test]
    fn is_one_line_for_the_login_shell() {
        let command = Command::new("a=1;\n  echo \"$a\";\n", []).unwrap();
        assert!(!command.text().contains('\n'));
    }
}
