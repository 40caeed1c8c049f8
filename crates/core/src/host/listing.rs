//! Reads our pool's directory and a few facts of the host in one command.
//!
//! The directory itself is read, not libvirt's idea of it: that one lags behind files written past
//! libvirt until somebody refreshes the pool.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{backing::backing_file, command::Command, qcow2::Header, trouble::Trouble};
use crate::model::{HostCard, Size, VolumeView};

/// How much of each file is read: a header, the usual extensions, and in an overlay's the name of the
/// file under it. QEMU writes the name at byte 96 (version 2) or 528 (version 3, QEMU 7.2).
const HEAD: usize = 768;

/// What a disk stands on whose header does not name it in text.
pub(crate) const UNREADABLE: &str = "a file whose name cannot be read";

/// What `find` counts blocks in, whatever the file system's are.
const BLOCK: u64 = 512;

/// Names with a leading dot (staging, consoles, the card's temporary) are not volumes. A link is the
/// file it leads to, a name is whatever somebody called his file: `-`, two lines, no UTF-8.
///
/// One `find` looks at all files and hands those it may read to as few `head` as take their names: a
/// loop of the shell over 200 files costs the host more than twice as much.
const SCRIPT: &str = r#"
    cd -- "$1" || exit 44; card=$2; head=$3; shift 3;
    stat -f -c 'free %a %S' . || exit 1;
    for b; do if [ -d "/sys/class/net/$b/bridge" ]; then printf 'bridge %s\n' "$b"; fi; done;
    if [ -e "$card" ]; then
      text=$(cat -- "$card") || exit 1; printf 'card %s\n%s' "${#text}" "$text";
    fi;
    if ! [ -r . ]; then echo "$PWD: Permission denied" >&2; exit 1; fi;
    echo files;
    find -L . -mindepth 1 -maxdepth 1 ! -name '.*' ! -name "$card" -type f
      '(' -xtype l -printf 'link ' -o -printf 'file ' ')'
      '(' -readable -printf 'open %s %b ./%f\0' -exec head -v -c "$head" -- '{}' +
        -o -printf 'shut %s %b ./%f\0' ')' ||
      if find --version >/dev/null 2>&1; then exit 45; else exit 47; fi
"#;

const BRIDGES: &str = r#"
    for b; do if [ -d "/sys/class/net/$b/bridge" ]; then printf 'bridge %s\n' "$b"; fi; done
"#;

/// The exit code of a directory that cannot be entered.
pub(crate) const NO_DIRECTORY: u32 = 44;
/// The exit code of a directory that changed while it was read.
pub(crate) const CHANGED: u32 = 45;

/// The exit code of a host whose `find` is not GNU's.
pub(crate) const NO_FIND: u32 = 47;

/// What the command found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) free: Size,
    pub(crate) bridges: Vec<String>,
    pub(crate) card: Option<HostCard>,
    pub(crate) volumes: BTreeMap<String, VolumeView>,
    /// Names of those that are links.
    pub(crate) links: BTreeSet<String>,
    /// Files that libvirt has to tell of: the SSH user may not read them, or the name of the file under
    /// them stands further in than was read.
    pub(crate) untold: Vec<String>,
}

/// Returns the command that reads a pool's directory.
pub(crate) fn command(pool: &str, bridges: &[String]) -> Result<Command, Trouble> {
    let head = HEAD.to_string();
    let fixed = [pool, HostCard::FILE, &head];
    Command::new(SCRIPT, fixed.into_iter().chain(bridges.iter().map(String::as_str)))
}

/// Returns the command that looks for bridges only.
pub(crate) fn bridges_command(bridges: &[String]) -> Result<Command, Trouble> {
    Command::new(BRIDGES, bridges.iter().map(String::as_str))
}

/// Returns the bridges found by [`bridges_command`].
pub(crate) fn bridges_of(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    text.lines().filter_map(|line| line.strip_prefix("bridge ")).map(str::to_owned).collect()
}

