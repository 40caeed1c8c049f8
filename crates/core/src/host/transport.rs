//! The ways to a host: over SSH, or none for this machine.

use std::{net::Ipv4Addr, process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt as _, net::TcpStream, net::UnixStream, time::timeout};

use super::{
    HostErrorKind, Stream,
    command::Command,
    ssh::{Refused, Ssh, Stdin},
    trouble::Trouble,
};

/// Where commands are run and sockets are opened.
#[derive(Debug)]
pub(crate) enum Transport {
    Ssh(Box<Ssh>),
    Local,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: u32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Output {
    /// Returns the last line of what it complained about, or its exit code.
    pub(crate) fn complaint(&self) -> String {
        let stderr = String::from_utf8_lossy(&self.stderr);
        match stderr.trim().lines().last() {
            Some(line) if !line.is_empty() => line.to_owned(),
            _ => format!("exit code {}", self.code),
        }
    }

    /// Returns what it wrote when it went well.
    pub(crate) fn good(self) -> Result<Vec<u8>, Trouble> {
        if self.code == 0 { Ok(self.stdout) } else { Err(self.trouble()) }
    }

    pub(crate) fn trouble(&self) -> Trouble {
        let complaint = self.complaint();
        let full = complaint.contains("No space left on device");
        let trouble = Trouble::failed(complaint);
        if full { trouble.hint("make room in the pool's file system") } else { trouble }
    }
}

/// libvirt's sockets: of the one daemon or the proxy of the modular ones, then of the QEMU driver.
pub(crate) const LIBVIRT_SOCKETS: [&str; 2] =
    ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];

const LOOK_AT_SOCKETS: &str = r#"
    found=none;
    for s in "$@"; do
      if [ -S "$s" ]; then found=shut; if [ -r "$s" ] && [ -w "$s" ]; then found=open; break; fi; fi;
    done;
    echo "$found"; id -un;
    if command -v virt-ssh-helper >/dev/null 2>&1 || command -v nc >/dev/null 2>&1; then echo way; fi;
"#;

const HELPER: &str = r#"
    if command -v virt-ssh-helper >/dev/null 2>&1; then exec virt-ssh-helper qemu:///system; fi;
    for s in "$@"; do [ -S "$s" ] && exec nc -U "$s"; done;
    exit 127;
"#;

impl Transport {
    /// Runs a command; its exit code is for the caller to judge.
    pub(crate) async fn run(
        &self,
        command: &Command,
        stdin: Stdin<'_>,
        deadline: Duration,
    ) -> Result<Output, Trouble> {
        tracing::debug!(command = command.text(), "run");
        match self {
            Self::Ssh(ssh) => ssh.run(command, stdin, deadline).await,
            Self::Local => run_here(command, stdin, deadline).await,
        }
    }

    /// Opens libvirt's socket.
    pub(crate) async fn libvirt(&self, deadline: Duration) -> Result<Box<dyn Stream>, Trouble> {
        for path in LIBVIRT_SOCKETS {
            match self {
                Self::Local => match UnixStream::connect(path).await {
                    Ok(stream) => return Ok(Box::new(stream)),
                    Err(error) => tracing::debug!(path, %error, "no libvirt there"),
                },
                Self::Ssh(ssh) => match within(deadline, ssh.socket(path)).await? {
                    Ok(stream) => return Ok(stream),
                    Err(refused) => tracing::debug!(path, ?refused, "no libvirt there"),
                },
            }
        }
        self.way_round(deadline).await
    }

