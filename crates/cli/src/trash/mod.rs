//! `freehold trash`: what was removed, how it comes back, how it is destroyed.

mod empty;
mod list;
mod restore;

use std::time::Duration;

use clap::Subcommand;
use freehold_core::{
    config,
    model::{DiskName, HostName},
    plan::{TrashEntry, TrashSpace},
};

use crate::{
    args::{Args, Manner},
    context::Prepared,
    failure::{Exit, Failure},
};

/// `trash`.
#[derive(Debug, clap::Args)]
pub(crate) struct Trash {
    #[command(subcommand)]
    command: TrashCommand,
}

#[derive(Debug, Subcommand)]
enum TrashCommand {
    /// Show what was removed, the newest last, and what it takes
    List(List),
    /// Bring a VM back as it was, switched off; or one of its disks
    Restore(Restore),
    /// Destroy what is older than `retain`, or what is named
    Empty(Empty),
}

/// `trash list`.
#[derive(Debug, clap::Args)]
struct List {
    /// Write it to stdout as JSON, one entry a line
    #[arg(long)]
    json: bool,
}

/// `trash restore`.
#[derive(Debug, clap::Args)]
struct Restore {
    /// Entry as `trash list` calls it, or a VM of which there is just one
    #[arg(value_name = "ID|VM")]
    name: String,
    /// Bring back this disk only: it lies in the pool, kept, until a block of its VM names it
    #[arg(long, value_name = "NAME")]
    disk: Option<DiskName>,
    /// Write the plan and what happens to stdout as JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// `trash empty`.
#[derive(Debug, clap::Args)]
struct Empty {
    /// Entries as `trash list` calls them, however young [default: all that are old enough]
    #[arg(value_name = "ID")]
    names: Vec<String>,
    /// Only what is older than this, as `7d` [default: `retain` of the fleet]
    #[arg(long, value_name = "TIME", value_parser = config::time)]
    older_than: Option<Duration>,
    /// Only what is on this host; may be given several times
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<HostName>,
    #[command(flatten)]
    manner: Manner,
}

/// `freehold trash`.
pub(crate) async fn run(args: &Args, trash: &Trash) -> Result<Exit, Failure> {
    match &trash.command {
        TrashCommand::List(list) => list::run(args, list).await,
        TrashCommand::Restore(restore) => restore::run(args, restore).await,
        TrashCommand::Empty(empty) => empty::run(args, empty).await,
    }
}

/// Returns what lies in the trash of the hosts that were read, by host, the newest last.
fn entries(prepared: &Prepared<'_>) -> Vec<TrashEntry> {
    prepared.with_world(freehold_core::plan::trash)
}

/// Returns what the trash of each host takes.
fn totals(prepared: &Prepared<'_>, entries: &[TrashEntry]) -> Vec<(HostName, TrashSpace)> {
    let retain = prepared.context.fleet.retain;
    let of_host = |host: &HostName| {
        let here = entries.iter().filter(|entry| entry.key.host == *host).cloned();
        let here: Vec<_> = here.collect();
        Some((host.clone(), TrashSpace::of(&here, retain)?))
    };
    prepared.context.fleet.hosts.keys().filter_map(of_host).collect()
}

/// An id that names nothing, or too much.
fn no_entry(prepared: &Prepared<'_>, name: &str) -> Failure {
    let failure = Failure::input(format!("nothing in the trash is called {name}"));
    match prepared.reached.missing().as_slice() {
        [] => failure.hint("`freehold trash list` shows what is there"),
        hosts => {
            let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            failure.hint(format!("not read, so it may be there: {}", hosts.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use freehold_core::plan::TrashKey;

    use super::*;
    use crate::args::Command;

    pub(super) fn key() -> TrashKey {
        TrashKey {
            host: "rack1".parse().unwrap(),
            stamp: "20261122T121314Z".into(),
            serial: 7,
            vm: "1234abcd".into(),
        }
    }

    fn parsed(line: &str) -> Result<TrashCommand, clap::Error> {
        let words = std::iter::once("freehold").chain(line.split_whitespace());
        match Args::try_parse_from(words)?.command {
            Command::Trash(trash) => Ok(trash.command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn restores_by_id_or_name_and_one_disk() {
        let line = "trash restore rack1/20261122T121314Z.7/web-0 --disk data";
        let Ok(TrashCommand::Restore(restore)) = parsed(line) else { panic!("{line}") };
        assert_eq!(restore.name, "rack1/20261122T121314Z.7/web-0");
        assert_eq!(restore.disk, Some("data".parse().unwrap()));
        assert!(parsed("trash restore").is_err());
        assert!(parsed("trash restore web-0 --disk No").is_err());
    }

    #[test]
    fn empties_what_is_old_or_named() {
        let line = "trash empty a b --older-than 7d --host rack1 --host rack2 --yes";
        let Ok(TrashCommand::Empty(empty)) = parsed(line) else { panic!("{line}") };
        assert_eq!((empty.names.len(), empty.hosts.len(), empty.manner.yes), (2, 2, true));
        assert_eq!(empty.older_than, Some(Duration::from_hours(7 * 24)));
        assert!(parsed("trash empty --older-than 7").is_err(), "a time has a unit");
        assert!(matches!(parsed("trash list --json"), Ok(TrashCommand::List(List { json: true }))));
        assert!(parsed("trash").is_err());
    }
}
