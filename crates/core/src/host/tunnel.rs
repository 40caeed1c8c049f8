//! A UNIX socket of ours that leads to a host's libvirt, and that we can cut.
//!
//! libvirt's client library blocks until its socket says something: cutting the socket is what ends
//! a call that is past its deadline (measured: both `virConnectOpen` and a call in flight return).

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::{io::copy_bidirectional_with_sizes, net::UnixListener, sync::watch};

use super::{Stream, trouble::Trouble};
use crate::model::DaemonMode;

const BUFFER: usize = 64 << 10;

/// The socket lives as long as this value.
#[derive(Debug)]
pub(crate) struct Tunnel {
    socket: PathBuf,
    alive: watch::Sender<bool>,
    /// Mode 0700, removed on drop.
    dir: Option<TempDir>,
}

impl Tunnel {
    /// Makes a socket whose first connection is joined with this stream.
    pub(crate) fn to(mut stream: Box<dyn Stream>) -> Result<Self, Trouble> {
        let dir = directory()?;
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).map_err(Trouble::failed)?;
        let (alive, mut cut) = watch::channel(true);
        let told = alive.clone();
        tokio::spawn(async move {
            let copy = async {
                let (mut local, _) = listener.accept().await?;
                copy_bidirectional_with_sizes(&mut local, &mut stream, BUFFER, BUFFER).await
            };
            tokio::select! {
                ended = copy => tracing::debug!(?ended, "libvirt's connection ended"),
                _ = cut.changed() => {}
            }
            told.send_replace(false);
        });
        Ok(Self { socket, alive, dir: Some(dir) })
    }

    /// Returns the address, for our libvirt library, of the daemon behind this socket.
    pub(crate) fn uri(&self, mode: DaemonMode) -> String {
        let uri = mode.uri().replacen("qemu:", "qemu+unix:", 1);
        format!("{uri}?socket={}", self.socket.display())
    }

    /// Removes the socket's name: who has connected stays so, and nothing is left behind if we are
    /// killed.
    pub(crate) fn shut_door(&mut self) {
        self.dir = None;
    }

    /// Says whether it was neither cut nor ended by the host.
    pub(crate) fn leads_there(&self) -> bool {
        *self.alive.borrow()
    }

    /// Ends every call that waits for the socket.
    pub(crate) fn cut(&self) {
        self.alive.send_replace(false);
    }
}

/// A socket's path has at most 107 bytes: a long `TMPDIR` is passed over.
fn directory() -> Result<TempDir, Trouble> {
    let usual = std::env::temp_dir();
    let base = if usual.as_os_str().len() > 70 { PathBuf::from("/tmp") } else { usual };
    // tempfile makes directories with mode 0700.
    tempfile::Builder::new().prefix("freehold-").tempdir_in(base).map_err(Trouble::failed)
}
