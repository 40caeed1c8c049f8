//! The ways to a host: over SSH, or none for this machine.

use std::{net::Ipv4Addr, path::Path, process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt as _, net::TcpStream, net::UnixStream, time::timeout};

use super::{
    HostErrorKind, Stream,
    command::Command,
    ssh::{Refused, Ssh, Stdin},
    trouble::Trouble,
    way::{self, Way},
};
use crate::model::DaemonMode;

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

/// libvirt's socket: of the one daemon, or of the proxy in front of the modular ones.
pub(crate) const SOCKET: &str = "/run/libvirt/libvirt-sock";
/// The QEMU driver's own, of a host with modular daemons: it knows domains, but neither pools nor
/// networks, which other daemons have.
const QEMU_ALONE: &str = "/run/libvirt/virtqemud-sock";

/// `$1` the socket, `$2` the one that shows that there are modular daemons.
const LOOK_AT_SOCKETS: &str = r#"
    if [ -S "$1" ]; then
      if [ -r "$1" ] && [ -w "$1" ]; then echo open; else echo shut; fi;
    elif [ -S "$2" ]; then echo modular; else echo none; fi;
    id -un;
    if command -v virt-ssh-helper >/dev/null 2>&1 || command -v nc >/dev/null 2>&1; then echo way; fi;
"#;

const HELPER: &str = r#"
    if command -v virt-ssh-helper >/dev/null 2>&1; then exec virt-ssh-helper qemu:///system; fi;
    exec nc -U "$1";
"#;

/// Where systemd keeps users' runtime directories, and what keeps those of users who are not logged in:
/// a file for each.
const RUNTIME: [&str; 2] = ["/run/user", "/var/lib/systemd/linger"];

/// `$1` the first of [`RUNTIME`]. A user's libvirt is where this variable leads: whatever it is at one
/// login and another, there must be one.
macro_rules! runtime {
    () => {
        r#"
    n=$(id -u);
    if [ -d "$1/$n" ]; then XDG_RUNTIME_DIR=$1/$n; export XDG_RUNTIME_DIR; else unset XDG_RUNTIME_DIR; fi;
"#
    };
}

/// Starts the daemon where it does not run: the one daemon, as others know neither pools nor networks.
const SESSION: &str = concat!(runtime!(), "exec virt-ssh-helper 'qemu:///session?mode=legacy'");

/// `$1 $2` [`RUNTIME`], `$3` root's number.
const LOOK_AT_SESSION: &str = concat!(
    runtime!(),
    r#"
    u=$(id -un);
    login1() {
      set -- "$1" org.freedesktop.login1;
      busctl get-property "$2" /org/freedesktop/login1 "$2.Manager" "$1" 2>/dev/null;
    };
    if [ "$n" = "$3" ]; then echo root;
    elif [ -z "${XDG_RUNTIME_DIR-}" ]; then echo kept;
    elif [ ! -e "$2/$u" ]; then echo fleeting;
    elif [ "$(login1 KillUserProcesses)" = 'b true' ]; then
      case $(login1 KillExcludeUsers) in *"\"$u\""*) echo kept;; *) echo killed;; esac;
    else echo kept; fi;
    echo "$u";
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin;
    if command -v libvirtd >/dev/null 2>&1; then echo one;
    elif command -v virtqemud >/dev/null 2>&1; then echo modular; else echo none; fi;
    if command -v virt-ssh-helper >/dev/null 2>&1; then echo way; fi;
"#
);

