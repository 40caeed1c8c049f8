//! The house stands as ARCHITECTURE.md says: who uses whom, how large things are, what links lead to.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot read")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn files_below(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with(".git") {
                found.extend(files_below(&path, ending));
            }
        } else if path.extension().is_some_and(|end| end == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The rooms of `freehold-core` that a source file names in paths, as `crate::room`.
fn rooms_used(text: &str, crate_word: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    let prefix = format!("{crate_word}::");
    for (at, _) in text.match_indices(&prefix) {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = text[at + prefix.len()..].trim_start();
        match rest.strip_prefix('{') {
            None => rooms.push(word_of(rest)),
            Some(list) => rooms.extend(heads_of(list)),
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn word_of(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first words of a `use` list: `a::{b, c}, d` has `a` and `d`.
fn heads_of(list: &str) -> Vec<String> {
    let (mut depth, mut heads, mut fresh) = (0, Vec::new(), true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && depth == 0 && c.is_alphabetic() => {
                heads.push(word_of(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn arrows_point_the_right_way() {
    let allowed: BTreeMap<&str, &[&str]> = [
        ("model", &[][..]),
        ("config", &["model"]),
        ("events", &["model"]),
        ("host", &["model"]),
        ("state", &["model"]),
        ("plugins", &["model", "host"]),
        ("seed", &["model", "state"]),
        ("plan", &["model", "state"]),
        ("apply", &["model", "plan", "host", "state", "events", "plugins"]),
    ]
    .into();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (room, may) in &allowed {
        for path in files_below(&root().join("crates/core/src").join(room), "rs") {
            for used in rooms_used(&code_of(&path), "crate") {
                seen += 1;
                if used != *room && !may.contains(&used.as_str()) {
                    wrong.push(format!("{}: {room} uses {used}", path.display()));
                }
            }
        }
    }
    assert!(seen > 50, "the test reads nothing");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn plugins_know_no_plan_and_no_state() {
    for name in ["dns", "discovery"] {
        let paths = files_below(&root().join("crates").join(name).join("src"), "rs");
        assert!(!paths.is_empty());
        for path in paths {
            for used in rooms_used(&code_of(&path), "freehold_core") {
                let fine = ["model", "plugins", "events", "host"].contains(&used.as_str());
                assert!(fine, "{}: uses {used}", path.display());
            }
        }
    }
}

#[test]
fn only_the_command_speaks_to_the_terminal_and_only_libvirt_is_unsafe() {
    for path in files_below(&root().join("crates"), "rs") {
        let (text, shown) = (code_of(&path), path.display().to_string());
        if !shown.contains("/host/libvirt/") && !shown.ends_with("house.rs") {
            assert!(!text.contains("unsafe {"), "{shown}: unsafe");
        }
        if shown.contains("/src/") && !shown.contains("/cli/") {
            for macro_ in ["println!(", "eprintln!(", "print!("] {
                assert!(!text.contains(macro_), "{shown}: {macro_}");
            }
        }
    }
}

#[test]
fn files_stay_readable() {
    for path in ["crates", "tests", "xtask"].iter().flat_map(|d| files_below(&root().join(d), "rs"))
    {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!["util.rs", "utils.rs", "helpers.rs"].contains(&name.as_str()), "{name}");
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut links = 0;
    for path in files_below(&root(), "md") {
        let text = fs::read_to_string(&path).unwrap();
        for piece in text.split("](").skip(1) {
            let target = piece.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let there = path.parent().unwrap().join(target);
            assert!(there.exists(), "{}: {target}", path.display());
        }
    }
    assert!(links >= 3);
}

#[test]
fn the_fleet_of_the_readme_loads() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let fleet = text.split("```hcl\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fleet.hcl"), fleet).unwrap();
    fs::create_dir(folder.path().join("keys")).unwrap();
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ alice";
    fs::write(folder.path().join("keys/alice.pub"), key).unwrap();
    let inputs = freehold_core::config::Inputs {
        variables: BTreeMap::new(),
        environment: std::sync::Arc::new(|name| (name == "PDNS_API_KEY").then(|| "secret".into())),
    };
    let fleet = freehold_core::config::load(folder.path(), &inputs)
        .unwrap_or_else(|problems| panic!("{}", problems.render()));
    assert_eq!(fleet.vms.len(), 2);
}
