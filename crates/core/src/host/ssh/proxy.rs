//! What a conversation goes over: a connection, another host's channel, or a command's pipes.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, copy, duplex, split},
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
    time::timeout,
};

use crate::host::{Stream, trouble::Trouble};

const BUFFER: usize = 64 << 10;

/// The way to a host.
pub(super) struct Way {
    pub(super) stream: Box<dyn Stream>,
    /// What a command on the way complains about.
    pub(super) said: Option<Said>,
}

impl Way {
    pub(super) fn of(stream: impl Stream) -> Self {
        Self { stream: Box::new(stream), said: None }
    }
}

/// The complaints of a command.
pub(super) struct Said {
    last: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Said {
    fn of(stderr: ChildStderr) -> Self {
        let last = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&last);
        let reading = tokio::spawn(async move {
            let (mut stderr, mut line) = (BufReader::new(stderr), Vec::new());
            while stderr.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim().escape_debug().to_string();
                tracing::info!("a command on the way: {text}");
                if !text.is_empty() {
                    *heard.lock().expect("no holder panics") = text;
                }
                line.clear();
            }
        });
        Self { last, reading }
    }

    /// Returns the last complaint. What a command says as it ends may come a moment later.
    pub(super) async fn last(self) -> String {
        const MOMENT: Duration = Duration::from_millis(200);
        drop(timeout(MOMENT, self.reading).await);
        self.last.lock().expect("no holder panics").clone()
    }
}

/// Starts a command, in a group of its own: a Ctrl-C is for us, who finish what is under way.
/// It is ended with the conversation.
pub(super) fn start(shell: &Path, command: &str) -> Result<Way, Trouble> {
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

/// Starts a command on this machine, and joins its pipes to a stream.
pub(crate) fn start_here(command: &str) -> Result<Box<dyn Stream>, Trouble> {
    Ok(start(Path::new("/bin/sh"), command)?.stream)
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
