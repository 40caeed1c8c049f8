//! A domain's serial console, over a connection of its own: whoever types there holds up nobody.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};
use virt::{connect::Connect, stream::Stream};
use virt_sys as sys;

use super::{CallError, Libvirt, Open, domains::there, translated};
use crate::{host::trouble::Trouble, model::Ours};

/// How long the host may take to let go of a console that is left.
const FAREWELL: Duration = Duration::from_secs(2);

/// A console that is open.
pub(crate) struct OpenConsole {
    /// What the guest says, and what it is told.
    pub(crate) bytes: tokio::net::UnixStream,
    /// Says why the connection was lost; nothing where the console itself came to its end.
    pub(crate) end: oneshot::Receiver<Option<String>>,
}

impl Libvirt {
    /// Opens a domain's first console. It has no deadline: a guest may be silent for days. Shutting down
    /// the writing half ends it.
    pub(crate) async fn open_console(
        &self,
        domain: &Ours,
        force: bool,
    ) -> Result<OpenConsole, Trouble> {
        let open = Arc::new(self.dial().await?);
        let (wanted, for_call) = (domain.clone(), Arc::clone(&open));
        let opening = tokio::task::spawn_blocking(move || {
            let connect = for_call.connect.as_ref().ok_or(CallError::Lost)?;
            opened(connect, &wanted, force)
        });
        let Ok(stream) = timeout(self.deadline, opening).await else {
            open.tunnel.cut();
            let seconds = self.deadline.as_secs();
            return Err(Trouble::unreachable(format!("libvirt did not answer within {seconds} s")));
        };
        let stream = stream.map_err(Trouble::failed)?.map_err(|error| match error {
            CallError::Told(trouble) => trouble,
            CallError::Lost => Trouble::unreachable("the connection to libvirt was lost"),
            CallError::Virt(why) => refused(&why),
        })?;
        let (ours, theirs) = UnixStream::pair().map_err(Trouble::failed)?;
        ours.set_nonblocking(true).map_err(Trouble::failed)?;
        let bytes = tokio::net::UnixStream::from_std(ours).map_err(Trouble::failed)?;
        Ok(OpenConsole { bytes, end: joined(open, &stream, theirs)? })
    }
}

fn opened(connect: &Connect, wanted: &Ours, force: bool) -> Result<Stream, CallError> {
    let domain = there(connect, wanted)?;
    if !domain.is_active()? {
        return Err(Trouble::conflict(format!("domain {wanted} is off")).into());
    }
    let stream = Stream::new(connect, 0)?;
    let force = if force { sys::VIR_DOMAIN_CONSOLE_FORCE } else { 0 };
    domain.open_console(None, &stream, sys::VIR_DOMAIN_CONSOLE_SAFE | force)?;
    Ok(stream)
}

fn refused(why: &virt::error::Error) -> Trouble {
    if why.message().contains("Active console session exists") {
        let hint = "with --force you take it over, and they are put out";
        return Trouble::conflict("somebody else is connected to it").hint(hint);
    }
    translated(why)
}

/// Moves the bytes, on a thread for each direction: libvirt's calls block.
fn joined(
    open: Arc<Open>,
    stream: &Stream,
    theirs: UnixStream,
) -> Result<oneshot::Receiver<Option<String>>, Trouble> {
    let (told, end) = oneshot::channel();
    let mut to = theirs.try_clone().map_err(Trouble::failed)?;
    let (from_guest, to_guest) = (stream.clone(), stream.clone());
    let reading = Arc::clone(&open);
    std::thread::spawn(move || {
        let end = listen(&from_guest, &mut to);
        // A stream that was ended by the host leaves the connection as it is.
        let lost = end.err().filter(|_| !reading.is_alive());
        drop(to.shutdown(std::net::Shutdown::Both));
        drop(told.send(lost));
    });
    std::thread::spawn(move || {
        let said = talk(&to_guest, theirs);
        tracing::debug!(?said, "the console is left");
        let (finished, wait) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if wait.recv_timeout(FAREWELL) == Err(RecvTimeoutError::Timeout) {
                tracing::debug!("the host does not let go of the console");
            }
            open.tunnel.cut();
        });
        // What was typed arrives first, and whoever comes next finds the console free.
        let freed = to_guest.finish();
        tracing::debug!(?freed, "the console is let go of");
        drop(finished);
    });
    Ok(end)
}

/// Brings what the guest says, until the console ends.
fn listen(stream: &Stream, to: &mut UnixStream) -> Result<(), String> {
    let mut piece = vec![0; 16 << 10];
    loop {
        let read = stream.recv(&mut piece).map_err(|error| error.message().to_owned())?;
        let Some(said) = usize::try_from(read).ok().filter(|read| *read > 0) else { return Ok(()) };
        if to.write_all(&piece[..said]).is_err() {
            return Ok(());
        }
    }
}

/// Brings what is typed, until nobody types any more.
fn talk(stream: &Stream, mut from: UnixStream) -> Result<(), String> {
    let mut piece = vec![0; 4 << 10];
    loop {
        let read = from.read(&mut piece).map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok(());
        }
        let mut rest = &piece[..read];
        while !rest.is_empty() {
            let sent = stream.send(rest).map_err(|error| error.message().to_owned())?;
            rest = usize::try_from(sent).ok().and_then(|sent| rest.get(sent..)).unwrap_or_default();
        }
    }
}
