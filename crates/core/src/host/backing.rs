//! The file that a qcow2 header says it stands on.

use serde_json::Value;

/// Returns the path of the file that is called `name` in the header of a file in `directory`, read
/// as QEMU reads it. What is no file of the host stays as it is written.
pub(crate) fn backing_file(name: &str, directory: &str) -> String {
    let Some(json) = name.strip_prefix("json:") else { return file_of(name, directory) };
    let options = serde_json::from_str::<Value>(json).ok();
    let file = options.as_ref().and_then(filename);
    file.map_or_else(|| name.to_owned(), |file| file_of(file, directory))
}

/// Finds `{"file": {"filename": …}}`, or the same as `{"file.filename": …}`.
fn filename(options: &Value) -> Option<&str> {
    let options = options.as_object()?;
    let named = options.iter().find(|(key, _)| *key == "filename" || key.ends_with(".filename"));
    let named = named.and_then(|(_, file)| file.as_str());
    named.or_else(|| options.values().find_map(filename))
}

fn file_of(name: &str, directory: &str) -> String {
    let name = name.strip_prefix("file:").unwrap_or(name);
    if name.starts_with('/') {
        return straight(name);
    }
    // `nbd:…`, `https://…`
    let is_elsewhere = name.find([':', '/']).is_some_and(|at| name[at..].starts_with(':'));
    if is_elsewhere { name.to_owned() } else { straight(&format!("{directory}/{name}")) }
}

/// Returns an absolute path without `.`, `..` and empty parts; links in it are not looked at.
fn straight(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_file_in_all_of_qemus_ways() {
        let nested = r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"/p/root"}}"#;
        let ways = [
            "/p/root",
            "root",
            "./root",
            "../p/root",
            "/p//x/../root",
            "file:/p/root",
            "file:root",
            nested,
            r#"json:{"file.filename":"root"}"#,
            r#"json:{"filename":"/p/root"}"#,
        ];
        for way in ways {
            assert_eq!(backing_file(way, "/p"), "/p/root", "{way}");
        }
        assert_eq!(backing_file("a:b/c", "/p"), "a:b/c");
        assert_eq!(backing_file("./a:b", "/p"), "/p/a:b");
        for odd in ["nbd://h/root", "json:{\"driver\":\"nbd\"}", "json:{", "json:7"] {
            assert_eq!(backing_file(odd, "/p"), odd);
        }
        assert_eq!(backing_file("../../..", "/p"), "/");
    }
}
