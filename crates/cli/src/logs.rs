//! `freehold logs`: what a VM's serial console said.

use std::{
    io::{ErrorKind, Write as _},
    time::Duration,
};

use freehold_core::host::{HostErrorKind, Plain};
use tokio::time::sleep;

use crate::{
    args::{Args, Logs},
    context::Context,
    failure::{Exit, Failure, told_of},
    screen,
    vms::Made,
};

/// How often is looked for more.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a host that does not answer is left alone at most.
const LONGEST: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: &Args, logs: &Logs) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let snapshot = context.state.read().await?;
    let made = Made::find(&context, &snapshot, &logs.vm)?;
    let host = made.reach(&context).await?;
    let mut plain = Plain::default();
    let news = host.console_since(made.record.uuid, None).await?;
    let said = plain.take(&news.bytes);
    if said.is_empty() {
        screen::say(&format!("the console of {} said nothing yet", made.name));
    }
    let whole_lines = !logs.follow && !said.is_empty() && !said.ends_with('\n');
    let end = if whole_lines { "\n" } else { "" };
    if !written(&(last_lines(&said, logs.lines).to_owned() + end))? || !logs.follow {
        return Ok(Exit::Done);
    }
    let (mut place, mut pause) = (news.place, PAUSE);
    loop {
        sleep(pause).await;
        match host.console_since(made.record.uuid, Some(place)).await {
            Ok(news) => {
                (place, pause) = (news.place, PAUSE);
                if !written(&plain.take(&news.bytes))? {
                    return Ok(Exit::Done);
                }
            }
            Err(error) if error.kind == HostErrorKind::Unreachable => {
                if pause == PAUSE {
                    screen::say(&told_of(&error));
                    screen::say("it is tried again until it answers");
                }
                pause = (pause * 2).min(LONGEST);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes to stdout; `false` when nobody reads it any more.
fn written(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::input("not all output was written").because(&error)),
    }
}

/// Returns the end of a text that holds so many lines.
fn last_lines(text: &str, lines: usize) -> &str {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let Some(before) = lines.checked_sub(1) else { return "" };
    let start = body.rmatch_indices('\n').nth(before).map_or(0, |(at, _)| at + 1);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_from_the_end_whole_or_not() {
        for (text, lines, want) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 9, "a\nb\n"),
            ("a\n\n", 1, "\n"),
            ("a\n", 0, ""),
            ("", 3, ""),
        ] {
            assert_eq!(last_lines(text, lines), want, "{text:?} {lines}");
        }
    }
}
