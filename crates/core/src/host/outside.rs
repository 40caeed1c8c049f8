//! Looks at files outside of our pool: where they really lie, and how they begin.

use std::time::Duration;

use super::{command::Command, ssh::Stdin, transport::Transport, trouble::Trouble};

/// How much of a file is read: a header and the name of the file under it.
const HEAD: usize = 2048;

/// `$1` our pool, `$2` how much to read; files on stdin, one a line. A file that is shorter is filled
/// up. What is not found behind a directory that may not be searched may be there.
const SCRIPT: &str = r#"
    pool=$(readlink -f -- "$1") || pool=$1;
    while IFS= read -r f; do
      real=$(readlink -f -- "$f") || real=$f;
      case "$real" in "$pool"/*) real=$1${real#"$pool"};; esac;
      kind=none;
      if [ -f "$f" ] || [ -b "$f" ]; then
        if [ -r "$f" ]; then kind=head; else kind=shut; fi;
      else
        d=$f; while [ -n "$d" ] && [ ! -e "$d" ] && [ ! -L "$d" ]; do d=${d%/*}; done;
        if [ -L "$d" ] && [ ! -e "$d" ]; then kind=shut; fi;
        if [ -d "${d:-/}" ] && [ ! -x "${d:-/}" ]; then kind=shut; fi;
      fi;
      printf '%s %s\n%s' "$kind" "${#real}" "$real";
      if [ $kind = head ]; then
        { head -c "$2" -- "$f"; head -c "$2" /dev/zero; } | head -c "$2";
      fi;
    done
"#;

/// Directories on stdin, one a line: names the files in each that libvirt would list. What may not be
/// listed is left out.
const LIST: &str = r#"
    while IFS= read -r d; do
      find -L "$d/" -maxdepth 1 ! -type d ! -name '.*' -print 2>/dev/null;
    done; exit 0
"#;

/// What was found of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Where it lies once all links are followed; in our pool by the pool's own path.
    pub(super) real: String,
    pub(super) content: Content,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Nothing,
    /// Its first bytes.
    Head(Vec<u8>),
    /// The SSH user may not read it, or not see whether it is there.
    Shut,
}

/// Returns paths of the files in directories, as far as the SSH user may list those.
pub(super) async fn files_in(
    on: &Transport,
    directories: impl Iterator<Item = &String>,
    deadline: Duration,
) -> Result<Vec<String>, Trouble> {
    let lines: String = directories.flat_map(|directory| [directory.as_str(), "\n"]).collect();
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let command = Command::new(LIST, [])?;
    let said = on.run(&command, Stdin::Bytes(lines.as_bytes()), deadline).await?.good()?;
    Ok(String::from_utf8_lossy(&said).lines().map(str::to_owned).collect())
}

/// Looks at files; what is no absolute path on a line is left out.
pub(super) async fn look(
    on: &Transport,
    pool: &str,
    files: &[String],
    deadline: Duration,
) -> Result<Vec<(String, Look)>, Trouble> {
    let is_path = |file: &&String| file.starts_with('/') && !file.contains('\n');
    let files: Vec<&String> = files.iter().filter(is_path).collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let head = HEAD.to_string();
    let command = Command::new(SCRIPT, [pool, &head])?;
    let lines: String = files.iter().flat_map(|file| [file.as_str(), "\n"]).collect();
    let said = on.run(&command, Stdin::Bytes(lines.as_bytes()), deadline).await?.good()?;
    let mut rest = said.as_slice();
    let looks = files.into_iter().map(|file| {
        let cut_short = || Trouble::failed(format!("{file} cannot be looked at"));
        Ok((file.clone(), next(&mut rest).ok_or_else(cut_short)?))
    });
    looks.collect()
}

fn next(rest: &mut &[u8]) -> Option<Look> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(take(rest, end)?).ok()?;
    take(rest, 1)?;
    let (kind, length) = line.split_once(' ')?;
    let real = String::from_utf8_lossy(take(rest, length.parse().ok()?)?).into_owned();
    let content = match kind {
        "none" => Content::Nothing,
        "shut" => Content::Shut,
        "head" => Content::Head(take(rest, HEAD)?.to_vec()),
        _ => return None,
    };
    Some(Look { real, content })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Looks as somebody without rights of his own.
    fn looked(pool: &str, files: &[String]) -> Vec<Look> {
        let mut words = Command::new(SCRIPT, [pool, "2048"]).unwrap().words();
        if rustix::process::geteuid().is_root() {
            let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
            words.splice(0..0, nobody.map(str::to_owned));
        }
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(list.path(), files.join("\n") + "\n").unwrap();
        let stdin = std::fs::File::open(list.path()).unwrap();
        let mut child = std::process::Command::new(&words[0]);
        let output = child.args(&words[1..]).stdin(stdin).output().unwrap();
        let mut rest = output.stdout.as_slice();
        let looks = files.iter().map(|_| next(&mut rest).unwrap()).collect();
        assert!(rest.is_empty(), "{output:?}");
        looks
    }

    #[test]
    fn tells_what_is_not_there_from_what_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let mode = |name: &str, mode| {
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for name in ["pool", "shut"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        for name in ["pool/root", "own", "shut/disk"] {
            std::fs::write(at(name), "head").unwrap();
        }
        symlink(at("shut/disk"), at("hidden")).unwrap();
        symlink(at("pool"), at("alias")).unwrap();
        for (name, bits) in [("", 0o755), ("pool/root", 0o644), ("own", 0), ("shut", 0)] {
            mode(name, bits);
        }
        let names = ["alias/root", "own", "shut/disk", "hidden", "no/such", "pool"];
        let looks = looked(&at("pool"), &names.map(at));
        mode("shut", 0o755);
        let mut head = b"head".to_vec();
        head.resize(HEAD, 0);
        assert_eq!(looks[0], Look { real: at("pool/root"), content: Content::Head(head) });
        let shut: Vec<_> = looks.iter().map(|look| look.content == Content::Shut).collect();
        assert_eq!(shut, [false, true, true, true, false, false]);
        assert!(looks[4..].iter().all(|look| look.content == Content::Nothing), "{looks:?}");
    }
}
