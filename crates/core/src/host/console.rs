//! Reads what a domain's serial console said.

use uuid::Uuid;

use super::{
    ConsoleNews, ConsolePlace, command::Command, libvirt::console_file, plain::Plain,
    real::RealHost, ssh::Stdin, trouble::Trouble,
};

/// How much of an old console is read.
const MOST: u64 = 256 << 10;

/// `$1` the file, `$2` how much of its end to read where `$3` (its inode) is nothing, else from `$4` on.
/// libvirt's log daemon gives a file that is full the name `.0` and begins another.
const READ: &str = r#"
    if [ ! -e "$1" ]; then echo '0 0'; exit 0; fi; if [ ! -r "$1" ]; then exit 13; fi;
    told=$(stat -c '%i %s' -- "$1") || exit 1; inode=${told% *}; size=${told#* }; from=0;
    echo "$told";
    if [ "$3" = 0 ]; then
      if [ "$size" -gt "$2" ]; then from=$((size - $2)); fi;
    elif [ "$3" = "$inode" ]; then
      if [ "$size" -ge "$4" ]; then from=$4; fi;
    elif [ -r "$1.0" ] && [ "$(stat -c %i -- "$1.0")" = "$3" ]; then
      tail -c "+$(($4 + 1))" -- "$1.0";
    fi;
    tail -c "+$((from + 1))" -- "$1" | head -c "$((size - from))"
"#;

impl RealHost {
    /// Returns the last lines of a domain's serial console.
    pub(super) async fn console(&self, uuid: Uuid, lines: usize) -> Result<String, Trouble> {
        let news = self.console_news(uuid, None).await?;
        Ok(last_lines(&Plain::default().take(&news.bytes), lines))
    }

    /// Returns what a domain's serial console said since; without a place the end of it.
    pub(super) async fn console_news(
        &self,
        uuid: Uuid,
        since: Option<ConsolePlace>,
    ) -> Result<ConsoleNews, Trouble> {
        let log = console_file(uuid, &self.pool);
        let ConsolePlace { file, offset } = since.unwrap_or_default();
        let words = [MOST, file, offset].map(|number| number.to_string());
        let [most, file, from] = &words;
        let command = Command::new(READ, [log.as_str(), most, file, from])?;
        let output = self.transport.run(&command, Stdin::Nothing, self.deadlines.call).await?;
        if output.code == 13 {
            let name = log.rsplit('/').next().unwrap_or_default();
            let since = since.map(|place| place.offset);
            let (bytes, offset) = self.libvirt.volume_tail(name, MOST, since).await?;
            return Ok(ConsoleNews { bytes, place: ConsolePlace { file: 0, offset } });
        }
        let said = output.good()?;
        news_of(&said).ok_or_else(|| Trouble::failed(format!("{log} cannot be read")))
    }
}

/// Parts the line that tells the place from what follows it.
fn news_of(said: &[u8]) -> Option<ConsoleNews> {
    let end = said.iter().position(|byte| *byte == b'\n')?;
    let (file, offset) = std::str::from_utf8(&said[..end]).ok()?.split_once(' ')?;
    let place = ConsolePlace { file: file.parse().ok()?, offset: offset.parse().ok()? };
    Some(ConsoleNews { bytes: said[end + 1..].to_vec(), place })
}

/// Returns the last lines that say something.
fn last_lines(plain: &str, count: usize) -> String {
    let lines: Vec<&str> =
        plain.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use super::*;

    #[test]
    fn keeps_the_last_lines_that_say_something() {
        let lines = |text: &str, count| last_lines(&Plain::default().take(text.as_bytes()), count);
        assert_eq!(lines("a\r\n\r\nb\u{1b}[0m\n\n", 1), "b");
        assert_eq!(lines("a\u{1b}[08;01H\u{1b}[1mShell> \u{1b}[", 2), "a\nShell>");
        assert_eq!(lines("", 3), "");
    }

    /// Reads as a host does.
    fn read(file: &str, since: ConsolePlace) -> ConsoleNews {
        let words = ["4".to_owned(), since.file.to_string(), since.offset.to_string()];
        let parameters = [file].into_iter().chain(words.iter().map(String::as_str));
        let words = Command::new(READ, parameters).unwrap().words();
        let output = process::Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        news_of(&output.stdout).unwrap()
    }

    #[test]
    fn goes_on_where_it_was_over_a_new_file_and_a_shorter_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = path.to_str().unwrap();
        assert_eq!(read(file, ConsolePlace::default()).bytes, b"", "nothing was said yet");
        fs::write(&path, "first words\n").unwrap();
        let news = read(file, ConsolePlace::default());
        assert_eq!((&*news.bytes, news.place.offset), (&b"rds\n"[..], 12), "the end of it");
        assert_eq!(read(file, news.place).bytes, b"", "nothing is new");
        fs::write(&path, "first words\nmore\n").unwrap();
        let news = read(file, news.place);
        assert_eq!(news.bytes, b"more\n");
        // The file is full.
        fs::write(&path, "first words\nmore\nlast\n").unwrap();
        fs::rename(&path, folder.path().join("log.0")).unwrap();
        fs::write(&path, "another\n").unwrap();
        let news = read(file, news.place);
        assert_eq!(news.bytes, b"last\nanother\n");
        fs::write(&path, "cut\n").unwrap();
        assert_eq!(read(file, news.place).bytes, b"cut\n");
    }
}
