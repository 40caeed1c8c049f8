//! `freehold console`: a VM's serial console at this terminal.

use std::{cell::Cell, io::IsTerminal as _, time::Duration};

use freehold_core::{
    host::{self, Host, HostError},
    model::DomainState,
};
use futures::future::select_all;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{Receiver, Sender, channel},
    time::{Instant, sleep, timeout},
};

use crate::{
    args::{Args, Console},
    context::Context,
    failure::{Exit, Failure},
    screen,
    ssh::refuse_off,
    terminal::Raw,
    vms::Made,
};

/// Ctrl-], as telnet and virsh have it.
const LEAVE: u8 = 0x1d;
/// How long the console must be silent once its piped input has ended.
const SILENCE: Duration = Duration::from_secs(1);
/// How long is waited for the host to take what was typed, and to let go of the console.
const FAREWELL: Duration = Duration::from_secs(3);
/// How many pieces of input wait for a guest that does not read.
const QUEUE: usize = 64;

/// How sitting at a console came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// By Ctrl-], or with the input or the output.
    Left,
    /// The host has nothing more.
    Closed,
    /// A signal asked for it.
    Signal(SignalKind),
}

/// Where input comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Keys,
    Pipe,
}

pub(crate) async fn run(args: &Args, console: &Console) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let snapshot = context.state.read().await?;
    let made = Made::find(&context, &snapshot, &console.vm)?;
    let host = made.reach(&context).await?;
    refuse_off(&*host, &context, &made).await?;
    let open = host.open_console(&made.ours(&context), console.force).await?;
    let mut signals = Signals::caught().map_err(|error| no_terminal(&error))?;
    let keys = std::io::stdin().is_terminal();
    let way_out = if keys { "; Ctrl-] leaves it" } else { "" };
    screen::say(&format!("console of {} on {}{way_out}", made.name, made.host_name()));
    let raw = keys.then(|| Raw::of(std::io::stdin())).transpose();
    let raw = raw.map_err(|error| no_terminal(&error))?;
    let input = if keys { Input::Keys } else { Input::Pipe };
    let end = sit(open.bytes, input, &mut signals).await;
    // The place is free for the next one once the host has let go of it.
    let lost = timeout(FAREWELL, open.end).await.ok().flatten();
    if raw.is_some() {
        drop(raw);
        screen::say("");
    }
    told(end, lost, &*host, &context, &made).await
}

fn no_terminal(error: &std::io::Error) -> Failure {
    Failure::input("this terminal cannot be used").because(error)
}

/// Says how it ended.
async fn told(
    end: End,
    lost: Option<HostError>,
    host: &dyn Host,
    context: &Context,
    made: &Made<'_>,
) -> Result<Exit, Failure> {
    let name = made.name;
    match (end, lost) {
        (End::Left, _) => Ok(Exit::Done),
        (End::Signal(kind), _) => {
            screen::say(&format!("left the console: signal {}", kind.as_raw_value()));
            Ok(Exit::Interrupted)
        }
        (End::Closed, Some(lost)) => Err(lost.into()),
        (End::Closed, None) => match host.domain_state(&made.ours(context)).await? {
            Some(DomainState::Running | DomainState::Paused) => {
                Err(Failure::new(Exit::Part, format!("somebody else took the console of {name}"))
                    .hint("with --force you take it back"))
            }
            Some(DomainState::Off | DomainState::Crashed) | None => {
                screen::say(&format!("{name} is off"));
                Ok(Exit::Done)
            }
        },
    }
}

/// Brings what is typed there, and what is said here, until one side ends.
async fn sit(bytes: Box<dyn host::Stream>, input: Input, signals: &mut Signals) -> End {
    let (from, to) = split(bytes);
    let (typed, queue) = channel(QUEUE);
    let bringing = tokio::spawn(bring(queue, to));
    let heard = Cell::new(Instant::now());
    let end = tokio::select! {
        end = listen(from, &heard) => end,
        end = read(typed, input, &heard) => end,
        kind = signals.next() => End::Signal(kind),
    };
    drop(timeout(FAREWELL, bringing).await);
    end
}

/// Shows what the guest says.
async fn listen(mut from: impl AsyncRead + Unpin, heard: &Cell<Instant>) -> End {
    let mut out = tokio::io::stdout();
    let mut piece = vec![0; 16 << 10];
    loop {
        let read = match from.read(&mut piece).await {
            Ok(0) | Err(_) => return End::Closed,
            Ok(read) => read,
        };
        heard.set(Instant::now());
        let shown = async { out.write_all(&piece[..read]).await.and(out.flush().await) };
        if shown.await.is_err() {
            return End::Left;
        }
    }
}

/// Reads what is typed. Keys that a guest does not take are lost, but for the one that leaves; a pipe
/// waits for it.
async fn read(typed: Sender<Vec<u8>>, input: Input, heard: &Cell<Instant>) -> End {
    let mut stdin = tokio::io::stdin();
    let mut piece = vec![0; 4 << 10];
    loop {
        let read = match stdin.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let piece = &piece[..read];
        if input == Input::Pipe {
            drop(typed.send(piece.to_vec()).await);
            continue;
        }
        let leave = piece.iter().position(|byte| *byte == LEAVE);
        drop(typed.try_send(piece[..leave.unwrap_or(read)].to_vec()));
        if leave.is_some() {
            return End::Left;
        }
    }
    if input == Input::Pipe {
        drop(typed.reserve_many(QUEUE).await);
        heard.set(Instant::now());
        while heard.get().elapsed() < SILENCE {
            sleep(SILENCE.saturating_sub(heard.get().elapsed())).await;
        }
    }
    End::Left
}

/// Brings what was typed, then shuts the writing half: that leaves the console.
async fn bring(mut queue: Receiver<Vec<u8>>, mut to: impl AsyncWrite + Unpin) {
    while let Some(piece) = queue.recv().await {
        if to.write_all(&piece).await.is_err() {
            break;
        }
    }
    drop(to.shutdown().await);
}

/// What ends a console from outside, the terminal put back.
struct Signals([(SignalKind, Signal); 3]);

impl Signals {
    /// From here on these no longer end the process by themselves.
    fn caught() -> std::io::Result<Self> {
        let catch = |kind| signal(kind).map(|signal| (kind, signal));
        Ok(Self([
            catch(SignalKind::terminate())?,
            catch(SignalKind::hangup())?,
            catch(SignalKind::interrupt())?,
        ]))
    }

    async fn next(&mut self) -> SignalKind {
        let each = self.0.iter_mut().map(|(kind, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *kind
            })
        });
        select_all(each).await.0
    }
}
