//! A terminal that a test sits at: a pseudo-terminal whose other end is the test.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::PathBuf,
    process::Child,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::{bed::eventually, lab::command::Run};

/// It and what runs at it end with the value.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    /// The end that programs have; held open, so that its settings outlive them.
    end: File,
    path: PathBuf,
    screen: Arc<Mutex<Vec<u8>>>,
    child: Option<Child>,
}

impl Terminal {
    /// Makes one.
    pub fn new() -> Result<Self> {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let name = ptsname(&controller, Vec::new())?.into_string()?;
        let end: OwnedFd = open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        let (keyboard, screen) = (File::from(controller), Arc::new(Mutex::new(Vec::new())));
        let (mut glass, shown) = (keyboard.try_clone()?, Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = glass.read(&mut piece) {
                shown.lock().unwrap_or_else(PoisonError::into_inner).extend(&piece[..read]);
            }
        });
        Ok(Self { keyboard, end: File::from(end), path: name.into(), screen, child: None })
    }

    /// Starts a program at it.
    pub fn start(&mut self, run: Run) -> Result<()> {
        self.child = Some(run.spawn_on(&self.end)?);
        Ok(())
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("nothing runs there")?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// Returns all that was shown.
    pub fn shown(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// Waits until this is shown.
    pub fn shows(&self, text: &str) -> Result<()> {
        let what = format!("{text:?} on the screen");
        let seen = eventually(&what, Duration::from_secs(30), || Ok(self.shown().contains(text)));
        seen.with_context(|| self.shown())
    }

    /// Waits for the program's end and returns its status; −1 is a signal's.
    pub fn ended(&mut self) -> Result<i32> {
        let mut child = self.child.take().context("nothing runs there")?;
        let mut status = None;
        for _ in 0..300 {
            status = child.try_wait()?;
            if status.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        if status.is_none() {
            child.kill()?;
            child.wait()?;
        }
        ensure!(status.is_some(), "it does not end; it shows {}", self.shown());
        Ok(status.and_then(|status| status.code()).unwrap_or(-1))
    }

    /// Returns its settings, as stty writes them for itself.
    pub fn settings(&self) -> Result<String> {
        Ok(Run::new("stty").arg("-F").arg(&self.path).arg("-g").ok()?.text().to_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
