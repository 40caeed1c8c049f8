//! A libvirt that says it is older than it is: what a distribution's own daemon cannot be made to say.

use std::{
    io::{Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result};

/// `REMOTE_PROC_CONNECT_GET_LIB_VERSION` of libvirt's protocol (`remote_protocol.x`).
const GET_LIB_VERSION: u32 = 157;
/// A packet: its length, then program, version, procedure, type, serial, status, then the answer.
const WORDS: usize = 7;
const REPLY: u32 = 1;

/// Listens at `socket` and hands everything on to libvirt's socket, for as long as the process lives; the
/// answer to the question for its version is this number.
pub fn pretend_version(socket: &Path, libvirt: PathBuf, version: u64) -> Result<()> {
    let listener = UnixListener::bind(socket).context("binding the relay's socket")?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o777))?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let libvirt = libvirt.clone();
            thread::spawn(move || relay(client, &libvirt, version));
        }
    });
    Ok(())
}

fn relay(client: UnixStream, libvirt: &Path, version: u64) -> std::io::Result<()> {
    let daemon = UnixStream::connect(libvirt)?;
    let (mut from_client, mut to_daemon) = (client.try_clone()?, daemon.try_clone()?);
    thread::spawn(move || {
        let copied = std::io::copy(&mut from_client, &mut to_daemon);
        drop(to_daemon.shutdown(std::net::Shutdown::Both));
        copied
    });
    let (mut from_daemon, mut to_client) = (daemon, client);
    loop {
        let mut packet = vec![0; 4];
        from_daemon.read_exact(&mut packet)?;
        let length = word(&packet, 0) as usize;
        packet.resize(length, 0);
        from_daemon.read_exact(&mut packet[4..])?;
        let answers = length == WORDS * 4 + 8;
        if answers && word(&packet, 3) == GET_LIB_VERSION && word(&packet, 4) == REPLY {
            packet[WORDS * 4..].copy_from_slice(&version.to_be_bytes());
        }
        to_client.write_all(&packet)?;
    }
}

fn word(packet: &[u8], index: usize) -> u32 {
    let bytes = packet.get(index * 4..index * 4 + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}