/// Reads what the command wrote; `None` where files changed under it.
pub(crate) fn read(output: &[u8], pool: &str) -> Result<Option<Listing>, Trouble> {
    let mut rest = Bytes(output);
    let mut listing = Listing::default();
    loop {
        let line = rest.line().ok_or_else(cut_short)?;
        let (word, value) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "free" => listing.free = free(value).ok_or_else(cut_short)?,
            "bridge" => listing.bridges.push(value.to_owned()),
            "card" => {
                let length = value.trim().parse().map_err(Trouble::failed)?;
                let card = rest.take(length).ok_or_else(cut_short)?;
                listing.card = Some(card_of(card)?);
            }
            "files" => return Ok(rest.files(pool, &mut listing).map(|()| listing)),
            _ => return Err(cut_short()),
        }
    }
}

fn cut_short() -> Trouble {
    Trouble::failed("the list of the pool's files cannot be read")
}

/// Reads a host's card.
pub(crate) fn card_of(bytes: &[u8]) -> Result<HostCard, Trouble> {
    let file = HostCard::FILE;
    let card: HostCard = serde_json::from_slice(bytes).map_err(|error| {
        let hint = "put a copy of it back, or mend its JSON by hand in the pool's directory; removing \
                    it mends nothing: its list proves which volumes are whose";
        Trouble::input(format!("{file} is damaged: {error}")).hint(hint)
    })?;
    if card.format > HostCard::FORMAT {
        let hint = "use the version of freehold that wrote it, or a later one";
        return Err(Trouble::input(format!("{file} has format {}", card.format)).hint(hint));
    }
    Ok(card)
}

fn free(value: &str) -> Option<Size> {
    let (blocks, size) = value.split_once(' ')?;
    let bytes = blocks.parse::<u64>().ok()?.checked_mul(size.parse().ok()?)?;
    Some(Size::from_bytes(bytes))
}

/// Returns a file's name as it is told: one that no terminal could show, none of ours, is written in
/// ASCII behind `./`, which no name begins with.
fn told(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) if !name.contains(char::is_control) => name.to_owned(),
        _ => format!("./{}", name.escape_ascii()),
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn line(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.until(b'\n')?).ok()
    }

    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == end)?;
        let (taken, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(taken)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads what `find` tells of files and, among it, lots of their beginnings as `head -v` writes
    /// them; `None` where files changed under it.
    fn files(&mut self, pool: &str, listing: &mut Listing) -> Option<()> {
        let mut open = VecDeque::new();
        while !self.0.is_empty() {
            if self.0.starts_with(b"==> ") || self.0.starts_with(b"\n==> ") {
                let File { name, size, used, .. } = open.pop_front()?;
                let head = self.head(name, size)?;
                let name = told(name.strip_prefix(b"./")?);
                match view(head, size, used, pool) {
                    Some(view) => drop(listing.volumes.insert(name, view)),
                    None => listing.untold.push(name),
                }
            } else {
                let file = self.file()?;
                let name = || Some(told(file.name.strip_prefix(b"./")?));
                if file.is_link {
                    listing.links.insert(name()?);
                }
                if file.is_open {
                    open.push_back(file);
                } else {
                    listing.untold.push(name()?);
                }
            }
        }
        open.is_empty().then_some(())
    }

    /// Reads what `find` tells of one file.
    fn file(&mut self) -> Option<File<'a>> {
        let mut words = self.until(0)?.splitn(5, |byte| *byte == b' ');
        let is_link = words.next()? == b"link";
        let is_open = words.next()? == b"open";
        let mut number = || std::str::from_utf8(words.next()?).ok()?.parse::<u64>().ok();
        let (size, blocks) = (number()?, number()?);
        let used = Size::from_bytes(blocks.checked_mul(BLOCK)?);
        Some(File { name: words.next()?, is_link, is_open, size, used })
    }

    /// Reads the beginning of a file of this size. A gap stands between two of one `head`.
    fn head(&mut self, name: &[u8], size: u64) -> Option<&'a [u8]> {
        self.0 = self.0.strip_prefix(b"\n").unwrap_or(self.0);
        let title = [b"==> ", name, b" <==\n"].concat();
        self.take(title.len()).filter(|line| *line == title)?;
        self.take(usize::try_from(size).unwrap_or(usize::MAX).min(HEAD))
    }
}

