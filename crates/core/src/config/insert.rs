//! A new host's block, and where it goes: nothing else of what the user wrote is touched.

use std::path::{Path, PathBuf};

use hcl_edit::{Span, structure::Body};

use super::{
    problem::Report,
    source::{File, read_directory},
};
use crate::model::{Connection, DaemonMode, Host};

/// A file of a fleet as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inserted {
    /// The file.
    pub path: PathBuf,
    /// What it holds now.
    pub before: String,
    /// What it is to hold.
    pub after: String,
}

/// Returns the file that a new `host` block belongs to, with the block in it: after the last host, or at the
/// end of the file that has the `fleet` block. `None` where no file can be read.
pub fn with_host(directory: &Path, host: &Host) -> Option<Inserted> {
    let files = read_directory(directory, &Report::default());
    let last = |kind: &str| {
        let of = |file: &File| end_of_last(file.body.as_ref()?, kind);
        files.iter().rev().find_map(|file| Some((file, of(file)?)))
    };
    let (file, at) = match (last("host"), last("fleet")) {
        (Some(host), _) => host,
        (None, Some((file, _))) => (file, file.source.text.len()),
        (None, None) => return None,
    };
    // What follows on the block's last line is a remark on it.
    let at = file.source.text[at..].find('\n').map_or(file.source.text.len(), |end| at + end);
    let (before, after) = file.source.text.split_at(at);
    let gap = match () {
        () if before.is_empty() || before.ends_with("\n\n") => "",
        () if before.ends_with('\n') => "\n",
        () => "\n\n",
    };
    let block = block(host);
    let end = if after.starts_with('\n') { "" } else { "\n" };
    Some(Inserted {
        path: directory.join(&file.source.name),
        before: file.source.text.clone(),
        after: format!("{before}{gap}{block}{end}{after}"),
    })
}

/// Returns where the last block of a kind ends.
fn end_of_last(body: &Body, kind: &str) -> Option<usize> {
    let blocks = body.blocks().filter(|block| block.ident.as_str() == kind);
    blocks.filter_map(Span::span).map(|span| span.end).max()
}

fn block(host: &Host) -> String {
    let reached = match &host.connection {
        Connection::Local => ("connection", "local".to_owned()),
        Connection::Ssh(target) => ("ssh", target.to_string()),
    };
    let pool = host.pool.as_ref().map(|pool| {
        let pool = pool.replace('\\', "\\\\").replace('"', "\\\"");
        ("pool", pool.replace("${", "$${").replace("%{", "%%{"))
    });
    let libvirt = match host.libvirt {
        DaemonMode::System => None,
        DaemonMode::Session => Some(("libvirt", "session".to_owned())),
    };
    let keys: Vec<_> = [Some(reached), libvirt, pool].into_iter().flatten().collect();
    let width = keys.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let line = |(key, value): &(&str, String)| format!("  {key:<width$} = \"{value}\"\n");
    let lines: String = keys.iter().map(line).collect();
    format!("host \"{}\" {{\n{lines}}}", host.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::Accel;

    fn host(pool: Option<&str>) -> Host {
        Host {
            name: "rack3".parse().unwrap(),
            connection: Connection::Ssh("root@10.0.0.13:2222".parse().unwrap()),
            libvirt: DaemonMode::System,
            pool: pool.map(str::to_owned),
            accel: Accel::Auto,
            labels: BTreeMap::new(),
        }
    }

    fn inserted(files: &[(&str, &str)], pool: Option<&str>) -> Option<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let inserted = with_host(dir.path(), &host(pool))?;
        let name = inserted.path.file_name().unwrap().to_str().unwrap().to_owned();
        Some((name, inserted.after))
    }

    const NEW: &str = "host \"rack3\" {\n  ssh = \"root@10.0.0.13:2222\"\n}\n";
    const OLD: &str = "host \"a\" {\n  ssh = \"a\" # mine\n} # cellar\n";

    #[test]
    fn a_host_comes_after_the_last_one() {
        let text = format!("fleet \"f\" {{\n}}\n{OLD}\n# the end\nvm \"x\" {{\n}}\n");
        let (_, after) = inserted(&[("fleet.hcl", &text)], None).unwrap();
        let want = format!("fleet \"f\" {{\n}}\n{OLD}\n{NEW}\n# the end\nvm \"x\" {{\n}}\n");
        assert_eq!(after, want);
        let files = [("fleet.hcl", "fleet \"f\" {\n}\n"), ("hosts.hcl", OLD)];
        assert_eq!(inserted(&files, None).unwrap(), ("hosts.hcl".into(), format!("{OLD}\n{NEW}")));
    }

    #[test]
    fn the_first_host_comes_to_the_fleet() {
        let files = [("a.hcl", "fleet \"f\" {\n}"), ("b.hcl", "locals {\n}\n")];
        let (name, after) = inserted(&files, Some("/srv/\"x")).unwrap();
        assert_eq!(name, "a.hcl");
        let block =
            "host \"rack3\" {\n  ssh  = \"root@10.0.0.13:2222\"\n  pool = \"/srv/\\\"x\"\n}\n";
        assert_eq!(after, format!("fleet \"f\" {{\n}}\n\n{block}"));
        assert_eq!(inserted(&[], None), None);
    }

    #[test]
    fn a_host_has_the_keys_that_differ_from_what_is_usual() {
        let session = Host { libvirt: DaemonMode::Session, ..host(Some("/home/a")) };
        let here = Host { connection: Connection::Local, ..session.clone() };
        let rest = "  libvirt = \"session\"\n  pool    = \"/home/a\"\n}";
        let ssh = "host \"rack3\" {\n  ssh     = \"root@10.0.0.13:2222\"\n";
        assert_eq!(block(&session), format!("{ssh}{rest}"));
        let local = "host \"rack3\" {\n  connection = \"local\"\n";
        assert!(block(&here).starts_with(local), "{}", block(&here));
    }
}
