//! `freehold trash list`.

use freehold_core::plan::{Goal, Scope, TrashContent, TrashEntry, span};
use serde_json::{Value, json};

use super::{List, entries, totals};
use crate::{
    args::Args,
    context::{Context, Prepared},
    failure::{Exit, Failure, exit_of, tell_errors},
    screen::{self, Screen},
};

pub(super) async fn run(args: &Args, list: &List) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let snapshot = context.state.read().await?;
    let ask = (Goal::Converge, Scope::default());
    let prepared = Prepared::gather(&context, snapshot, ask, &Screen::new()).await?;
    let entries = entries(&prepared);
    if list.json {
        for entry in &entries {
            screen::data(&as_json(entry).to_string());
        }
    } else if entries.is_empty() {
        screen::data(match prepared.reached.errors.is_empty() {
            true => "nothing is in the trash",
            false => "nothing is in the trash of the hosts that were read",
        });
    } else {
        screen::data(&table(&entries));
        for (host, space) in totals(&prepared, &entries) {
            screen::data(&format!("{host}: {space}"));
        }
    }
    tell_errors(&prepared.reached.errors);
    Ok(exit_of(&prepared.reached.errors))
}

fn table(entries: &[TrashEntry]) -> String {
    screen::table(["ID", "AGE", "SPACE", "HOLDS"], entries.iter().map(row), &[2])
}

fn row(entry: &TrashEntry) -> [String; 4] {
    let age = entry.age.map_or_else(|| "unknown".to_owned(), span);
    [entry.id(), age, entry.used().rounded(), entry.words()]
}

fn as_json(entry: &TrashEntry) -> Value {
    let holds: Vec<_> = entry
        .holds
        .iter()
        .map(|item| {
            let (kind, disk) = match &item.content {
                TrashContent::Disk(disk) => ("disk", Some(disk.to_string())),
                TrashContent::Nvram => ("nvram", None),
                TrashContent::Definition(_) => ("definition", None),
            };
            json!({
                "kind": kind, "disk": disk, "name": item.name, "volume": item.volume,
                "size": item.size.bytes(), "used": item.used.bytes(),
            })
        })
        .collect();
    json!({
        "id": entry.id(), "host": entry.key.host, "stamp": entry.key.stamp,
        "serial": entry.key.serial, "vm": entry.vm, "uuid": entry.key.vm,
        "age_seconds": entry.age.map(|age| age.as_secs()), "retained": entry.is_young,
        "used": entry.used().bytes(), "holds": holds,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use freehold_core::{model::Size, plan::TrashItem};

    use super::{super::tests::key, *};

    fn entry() -> TrashEntry {
        let item = |content, volume: &str, used| TrashItem {
            content,
            name: format!("trash.20261122T121314Z.7.{volume}"),
            volume: volume.to_owned(),
            size: Size::from_mib(20 << 10),
            used,
        };
        let disk = TrashContent::Disk("root".parse().unwrap());
        TrashEntry {
            key: key(),
            vm: Some("web-0".parse().unwrap()),
            holds: vec![
                item(disk, "f.1234abcd.root.0", Size::from_mib(1536)),
                item(TrashContent::Nvram, "f.1234abcd.nvram", Size::from_mib(512)),
            ],
            age: Some(Duration::from_hours(50)),
            is_young: true,
        }
    }

    #[test]
    fn a_line_has_all_that_is_needed_to_choose() {
        let told = table(&[entry()]);
        let line = told.lines().last().unwrap();
        assert_eq!(line, "rack1/20261122T121314Z.7/web-0  2 days  2 GiB  root 20GiB, nvram");
    }

    #[test]
    fn programs_get_numbers() {
        let told = as_json(&entry());
        assert_eq!(told["used"], 2_147_483_648_u64);
        assert_eq!(told["holds"][0]["disk"], "root");
        assert_eq!((&told["retained"], &told["age_seconds"]), (&json!(true), &json!(180_000)));
    }
}
