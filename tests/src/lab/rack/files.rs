//! What lies on a rack's disk before it starts.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result};

use super::{Manner, Rack};
use crate::lab::command::Run;

/// `FROM TO`: what of the rack's folder covers which path of the machine.
const MOUNTS: &str = "\
etc/libvirt /etc/libvirt
etc/prometheus /etc/prometheus
targets /etc/prometheus/targets
etc/passwd /etc/passwd
etc/group /etc/group
etc/hosts /etc/hosts
etc/machine-id /etc/machine-id
lib /var/lib/libvirt
cache /var/cache/libvirt
log/libvirt /var/log/libvirt
tmp /tmp
var-tmp /var/tmp
root /root
home /home
";

/// The packaged files of `/etc/libvirt` a host starts from; never the machine's own domains.
const LIBVIRT_FILES: [&str; 4] =
    ["libvirt.conf", "libvirtd.conf", "virtlogd.conf", "qemu-lockd.conf"];

const EASY_LIBVIRTD: &str = "auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\nunix_sock_group = \"root\"\nmax_clients = 5000\n";
/// Debian leaves these to systemd's socket units, which the lab does not have.
const STOCK_LIBVIRTD: &str = "\
auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\nunix_sock_group = \"libvirt\"
unix_sock_ro_perms = \"0777\"\nunix_sock_rw_perms = \"0770\"\n";
const EASY_QEMU: &str = "\
security_driver = \"none\"\nuser = \"root\"\ngroup = \"root\"\nremember_owner = 0\ncgroup_controllers = []\n";

const ADMIN: u32 = 4242;

/// Accounts of a stock host besides its user's: one without rights, and the user's by another shell.
const OTHERS: &str =
    "visitor:*:4243:4243::/tmp:/bin/bash\nfisher:*:4242:4242::/tmp:/usr/bin/fish\n";

/// Writes everything the rack needs below its folder.
pub(super) fn lay_out(rack: &Rack) -> Result<()> {
    let dir = rack.dir();
    for folder in [
        "etc/libvirt/qemu/networks",
        "etc/prometheus/targets",
        "targets",
        "lib",
        "cache",
        "log/libvirt",
        "ssh",
    ] {
        make(&dir.join(folder), 0o755)?;
    }
    make(&dir.join("root"), 0o700)?;
    make(&dir.join("home"), 0o755)?;
    make(&dir.join("tmp"), 0o1777)?;
    make(&dir.join("var-tmp"), 0o1777)?;
    for (machine, ours) in [
        ("/var/lib/libvirt", "lib"),
        ("/var/cache/libvirt", "cache"),
        ("/var/log/libvirt", "log/libvirt"),
    ] {
        mirror_folders(Path::new(machine), &dir.join(ours))?;
    }
    write(&dir.join("mounts"), MOUNTS)?;
    write(&dir.join("inside.sh"), include_str!("inside.sh"))?;
    users(rack)?;
    libvirt(rack)?;
    sshd(rack)
}

fn users(rack: &Rack) -> Result<()> {
    let etc = rack.dir().join("etc");
    let name = rack.spec.name;
    write(&etc.join("hosts"), &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"))?;
    write(&etc.join("machine-id"), &format!("{}\n", random_uuid()?.replace('-', "")))?;
    let mut passwd = read(Path::new("/etc/passwd"))?;
    let mut group = read(Path::new("/etc/group"))?;
    if rack.spec.manner == Manner::Stock {
        let user = rack.spec.user;
        passwd = format!("{user}:*:{ADMIN}:{ADMIN}::/home/{user}:/bin/bash\n{passwd}");
        group = format!("{}{user}:x:{ADMIN}:\n", joined(&group, "libvirt", user));
        let home = rack.dir().join("home").join(user);
        make(&home, 0o700)?;
        chown(&home, Some(ADMIN), Some(ADMIN))?;
        chown(rack.targets(), Some(ADMIN), Some(ADMIN))?;
        passwd += OTHERS;
        group = joined(&group, "libvirt", "fisher");
    }
    write(&etc.join("passwd"), &passwd)?;
    write(&etc.join("group"), &group)
}

/// Returns the group file with `user` added to `group`.
fn joined(file: &str, group: &str, user: &str) -> String {
    let with = |line: &str| {
        let members = line.strip_prefix(group).filter(|rest| rest.starts_with(':'));
        let gap = if line.ends_with(':') { "" } else { "," };
        if members.is_some() { format!("{line}{gap}{user}\n") } else { format!("{line}\n") }
    };
    file.lines().map(with).collect()
}

fn libvirt(rack: &Rack) -> Result<()> {
    let etc = rack.dir().join("etc/libvirt");
    let packaged = Path::new("/etc/libvirt");
    for name in LIBVIRT_FILES {
        if packaged.join(name).exists() {
            fs::copy(packaged.join(name), etc.join(name))
                .with_context(|| format!("copying {name}"))?;
        }
    }
    let (daemon, qemu) = match rack.spec.manner {
        Manner::Easy => (format!("{EASY_LIBVIRTD}host_uuid = \"{}\"\n", random_uuid()?), EASY_QEMU),
        Manner::Stock => (STOCK_LIBVIRTD.to_owned(), ""),
    };
    write(&etc.join("libvirtd.conf"), &daemon)?;
    write(&etc.join("qemu.conf"), qemu)
}

fn sshd(rack: &Rack) -> Result<()> {
    let ssh = rack.dir().join("ssh");
    let own = match rack.spec.manner {
        Manner::Easy => "PermitRootLogin prohibit-password\nMaxSessions 100\nMaxStartups 100\n",
        Manner::Stock => "PermitRootLogin no\n",
    };
    let config = format!(
        "ListenAddress {}\nHostKey /run/rack/ssh/host_key\nPidFile /run/sshd.pid\nAuthorizedKeysFile /run/rack/ssh/authorized_keys\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nAcceptEnv LANG LC_*\n\
         Subsystem sftp /usr/lib/openssh/sftp-server\n{own}",
        rack.spec.address
    );
    write(&ssh.join("sshd_config"), &config)?;
    Run::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", rack.spec.name, "-f"])
        .arg(ssh.join("host_key"))
        .ok()?;
    let key = read(&rack.lab.join("ssh/id_ed25519.pub"))?;
    write(&ssh.join("authorized_keys"), &key)
}

/// Makes the folders the packages made, with their owners and modes and without their content: QEMU's
/// own user must reach just what it reaches on a real host.
fn mirror_folders(from: &Path, to: &Path) -> Result<()> {
    let Ok(listing) = fs::read_dir(from) else { return Ok(()) };
    imitate(from, to)?;
    for entry in listing {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            imitate(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn imitate(from: &Path, to: &Path) -> Result<()> {
    let like = fs::metadata(from).with_context(|| format!("reading {}", from.display()))?;
    make(to, like.mode())?;
    chown(to, Some(like.uid()), Some(like.gid()))
        .with_context(|| format!("owning {}", to.display()))
}

fn make(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("permitting {}", path.display()))
}

fn random_uuid() -> Result<String> {
    Ok(read(Path::new("/proc/sys/kernel/random/uuid"))?.trim().to_owned())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn adds_a_user_to_an_empty_and_to_a_full_group() {
        let file = "libvirt:x:1:\nlibvirt-qemu:x:2:a\n";
        assert_eq!(joined(file, "libvirt", "admin"), "libvirt:x:1:admin\nlibvirt-qemu:x:2:a\n");
        assert_eq!(joined("libvirt:x:1:a\n", "libvirt", "b"), "libvirt:x:1:a,b\n");
    }
}
