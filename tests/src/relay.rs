//! A wire of one test alone: passes connections on, counts what goes up, slows it down, holds it, cuts it.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// The wire; its threads end with the test's process.
#[derive(Debug, Clone)]
pub struct Relay {
    port: u16,
    place: &'static str,
    sent: Arc<AtomicU64>,
    cut: Arc<AtomicU64>,
    pace: Arc<AtomicU64>,
    gate: Arc<Gate>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From whoever connects to the place.
    Up,
    /// From the place back.
    Down,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<Held>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    up: bool,
    down: bool,
    /// Connections of an earlier era are cut, with what was held of them.
    era: u64,
    /// How many bytes wait to go up.
    waiting: usize,
    delay: Duration,
}

/// No cut, no pace.
const NEVER: u64 = u64::MAX;
/// A connection is read so much at once.
const PIECE: usize = 1 << 15;

impl Relay {
    /// Listens on this machine's loopback and leads to a place: `10.77.0.11:22`.
    pub fn to(place: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a place for a relay")?;
        let port = listener.local_addr()?.port();
        let new = |value| Arc::new(AtomicU64::new(value));
        let gate = Arc::default();
        let relay = Self { port, place, sent: new(0), cut: new(NEVER), pace: new(NEVER), gate };
        let wire = relay.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let wire = wire.clone();
                thread::spawn(move || drop(wire.carry(&stream)));
            }
        });
        Ok(relay)
    }

    /// Returns `ssh_config` lines that lead a host of the lab through it.
    pub fn config(&self, host: &str) -> String {
        format!("Host {host}\n  HostName 127.0.0.1\n  Port {}\n  HostKeyAlias {host}\n", self.port)
    }

    /// Returns how many bytes went up so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Cuts the connection on which so many bytes more have gone up, once.
    pub fn cut_after(&self, bytes: u64) {
        self.cut.store(self.sent() + bytes, Ordering::SeqCst);
    }

    /// Lets so many bytes go up in a second; `None`: as many as can.
    pub fn pace(&self, bytes: Option<u64>) {
        self.pace.store(bytes.unwrap_or(NEVER), Ordering::SeqCst);
    }

    /// Lets nothing more go this way, until it is released.
    pub fn hold(&self, way: Way) {
        match way {
            Way::Up => self.gate.lock().up = true,
            Way::Down => self.gate.lock().down = true,
        }
    }

    /// Lets everything go again, and what was held first.
    pub fn release(&self) {
        let mut held = self.gate.lock();
        (held.up, held.down) = (false, false);
        self.gate.changed.notify_all();
    }

    /// Returns how many bytes are held on their way up.
    pub fn waiting(&self) -> usize {
        self.gate.lock().waiting
    }

    /// Cuts all connections; what was held never arrives.
    pub fn sever(&self) {
        self.gate.lock().era += 1;
        self.gate.changed.notify_all();
    }

    /// Lets every byte of connections from now on arrive so much later, each way.
    pub fn delay(&self, time: Duration) {
        self.gate.lock().delay = time;
    }

    fn carry(&self, from: &TcpStream) -> Result<()> {
        let to = TcpStream::connect(self.place)?;
        for stream in [from, &to] {
            stream.set_nodelay(true)?;
        }
        let era = self.gate.lock().era;
        let (back, front) = (to.try_clone()?, from.try_clone()?);
        let wire = self.clone();
        thread::spawn(move || wire.pass(Way::Down, era, &back, &front));
        self.pass(Way::Up, era, from, &to);
        Ok(())
    }

    /// Passes on until one end closes or it is cut, and closes both.
    fn pass(&self, way: Way, era: u64, from: &TcpStream, to: &TcpStream) {
        let (sender, pieces) = mpsc::sync_channel::<(Instant, Vec<u8>)>(16);
        let (wire, out) = (self.clone(), to.try_clone());
        let delay = self.gate.lock().delay;
        let writer = thread::spawn(move || -> Result<()> {
            let mut out = out?;
            for (came, piece) in pieces {
                thread::sleep((came + delay).saturating_duration_since(Instant::now()));
                if !wire.gate.opens(way, era, piece.len()) {
                    break;
                }
                out.write_all(&piece)?;
                if way == Way::Up && wire.count(piece.len() as u64) {
                    break;
                }
            }
            out.shutdown(Shutdown::Both).context("closing")
        });
        let mut piece = vec![0; PIECE];
        let mut from = from;
        while let Ok(read @ 1..) = from.read(&mut piece) {
            if sender.send((Instant::now(), piece[..read].to_vec())).is_err() {
                break;
            }
        }
        drop(sender);
        // What was read is written before both ends are closed.
        drop(writer.join());
        for end in [from, to] {
            drop(end.shutdown(Shutdown::Both));
        }
    }

    /// Counts what went up and keeps the pace; says whether the connection is to be cut now.
    fn count(&self, bytes: u64) -> bool {
        let sent = self.sent.fetch_add(bytes, Ordering::SeqCst) + bytes;
        let cut = self.cut.load(Ordering::SeqCst);
        if sent >= cut && self.cut.swap(NEVER, Ordering::SeqCst) == cut {
            return true;
        }
        let pace = self.pace.load(Ordering::SeqCst);
        if pace != NEVER {
            thread::sleep(Duration::from_micros(bytes * 1_000_000 / pace.max(1)));
        }
        false
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until bytes may go this way; says no where their connection is cut.
    fn opens(&self, way: Way, era: u64, bytes: usize) -> bool {
        let mut held = self.lock();
        let up = if way == Way::Up { bytes } else { 0 };
        held.waiting += up;
        while held.era == era && if way == Way::Up { held.up } else { held.down } {
            held = self.changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.waiting -= up;
        held.era == era
    }
}
