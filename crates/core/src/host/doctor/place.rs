//! Where disks and networks of guests are to be.

use super::{Check, Patient, Step, Wanted, reach::advised, session::Facts};
use crate::{
    host::{command::Command, libvirt::Capabilities, listing, trouble::Trouble},
    model::Size,
};

/// `$1` pool. What is there of its path, from below.
const PLACE: &str = r#"
    d=$1;
    while [ ! -e "$d" ] && [ ! -L "$d" ]; do d=${d%/*}; d=${d:-/}; done;
    stat -f -c 'fs %a %S %T' -- "$d" || exit 1;
    if [ -w "$d" ] && [ -x "$d" ]; then echo writable; fi;
    while :; do
      stat -c 'dir %a %u %g %n' -- "$d" || exit 1;
      if [ "$d" = / ]; then exit 0; fi;
      d=${d%/*}; d=${d:-/};
    done
"#;

/// Images and disks come on top of that.
const LITTLE: u64 = 2 << 30;

/// What is there of a pool's path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Path {
    free: Size,
    kind: String,
    writable: bool,
    /// From the deepest that is there up to `/`.
    directories: Vec<Directory>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Directory {
    mode: u32,
    user: u32,
    group: u32,
    path: String,
}

impl Path {
    fn of(text: &str) -> Option<Self> {
        let mut path = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            match words.next()? {
                "fs" => {
                    let (free, block): (u64, u64) =
                        (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                    path.free = Size::from_bytes(free.saturating_mul(block));
                    words.next()?.clone_into(&mut path.kind);
                }
                "writable" => path.writable = true,
                "dir" => path.directories.push(Directory {
                    mode: u32::from_str_radix(words.next()?, 8).ok()?,
                    user: words.next()?.parse().ok()?,
                    group: words.next()?.parse().ok()?,
                    path: words.collect::<Vec<_>>().join(" "),
                }),
                _ => return None,
            }
        }
        (!path.directories.is_empty()).then_some(path)
    }

    fn deepest(&self) -> &str {
        self.directories.first().map_or("/", |directory| &directory.path)
    }

    /// Returns the directories on the way that QEMU's user cannot pass.
    fn shut_to(&self, (user, group): (u32, u32)) -> Vec<&str> {
        let shut = |directory: &&Directory| {
            let bit = if directory.user == user {
                0o100
            } else if directory.group == group {
                0o010
            } else {
                0o001
            };
            user != 0 && directory.mode & bit == 0
        };
        self.directories.iter().filter(shut).map(|directory| &*directory.path).collect()
    }
}

impl Patient {
    /// Looks at the pool and at the way to it.
    pub(super) async fn place(&self, facts: &Facts, found: Option<&Capabilities>) -> Option<Check> {
        let defined = match found {
            Some(_) => self.libvirt.pool().await,
            None => Ok(None),
        };
        let path = self.path().await;
        Some(match (defined, path) {
            (Err(trouble), _) | (_, Err(trouble)) => {
                advised(Check::bad(Step::Pool, trouble.source.to_string()), &trouble)
            }
            (Ok(Some(pool)), _) if pool.path != self.pool => {
                let said =
                    format!("libvirt's pool freehold is in {}, not in {}", pool.path, self.pool);
                Check::bad(Step::Pool, said).fix("set `pool` in the host's block")
            }
            (Ok(Some(pool)), _) if !pool.active => {
                let said = format!("the pool in {} is not active", self.pool);
                Check::bad(Step::Pool, said).fix("virsh -c qemu:///system pool-start freehold")
            }
            (Ok(pool), Ok(path)) => self.judged(facts, found, &path, pool.is_some()),
        })
    }

    async fn path(&self) -> Result<Path, Trouble> {
        let text = self.run(&Command::new(PLACE, [self.pool.as_str()])?).await?;
        Path::of(&text).ok_or_else(|| Trouble::failed(format!("`stat` said {text:?}")))
    }

    fn judged(
        &self,
        facts: &Facts,
        found: Option<&Capabilities>,
        path: &Path,
        is_made: bool,
    ) -> Check {
        let (free, kind, deepest) = (path.free.rounded(), &path.kind, path.deepest());
        let shut =
            found.and_then(|found| found.qemu).map_or_else(Vec::new, |qemu| path.shut_to(qemu));
        if !shut.is_empty() {
            let said = format!("QEMU's user does not get through {}", shut.join(", "));
            return Check::bad(Step::Pool, said).fix(format!("chmod o+x {}", shut.join(" ")));
        }
        if is_made && !path.writable {
            let said = format!("{} may not write to {deepest}", facts.user);
            let fix = format!("chown {} {deepest}", facts.user);
            return Check::bad(Step::Pool, said).fix(fix);
        }
        let made = if is_made { "" } else { "; not made yet: `freehold host add` or apply does" };
        let selinux = facts.selinux.as_ref().map(|mode| format!(", SELinux {mode}"));
        let said =
            format!("{}, {kind}, {free} free{}{made}", self.pool, selinux.unwrap_or_default());
        let room = "make room there, or set `pool` in the host's block to where there is some";
        match (path.free.bytes(), kind.as_str()) {
            (0..LITTLE, _) => Check::bad(Step::Pool, said).fix(room),
            (_, "tmpfs" | "ramfs") => {
                Check::note(Step::Pool, said + "; it is memory, and gone after a reboot").fix(room)
            }
            (_, "nfs" | "cifs" | "smb2") => Check::note(Step::Pool, said + "; a network's")
                .fix("see that QEMU's user may write there (NFS: no root_squash, or its own uid)"),
            _ => Check::good(Step::Pool, said),
        }
    }

    /// Looks for the bridges that VMs of this host are to be attached to.
    pub(super) async fn bridges(&self, wanted: &Wanted) -> Option<Check> {
        if wanted.bridges.is_empty() {
            return None;
        }
        let names: Vec<String> = wanted.bridges.iter().cloned().collect();
        let asked = match listing::bridges_command(&names) {
            Ok(command) => self.run(&command).await,
            Err(trouble) => Err(trouble),
        };
        let there = match asked {
            Ok(text) => listing::bridges_of(text.as_bytes()),
            Err(trouble) => return Some(Check::bad(Step::Bridges, trouble.source.to_string())),
        };
        let missing: Vec<&String> = names.iter().filter(|name| !there.contains(name)).collect();
        if missing.is_empty() {
            return Some(Check::good(Step::Bridges, names.join(", ")));
        }
        let mut check = Check::bad(Step::Bridges, "");
        let mut said = Vec::new();
        for name in missing {
            said.push(format!("{name} is not there"));
            check = check
                .fix(format!("ip link add {name} type bridge && ip link set {name} up"))
                .fix(format!("ip link set NIC master {name}"));
        }
        check.said = said.join(", ");
        Some(
            check.fix("and in netplan, /etc/network/interfaces or NetworkManager, to make it last"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "fs 1000 4096 ext2/ext3\nwritable\ndir 711 1000 1000 /srv/a b\n\
                        dir 750 0 64055 /srv\ndir 755 0 0 /\n";

    #[test]
    fn reads_what_is_there_of_a_path() {
        let path = Path::of(SAID).unwrap();
        assert_eq!((path.free.bytes(), path.writable), (4_096_000, true));
        assert_eq!(path.deepest(), "/srv/a b");
        assert_eq!(Path::of("fs 1 1 ext4\n"), None);
        assert_eq!(Path::of("stat: cannot statx\n"), None);
    }

    #[test]
    fn knows_who_gets_through() {
        let path = Path::of(SAID).unwrap();
        assert_eq!(path.shut_to((0, 0)), [""; 0]);
        assert_eq!(path.shut_to((5, 64055)), [""; 0]);
        assert_eq!(path.shut_to((64055, 5)), ["/srv"]);
    }
}
