//! A wire of one test alone: passes a connection on, counts what goes up it, slows it down, cuts it.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
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
}

/// No cut, no pace.
const NEVER: u64 = u64::MAX;

impl Relay {
    /// Listens on this machine's loopback and leads to a place: `10.77.0.11:22`.
    pub fn to(place: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a place for a relay")?;
        let port = listener.local_addr()?.port();
        let new = |value| Arc::new(AtomicU64::new(value));
        let relay = Self { port, place, sent: new(0), cut: new(NEVER), pace: new(NEVER) };
        let wire = relay.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let wire = wire.clone();
                thread::spawn(move || drop(wire.carry(stream)));
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

    fn carry(&self, mut from: TcpStream) -> Result<()> {
        let mut to = TcpStream::connect(self.place)?;
        let (mut back, mut front) = (to.try_clone()?, from.try_clone()?);
        thread::spawn(move || {
            drop(std::io::copy(&mut back, &mut front));
            drop(front.shutdown(Shutdown::Both));
        });
        let mut piece = vec![0; 1 << 15];
        loop {
            let read = from.read(&mut piece)?;
            if read == 0 {
                break;
            }
            to.write_all(&piece[..read])?;
            let sent = self.sent.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
            let cut = self.cut.load(Ordering::SeqCst);
            if sent >= cut && self.cut.swap(NEVER, Ordering::SeqCst) == cut {
                break;
            }
            let pace = self.pace.load(Ordering::SeqCst);
            if pace != NEVER {
                thread::sleep(Duration::from_micros(read as u64 * 1_000_000 / pace.max(1)));
            }
        }
        from.shutdown(Shutdown::Both)?;
        Ok(to.shutdown(Shutdown::Both)?)
    }
}
