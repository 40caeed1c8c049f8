//! Times: how long one waits, how often a silent host is asked.

use std::time::Duration;

use super::{SshConfigError, reader::Reader};

/// `ServerAliveInterval` and `ServerAliveCountMax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alive {
    pub(crate) interval: Duration,
    pub(crate) most: usize,
}

/// Reads a time: `10`, `30s`, `1h30m`; `none` and 0 are as if it were not there.
pub(super) fn seconds(
    reader: &Reader<'_>,
    option: &str,
) -> Result<Option<Duration>, SshConfigError> {
    let Some(value) = reader.value(option).filter(|value| !value.is_off()) else { return Ok(None) };
    let word = value.first();
    let bad = || value.bad(format!("`{word}` is no time"));
    let mut sum = 0_u64;
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u32 = rest[..end].parse().map_err(|_| bad())?;
        let mut tail = rest[end..].chars();
        let unit = match tail.next().map(|unit| unit.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 24 * 3600,
            Some('w') => 7 * 24 * 3600,
            Some(_) => return Err(bad()),
        };
        sum += u64::from(number) * unit;
        rest = tail.as_str();
    }
    Ok((sum > 0).then(|| Duration::from_secs(sum)))
}

/// OpenSSH asks nothing by default, and waits for a dead host until TCP gives up.
pub(super) fn alive(reader: &Reader<'_>) -> Result<Alive, SshConfigError> {
    let interval = seconds(reader, "serveraliveinterval")?.unwrap_or(Duration::from_secs(5));
    let most = match reader.value("serveralivecountmax") {
        None => 3,
        Some(value) => {
            let word = value.first();
            word.parse().map_err(|_| value.bad(format!("`{word}` is no number")))?
        }
    };
    // To russh 0 is for ever.
    Ok(Alive { interval, most: most.max(1) })
}
