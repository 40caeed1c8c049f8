//! The lab's daemons: how they are started, marked, found again and ended.
//!
//! Every one carries [`MARK`] in its environment. A pid file may be missing when `up` was killed, or name
//! a stranger after a reboot; the mark does neither.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// The environment variable that says which lab, and which part of it, a process belongs to.
const MARK: &str = "FREEHOLD_LAB_PART";

/// A part of the lab that runs: a daemon, or a rack with all its daemons.
#[derive(Debug, Clone)]
pub(super) struct Part {
    lab: PathBuf,
    name: String,
}

impl Part {
    /// Names the part `name` of the lab in `lab`.
    pub(super) fn new(lab: &Path, name: &str) -> Self {
        Self { lab: lab.to_owned(), name: name.to_owned() }
    }

    /// Returns where it logs to.
    pub(super) fn log(&self) -> PathBuf {
        self.lab.join("log").join(format!("{}.log", self.name))
    }

    /// Starts it away from our terminal, with its output in the log and its pid in a file.
    pub(super) fn start<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(
        &self,
        argv: I,
    ) -> Result<()> {
        let log = open_log(&self.log())?;
        // Nobody waits for a daemon: it outlives this program.
        let child = Command::new("setsid")
            .args(argv)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env(MARK, self.mark())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        let pid_file = self.lab.join("run").join(format!("{}.pid", self.name));
        fs::write(&pid_file, format!("{}\n", child.id()))
            .with_context(|| format!("writing {}", pid_file.display()))
    }

    /// Returns its processes, or those of them whose program is `program`.
    pub(super) fn processes(&self, program: Option<&str>) -> Vec<Pid> {
        let mark = self.mark();
        marked(|found| found == mark).into_iter().filter(|pid| is(*pid, program)).collect()
    }

    /// Kills all its processes and waits until they are gone.
    pub(super) fn kill(&self) -> Result<()> {
        let mark = self.mark();
        kill_all(|found| found == mark)
    }

    /// Waits until `ready` holds; the error names the part and shows the end of its log.
    pub(super) fn wait_until(
        &self,
        limit: Duration,
        mut ready: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let answer = ready();
            if matches!(answer, Ok(true)) {
                return Ok(());
            }
            let gone = self.processes(None).is_empty();
            if gone || Instant::now() > deadline {
                let why = if gone { "has ended" } else { "does not answer" };
                let said = answer.err().map(|error| format!(": {error:#}")).unwrap_or_default();
                bail!("{} {why}{said}\n{}", self.name, last_lines(&self.log()));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn mark(&self) -> String {
        format!("{}:{}", self.lab.display(), self.name)
    }
}

/// Returns the processes with this program in the process namespace of `first`: some daemons write over the
/// environment that has the mark.
pub(super) fn beside(first: Pid, program: &str) -> Vec<Pid> {
    let space = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let inside = space(first.as_raw_nonzero().get());
    let Ok(listing) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|number| inside.is_some() && space(*number) == inside)
        .filter_map(Pid::from_raw)
        .filter(|pid| is(*pid, Some(program)))
        .collect()
}

/// Returns what still runs of the lab in `lab`.
pub(super) fn processes_of(lab: &Path) -> Vec<Pid> {
    let prefix = format!("{}:", lab.display());
    marked(|found| found.starts_with(&prefix))
}

/// Kills everything that belongs to the lab in `lab`.
pub(super) fn kill_lab(lab: &Path) -> Result<()> {
    let prefix = format!("{}:", lab.display());
    kill_all(|found| found.starts_with(&prefix))
}

/// Sends `signal` to `processes`; one that has just ended is no error.
pub(super) fn signal(processes: &[Pid], signal: Signal) {
    for pid in processes {
        kill_process(*pid, signal).unwrap_or_default();
    }
}

fn kill_all(belongs: impl Fn(&str) -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = marked(&belongs);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("these processes do not die: {left:?}");
        }
        signal(&left, Signal::KILL);
        thread::sleep(Duration::from_millis(20));
    }
}

fn marked(belongs: impl Fn(&str) -> bool) -> Vec<Pid> {
    let Ok(listing) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|number| mark_of(*number).is_some_and(|mark| belongs(&mark)))
        .filter_map(Pid::from_raw)
        .collect()
}

/// A zombie has no environment left, so it counts as gone.
fn mark_of(number: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{number}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|pair| {
        let value = std::str::from_utf8(pair).ok()?.strip_prefix(MARK)?.strip_prefix('=')?;
        Some(value.to_owned())
    })
}

fn is(pid: Pid, program: Option<&str>) -> bool {
    let Some(program) = program else { return true };
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
    name.is_ok_and(|name| name.trim_end() == program)
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}

fn last_lines(log: &Path) -> String {
    const TAIL: u64 = 2000;
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        file.read_to_end(&mut text)
    });
    match read {
        Ok(0) => format!("{} is empty", log.display()),
        Ok(_) => format!("the end of {}:\n{}", log.display(), String::from_utf8_lossy(&text)),
        Err(error) => format!("{} cannot be read: {error}", log.display()),
    }
}
