//! What a conversation goes over, with a knife: russh keeps its stream as long as it waits for the host, so
//! whoever gives up must be able to cut it. And with a measure: before the login a host has little to say.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::host::Stream;

/// What a host may say before the login: key exchange, a banner, an answer to each key, each a few KiB.
pub(super) const WORDY: usize = 512 << 10;

/// A stream that can be cut.
pub(super) struct Cord {
    stream: Box<dyn Stream>,
    /// `None` as soon as nobody will cut it any more.
    state: Option<Arc<Mutex<State>>>,
}

/// Cuts its cord at its end, unless that was let go.
pub(super) struct Knife(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    fate: Fate,
    /// How much the host may still say.
    left: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Fate {
    #[default]
    Open,
    Cut,
    /// The login is over: the host may speak as it likes.
    Free,
}

impl Cord {
    pub(super) fn of(stream: Box<dyn Stream>) -> (Self, Knife) {
        let state = Arc::new(Mutex::new(State { left: WORDY, ..State::default() }));
        (Self { stream, state: Some(Arc::clone(&state)) }, Knife(state))
    }

    /// Says whether it is cut; who waits is woken when it is.
    fn is_cut(&mut self, waker: impl FnOnce(&mut State)) -> bool {
        let Some(state) = &self.state else { return false };
        let fate = {
            let mut state = state.lock().expect("no holder panics");
            waker(&mut state);
            state.fate
        };
        if fate == Fate::Free {
            self.state = None;
        }
        fate == Fate::Cut
    }
}

impl Knife {
    /// Leaves the cord whole, and its host free to speak.
    pub(super) fn let_go(self) {
        self.0.lock().expect("no holder panics").fate = Fate::Free;
    }

    /// Says whether the host said more than it may.
    pub(super) fn was_too_much(&self) -> bool {
        self.0.lock().expect("no holder panics").left == 0
    }
}

impl Drop for Knife {
    fn drop(&mut self) {
        let wakers = {
            let mut state = self.0.lock().expect("no holder panics");
            if state.fate == Fate::Open {
                state.fate = Fate::Cut;
            }
            [state.reader.take(), state.writer.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

fn writer(context: &Context<'_>) -> impl FnOnce(&mut State) {
    |state| state.writer = Some(context.waker().clone())
}

fn severed() -> io::Error {
    ErrorKind::ConnectionAborted.into()
}

impl AsyncRead for Cord {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let waker = context.waker();
        if self.is_cut(|state| state.reader = Some(waker.clone())) {
            return Poll::Ready(Err(severed()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        let Some(state) = &self.state else { return Poll::Ready(Ok(())) };
        let mut state = state.lock().expect("no holder panics");
        state.left = state.left.saturating_sub(read);
        if state.left == 0 && state.fate == Fate::Open {
            state.fate = Fate::Cut;
            return Poll::Ready(Err(severed()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Cord {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_cut(writer(context)) {
            return Poll::Ready(Err(severed()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_cut(writer(context)) {
            return Poll::Ready(Err(severed()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_cut(writer(context)) {
            return Poll::Ready(Err(severed()));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_cut(writer(context)) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_reader_that_waits_is_cut_off() {
        let (ours, mut theirs) = duplex(64);
        let (mut cord, knife) = Cord::of(Box::new(ours));
        let reading = tokio::spawn(async move { cord.read_u8().await });
        tokio::task::yield_now().await;
        drop(knife);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn only_before_the_login_a_host_may_say_too_much() {
        for lets_go in [false, true] {
            let (ours, mut theirs) = duplex(1 << 20);
            let (mut cord, knife) = Cord::of(Box::new(ours));
            theirs.write_all(&vec![0; WORDY + 1]).await.unwrap();
            let mut all = vec![0; WORDY + 1];
            if lets_go {
                knife.let_go();
                cord.read_exact(&mut all).await.unwrap();
            } else {
                cord.read_exact(&mut all).await.unwrap_err();
                assert!(knife.was_too_much());
            }
        }
    }
}
