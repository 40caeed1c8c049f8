//! A script that goes on on a host for as long as somebody speaks with it.

use std::{
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    ConnectOptions, HostError, Stream, command::Command, connect::ssh_options, ssh::Ssh,
    trouble::Trouble, way,
};
use crate::model;

/// Runs a script of ours on a host, by `/bin/sh`, over a connection of its own, and returns its input
/// and output. It is ended with the stream: by the end of its input, or with its connection.
///
/// # Errors
///
/// The host cannot be reached, or opens no session.
pub async fn shell(
    host: &model::Host,
    options: &ConnectOptions,
    script: &'static str,
    parameters: &[String],
) -> Result<Box<dyn Stream>, HostError> {
    let command = Command::new(script, parameters.iter().map(String::as_str));
    let (opened, place) = match &host.connection {
        model::Connection::Local => {
            let start = |command: Command| {
                way::start(Path::new("/bin/sh"), &format!("exec {}", command.text()))
            };
            (command.and_then(start).map(|way| way.stream), "this machine".to_owned())
        }
        model::Connection::Ssh(target) => {
            let opened = async {
                let ssh = Ssh::connect(target, ssh_options(options)).await?;
                let way = ssh.pipe(&command?, options.deadlines.call).await?;
                Ok::<_, Trouble>(Box::new(Kept { stream: way.stream, _ssh: ssh }) as Box<dyn Stream>)
            };
            (opened.await, target.to_string())
        }
    };
    opened.map_err(|trouble| trouble.on(&host.name, format!("connect to {place}")))
}

/// A stream, and the connection that it goes over.
struct Kept {
    stream: Box<dyn Stream>,
    _ssh: Ssh,
}

impl AsyncRead for Kept {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for Kept {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