/// Returns why the libvirt of the user himself cannot be had, by what [`LOOK_AT_SESSION`] said.
fn no_session(said: &str) -> Option<Trouble> {
    let mut lines = said.lines();
    let (found, user) = (lines.next().unwrap_or_default(), lines.next().unwrap_or("the user"));
    let (daemon, way) = (lines.next().unwrap_or_default(), lines.next());
    let no = |why: String, hint: String| Some(Trouble::unreachable(why).hint(hint));
    match (found, daemon, way) {
        // libvirt takes it to the host's own daemon, which has no such driver.
        ("root", ..) => no(
            format!("{user} has no libvirt but the host's"),
            "log in as another user, or leave `libvirt` out of the host's block".to_owned(),
        ),
        ("fleeting", ..) => no(
            format!("{user}'s libvirt would forget its running guests when {user} logs out"),
            format!("on the host: loginctl enable-linger {user}"),
        ),
        ("killed", ..) => no(
            format!("systemd would kill {user}'s guests when {user} logs out"),
            format!("KillExcludeUsers=root {user} in /etc/systemd/logind.conf there"),
        ),
        (_, "modular", _) => no(
            "its libvirt has a daemon for each driver, and a user's own have no proxy".to_owned(),
            "install libvirtd beside them, or use the host's own: leave `libvirt` out".to_owned(),
        ),
        (_, "none", _) => no(
            "no libvirtd is installed there".to_owned(),
            "install libvirt (Debian: libvirt-daemon, qemu-system-x86)".to_owned(),
        ),
        (_, _, None) => no(
            "there is no virt-ssh-helper, which leads to a user's own libvirt".to_owned(),
            "install libvirt 6.8 or later (Debian: libvirt-daemon)".to_owned(),
        ),
        _ => None,
    }
}

