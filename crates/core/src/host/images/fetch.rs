//! A host fetches an image by itself.

use std::time::Duration;

use super::{
    Finished, Images, PAUSE,
    scripts::{ASK, FETCH, NO_ROOM, NO_TOOL},
    staging, wrong,
};
use crate::{
    host::{Fetched, Progress, command::Command, files::done, ssh::Stdin, trouble::Trouble},
    model::{ImageSpec, without_query},
};

/// What a server said of a file, and the room there is for it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    free: u64,
    length: Option<u64>,
}

impl Asked {
    /// Returns how many blocks of 512 bytes a file may have whose length nobody knows: guests need
    /// some of the room that is left.
    fn most(&self, staged: u64) -> String {
        if self.length.is_some() {
            return String::new();
        }
        let reserve = (self.free / 20).min(1 << 30);
        ((staged + self.free - reserve) / 512).to_string()
    }
}

impl Images {
    /// Has the host fetch an image.
    pub(crate) async fn fetch(
        &self,
        spec: &ImageSpec,
        url: &str,
        progress: &Progress,
    ) -> Result<Fetched, Trouble> {
        // A line of curl's own language, in quotes: config lets neither of these through.
        let odd = |c: char| c.is_control() || "\"\\".contains(c);
        if !(url.starts_with("https://") || url.starts_with("http://")) || url.contains(odd) {
            return Ok(Fetched::Not("it is no address for curl".to_owned()));
        }
        let _turn = self.turn(spec).await;
        let _upload = self.uploads.acquire().await.map_err(Trouble::failed)?;
        if self.has(spec).await? {
            return Ok(Fetched::Here);
        }
        let line = format!("{url}\n");
        let asked = self.ask(&line).await?;
        let staged = self.size(&staging(spec)).await.unwrap_or_default();
        let rest = asked.length.map(|length| length.saturating_sub(staged));
        if rest.is_some_and(|rest| rest >= asked.free) {
            return Err(super::no_room(rest));
        }
        let most = asked.most(staged);
        let length = asked.length.map_or_else(String::new, |length| length.to_string());
        let (mut from, mut vanishings) = ("where it ended", 0);
        loop {
            let words = (FETCH, [from, &length, &most]);
            let how = (Stdin::Bytes(line.as_bytes()), Duration::from_hours(24));
            let fetched = tokio::select! {
                fetched = self.alone(spec, words, how, progress) => fetched?,
                never = self.watch(spec, asked.length, progress) => never,
            };
            let Some(output) = fetched else { return Ok(Fetched::Here) };
            match output.code {
                0 => {}
                NO_ROOM => return Err(super::no_room(asked.length)),
                NO_TOOL => return Ok(Fetched::Not("it has neither curl nor wget".to_owned())),
                _ => {
                    let (why, url) = (output.complaint(), without_query(url));
                    tracing::info!(why, url, "the host cannot fetch it");
                    return Ok(Fetched::Not(why));
                }
            }
            done(&output)?;
            let resumed = output.stdout.starts_with(b"resumed");
            match self.finish(spec, progress).await? {
                Finished::Named => return Ok(Fetched::Here),
                // Pieces of two files: the server's was replaced, or the first was torn.
                Finished::Wrong(_) if resumed && from != "fresh" => from = "fresh",
                Finished::Wrong(have) => return Err(wrong(spec, &have)),
                Finished::Nothing if vanishings < 5 => vanishings += 1,
                Finished::Nothing => return Err(super::vanished(spec)),
            }
        }
    }

    async fn ask(&self, line: &str) -> Result<Asked, Trouble> {
        let command = Command::new(ASK, [self.pool.as_str()])?;
        let stdin = Stdin::Bytes(line.as_bytes());
        let said = self.transport.run(&command, stdin, self.deadline).await?.good()?;
        asked(&String::from_utf8_lossy(&said))
            .ok_or_else(|| Trouble::failed("`stat` says nothing of the pool's file system"))
    }

    /// Tells how much has come, until it is dropped.
    async fn watch<T>(&self, spec: &ImageSpec, total: Option<u64>, progress: &Progress) -> T {
        loop {
            tokio::time::sleep(PAUSE).await;
            self.tell_size(&staging(spec), total, progress).await;
        }
    }
}

/// Reads free blocks and their size, then heads of answers: the last is the file's own.
fn asked(said: &str) -> Option<Asked> {
    let mut lines = said.lines();
    let (blocks, size) = lines.next()?.split_once(' ')?;
    let free = blocks.parse::<u64>().ok()?.checked_mul(size.parse().ok()?)?;
    let mut length = None;
    for line in lines {
        if line.starts_with("HTTP/") {
            length = None;
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok().filter(|length| *length > 0);
        }
    }
    Some(Asked { free, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_is_the_files_own() {
        let said = "10 4096\nHTTP/1.1 302 Found\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\n";
        assert_eq!(asked(said), Some(Asked { free: 40_960, length: None }));
        let whole = format!("{said}content-length: 99\r\n\r\n");
        assert_eq!(asked(&whole).unwrap().length, Some(99));
        assert_eq!(asked("10 4096"), Some(Asked { free: 40_960, length: None }));
        assert_eq!(asked("x"), None);
        assert_eq!(asked(said).unwrap().most(5120), "86", "a twentieth stays free");
        assert_eq!(asked(&whole).unwrap().most(5120), "", "there was room for all of it");
    }
}
