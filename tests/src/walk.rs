//! A run of `freehold … --json` that stands still until the test has taken its next event.
//!
//! Its standard output is a pipe that keeps packets apart and has room for one. Each event is one packet,
//! so that a run whose last event was not taken is past that event, and not past the next. [`Walk::peek`]
//! sees an event without taking it.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, tee},
};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    bed::eventually,
    lab::command::{Run, Running},
};

/// How long a run may take until its next event.
const PATIENCE: Duration = Duration::from_mins(2);
/// What a packet holds at most.
const PACKET: usize = 4096;

/// The run; it is killed with the value.
#[derive(Debug)]
pub struct Walk {
    run: Running,
    events: File,
    /// What was taken of an event that came in several packets.
    begun: String,
    said: NamedTempFile,
    failed: Vec<Value>,
}

/// What a look at the next event shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Nothing yet.
    Silence,
    /// Part of an event, or an event.
    Event(Option<Value>),
    /// There are no more: it ended, or is about to.
    End,
}

impl Walk {
    /// Begins it.
    pub fn begin(run: Run) -> Result<Self> {
        let (events, out) = pipe_with(PipeFlags::DIRECT | PipeFlags::CLOEXEC)?;
        fcntl_setpipe_size(&events, PACKET)?;
        let said = NamedTempFile::new()?;
        let run = run.spawn_telling(out, said.reopen()?)?;
        let (begun, failed) = (String::new(), Vec::new());
        Ok(Self { run, events: File::from(events), begun, said, failed })
    }

    /// Looks at the next event, for which it waits so long at most; it is not taken.
    pub fn peek(&self, wait: Duration) -> Result<Next> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).context("a short time")?;
            let mut ask = [PollFd::new(&self.events, PollFlags::IN)];
            match poll(&mut ask, Some(&left)) {
                Ok(0) => return Ok(Next::Silence),
                Ok(_) if ask[0].revents().contains(PollFlags::IN) => break,
                Ok(_) => return Ok(Next::End),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("waiting for an event"),
            }
        }
        let (copy, into) = pipe_with(PipeFlags::CLOEXEC)?;
        let bytes = tee(&self.events, &into, PACKET, SpliceFlags::empty())?;
        let mut piece = vec![0; bytes];
        File::from(copy).read_exact(&mut piece)?;
        let text = format!("{}{}", self.begun, String::from_utf8_lossy(&piece));
        Ok(Next::Event(serde_json::from_str(&text).ok()))
    }

    /// The same; an event or the end must come.
    pub fn expect(&self) -> Result<Next> {
        match self.peek(PATIENCE)? {
            Next::Silence => bail!("no event within {} s: {}", PATIENCE.as_secs(), self.said()),
            next => Ok(next),
        }
    }

    /// Takes the packet that was looked at: the run goes on to its next event but one.
    pub fn take(&mut self) -> Result<()> {
        let mut piece = vec![0; PACKET];
        let read = match self.events.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            read => read?,
        };
        self.begun += &String::from_utf8_lossy(&piece[..read]);
        let event = serde_json::from_str::<Value>(&self.begun);
        if event.is_ok() || self.begun.trim().is_empty() {
            self.begun.clear();
        }
        self.failed.extend(event.ok().filter(|event| event["outcome"]["outcome"] == "failed"));
        Ok(())
    }

    /// Takes events until this is one; it is not taken itself. Says whether there was one.
    pub fn until(&mut self, is: impl Fn(&Value) -> bool) -> Result<bool> {
        loop {
            match self.expect()? {
                Next::Event(Some(event)) if is(&event) => return Ok(true),
                Next::Event(_) => self.take()?,
                Next::Silence | Next::End => return Ok(false),
            }
        }
    }

    /// Takes all that is left, and returns how it ended: its status, what it said, and which steps failed.
    pub fn finish(mut self) -> Result<(i32, String)> {
        while self.until(|_| false)? {}
        let status = self.run.wait()?;
        let failed: String = self.failed.iter().map(|event| format!("{event}\n")).collect();
        Ok((status, failed + &self.said()))
    }

    /// The same, while something else happens.
    pub fn finish_while<T>(self, act: impl FnOnce() -> T) -> Result<(i32, String)> {
        thread::scope(|scope| {
            let run = scope.spawn(|| self.finish());
            act();
            run.join().unwrap_or_else(|_| bail!("following the run panicked"))
        })
    }

    /// Kills it (SIGKILL); it must have been at work.
    pub fn kill(mut self) -> Result<()> {
        ensure!(self.run.kill()?, "it had ended: {}", self.said());
        Ok(())
    }

    /// Sends it a signal: `-INT`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.run.signal(signal)
    }

    /// Waits until it has said this besides its events.
    pub fn says(&self, words: &str) -> Result<()> {
        eventually(words, PATIENCE, || Ok(self.said().contains(words)))
    }

    /// Returns what it said besides its events.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.said.path()).unwrap_or_default()
    }
}

/// Says whether an event is that this step began (`step-started`) or ended (`step-ended`).
pub fn is(event: &Value, kind: &str, step: usize) -> bool {
    event["event"] == kind && event["step"] == step
}
