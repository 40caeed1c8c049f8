//! Reads the end of a domain's serial console.

use uuid::Uuid;

use super::{
    command::Command, libvirt::console_file, real::RealHost, ssh::Stdin, trouble::Trouble,
};

impl RealHost {
    /// Returns the last lines of a domain's serial console.
    pub(super) async fn console(&self, uuid: Uuid, lines: usize) -> Result<String, Trouble> {
        const MOST: u64 = 256 << 10;
        let log = console_file(uuid, &self.pool);
        let most = MOST.to_string();
        let command = Command::new(
            r#"if [ ! -e "$1" ]; then exit 0; fi; if [ ! -r "$1" ]; then exit 13; fi;
               exec tail -c "$2" -- "$1""#,
            [log.as_str(), &most],
        )?;
        let output = self.transport.run(&command, Stdin::Nothing, self.deadlines.call).await?;
        let bytes = if output.code == 13 {
            let name = log.rsplit('/').next().unwrap_or_default();
            self.libvirt.volume_tail(name, MOST).await?
        } else {
            output.good()?
        };
        Ok(last_lines(&String::from_utf8_lossy(&bytes), lines))
    }
}

/// Returns the last lines that say something, without what moves a terminal's cursor or colours.
fn last_lines(text: &str, count: usize) -> String {
    let plain = plain(text);
    let lines: Vec<&str> =
        plain.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // ESC, `[`, parameters, one final character; moving to another place begins a line.
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                let last = chars.by_ref().find(|c| ('@'..='~').contains(c));
                if matches!(last, Some('H' | 'f')) {
                    plain.push('\n');
                }
            }
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_lines_that_say_something() {
        assert_eq!(last_lines("a\r\n\r\nb\u{1b}[0m\n\n", 1), "b");
        assert_eq!(last_lines("a\u{1b}[08;01H\u{1b}[1mShell> \u{1b}[", 2), "a\nShell>");
        assert_eq!(last_lines("", 3), "");
    }
}
