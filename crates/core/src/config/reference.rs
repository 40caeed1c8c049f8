//! The reference page of the language, from the tables that drive it.

use std::fmt::Write as _;

use super::{
    functions::FUNCTIONS,
    schema::{Absent, LANGUAGE, Schema},
};
use crate::model::Field;

/// Returns the reference page of the language as Markdown.
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for block in LANGUAGE.blocks {
        section(&mut page, block, "", 2);
    }
    page.push_str("\n## Functions\n\n| Function | Returns |\n|---|---|\n");
    for function in FUNCTIONS {
        row(&mut page, &[&code(function.usage), function.about]);
    }
    page
}

const HEAD: &str = "# The fleet file\n\n\
    <!-- Made from the tables in crates/core/src/config and crates/core/src/model/field.rs. -->\n\n\
    All `*.hcl` files of a directory are one fleet. Sizes are whole numbers with a unit: `512MiB`,\n\
    `20GiB`. Times are too: `60s`, `5m`, `1h`. Unknown words are mistakes.\n\n\
    *Change* says what changing the key of an existing VM does: `live`, `restart`, `rebuild` (the VM\n\
    is made again) or `data-loss`; `-` where it is not about an existing VM.\n";

fn section(page: &mut String, block: &Schema, path: &str, level: usize) {
    let marks = "#".repeat(level);
    let inside = if path.is_empty() { String::new() } else { " in `vm`".to_owned() };
    let head = block.head();
    writeln!(page, "\n{marks} `{head}`{inside}\n\n{}", block.about).ok();
    // Only what is about a VM has a class.
    let path = match (block.kind, path) {
        ("vm", "") => "vm".to_owned(),
        (_, "") => String::new(),
        (kind, path) => format!("{path}.{kind}"),
    };
    if let Some(class) = class(&path, "") {
        writeln!(page, "\nAdding or removing one on an existing VM: {class}.").ok();
    }
    if !block.keys.is_empty() {
        page.push_str("\n| Key | Value | Default | Meaning | Change |\n|---|---|---|---|---|\n");
    }
    for key in block.keys {
        let default = match key.default {
            Absent::Required => "required".to_owned(),
            Absent::Nothing => "-".to_owned(),
            Absent::Is(text) if text.starts_with(['"', '[', '{']) && !text.contains(' ') => {
                code(text)
            }
            Absent::Is(text) => text.to_owned(),
        };
        let class = class(&path, key.name).unwrap_or_else(|| "-".to_owned());
        row(page, &[&code(key.name), key.holds, &default, key.about, &class]);
    }
    for inner in block.blocks {
        section(page, inner, &path, level + 1);
    }
}

fn class(path: &str, key: &str) -> Option<String> {
    let below = path.strip_prefix("vm")?.trim_start_matches('.');
    let whole = [below, key].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>();
    let field = Field::of(&whole.join("."))?;
    let later = if field.changeable { "" } else { "; cannot be changed yet" };
    Some(format!("`{}`{later}", field.impact))
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    writeln!(page, "| {} |", cells.join(" | ")).ok();
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    #[test]
    fn the_page_in_the_docs_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/fleet.md");
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, reference()).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap();
        assert!(there == reference(), "run the test with UPDATE_DOCS=1 to write {path:?}");
    }

    #[test]
    fn every_key_of_a_vm_has_its_class() {
        let vm = LANGUAGE.block("vm").unwrap();
        let mut paths: Vec<String> =
            vm.keys.iter().map(|key| key.name.to_owned()).filter(|key| key != "count").collect();
        for block in vm.blocks {
            paths.push(block.kind.to_owned());
            paths.extend(block.keys.iter().map(|key| format!("{}.{}", block.kind, key.name)));
        }
        let fields: Vec<_> = Field::ALL.iter().map(|field| field.path.to_owned()).collect();
        assert_eq!(paths, fields);
    }
}
