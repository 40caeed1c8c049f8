//! Hosts are spoken to all at once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{
    fmt::Write as _,
    fs,
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Ten machines accept and never greet: none is given up before the last was called.
#[test]
fn status_calls_all_hosts_before_it_gives_one_up() {
    let folder = tempfile::tempdir().unwrap();
    let listeners: Vec<_> = (0..10).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let mut text = "fleet \"wide\" {\n  id = \"f7c10b8e5a2d4c93b6e1f04a7d825c40\"\n}\n".to_owned();
    for (number, listener) in listeners.iter().enumerate() {
        listener.set_nonblocking(true).unwrap();
        let place = listener.local_addr().unwrap();
        writeln!(text, "host \"rack{number}\" {{\n  ssh = \"root@{place}\"\n}}").unwrap();
    }
    fs::write(folder.path().join("fleet.hcl"), text).unwrap();
    let mut status = Command::new(env!("CARGO_BIN_EXE_freehold"))
        .arg("status")
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut calls: Vec<Option<TcpStream>> = listeners.iter().map(|_| None).collect();
    let begun = Instant::now();
    while calls.iter().any(Option::is_none) {
        assert!(begun.elapsed() < Duration::from_mins(1), "{calls:?}");
        for (listener, call) in listeners.iter().zip(&mut calls).filter(|(_, call)| call.is_none())
        {
            *call = listener.accept().ok().map(|(stream, _)| stream);
        }
        sleep(Duration::from_millis(5));
    }
    for call in calls.iter().flatten() {
        call.set_nonblocking(true).unwrap();
        let mut said = [0; 256];
        let mut end = call.peek(&mut said);
        while let Ok(read @ 1..) = end {
            std::io::Read::read_exact(&mut &*call, &mut said[..read]).unwrap();
            end = call.peek(&mut said);
        }
        // It waits for a greeting: nobody has hung up.
        assert_eq!(end.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    status.kill().unwrap();
    status.wait().unwrap();
}