/// A file as `find` tells of it.
struct File<'a> {
    /// With `./` before it.
    name: &'a [u8],
    is_link: bool,
    /// Whether the SSH user may read it.
    is_open: bool,
    size: u64,
    used: Size,
}

/// Returns a file as its beginning tells it; `None` where more of it must be read.
fn view(head: &[u8], size: u64, used: Size, pool: &str) -> Option<VolumeView> {
    let raw = VolumeView { capacity: Size::from_bytes(size), backing: None, used };
    let Ok(header) = Header::read(head) else { return Some(raw) };
    let backing = match header.backing {
        None => None,
        Some(_) => match header.backing_name(head) {
            Some(name) => Some(backing_file(name, pool)),
            None if header.backing_end() > head.len() as u64 && size > head.len() as u64 => {
                return None;
            }
            None => Some(UNREADABLE.to_owned()),
        },
    };
    Some(VolumeView { capacity: header.virtual_size, backing, used })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DaemonMode;

    #[test]
    fn reads_a_real_directory() {
        let dir = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        let mut image = vec![0; 4096];
        image[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        image[24..32].copy_from_slice(&(5_u64 << 30).to_be_bytes());
        image[8..16].copy_from_slice(&600_u64.to_be_bytes());
        image[16..20].copy_from_slice(&8_u32.to_be_bytes());
        image[600..608].copy_from_slice(b"/img/one");
        write("a.qcow2", &image);
        image[600..608].copy_from_slice(b"./x/../c");
        write("a2.qcow2", &image);
        write("b with ==> x <==", b"==> y <==\n");
        write("c", b"");
        write("d\"$(exit 1)'`${1}", b"x");
        write(".staging-d", b"x");
        let card = HostCard {
            format: 1,
            host: uuid::Uuid::nil(),
            libvirt: DaemonMode::System,
            fleets: BTreeMap::new(),
            volumes: BTreeMap::new(),
        };
        write(HostCard::FILE, &serde_json::to_vec(&card).unwrap());
        std::fs::create_dir(dir.path().join("lost+found")).unwrap();

        let pool = dir.path().to_str().unwrap();
        let words = command(pool, &["no-such-bridge".to_owned()]).unwrap().words();
        let output = std::process::Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let listing = read(&output.stdout, pool).unwrap().unwrap();
        assert_eq!(listing.card, Some(card));
        assert_eq!(listing.bridges, Vec::<String>::new());
        assert!(listing.free > Size::default());
        let names: Vec<_> = listing.volumes.keys().map(String::as_str).collect();
        let odd = "d\"$(exit 1)'`${1}";
        assert_eq!(names, ["a.qcow2", "a2.qcow2", "b with ==> x <==", "c", odd]);
        let overlay = &listing.volumes["a.qcow2"];
        assert_eq!(overlay.capacity, Size::from_bytes(5 << 30));
        assert_eq!(overlay.backing.as_deref(), Some("/img/one"));
        assert_eq!(listing.volumes["a2.qcow2"].backing, Some(format!("{pool}/c")));
        let holes = Size::from_bytes(1 << 20);
        assert!(overlay.used < holes && listing.volumes["c"].used == Size::default());
        assert_eq!(listing.volumes["c"].capacity, Size::default());
    }

    /// Runs the command here, as the host would.
    fn listed(dir: &std::path::Path) -> Listing {
        let pool = dir.to_str().unwrap();
        let words = command(pool, &[]).unwrap().words();
        let output = std::process::Command::new(&words[0]).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        read(&output.stdout, pool).unwrap().expect("nothing changed meanwhile")
    }

    #[test]
    fn links_and_odd_names_do_not_hide_the_rest() {
        use std::os::unix::{ffi::OsStrExt as _, fs::symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &[u8]| dir.path().join(std::ffi::OsStr::from_bytes(name));
        let mut overlay = vec![0; 4096];
        overlay[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        overlay[8..16].copy_from_slice(&600_u64.to_be_bytes());
        overlay[16..20].copy_from_slice(&8_u32.to_be_bytes());
        overlay[600..608].copy_from_slice(b"/img/one");
        for name in [&b"-"[..], b"-n", b"a", b"cl\xf4ne", b"one\ntwo", b"\x1b[2J", b"\xc3\xa9"] {
            std::fs::write(at(name), &overlay).unwrap();
        }
        symlink(at(b"a"), at(b"link")).unwrap();
        symlink("/no/such/file", at(b"nowhere")).unwrap();
        symlink("/", at(b"root")).unwrap();
        let Listing { volumes, links, .. } = listed(dir.path());
        assert_eq!(links, BTreeSet::from(["link".to_owned()]));
        let names: Vec<_> = volumes.keys().map(String::as_str).collect();
        let odd = ["./\\x1b[2J", "./cl\\xf4ne", "./one\\ntwo"];
        assert_eq!(names, ["-", "-n", odd[0], odd[1], odd[2], "a", "link", "\u{e9}"]);
        let whole = |volume: &VolumeView| volume.used <= Size::from_bytes(8192);
        assert!(volumes.values().all(whole), "{volumes:#?}");
        let over = |volume: &VolumeView| volume.backing.as_deref() == Some("/img/one");
        assert!(volumes.values().all(over), "{volumes:#?}");
    }

    #[test]
    fn a_name_far_in_the_header_is_for_libvirt_to_tell() {
        let dir = tempfile::tempdir().unwrap();
        let mut overlay = vec![0; 4096];
        overlay[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        overlay[8..16].copy_from_slice(&528_u64.to_be_bytes());
        let lengths = [("near", 240_u32, true), ("far", 241, true), ("no-text", 8, false)];
        for (name, length, is_text) in lengths {
            overlay[16..20].copy_from_slice(&length.to_be_bytes());
            overlay[528..1000].fill(if is_text { b'n' } else { 0xff });
            std::fs::write(dir.path().join(name), &overlay).unwrap();
        }
        std::fs::write(dir.path().join("short"), &overlay[..500]).unwrap();
        let Listing { volumes, untold, .. } = listed(dir.path());
        assert_eq!(untold, ["far"]);
        let names: Vec<_> = volumes.keys().map(String::as_str).collect();
        assert_eq!(names, ["near", "no-text", "short"]);
        let near = volumes["near"].backing.as_ref();
        assert!(near.is_some_and(|told| told.ends_with(&format!("/{}", "n".repeat(240)))));
        assert!(
            volumes["no-text"].backing.as_ref().is_some_and(|told| told.contains("cannot be read"))
        );
    }

    #[test]
    fn more_names_than_one_command_takes_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let name = |number: usize| format!("{number:04}-{}", "n".repeat(240));
        for number in 0..1200 {
            std::fs::write(dir.path().join(name(number)), vec![0; number]).unwrap();
        }
        let Listing { volumes, untold, .. } = listed(dir.path());
        assert_eq!(untold, Vec::<String>::new());
        let sizes = volumes.into_iter().map(|(name, view)| (name, view.capacity));
        let want = (0..1200).map(|number| (name(number), Size::from_bytes(number as u64)));
        assert!(sizes.eq(want));
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_seen() {
        let output = b"free 1 4096\nfiles\nfile open 9 8 ./a\0==> ./a <==\nshort";
        assert_eq!(read(output, "/p").unwrap(), None);
        assert!(read(b"free 1 4096\n", "/p").is_err());
        let damaged = read(b"free 1 4096\ncard 1\n{files\n", "/p").unwrap_err();
        assert!(damaged.hint.is_some_and(|hint| hint.contains("put a copy of it back")));
        assert!(read(b"", "/p").is_err());
    }
}
