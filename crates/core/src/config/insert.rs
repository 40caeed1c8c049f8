//! A new host's block, and where it goes: nothing else of what the user wrote is touched.

use std::path::{Path, PathBuf};

use hcl_edit::{Span, structure::Body};

use super::{
    problem::Report,
    source::{File, read_directory},
};
use crate::model::{HostName, SshTarget};

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
pub fn with_host(
    directory: &Path,
    name: &HostName,
    target: &SshTarget,
    pool: Option<&str>,
) -> Option<Inserted> {
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
    let block = block(name, target, pool);
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

fn block(name: &HostName, target: &SshTarget, pool: Option<&str>) -> String {
    match pool {
        None => format!("host \"{name}\" {{\n  ssh = \"{target}\"\n}}"),
        Some(pool) => {
            let pool = pool.replace('\\', "\\\\").replace('"', "\\\"");
            let pool = pool.replace("${", "$${").replace("%{", "%%{");
            format!("host \"{name}\" {{\n  ssh  = \"{target}\"\n  pool = \"{pool}\"\n}}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserted(files: &[(&str, &str)], pool: Option<&str>) -> Option<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let target = "root@10.0.0.13:2222".parse().unwrap();
        let inserted = with_host(dir.path(), &"rack3".parse().unwrap(), &target, pool)?;
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
}
