//! Runs a command on the host.

use std::{io::SeekFrom, path::Path, sync::Arc, time::Duration};

use russh::{Channel, ChannelMsg, client::Msg};
use tokio::{
    io::{
        AsyncReadExt as _, AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _, copy, duplex, split,
    },
    time::{Instant, sleep, timeout},
};

use super::Ssh;
use crate::host::{
    Progress,
    command::Command,
    transport::Output,
    trouble::Trouble,
    way::{BUFFER, Said, Way},
};

/// What a command reads.
#[derive(Clone, Copy)]
pub(crate) enum Stdin<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// A file, from here on.
    File(&'a Path, u64, &'a Progress),
}

const PIECE: usize = 1 << 20;

impl Stdin<'_> {
    /// Writes all of it; each piece must be taken within the deadline.
    pub(crate) async fn write_to(
        self,
        mut to: impl AsyncWrite + Unpin,
        deadline: Duration,
    ) -> std::io::Result<()> {
        let stalled = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        match self {
            Self::Nothing => {}
            Self::Bytes(bytes) => {
                timeout(deadline, to.write_all(bytes)).await.map_err(stalled)??;
            }
            Self::File(path, from, progress) => {
                let mut file = tokio::fs::File::open(path).await?;
                let size = file.metadata().await?.len();
                file.seek(SeekFrom::Start(from)).await?;
                file.set_max_buf_size(PIECE);
                let mut piece = vec![0; PIECE];
                let mut done = from;
                loop {
                    let read = file.read(&mut piece).await?;
                    if read == 0 {
                        break;
                    }
                    timeout(deadline, to.write_all(&piece[..read])).await.map_err(stalled)??;
                    done += read as u64;
                    progress(done, Some(size));
                }
            }
        }
        timeout(deadline, to.shutdown()).await.map_err(stalled)?
    }
}

impl Ssh {
    /// Runs a command and returns what it wrote; the deadline counts from its last sign of life
    /// while it reads, and once more after that.
    pub(crate) async fn run(
        &self,
        command: &Command,
        stdin: Stdin<'_>,
        deadline: Duration,
    ) -> Result<Output, Trouble> {
        let permit = Arc::clone(&self.sessions).acquire_owned().await.map_err(Trouble::failed)?;
        let channel = self.start(command, deadline).await?;
        let (mut reading, writing) = channel.split();
        let feed = async {
            let fed = stdin.write_to(writing.make_writer(), deadline).await;
            // A command that ended early says why in a moment.
            let stalled = fed.is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut);
            if !stalled {
                sleep(deadline).await;
            }
        };
        let mut output = Collected::default();
        let collect = async {
            while let Some(message) = reading.wait().await {
                output.take(message);
                if output.is_too_much() {
                    break;
                }
            }
        };
        let late = tokio::select! {
            biased;
            () = collect => false,
            () = feed => true,
        };
        let closing = timeout(Duration::from_secs(1), writing.close()).await;
        drop(closing);
        drop(permit);
        if output.is_too_much() {
            let most = MOST >> 20;
            return Err(Trouble::failed(format!("a command wrote more than {most} MiB")).unknown());
        }
        output.finish().ok_or_else(|| {
            let why = if late {
                format!("no answer within {} s", deadline.as_secs())
            } else {
                "the connection was lost while a command ran".to_owned()
            };
            Trouble::unreachable(why).unknown()
        })
    }

    /// Runs a command and returns its standard input and output as a stream; it takes the place of a
    /// session as long as that lives.
    pub(crate) async fn pipe(&self, command: &Command, deadline: Duration) -> Result<Way, Trouble> {
        let permit = Arc::clone(&self.sessions).acquire_owned().await.map_err(Trouble::failed)?;
        let (mut reading, writing) = self.start(command, deadline).await?.split();
        let (ours, theirs) = duplex(BUFFER);
        let said = Said::by(|mut ear| {
            tokio::spawn(async move {
                let (mut from, mut to) = split(theirs);
                let inward = async {
                    while let Some(message) = reading.wait().await {
                        match message {
                            ChannelMsg::Data { data } if to.write_all(&data).await.is_err() => {
                                break;
                            }
                            ChannelMsg::ExtendedData { data, .. } => ear.hear(&data),
                            _ => {}
                        }
                    }
                };
                let mut out = writing.make_writer();
                tokio::select! {
                    () = inward => {}
                    ended = copy(&mut from, &mut out) => tracing::debug!(?ended, "it is left"),
                }
                drop(writing.close().await);
                drop(permit);
            })
        });
        Ok(Way { stream: Box::new(ours), said: Some(said) })
    }

    /// Opens a session. sshd frees the place of one that has ended a moment later than it says so,
    /// and refuses an eleventh till then: nothing has happened, and it may be asked again.
    pub(super) async fn session(&self) -> Result<Channel<Msg>, Trouble> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            match self.live().await?.channel_open_session().await {
                Err(russh::Error::ChannelOpenFailure(_)) if Instant::now() < end => {
                    sleep(Duration::from_millis(10)).await;
                }
                opened => return opened.map_err(Trouble::unreachable),
            }
        }
    }

    async fn start(&self, command: &Command, deadline: Duration) -> Result<Channel<Msg>, Trouble> {
        let late = |_| Trouble::unreachable("the host opens no session");
        let channel = timeout(deadline, self.session()).await.map_err(late)??;
        let asked = timeout(deadline, channel.exec(false, command.text())).await.map_err(late)?;
        asked.map_err(Trouble::unreachable)?;
        Ok(channel)
    }
}

/// What a command may write: more than any host has to say, less than would harm us.
const MOST: usize = 64 << 20;

#[derive(Default)]
struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    code: Option<u32>,
}

impl Collected {
    fn take(&mut self, message: ChannelMsg) {
        match message {
            ChannelMsg::Data { data } => self.stdout.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, .. } => self.stderr.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => self.code = Some(exit_status),
            // As a shell tells it.
            ChannelMsg::ExitSignal { .. } => self.code = Some(128),
            _ => {}
        }
    }

    fn is_too_much(&self) -> bool {
        self.stdout.len() + self.stderr.len() > MOST
    }

    fn finish(self) -> Option<Output> {
        let code = self.code?;
        Some(Output { code, stdout: self.stdout, stderr: self.stderr })
    }
}
