//! What a conversation goes over: a connection, another host's channel, or a command's pipes.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt as _, copy, duplex, split},
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
    time::timeout,
};

use super::{Stream, trouble::Trouble};

pub(crate) const BUFFER: usize = 64 << 10;

/// The way to a host.
pub(crate) struct Way {
    pub(crate) stream: Box<dyn Stream>,
    /// What a command on the way complains about.
    pub(crate) said: Option<Said>,
}

impl Way {
    pub(crate) fn of(stream: impl Stream) -> Self {
        Self { stream: Box::new(stream), said: None }
    }
}

/// The complaints of a command.
pub(crate) struct Said {
    last: Arc<Mutex<String>>,
    hearing: JoinHandle<()>,
}

impl Said {
    /// What this work hears.
    pub(crate) fn by(work: impl FnOnce(Ear) -> JoinHandle<()>) -> Self {
        let last = Arc::new(Mutex::new(String::new()));
        let ear = Ear { last: Arc::clone(&last), line: Vec::new() };
        Self { last, hearing: work(ear) }
    }

    fn of(mut stderr: ChildStderr) -> Self {
        Self::by(|mut ear| {
            tokio::spawn(async move {
                let mut piece = [0; 1024];
                while let Ok(read @ 1..) = stderr.read(&mut piece).await {
                    ear.hear(&piece[..read]);
                }
            })
        })
    }

    /// Returns the last complaint. What a command says as it ends may come a moment later.
    pub(crate) async fn last(self) -> String {
        const MOMENT: Duration = Duration::from_millis(200);
        drop(timeout(MOMENT, self.hearing).await);
        self.last.lock().expect("no holder panics").clone()
    }
}

/// Hears line by line; of a line without end the beginning.
pub(crate) struct Ear {
    last: Arc<Mutex<String>>,
    line: Vec<u8>,
}

impl Ear {
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        const MOST: usize = 4096;
        for byte in bytes {
            if *byte == b'\n' {
                self.line_ended();
            } else if self.line.len() < MOST {
                self.line.push(*byte);
            }
        }
    }

    fn line_ended(&mut self) {
        let text = String::from_utf8_lossy(&self.line).trim().escape_debug().to_string();
        self.line.clear();
        if !text.is_empty() {
            tracing::info!("a command on the way: {text}");
            *self.last.lock().expect("no holder panics") = text;
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.line_ended();
    }
}

/// Starts a command, in a group of its own: a Ctrl-C is for us, who finish what is under way.
/// It is ended with the conversation.
pub(crate) fn start(shell: &Path, command: &str) -> Result<Way, Trouble> {
    let failed = |error| Trouble::unreachable(format!("cannot run `{command}`: {error}"));
    let mut child = Command::new(shell)
        .arg("-c")
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let gone = || Trouble::failed("a pipe to the command is missing");
    let mut input = child.stdin.take().ok_or_else(gone)?;
    let mut output = child.stdout.take().ok_or_else(gone)?;
    let said = Said::of(child.stderr.take().ok_or_else(gone)?);
    let (ours, theirs) = duplex(BUFFER);
    tokio::spawn(async move {
        let (mut from, mut to) = split(theirs);
        tokio::select! {
            ended = copy(&mut from, &mut input) => tracing::debug!(?ended, "a command on the way is left"),
            ended = copy(&mut output, &mut to) => tracing::debug!(?ended, "a command on the way ended"),
        }
        drop((from, to));
        end(child).await;
    });
    Ok(Way { stream: Box::new(ours), said: Some(said) })
}

/// Ends a command and what it started, which may have something to say as it ends. Its number is its
/// own until it was waited for.
async fn end(mut child: Child) {
    const GRACE: Duration = Duration::from_millis(500);
    if timeout(GRACE, child.wait()).await.is_ok() {
        return;
    }
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(Err(error)) = group.map(|group| kill_process_group(group, Signal::HUP)) {
        tracing::debug!(%error, "it has ended already");
    }
    drop(child.wait().await);
}
