//! The conversation with the script on the host.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    time::timeout,
};

/// A byte stream to and from the script.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Why an exchange came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not answer, or not any more.
    Away(String),
    /// Another run took the lock over.
    Over,
    /// What is there is not what was seen last.
    Changed,
    /// No room is left.
    Full,
    /// The host says no.
    Refused(String),
}

/// What the script said first.
pub(super) enum Greeting {
    Ready,
    /// Another holds the lock, and who.
    Busy(Vec<u8>),
    Nobody,
    /// Whoever had the lock has it no longer.
    Ended,
    /// Not even the directory is there that its directory would lie in.
    Nowhere,
}

/// The conversation; after one fault nothing more is said.
pub(super) struct Talk {
    wire: BufReader<Box<dyn Wire>>,
    deadline: Duration,
    fault: Option<Fault>,
}

/// What a state may be long at most, in base64.
const MOST: usize = 512 << 20;

impl Talk {
    pub(super) fn over(wire: Box<dyn Wire>, deadline: Duration) -> Self {
        Self { wire: BufReader::new(wire), deadline, fault: None }
    }

    /// Hears what the script says first.
    pub(super) async fn greeting(&mut self) -> Result<Greeting, Fault> {
        let line = self.line().await?;
        match line.as_str() {
            "ready" => Ok(Greeting::Ready),
            "nobody" => Ok(Greeting::Nobody),
            "ended" => Ok(Greeting::Ended),
            "nowhere" => Ok(Greeting::Nowhere),
            "busy" => Ok(Greeting::Busy(self.given().await?.unwrap_or_default())),
            _ => Err(self.broken(refusal(&line))),
        }
    }

    /// Says a line, and bytes after it; hears whether it is done.
    pub(super) async fn tell(&mut self, line: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.say(line, bytes).await?;
        match self.line().await?.as_str() {
            "ok" => Ok(()),
            "full" => Err(Fault::Full),
            "changed" => Err(Fault::Changed),
            "over" => Err(self.broken(Fault::Over)),
            other => Err(refusal(other)),
        }
    }

    pub(super) async fn say(&mut self, line: &str, bytes: &[u8]) -> Result<(), Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let said = async {
            self.wire.write_all(format!("{line}\n").as_bytes()).await?;
            self.wire.write_all(bytes).await?;
            self.wire.flush().await
        };
        match timeout(self.deadline, said).await {
            Ok(Ok(())) => Ok(()),
            // What it said before it ended may still be there to be heard.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(self.late()),
        }
    }

    /// Hears a line.
    pub(super) async fn line(&mut self) -> Result<String, Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let mut line = Vec::new();
        let heard = timeout(self.deadline, self.wire.read_until(b'\n', &mut line)).await;
        match heard {
            Err(_) => Err(self.late()),
            Ok(Ok(_)) if line.pop() == Some(b'\n') => {
                Ok(String::from_utf8_lossy(&line).into_owned())
            }
            Ok(_) => Err(self.broken(Fault::Away("its connection has ended".to_owned()))),
        }
    }

    /// Hears what a file holds; `None` where there is none.
    pub(super) async fn given(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let head = self.line().await?;
        match head.split_once(' ') {
            Some(("none", _)) => return Ok(None),
            Some(("have", _)) => {}
            _ if head == "over" => return Err(self.broken(Fault::Over)),
            _ => return Err(self.broken(refusal(&head))),
        }
        let mut text = String::new();
        loop {
            let line = self.line().await?;
            match line.as_str() {
                "." => break,
                "!" => return Err(self.broken(Fault::Refused("a file cannot be read".to_owned()))),
                line => text += line,
            }
            if text.len() > MOST {
                return Err(self.broken(Fault::Refused("a file has no end".to_owned())));
            }
        }
        let bytes = BASE64_STANDARD.decode(text);
        bytes.map(Some).map_err(|error| self.broken(Fault::Refused(error.to_string())))
    }

    fn late(&mut self) -> Fault {
        self.broken(Fault::Away(format!("no answer within {} s", self.deadline.as_secs())))
    }

    fn broken(&mut self, fault: Fault) -> Fault {
        self.fault = Some(fault.clone());
        fault
    }
}

fn refusal(line: &str) -> Fault {
    match line {
        "over" => Fault::Over,
        _ => Fault::Refused(match line.strip_prefix("error ") {
            Some(why) => why.to_owned(),
            None => format!("it said {line:?}"),
        }),
    }
}
