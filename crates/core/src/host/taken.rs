//! Whether a directory may become our pool: libvirt gives it another owner and mode, as root.

use std::time::Duration;

use super::{
    card::refuse_other_daemon, command::Command, listing::card_of, ssh::Stdin,
    transport::Transport, trouble::Trouble,
};
use crate::model::{DaemonMode, HostCard};

/// `$1` directory, `$2` the card's name; prints the card. A file system of its own has its `lost+found`.
///
/// What is not found may be there all the same: behind a directory that the SSH user may not search,
/// or a link. So the nearest one that is there has to show what is in it.
const TAKEN: &str = r#"
    d=$1;
    while [ ! -e "$d" ] && [ ! -L "$d" ]; do
      case "$d" in */*) d=${d%/*}; d=${d:-/};; *) d=.;; esac;
    done;
    if [ ! -d "$d" ]; then echo "$d is no directory" >&2; exit 46; fi;
    if [ ! -x "$d" ]; then echo "$d does not show what is in it" >&2; exit 46; fi;
    if [ "$d" != "$1" ]; then exit 0; fi;
    ls -A -- "$1" >/dev/null || exit 46;
    if [ -e "$1/$2" ]; then exec cat -- "$1/$2"; fi;
    for f in "$1"/* "$1"/.[!.]* "$1"/..?*; do
      if [ ! -e "$f" ] && [ ! -L "$f" ] || [ "$f" = "$1/lost+found" ]; then continue; fi;
      echo "$f is there, and not ours" >&2; exit 46;
    done
"#;
const TAKEN_CODE: u32 = 46;

/// Refuses a directory that holds others' files, or may, or is the pool of another daemon.
pub(super) async fn refuse(
    on: &Transport,
    pool: &str,
    mode: DaemonMode,
    deadline: Duration,
) -> Result<(), Trouble> {
    let command = Command::new(TAKEN, [pool, HostCard::FILE])?;
    let output = on.run(&command, Stdin::Nothing, deadline).await?;
    if output.code != TAKEN_CODE {
        let card = output.good()?;
        return match card.is_empty() {
            true => Ok(()),
            false => refuse_other_daemon(&card_of(&card)?, mode, pool),
        };
    }
    let hint = "set `pool` in the host's block to an empty directory of its own, or to one that is \
                not there yet, where the SSH user may look";
    Err(Trouble::conflict(output.complaint()).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_or_our_own_becomes_a_pool() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let code = |name: &str| {
            let words = Command::new(TAKEN, [at(name).as_str(), HostCard::FILE]).unwrap().words();
            let output = std::process::Command::new(&words[0]).args(&words[1..]).output().unwrap();
            output.status.code().unwrap()
        };
        for made in ["empty", "mounted/lost+found", "full/.a b", "ours/a"] {
            std::fs::create_dir_all(at(made)).unwrap();
        }
        std::fs::write(at(&format!("ours/{}", HostCard::FILE)), "{}").unwrap();
        std::fs::write(at("file"), "").unwrap();
        let codes = ["absent", "empty", "mounted", "ours", "full", "file"].map(code);
        assert_eq!(codes, [0, 0, 0, 0, 46, 46]);
    }

    /// Says whether somebody without rights of his own lets a directory become a pool.
    fn refuses_for_a_user(path: &str) -> bool {
        let mut words = Command::new(TAKEN, [path, HostCard::FILE]).unwrap().words();
        if rustix::process::geteuid().is_root() {
            let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
            words.splice(0..0, nobody.map(str::to_owned));
        }
        let output = std::process::Command::new(&words[0]).args(&words[1..]).output().unwrap();
        let code = output.status.code().unwrap();
        assert!(code == 0 || code == 46, "{path}: {output:?}");
        code == 46
    }

    #[test]
    fn what_cannot_be_seen_may_be_somebodys() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let mode = |name: &str, mode| {
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        std::fs::create_dir_all(at("shut/x")).unwrap();
        std::fs::create_dir_all(at("listed")).unwrap();
        std::fs::create_dir_all(at("open/empty")).unwrap();
        std::fs::write(at("shut/x/disk"), "").unwrap();
        std::fs::write(at("listed/disk"), "").unwrap();
        symlink(at("shut/x"), at("open/link")).unwrap();
        mode("", 0o755);
        mode("listed", 0o444);
        mode("shut", 0);
        let names = ["open/new", "open/new/deep", "open/empty"];
        let refused = |name: &&str| refuses_for_a_user(&at(name));
        assert_eq!(names.iter().find(|name| refused(name)), None);
        let names = [
            "shut",
            "shut/x",
            "shut/x/deep/er",
            "listed",
            "listed/new",
            "open/link",
            "open/link/new",
            "shut/../shut/x",
        ];
        assert_eq!(names.iter().find(|name| !refused(name)), None);
        mode("shut", 0o755);
        mode("listed", 0o755);
    }
}