    /// Finds out why no socket answered, and takes the way round where it may be sshd's fault.
    async fn way_round(&self, deadline: Duration) -> Result<Box<dyn Stream>, Trouble> {
        let look = Command::new(LOOK_AT_SOCKETS, LIBVIRT_SOCKETS)?;
        let output = self.run(&look, Stdin::Nothing, deadline).await?.good()?;
        let text = String::from_utf8_lossy(&output);
        let mut lines = text.lines();
        let (found, user) = (lines.next().unwrap_or_default(), lines.next().unwrap_or("the user"));
        let has_way = lines.next().is_some();
        match (found, self) {
            ("none", _) => Err(Trouble::unreachable("libvirt does not listen there")
                .hint("install libvirt (Debian: libvirt-daemon-system) and start libvirtd.socket")),
            ("shut", _) => Err(Trouble::new(
                HostErrorKind::Login,
                format!("{user} may not use libvirt's socket"),
            )
            .hint(format!("usermod -aG libvirt {user}"))),
            // sshd (9.2) says "connect failed" for AllowStreamLocalForwarding no, too.
            (_, Self::Ssh(_)) if !has_way => {
                let why = "sshd forwards no sockets, and no virt-ssh-helper or nc is there";
                Err(Trouble::unreachable(why).hint(
                    "set AllowStreamLocalForwarding yes in its sshd_config, or install \
                     netcat-openbsd there (virt-ssh-helper comes with libvirt 6.8 and later)",
                ))
            }
            (_, Self::Ssh(ssh)) => {
                tracing::info!("sshd forwards no sockets; taking virt-ssh-helper or nc");
                ssh.pipe(&Command::new(HELPER, LIBVIRT_SOCKETS)?, deadline).await
            }
            _ => Err(Trouble::unreachable("libvirt's socket does not answer").hint(
                "see `systemctl status libvirtd`, and AllowStreamLocalForwarding in sshd_config",
            )),
        }
    }

    /// Opens a TCP connection from the host.
    pub(crate) async fn dial(
        &self,
        address: Ipv4Addr,
        port: u16,
        deadline: Duration,
    ) -> Result<Box<dyn Stream>, Trouble> {
        match self {
            Self::Local => {
                let connect = async {
                    TcpStream::connect((address, port)).await.map_err(Trouble::unreachable)
                };
                Ok(Box::new(within(deadline, connect).await?))
            }
            Self::Ssh(ssh) => match within(deadline, ssh.dial(address, port)).await? {
                Ok(stream) => Ok(stream),
                Err(Refused::Failed) => Err(Trouble::unreachable("nothing answers there")),
                Err(Refused::Forbidden) => Err(Trouble::failed("sshd forbids forwarding")
                    .hint("set AllowTcpForwarding yes in the host's sshd_config")),
            },
        }
    }
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    timeout(deadline, work).await.unwrap_or_else(|_| {
        Err(Trouble::unreachable(format!("no answer within {} s", deadline.as_secs())))
    })
}

async fn run_here(
    command: &Command,
    stdin: Stdin<'_>,
    deadline: Duration,
) -> Result<Output, Trouble> {
    let words = command.words();
    let mut child = tokio::process::Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Trouble::failed)?;
    let gone = || Trouble::failed("a pipe to the command is missing");
    let input = child.stdin.take().ok_or_else(gone)?;
    let mut out = child.stdout.take().ok_or_else(gone)?;
    let mut err = child.stderr.take().ok_or_else(gone)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let work = async {
        let feed = async {
            let fed = stdin.write_to(input, deadline).await;
            drop(fed);
        };
        let (_fed, out, err) =
            tokio::join!(feed, out.read_to_end(&mut stdout), err.read_to_end(&mut stderr));
        out.and(err)?;
        child.wait().await
    };
    // A file being read has a deadline of its own for each piece.
    let whole = if matches!(stdin, Stdin::File(..)) { Duration::from_hours(24) } else { deadline };
    let late = |_| Trouble::failed(format!("no end within {} s", deadline.as_secs())).unknown();
    let status = timeout(whole, work).await.map_err(late)?.map_err(Trouble::failed)?;
    let code = status.code().and_then(|code| u32::try_from(code).ok()).unwrap_or(128);
    Ok(Output { code, stdout, stderr })
}
