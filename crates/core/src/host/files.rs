//! Files of a host: read, written atomically, renamed. Written to a temporary name beside, with
//! its length checked (a lost connection looks like the end of the input), synced, renamed.

use std::time::Duration;

use super::{
    command::Command,
    ssh::Stdin,
    transport::{Output, Transport},
    trouble::Trouble,
};

/// `$1` temporary, `$2` final name, `$3` length, `$4` umask, `$5` directory to sync or nothing.
///
/// `dd` writes, syncs and counts in one process: a hundred seeds are a hundred of these. busybox's
/// does not say how much it wrote.
const WRITE: &str = r#"
    umask "$4"; why=; trap 'rm -f -- "$1"; exit 1' HUP TERM PIPE;
    [ ! -e "$1" ] || rm -f -- "$1";
    said=$(dd bs=1M iflag=fullblock of="$1" conv=fsync 2>&1);
    case "$said" in
      *dd:*) ;;
      *out?"$3 byte"*) why=ok;;
      *) if [ "$(wc -c <"$1")" -eq "$3" ]; then why=ok; else said='the input ended early'; fi;;
    esac;
    if [ "$why" != ok ]; then
      rm -f -- "$1";
      case "$said" in *'No space left'*) said='No space left on device';; esac;
      echo "$said" >&2; exit 1;
    fi;
    if [ -z "$5" ]; then exec mv -T -- "$1" "$2"; fi;
    mv -T -- "$1" "$2" && exec sync -- "$5"
"#;

/// `$1` old, `$2` new, `$3` directory.
const RENAME: &str = r#"
    if [ -e "$2" ]; then echo "$2 is there already" >&2; exit 46; fi;
    mv -T -- "$1" "$2" && exec sync -- "$3"
"#;

const THERE: u32 = 46;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Mode 0600.
    Owner,
    /// Mode 0644.
    All,
}

/// Whether a file must be there under its name after a power cut right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    /// Its content is on disk; its name follows within seconds.
    Content,
    ContentAndName,
}

/// Replaces a file atomically.
pub(crate) async fn write(
    on: &Transport,
    path: &str,
    content: &[u8],
    (readers, durable): (Readers, Durable),
    deadline: Duration,
) -> Result<(), Trouble> {
    let (dir, name) = parts(path)?;
    let temporary = format!("{dir}/.{name}.freehold-tmp");
    let length = content.len().to_string();
    let umask = if readers == Readers::All { "022" } else { "077" };
    let sync = if durable == Durable::ContentAndName { dir } else { "" };
    let command = Command::new(WRITE, [&temporary, path, &length, umask, sync])?;
    done(&on.run(&command, Stdin::Bytes(content), deadline).await?)
}

/// Returns a file's content; `None` only when the host says that there is no such file.
pub(crate) async fn read(
    from: &Transport,
    path: &str,
    deadline: Duration,
) -> Result<Option<Vec<u8>>, Trouble> {
    let command = Command::new(r#"exec cat -- "$1""#, [path])?;
    let output = from.run(&command, Stdin::Nothing, deadline).await?;
    if output.code != 0 && output.complaint().ends_with("No such file or directory") {
        return Ok(None);
    }
    output.good().map(Some)
}

/// Renames a file; the target must not exist.
pub(crate) async fn rename(
    on: &Transport,
    from: &str,
    to: &str,
    deadline: Duration,
) -> Result<(), Trouble> {
    let output =
        on.run(&Command::new(RENAME, [from, to, parts(to)?.0])?, Stdin::Nothing, deadline).await?;
    if output.code == THERE {
        return Err(Trouble::conflict(output.complaint()));
    }
    done(&output)
}

/// Removes a file; one that is not there counts as removed.
pub(crate) async fn remove(on: &Transport, path: &str, deadline: Duration) -> Result<(), Trouble> {
    let command = Command::new(r#"exec rm -f -- "$1""#, [path])?;
    done(&on.run(&command, Stdin::Nothing, deadline).await?)
}

pub(crate) fn done(output: &Output) -> Result<(), Trouble> {
    if output.code == 0 { Ok(()) } else { Err(output.trouble()) }
}

/// Returns the directory and the name of an absolute path; `/` itself is no directory of ours.
fn parts(path: &str) -> Result<(&str, &str), Trouble> {
    match path.rsplit_once('/') {
        Some((dir, name)) if dir.starts_with('/') && !name.is_empty() => Ok((dir, name)),
        _ => Err(Trouble::input(format!("{path:?} is no absolute path of a file"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn writes_reads_and_renames() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let path = at("it's a \"file\"");
        let form = (Readers::All, Durable::ContentAndName);
        write(&Transport::Local, &path, b"old", form, SOON).await.unwrap();
        write(&Transport::Local, &path, b"\0one\n", form, SOON).await.unwrap();
        assert_eq!(read(&Transport::Local, &path, SOON).await.unwrap().unwrap(), b"\0one\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        let own = (Readers::Owner, Durable::Content);
        write(&Transport::Local, &at("two"), b"", own, SOON).await.unwrap();
        assert_eq!(std::fs::metadata(at("two")).unwrap().permissions().mode() & 0o777, 0o600);
        let error = rename(&Transport::Local, &path, &at("two"), SOON).await.unwrap_err();
        assert_eq!(error.kind, crate::host::HostErrorKind::Conflict);
        rename(&Transport::Local, &path, &at("three"), SOON).await.unwrap();
        remove(&Transport::Local, &at("three"), SOON).await.unwrap();
        remove(&Transport::Local, &at("three"), SOON).await.unwrap();
        assert_eq!(read(&Transport::Local, &at("three"), SOON).await.unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn an_input_that_ends_early_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f").to_str().unwrap().to_owned();
        std::fs::write(&path, "old").unwrap();
        for length in ["9", "13", "33", "0"] {
            let temporary = format!("{path}.tmp");
            let command = Command::new(WRITE, [temporary.as_str(), &path, length, "022", ""]);
            let output =
                Transport::Local.run(&command.unwrap(), Stdin::Bytes(b"new"), SOON).await.unwrap();
            assert_eq!(output.complaint(), "the input ended early");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_absent() {
        let form = (Readers::Owner, Durable::Content);
        let nowhere = write(&Transport::Local, "/no/such/dir/x", b"x", form, SOON).await;
        assert!(nowhere.unwrap_err().source.to_string().contains("No such file or directory"));
        let error = read(&Transport::Local, "/etc/passwd/x", SOON).await.unwrap_err();
        assert!(error.source.to_string().contains("Not a directory"), "{error:?}");
        assert!(parts("relative").is_err() && parts("/x").is_err());
    }
}