/// Returns why libvirt cannot be had, by what was found at its socket.
fn no_libvirt(found: &str, user: &str) -> Option<Trouble> {
    match found {
        "none" => Some(
            Trouble::unreachable("libvirt does not listen there")
                .hint("install libvirt (Debian: libvirt-daemon-system) and start libvirtd.socket"),
        ),
        "modular" => Some(
            Trouble::unreachable(
                "its libvirt has a daemon for each driver, and their proxy is off",
            )
            .hint("systemctl enable --now virtproxyd.socket"),
        ),
        "shut" => {
            let why = format!("{user} may not use libvirt's socket");
            let hint = format!("usermod -aG libvirt {user}");
            Some(Trouble::new(HostErrorKind::Login, why).hint(hint))
        }
        _ => None,
    }
}

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

    /// Opens a connection to libvirt.
    pub(crate) async fn libvirt(
        &self,
        mode: DaemonMode,
        deadline: Duration,
    ) -> Result<Way, Trouble> {
        match mode {
            DaemonMode::System => self.socket(deadline).await,
            DaemonMode::Session => self.session(deadline).await,
        }
    }

    /// Has a command lead to the user's own libvirt: only on the host itself is it known where its socket
    /// is, and there may be none yet.
    async fn session(&self, deadline: Duration) -> Result<Way, Trouble> {
        let [runtime, linger] = RUNTIME;
        let look = Command::new(LOOK_AT_SESSION, [runtime, linger, "0"])?;
        let said = self.run(&look, Stdin::Nothing, deadline).await?.good()?;
        if let Some(trouble) = no_session(&String::from_utf8_lossy(&said)) {
            return Err(trouble);
        }
        let helper = Command::new(SESSION, [runtime])?;
        match self {
            Self::Ssh(ssh) => ssh.pipe(&helper, deadline).await,
            Self::Local => way::start(Path::new("/bin/sh"), &format!("exec {}", helper.text())),
        }
    }

    /// Opens the socket of the host's libvirt.
    async fn socket(&self, deadline: Duration) -> Result<Way, Trouble> {
        match self {
            Self::Local => match UnixStream::connect(SOCKET).await {
                Ok(stream) => return Ok(Way::of(stream)),
                Err(error) => tracing::debug!(%error, "no libvirt at {SOCKET}"),
            },
            Self::Ssh(ssh) => match within(deadline, ssh.socket(SOCKET)).await? {
                Ok(stream) => return Ok(Way::of(stream)),
                Err(refused) => tracing::debug!(?refused, "no libvirt at {SOCKET}"),
            },
        }
        self.way_round(deadline).await
    }

    /// Finds out why no socket answered, and takes the way round where it may be sshd's fault.
    async fn way_round(&self, deadline: Duration) -> Result<Way, Trouble> {
        let look = Command::new(LOOK_AT_SOCKETS, [SOCKET, QEMU_ALONE])?;
        let output = self.run(&look, Stdin::Nothing, deadline).await?.good()?;
        let text = String::from_utf8_lossy(&output);
        let mut lines = text.lines();
        let (found, user) = (lines.next().unwrap_or_default(), lines.next().unwrap_or("the user"));
        if let Some(trouble) = no_libvirt(found, user) {
            return Err(trouble);
        }
        match self {
            Self::Ssh(_) if lines.next().is_none() => {
                let why = "sshd forwards no sockets, and no virt-ssh-helper or nc is there";
                Err(Trouble::unreachable(why).hint(
                    "set AllowStreamLocalForwarding yes in its sshd_config, or install \
                     netcat-openbsd there (virt-ssh-helper comes with libvirt 6.8 and later)",
                ))
            }
            // sshd (9.2) says "connect failed" for AllowStreamLocalForwarding no, too.
            Self::Ssh(ssh) => {
                tracing::info!("sshd forwards no sockets; taking virt-ssh-helper or nc");
                ssh.pipe(&Command::new(HELPER, [SOCKET])?, deadline).await
            }
            Self::Local => Err(Trouble::unreachable("libvirt's socket does not answer").hint(
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

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt, net::UnixListener};

    use super::*;

    #[tokio::test]
    async fn a_host_of_modular_daemons_without_their_proxy_is_told_what_to_start() {
        let folder = tempfile::tempdir().unwrap();
        let [one, qemu] = ["libvirt-sock", "virtqemud-sock"].map(|name| folder.path().join(name));
        let found = async || {
            let look = [one.to_str().unwrap(), qemu.to_str().unwrap()];
            let look = Command::new(LOOK_AT_SOCKETS, look).unwrap();
            let limit = Duration::from_secs(10);
            let said = Transport::Local.run(&look, Stdin::Nothing, limit).await.unwrap();
            let said = String::from_utf8(said.good().unwrap()).unwrap();
            no_libvirt(said.lines().next().unwrap(), "admin").and_then(|trouble| trouble.hint)
        };
        assert!(found().await.unwrap().contains("install libvirt"));
        let _qemu = UnixListener::bind(&qemu).unwrap();
        assert_eq!(found().await.unwrap(), "systemctl enable --now virtproxyd.socket");
        let _one = UnixListener::bind(&one).unwrap();
        assert_eq!(found().await, None);
    }

    #[test]
    fn a_session_that_would_be_forgotten_or_cannot_be_reached_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let id = rustix::process::getuid().as_raw().to_string();
        let busctl = |text: &str| {
            std::fs::write(at("busctl"), format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(at("busctl"), PermissionsExt::from_mode(0o755)).unwrap();
        };
        let said = |root: &str| {
            let words = Command::new(LOOK_AT_SESSION, [&*at("run"), &at("linger"), root]).unwrap();
            let words = words.words();
            let mut command = std::process::Command::new(&words[0]);
            let path = format!("{}:/usr/bin:/bin", folder.path().display());
            command.args(&words[1..]).env("PATH", path).env("XDG_RUNTIME_DIR", "/else/where");
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let hint = |said: &str| no_session(said).and_then(|trouble| trouble.hint);
        busctl("echo b false");
        let kept = said("");
        let user = kept.lines().nth(1).unwrap().to_owned();
        assert!(kept.starts_with("kept\n"), "without systemd: {kept}");
        assert!(hint(&said(&id)).unwrap().contains("as another user"));
        std::fs::create_dir_all(at(&format!("run/{id}"))).unwrap();
        std::fs::create_dir(at("linger")).unwrap();
        let linger = format!("on the host: loginctl enable-linger {user}");
        assert_eq!(hint(&said("")), Some(linger));
        std::fs::write(at(&format!("linger/{user}")), "").unwrap();
        assert!(said("").starts_with("kept\n"));
        busctl("case $5 in KillUserProcesses) echo b true;; *) echo as 1 '\"root-2\"';; esac");
        assert!(hint(&said("")).unwrap().contains(&format!("KillExcludeUsers=root {user}")));
        busctl(&format!("case $5 in Kill*s) echo b true;; esac; echo as 1 '\"{user}\"'"));
        assert!(said("").starts_with("kept\n"), "{}", said(""));
        assert_eq!(hint("kept\na\none\nway\n"), None);
        assert!(hint("kept\na\none\n").unwrap().contains("install libvirt 6.8"));
        assert!(hint("kept\na\nmodular\nway\n").unwrap().contains("install libvirtd"));
        assert!(hint("kept\na\nnone\n").unwrap().contains("libvirt-daemon"));
    }
}
