//! Waiting until a VM is ready: asked from here, else through its host.

use std::time::Duration;

use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    host::{Host, Stream, guest_host_key},
    plan::{AskedFrom, Await},
};

const PAUSE: Duration = Duration::from_millis(300);
const DIAL: Duration = Duration::from_secs(3);

/// Waits for a VM; the error says what was seen last.
pub async fn await_ready(wait: &Await, host: &dyn Host) -> Result<(), String> {
    let deadline = Instant::now() + wait.timeout;
    loop {
        let seen = match look(wait, host).await {
            Ok(()) => return Ok(()),
            Err(seen) => seen,
        };
        if Instant::now() + PAUSE > deadline {
            return Err(seen);
        }
        sleep(PAUSE).await;
    }
}

/// Asks from here where that may lead to the VM; else, and where nothing comes of it, from the host.
async fn look(wait: &Await, host: &dyn Host) -> Result<(), String> {
    let (address, port) = (wait.address, wait.port);
    let direct = match wait.from {
        AskedFrom::Host => String::new(),
        AskedFrom::Anywhere => match timeout(DIAL, TcpStream::connect((address, port))).await {
            // A network whose way out accepts for everybody accepts what never answers.
            Ok(Ok(stream)) => match answered(wait, Box::new(stream)).await {
                Ok(key) => return judged(wait, key.as_deref()),
                Err(error) => format!("{error}; "),
            },
            Ok(Err(error)) => format!("{error}; "),
            Err(_) => "no answer; ".to_owned(),
        },
    };
    let from_host = |why| format!("{direct}from the host: {why}");
    let stream = host.dial(address, port).await;
    let stream = stream.map_err(|error| from_host(super::causes_of(&error).join(": ")))?;
    judged(wait, answered(wait, stream).await.map_err(from_host)?.as_deref())
}

/// Returns the key that its sshd shows, where one is asked for.
async fn answered(wait: &Await, stream: Box<dyn Stream>) -> Result<Option<String>, String> {
    if wait.host_key.is_none() {
        return Ok(None);
    }
    let key = timeout(DIAL * 4, guest_host_key(stream))
        .await
        .map_err(|_| "its sshd does not finish the key exchange".to_owned())?;
    key.map(Some).map_err(|error| super::causes_of(&error).join(": "))
}

fn judged(wait: &Await, shown: Option<&str>) -> Result<(), String> {
    match (shown, &wait.host_key) {
        (Some(key), Some(want)) if !same_key(key, want) => {
            Err(format!("its sshd shows another host key than we gave it: {key}"))
        }
        _ => Ok(()),
    }
}

/// Compares algorithm and key, without comments.
fn same_key(one: &str, other: &str) -> bool {
    let parts = |key: &str| key.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
    parts(one) == parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_keys_do_not_count() {
        assert!(same_key("ssh-ed25519 AAAA web-0", "ssh-ed25519 AAAA"));
        assert!(!same_key("ssh-ed25519 AAAA", "ssh-ed25519 AAAB"));
    }
}
