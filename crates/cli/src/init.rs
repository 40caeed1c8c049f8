//! `freehold init`: begins a fleet and overwrites nothing.

use std::{fs, io::Write, path::Path};

use freehold_core::{
    config,
    model::FleetId,
    seed::Identity,
    state::{LocalStore, replace_file},
};

use crate::{
    args::{Args, Init},
    failure::{Exit, Failure},
    screen,
};

pub(crate) fn run(args: &Args, init: &Init) -> Result<Exit, Failure> {
    let directory = &args.directory;
    let failed = |what: String| move |error: std::io::Error| Failure::input(what).because(&error);
    fs::create_dir_all(directory)
        .map_err(failed(format!("cannot make {}", directory.display())))?;
    let identity = directory.join(LocalStore::DIRECTORY).join(Identity::FILE);
    let has_text = has_fleet(directory);
    if has_text && identity.exists() {
        return Err(Failure::input(format!("{} is a fleet already", directory.display()))
            .hint("`freehold check` reads it"));
    }
    if has_text && directory.join("freehold.lock").exists() {
        let what = "this fleet was applied with an identity secret that is not here";
        return Err(Failure::input(what).hint(format!(
            "put it back from your backup at {}: a new one would make every guest a stranger",
            identity.display()
        )));
    }
    if !has_text && directory.join("freehold.lock").exists() {
        return Err(Failure::input("freehold.lock is here without the fleet that it is of")
            .hint("put its *.hcl back: a fleet that begins anew gets another id"));
    }
    // First of all: the secret must never stand where git takes it.
    ignore(directory).map_err(failed("cannot write .gitignore".into()))?;
    LocalStore::make(directory)?;
    make_identity(&identity)?;
    screen::data(&format!("made {}: keep a copy of it in a safe place", identity.display()));
    if !has_text {
        let path = directory.join("fleet.hcl");
        let id = FleetId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
        let text = config::starter(&name_of(directory, init), id);
        replace_file(&path, text.as_bytes(), 0o644)
            .map_err(failed(format!("cannot write {}", path.display())))?;
        screen::data(&format!("made {}: say there what you want", path.display()));
    }
    screen::data("next: freehold check, then freehold plan");
    Ok(Exit::Done)
}

fn has_fleet(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "hcl"))
}

fn name_of(directory: &Path, init: &Init) -> String {
    let own = std::path::absolute(directory).ok();
    let own = own.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into());
    init.name.clone().or(own).unwrap_or_else(|| "home".to_owned())
}

fn make_identity(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    Identity::generate()
        .and_then(|identity| identity.save(path))
        .map_err(|error| Failure::input("cannot make the identity secret").because(&error))
}

/// Keeps the store out of git, beside whatever is kept out already.
fn ignore(directory: &Path) -> std::io::Result<()> {
    let path = directory.join(".gitignore");
    let line = format!("/{}/", LocalStore::DIRECTORY);
    let old = match fs::read_to_string(&path) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if old.lines().any(|known| known.trim() == line) {
        return Ok(());
    }
    let mut file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
    let gap = if old.is_empty() || old.ends_with('\n') { "" } else { "\n" };
    writeln!(file, "{gap}{line}")
}
