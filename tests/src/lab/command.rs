//! Child processes of the lab: argv only, a time limit always, and an error that says what the
//! program said.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// What a finished program left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit status; −1 if a signal ended it.
    pub status: i32,
    /// Standard output, as text.
    pub stdout: String,
    /// Standard error, as text.
    pub stderr: String,
}

impl Output {
    /// Says whether the program ended with status 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// Returns standard output without the white space around it.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}, stdout {:?}, stderr {:?}", self.status, self.stdout, self.stderr)
    }
}

/// One run of a program: its arguments, its input and its time limit.
#[derive(Debug)]
pub struct Run {
    command: Command,
    said: String,
    input: Vec<u8>,
    limit: Duration,
}

impl Run {
    /// Prepares a run of `program` with a limit of one minute.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.env("LC_ALL", "C.UTF-8");
        let said = program.to_string_lossy().into_owned();
        Self { command, said, input: Vec::new(), limit: Duration::from_mins(1) }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.said.push(' ');
        self.said.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Runs it in `dir`.
    #[must_use]
    pub fn within(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it without any environment variable of ours.
    #[must_use]
    pub fn cleared(mut self) -> Self {
        self.command.env_clear().env("LC_ALL", "C.UTF-8");
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Gives it `input` on standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Ends it after `limit`.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it with this file, a terminal say, for input, output and errors.
    pub fn spawn_on(mut self, terminal: &std::fs::File) -> Result<Child> {
        let end = || terminal.try_clone().map(Stdio::from);
        self.command.stdin(end()?).stdout(end()?).stderr(end()?);
        self.command.spawn().with_context(|| format!("starting `{}`", self.said))
    }

    /// Starts it, with its output going to one place and what it says besides to another.
    pub fn spawn_telling(
        mut self,
        out: impl Into<Stdio>,
        said: impl Into<Stdio>,
    ) -> Result<Running> {
        self.command.stdin(Stdio::null()).stdout(out).stderr(said);
        let child = self.command.spawn().with_context(|| format!("starting `{}`", self.said))?;
        Ok(Running { child, limit: self.limit, said: self.said })
    }

    /// Runs it and returns what it left, whatever its status.
    pub fn output(mut self) -> Result<Output> {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{}`", self.said))?;
        let writer = feed(&mut child, std::mem::take(&mut self.input));
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let status = wait(&mut child, self.limit, &self.said)?;
        drop(writer.join());
        Ok(Output { status, stdout: collected(stdout), stderr: collected(stderr) })
    }

    /// Runs it and kills it with SIGKILL after `limit`; says whether it was still at work.
    pub fn killed_after(mut self, limit: Duration) -> Result<bool> {
        let silent = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = silent.spawn().with_context(|| format!("starting `{}`", self.said))?;
        thread::sleep(limit);
        let at_work = child.try_wait().context("waiting")?.is_none();
        child.kill().with_context(|| format!("killing `{}`", self.said))?;
        child.wait().with_context(|| format!("waiting for `{}`", self.said))?;
        Ok(at_work)
    }

    /// Runs it, kills it (SIGKILL) once this is so, and returns whether it was still at work.
    pub fn killed_when(mut self, what: &str, is: impl Fn() -> Result<bool>) -> Result<bool> {
        let silent = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = silent.spawn().with_context(|| format!("starting `{}`", self.said))?;
        let came = crate::bed::eventually(what, self.limit, is);
        let at_work = child.try_wait().context("waiting")?.is_none();
        child.kill().with_context(|| format!("killing `{}`", self.said))?;
        child.wait().with_context(|| format!("waiting for `{}`", self.said))?;
        came.map(|()| at_work)
    }

    /// Runs it, sends it SIGINT (Ctrl-C) after `pause`, and returns what it left.
    pub fn interrupted_after(self, pause: Duration) -> Result<Output> {
        self.interrupted_at(&[pause])
    }

    /// The same, once after each of these pauses.
    pub fn interrupted_at(self, pauses: &[Duration]) -> Result<Output> {
        self.signalled("-INT", pauses)
    }

    /// Runs it, sends it SIGTERM after `pause`, and returns what it left.
    pub fn terminated_after(self, pause: Duration) -> Result<Output> {
        self.signalled("-TERM", &[pause])
    }

    fn signalled(mut self, signal: &str, pauses: &[Duration]) -> Result<Output> {
        let piped = self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().with_context(|| format!("starting `{}`", self.said))?;
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        for pause in pauses {
            thread::sleep(*pause);
            Self::new("kill").args([signal, &child.id().to_string()]).ok()?;
        }
        let status = wait(&mut child, self.limit, &self.said)?;
        Ok(Output { status, stdout: collected(stdout), stderr: collected(stderr) })
    }

    /// Runs it and fails unless it ended with status 0.
    pub fn ok(self) -> Result<Output> {
        let said = self.said.clone();
        let output = self.output()?;
        if !output.success() {
            let why = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
            bail!("`{said}` ended with status {}: {}", output.status, why.trim());
        }
        Ok(output)
    }
}

/// A program that runs; it is killed with the value.
#[derive(Debug)]
pub struct Running {
    child: Child,
    limit: Duration,
    said: String,
}

impl Running {
    /// Returns its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal: `-INT`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        Run::new("kill").args([signal, &self.id().to_string()]).ok().map(drop)
    }

    /// Kills it (SIGKILL) and returns whether it was still at work.
    pub fn kill(&mut self) -> Result<bool> {
        let at_work = self.child.try_wait().context("waiting")?.is_none();
        self.child.kill().with_context(|| format!("killing `{}`", self.said))?;
        self.child.wait().with_context(|| format!("waiting for `{}`", self.said))?;
        Ok(at_work)
    }

    /// Waits for its end and returns its status.
    pub fn wait(&mut self) -> Result<i32> {
        wait(&mut self.child, self.limit, &self.said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the SHA-256 of a file.
pub fn sha256(path: &Path) -> Result<String> {
    let output = Run::new("sha256sum").arg(path).ok()?;
    let digest = output.text().split_whitespace().next();
    Ok(digest.context("sha256sum says nothing")?.to_owned())
}

/// Waits for its end and kills it past the limit. The bench times this: it returns at once.
fn wait(child: &mut Child, limit: Duration, said: &str) -> Result<i32> {
    let pid = Pid::from_child(child);
    let (ended, end) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        late && kill_process(pid, Signal::KILL).is_ok()
    });
    let status = child.wait().with_context(|| format!("waiting for `{said}`"))?;
    drop(ended);
    let was_late = watch.join().expect("the watch does not panic");
    ensure!(!was_late, "`{said}` took longer than {} s", limit.as_secs());
    Ok(status.code().unwrap_or(-1))
}

fn feed(child: &mut Child, input: Vec<u8>) -> JoinHandle<()> {
    let stdin = child.stdin.take();
    thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input is no fault of ours.
            drop(stdin.write_all(&input));
        }
    })
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before a broken pipe is still worth showing.
            drop(pipe.read_to_end(&mut bytes));
        }
        bytes
    })
}

fn collected(reader: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
}
