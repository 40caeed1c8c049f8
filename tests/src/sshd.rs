//! An sshd of one test alone: on this machine's loopback, where no libvirt answers, or on a rack beside its
//! own. What an administrator may have done to an sshd is a line of its configuration.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    bed::eventually,
    lab::{Lab, Rack, command::Run},
};

/// It ends with the value.
#[derive(Debug)]
pub struct Sshd {
    folder: TempDir,
    child: Child,
    address: String,
    port: u16,
    user: &'static str,
}

impl Sshd {
    /// Starts one on 127.0.0.1; the lab's key opens root's account.
    pub fn here(lab: &Lab, more: &str) -> Result<Self> {
        Self::prepared(lab, |_| Ok(more.to_owned()))
    }

    /// The same, with the configuration that is made of its folder, in which its host key and the keys that open
    /// the account are by then.
    pub fn prepared(lab: &Lab, more: impl FnOnce(&Path) -> Result<String>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let seen = folder.path().to_owned();
        Self::start(lab, folder, &seen, Command::new("env"), ("127.0.0.1", "root"), more)
    }

    /// Starts one on a rack, with the rack's own daemons around it; the lab's key opens every account.
    pub fn on(lab: &Lab, rack: &Rack, more: &str) -> Result<Self> {
        Self::among(lab, rack, more, "true")
    }

    /// The same, and what it and its sessions see of the rack's files is as these shell commands leave
    /// it: they run in a mount namespace of its own.
    pub fn among(lab: &Lab, rack: &Rack, more: &str, mounts: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("sshd-").tempdir_in(rack.dir())?;
        let name = folder.path().file_name().context("a folder has a name")?;
        let seen = Path::new("/run/rack").join(name);
        let mut enter = Command::new("nsenter");
        // Its sessions are inside; itself it stays where we may kill it.
        let inside = rack.inside()?.as_raw_nonzero().to_string();
        enter.args(["-t", &inside, "-m", "-u", "-n", "-i", "-p", "-F", "--", "unshare", "-m"]);
        enter.args(["sh", "-ec", &format!("{mounts}\nexec env \"$@\""), "sh"]);
        let account = (rack.spec.address, rack.spec.user);
        Self::start(lab, folder, &seen, enter, account, |_| Ok(more.to_owned()))
    }

    /// Starts one on a rack whose sessions see a pool of their own, so large and empty.
    pub fn with_pool_of(lab: &Lab, rack: &Rack, size: &str) -> Result<Self> {
        let own = format!("mount -t tmpfs -o mode=711,size={size} none /var/lib/libvirt/freehold");
        Self::among(lab, rack, "", &own)
    }

    fn start(
        lab: &Lab,
        folder: TempDir,
        seen: &Path,
        mut command: Command,
        (address, user): (&str, &'static str),
        more: impl FnOnce(&Path) -> Result<String>,
    ) -> Result<Self> {
        open_to_all(folder.path())?;
        let at = |name: &str| folder.path().join(name);
        let make = Run::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]);
        make.arg(at("host")).ok()?;
        fs::copy(lab.user_key().with_extension("pub"), at("authorized"))?;
        // Free on this machine, so most likely on a rack, too.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (host, keys) = (seen.join("host"), seen.join("authorized"));
        let more = more(folder.path())?;
        // sshd keeps the first value it meets.
        let config = format!(
            "{more}\nListenAddress {address}:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nMaxStartups 100\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n{}",
            host.display(),
            keys.display(),
            // It may stand there once.
            if more.contains("Subsystem") { "" } else { "Subsystem sftp internal-sftp\n" }
        );
        fs::write(at("config"), config)?;
        fs::create_dir_all("/run/sshd")?;
        let log = fs::File::create(at("log"))?;
        command.args(["-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/usr/sbin/sshd"]);
        command.args(["-D", "-e", "-f"]).arg(seen.join("config")).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().context("starting sshd")?;
        let sshd = Self { folder, child, address: address.to_owned(), port, user };
        let place = (address, port);
        let up = eventually("sshd answers", Duration::from_secs(5), || {
            Ok(TcpStream::connect(place).is_ok())
        });
        up.with_context(|| sshd.log())?;
        Ok(sshd)
    }

    /// Returns the port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its process, whose mounts its sessions see.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns its folder: `host` and `host.pub`, `authorized`, `config`, `log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns what it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Returns its public host key, `ssh-ed25519 AAAA…`.
    pub fn key(&self) -> Result<String> {
        let key = fs::read_to_string(self.folder.path().join("host.pub"))?;
        let words: Vec<_> = key.split_whitespace().take(2).collect();
        ensure!(words.len() == 2, "no public key: {key:?}");
        Ok(words.join(" "))
    }

    /// Returns a file of known hosts that knows it.
    pub fn known_hosts(&self) -> Result<PathBuf> {
        let known = self.folder.path().join("known");
        fs::write(&known, format!("[{}]:{} {}\n", self.address, self.port, self.key()?))?;
        Ok(known)
    }

    /// Returns `ssh_config` lines that lead the host of this name here.
    pub fn config(&self, name: &str) -> Result<String> {
        let (address, port, user) = (&self.address, self.port, self.user);
        let known = self.known_hosts()?;
        Ok(format!(
            "Host {name}\n  HostName {address}\n  Port {port}\n  User {user}\n  UserKnownHostsFile {}\n",
            known.display()
        ))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// sshd reads the keys as the user who logs in.
fn open_to_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?)
}
