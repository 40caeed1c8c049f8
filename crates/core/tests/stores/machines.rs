//! Real servers of one test alone: they end with the value.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Waits until something is so.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Says whether real servers are to be started; then they must be there.
fn is_wanted(program: &Path) -> bool {
    if std::env::var_os("FREEHOLD_STORES").is_none() {
        eprintln!("not tested: `cargo xtask test --only stores` starts real servers");
        return false;
    }
    assert!(program.exists(), "{} is needed", program.display());
    true
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// An sshd on the loopback, for the user who runs the test.
pub(crate) struct Sshd {
    folder: TempDir,
    port: u16,
    child: Mutex<Option<Child>>,
}

impl Sshd {
    /// Starts one, where that is wanted.
    pub(crate) fn start() -> Option<Self> {
        if !is_wanted(Path::new("/usr/sbin/sshd")) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let mut make = Command::new("ssh-keygen");
            run(make.args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]));
        }
        let port = free_port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n",
            at("host"),
            at("user.pub")
        );
        fs::write(at("sshd_config"), config).unwrap();
        let key = fs::read_to_string(at("host.pub")).unwrap();
        fs::write(at("known"), format!("[127.0.0.1]:{port} {key}")).unwrap();
        let user = run(Command::new("id").arg("-un"));
        let ways = format!(
            "Host rack1\n  HostName 127.0.0.1\n  Port {port}\n  User {}\n  IdentityFile {}\n  \
             UserKnownHostsFile {}\n",
            user.trim(),
            at("user"),
            at("known")
        );
        fs::write(at("config"), ways).unwrap();
        let sshd = Self { folder, port, child: Mutex::default() };
        sshd.come_back();
        Some(sshd)
    }

    /// Returns an `ssh_config` that leads `rack1` here.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Returns a directory of the host.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Goes away with all its sessions.
    pub(crate) fn go_away(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let sessions = children_of(child.id());
            child.kill().unwrap();
            child.wait().unwrap();
            for session in
                sessions.into_iter().flat_map(|one| [vec![one], children_of(one)].concat())
            {
                if is_sshd(session) {
                    kill_process(Pid::from_raw(session.cast_signed()).unwrap(), Signal::KILL).ok();
                }
            }
        }
    }

    pub(crate) fn come_back(&self) {
        drop(fs::create_dir_all("/run/sshd"));
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(self.folder.path().join("sshd_config"));
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        *self.child.lock().unwrap() = Some(command.spawn().unwrap());
        eventually("sshd answers", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }
}

/// Sessions are in groups of their own.
fn children_of(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn is_sshd(process: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{process}/comm"));
    name.is_ok_and(|name| name.starts_with("sshd"))
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// A `PostgreSQL` server on the loopback, as Debian packages it.
pub(crate) struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

/// The password of the server's owner.
pub(crate) const PASSWORD: &str = "poison-of-the-database";

impl Postgres {
    /// Makes and starts one, where that is wanted.
    pub(crate) fn start() -> Option<Self> {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let programs = versions.map(|version| version.path().join("bin")).max();
        let programs = programs.unwrap_or_default();
        if !is_wanted(&programs.join("initdb")) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let server = Self { folder, programs, port: free_port() };
        let password = server.path("password");
        fs::write(&password, PASSWORD).unwrap();
        // It refuses to run as root.
        if rustix::process::getuid().is_root() {
            run(Command::new("chown").args(["-R", "postgres"]).arg(server.folder.path()));
        }
        let mut make = server.program("initdb");
        make.args(["-U", "owner", "--auth", "scram-sha-256", "--no-sync", "--pwfile"]);
        run(make.arg(&password).arg("-D").arg(server.path("data")));
        server.come_back();
        Some(server)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if rustix::process::getuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        command
    }

    fn control(&self, words: &[&str]) {
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(self.path("data")).arg("-l").arg(self.path("log")).args(words);
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    }

    pub(crate) fn come_back(&self) {
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off",
            self.port,
            self.folder.path().display()
        );
        self.control(&["-w", "-o", &options, "start"]);
    }

    /// Goes away as in a power cut.
    pub(crate) fn go_away(&self) {
        self.control(&["-w", "-m", "immediate", "stop"]);
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URL of a database, for its owner.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://owner:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns a directory of the server's that is a disk of its own, so large; `None` where that
    /// cannot be made.
    pub(crate) fn small_disk(&self, size: &str) -> Option<PathBuf> {
        let path = self.path("small");
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "freehold-test"]).arg(&path);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            eprintln!("not tested: mounting a small disk needs root");
            return None;
        }
        run(Command::new("chown").arg("postgres").arg(&path));
        Some(path)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(self.path("data")).args(["-m", "immediate", "stop"]);
        drop(command.stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}
