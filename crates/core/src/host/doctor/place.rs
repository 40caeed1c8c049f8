//! Where disks and networks of guests are to be.

use std::collections::BTreeSet;

use super::{Check, Patient, Step, Verdict, session::Facts};
use crate::{
    host::{
        card::refuse_other_daemon,
        command::{Command, quote},
        libvirt::Capabilities,
        listing,
        observe::no_find,
        ssh::Stdin,
        taken,
        trouble::Trouble,
    },
    model::{DaemonMode, Size},
};

/// `$1` pool, `$2` QEMU's user or nothing. What is there of the pool's path, from below, links followed.
const PLACE: &str = r#"
    if [ -d "$1" ]; then echo there; fi;
    d=$1;
    while [ ! -e "$d" ] && [ ! -L "$d" ]; do d=${d%/*}; d=${d:-/}; done;
    if ! cd -P -- "$d" 2>/dev/null; then echo "shut $d"; exit 0; fi;
    d=$(pwd -P);
    stat -f -c 'fs %a %S %T' -- "$d" || exit 1;
    stat -c 'owner %U' -- "$d" || exit 1;
    if c=$(stat -c %C -- "$d" 2>/dev/null); then echo "context $c"; fi;
    if [ -n "$2" ]; then echo "groups $(id -G -- "$2" 2>/dev/null)"; fi;
    if [ -w "$d" ] && [ -x "$d" ]; then echo writable; fi;
    while :; do
      case $(ls -ld -- "$d") in ??????????+*) echo "acl $d";; esac;
      stat -c 'dir %a %u %g %n' -- "$d" || exit 1;
      if [ "$d" = / ]; then exit 0; fi;
      d=${d%/*}; d=${d:-/};
    done
"#;

/// Images and disks come on top of that.
const LITTLE: u64 = 2 << 30;

/// What is there of a pool's path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Place {
    is_there: bool,
    /// A directory that the SSH user cannot enter.
    shut: Option<String>,
    free: Size,
    kind: String,
    owner: String,
    context: String,
    writable: bool,
    /// The groups of QEMU's user.
    groups: BTreeSet<u32>,
    /// Directories with an access control list, which says more than their mode.
    acl: BTreeSet<String>,
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

impl Place {
    fn of(text: &str) -> Option<Self> {
        let mut place = Self::default();
        for line in text.lines() {
            let (word, value) = line.split_once(' ').unwrap_or((line, ""));
            let mut words = value.split(' ');
            match word {
                "there" => place.is_there = true,
                "shut" => place.shut = Some(value.to_owned()),
                "owner" => value.clone_into(&mut place.owner),
                "context" => value.clone_into(&mut place.context),
                "groups" => place.groups = words.filter_map(|id| id.parse().ok()).collect(),
                "writable" => place.writable = true,
                "acl" => drop(place.acl.insert(value.to_owned())),
                "fs" => {
                    let (free, block): (u64, u64) =
                        (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                    place.free = Size::from_bytes(free.saturating_mul(block));
                    words.next()?.clone_into(&mut place.kind);
                }
                "dir" => place.directories.push(Directory {
                    mode: u32::from_str_radix(words.next()?, 8).ok()?,
                    user: words.next()?.parse().ok()?,
                    group: words.next()?.parse().ok()?,
                    path: words.collect::<Vec<_>>().join(" "),
                }),
                _ => return None,
            }
        }
        (place.shut.is_some() || !place.directories.is_empty()).then_some(place)
    }

    /// Returns the directories on the way that QEMU's user cannot pass, as far as modes tell.
    fn shut_to(&self, (user, group): (u32, u32)) -> Vec<&str> {
        let shut = |directory: &&Directory| {
            let bit = if directory.user == user {
                0o100
            } else if directory.group == group || self.groups.contains(&directory.group) {
                0o010
            } else {
                0o001
            };
            user != 0 && directory.mode & bit == 0 && !self.acl.contains(&directory.path)
        };
        self.directories.iter().filter(shut).map(|directory| &*directory.path).collect()
    }
}

impl Patient {
    /// Looks at the pool and at the way to it.
    pub(super) async fn place(&self, facts: &Facts, found: Option<&Capabilities>) -> Check {
        let looked = async {
            let pool = if found.is_some() { self.libvirt.pool().await? } else { None };
            let place = self.path(found.and_then(|found| found.qemu)).await?;
            Ok::<_, Trouble>((pool, place))
        };
        let (pool, place) = match looked.await {
            Ok(looked) => looked,
            Err(trouble) => return Check::of(Step::Pool, &trouble, "run it again"),
        };
        match pool {
            Some(pool) if pool.path != self.pool => {
                let said =
                    format!("libvirt's pool freehold is in {}, not in {}", pool.path, self.pool);
                Check::bad(Step::Pool, said).fix("set `pool` in the host's block")
            }
            Some(pool) if !pool.active => {
                let said = format!("the pool in {} is not active", self.pool);
                Check::bad(Step::Pool, said)
                    .fix(format!("virsh -c {} pool-start freehold", self.mode.uri()))
            }
            pool => {
                let made = found.map(|_| pool.is_some());
                let check = judged((&self.pool, self.mode), facts, found, &place, made);
                if check.verdict == Verdict::Bad {
                    return check;
                }
                // What apply will do first.
                match self.as_apply_looks(made).await {
                    Ok(()) => check,
                    Err(trouble) => Check::of(Step::Pool, &trouble, "look into that directory"),
                }
            }
        }
    }

    async fn path(&self, qemu: Option<(u32, u32)>) -> Result<Place, Trouble> {
        let user = qemu.map(|(user, _)| user.to_string()).unwrap_or_default();
        let text = self.run(&Command::new(PLACE, [self.pool.as_str(), &user])?).await?;
        Place::of(&text).ok_or_else(|| Trouble::failed(format!("`stat` said {text:?}")))
    }

    async fn as_apply_looks(&self, made: Option<bool>) -> Result<(), Trouble> {
        match made {
            None => Ok(()),
            Some(false) => taken::refuse(&self.transport, &self.pool, self.mode, self.limit).await,
            Some(true) => {
                let command = listing::command(&self.pool, &[])?;
                let output = self.transport.run(&command, Stdin::Nothing, self.limit).await?;
                match output.code {
                    listing::NO_FIND => Err(no_find()),
                    // Somebody is at work there.
                    listing::CHANGED => Ok(()),
                    _ => match listing::read(&output.good()?, &self.pool)?.and_then(|it| it.card) {
                        Some(card) => refuse_other_daemon(&card, self.mode, &self.pool),
                        None => Ok(()),
                    },
                }
            }
        }
    }
}

fn judged(
    (pool, mode): (&str, DaemonMode),
    facts: &Facts,
    found: Option<&Capabilities>,
    place: &Place,
    made: Option<bool>,
) -> Check {
    if let Some(shut) = &place.shut {
        let said = format!("{} may not enter {shut}, or it is no directory", facts.user);
        return Check::bad(Step::Pool, said).fix(format!("ls -ld {}", quote(shut)));
    }
    if made == Some(true) && !place.is_there {
        let said = format!("libvirt has the pool, but there is no {pool}");
        return Check::bad(Step::Pool, said).fix(format!(
            "mount what belongs there, then: virsh -c {} pool-refresh freehold",
            mode.uri()
        ));
    }
    let shut = found.and_then(|found| found.qemu).map_or_else(Vec::new, |qemu| place.shut_to(qemu));
    if !shut.is_empty() {
        let paths: Vec<String> = shut.iter().map(|path| quote(path)).collect();
        let said = format!("QEMU's user does not get through {}", shut.join(", "));
        return Check::bad(Step::Pool, said).fix(format!("chmod o+x {}", paths.join(" ")));
    }
    if made == Some(true) && !place.writable {
        let said = format!("{} may not write to {pool}: it is {}'s", facts.user, place.owner);
        return Check::bad(Step::Pool, said).fix(format!(
            "log in as {} (User in ~/.ssh/config, or in the host's `ssh`)",
            place.owner
        ));
    }
    good_place(pool, facts, place, made)
}

fn good_place(pool: &str, facts: &Facts, place: &Place, made: Option<bool>) -> Check {
    let mut said = format!("{pool}, {}, {} free", place.kind, place.free.rounded());
    if let Some(mode) = &facts.selinux {
        said += &format!(", SELinux {mode}: {}", place.context);
    }
    if made == Some(false) {
        said += "; not made yet: `freehold host add` or the first apply makes it";
    }
    let room = "make room there, or set `pool` in the host's block to where there is some";
    let label = ["virt_image_t", "virt_var_lib_t"].iter().any(|one| place.context.contains(one));
    let enforces = facts.selinux.as_deref() == Some("Enforcing");
    match (place.free.bytes(), place.kind.as_str()) {
        (0..LITTLE, _) => Check::bad(Step::Pool, said).fix(room),
        (_, "tmpfs" | "ramfs") => {
            Check::note(Step::Pool, said + "; it is memory, and gone after a reboot").fix(room)
        }
        (_, "nfs" | "cifs" | "smb2") if enforces => {
            Check::note(Step::Pool, said).fix("setsebool -P virt_use_nfs on")
        }
        (_, "nfs" | "cifs" | "smb2") => Check::note(Step::Pool, said + "; a network's")
            .fix("see that QEMU's user may write there (NFS: no root_squash, or its own uid)"),
        _ if enforces && !label => {
            let path = quote(pool);
            Check::note(Step::Pool, said)
                .fix(format!(
                    "semanage fcontext -a -t virt_image_t {}",
                    quote(&format!("{pool}(/.*)?"))
                ))
                .fix(format!("restorecon -R {path}"))
        }
        _ => Check::good(Step::Pool, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "there\nfs 1000000 4096 ext2/ext3\nowner admin\ncontext ?\ngroups 5 7\n\
                        writable\ndir 711 1000 1000 /srv/a b\ndir 750 0 64055 /srv\ndir 755 0 0 /\n";

    fn facts() -> Facts {
        Facts::of("user admin\nshell /bin/sh\n")
    }

    fn verdict(said: &str, made: Option<bool>, facts: &Facts) -> Check {
        let found = Capabilities { qemu: Some((64055, 64055)), ..Capabilities::default() };
        judged(
            ("/srv/a b", DaemonMode::System),
            facts,
            Some(&found),
            &Place::of(said).unwrap(),
            made,
        )
    }

    #[test]
    fn reads_what_is_there_of_a_path() {
        let place = Place::of(SAID).unwrap();
        assert_eq!((place.free.bytes(), place.writable), (4_096_000_000, true));
        assert_eq!(place.directories[0].path, "/srv/a b");
        assert_eq!(Place::of("fs 1 1 ext4\n"), None);
        assert_eq!(Place::of("stat: cannot statx\n"), None);
        assert_eq!(Place::of("shut /root\n").unwrap().shut.as_deref(), Some("/root"));
    }

    #[test]
    fn knows_who_gets_through() {
        let place = Place::of(SAID).unwrap();
        assert_eq!(place.shut_to((0, 0)), [""; 0]);
        assert_eq!(place.shut_to((9, 64055)), [""; 0]);
        assert_eq!(place.shut_to((64055, 9)), ["/srv"]);
        let by_group = Place::of(&SAID.replace("groups 5 7", "groups 64055")).unwrap();
        assert_eq!(by_group.shut_to((64055, 9)), [""; 0]);
        let by_list = Place::of(&format!("{SAID}acl /srv\n")).unwrap();
        assert_eq!(by_list.shut_to((64055, 9)), [""; 0]);
    }

    #[test]
    fn each_fault_of_a_place_is_told_with_what_mends_it() {
        let cases = [
            (SAID.to_owned(), Some(true), Verdict::Good, "3.8 GiB free"),
            (SAID.to_owned(), Some(false), Verdict::Good, "not made yet"),
            (SAID.replace("there\n", ""), Some(true), Verdict::Bad, "there is no /srv/a b"),
            (SAID.replace("writable\n", ""), Some(true), Verdict::Bad, "it is admin's"),
            (SAID.replace("writable\n", ""), Some(false), Verdict::Good, "not made yet"),
            (SAID.replace("dir 750 0 64055", "dir 700 0 0"), None, Verdict::Bad, "through /srv"),
            (SAID.replace("1000000", "1"), None, Verdict::Bad, "4 KiB free"),
            (SAID.replace("ext2/ext3", "nfs"), None, Verdict::Note, "a network's"),
            (SAID.replace("ext2/ext3", "tmpfs"), None, Verdict::Note, "it is memory"),
        ];
        for (said, made, want, words) in cases {
            let check = verdict(&said, made, &facts());
            assert_eq!(check.verdict, want, "{check:?}");
            assert!(check.said.contains(words), "{check:?}");
            assert_eq!(check.fix.is_empty(), want == Verdict::Good, "{check:?}");
        }
    }

    #[test]
    fn selinux_wants_its_label() {
        let facts = Facts { selinux: Some("Enforcing".to_owned()), ..facts() };
        let labelled =
            |kind: &str| SAID.replace("context ?", &format!("context system_u:object_r:{kind}:s0"));
        let check = verdict(&labelled("default_t"), Some(true), &facts);
        assert!(check.fix[0].contains("'/srv/a b(/.*)?'"), "{check:?}");
        let check = verdict(&labelled("virt_image_t"), Some(true), &facts);
        assert_eq!(check.verdict, Verdict::Good, "{check:?}");
    }

    #[test]
    fn the_path_is_read_as_it_is_followed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("home x/pool")).unwrap();
        std::fs::set_permissions(at("home x"), std::fs::Permissions::from_mode(0o700)).unwrap();
        symlink(at("home x/pool"), at("link")).unwrap();
        let read = |path: &str| {
            let words = Command::new(PLACE, [path, "0"]).unwrap().words();
            let output = std::process::Command::new(&words[0]).args(&words[1..]).output().unwrap();
            Place::of(&String::from_utf8(output.stdout).unwrap()).unwrap()
        };
        let link = read(at("link").to_str().unwrap());
        assert!(
            link.is_there && link.shut_to((12, 12)).iter().any(|path| path.ends_with("home x"))
        );
        let new = read(at("home x/new/er").to_str().unwrap());
        assert!(!new.is_there && new.directories[0].path.ends_with("home x"), "{new:?}");
    }
}
