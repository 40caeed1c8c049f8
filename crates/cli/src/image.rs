//! `freehold image`: what lies in hosts' pools, brought ahead of time, removed when nobody needs it.

use std::{collections::BTreeSet, sync::Arc};

use clap::Subcommand;
use freehold_core::{
    model::{HostName, ImageName},
    plan::{Consent, Goal, Scope, StoredImage, images},
};
use serde_json::json;

use crate::{
    args::Args,
    ask,
    carry::{carry_out, worst},
    context::{Context, Prepared},
    failure::{Exit, Failure, exit_of, tell_errors},
    plan::show,
    screen::{self, Output, Screen},
};

/// `image`.
#[derive(Debug, clap::Args)]
pub(crate) struct Image {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Show the images in hosts' pools, and who uses them
    List(List),
    /// Bring images to hosts ahead of time
    Pull(Pull),
    /// Remove images that this fleet brought, declares no more and nobody uses
    Prune(Prune),
}

/// `image list`.
#[derive(Debug, clap::Args)]
struct List {
    /// Write it to stdout as JSON, one image a line
    #[arg(long)]
    json: bool,
}

/// `image pull`.
#[derive(Debug, clap::Args)]
struct Pull {
    /// Images to bring [default: all that are declared]
    names: Vec<ImageName>,
    /// Only to this host; may be given several times [default: all]
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<HostName>,
    /// Write the plan and what happens to stdout as JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// `image prune`.
#[derive(Debug, clap::Args)]
struct Prune {
    /// Only on this host; may be given several times [default: all]
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<HostName>,
    /// Show which; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Write the plan and what happens to stdout as JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// `freehold image`.
pub(crate) async fn run(args: &Args, image: &Image) -> Result<Exit, Failure> {
    match &image.command {
        ImageCommand::List(asked) => list(args, asked).await,
        ImageCommand::Pull(asked) => pull(args, asked).await,
        ImageCommand::Prune(asked) => prune(args, asked).await,
    }
}

async fn list(args: &Args, asked: &List) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let snapshot = context.state.read().await?;
    let ask = (Goal::Converge, Scope::default());
    let prepared = Prepared::gather(&context, snapshot, ask, &Screen::new()).await?;
    let images = prepared.with_world(images);
    if asked.json {
        for image in &images {
            screen::data(&as_json(image).to_string());
        }
    } else if images.is_empty() {
        screen::data(match prepared.reached.errors.is_empty() {
            true => "no image is on any host",
            false => "no image is on the hosts that were read",
        });
    } else {
        screen::data(&table(&images));
    }
    tell_errors(&prepared.reached.errors);
    Ok(exit_of(&prepared.reached.errors))
}

fn table(images: &[StoredImage]) -> String {
    screen::table(["HOST", "IMAGE", "SPACE", "USED BY", "FILE"], images.iter().map(row), &[2])
}

fn row(image: &StoredImage) -> [String; 5] {
    let names: Vec<_> = image.names.iter().map(ToString::to_string).collect();
    let name = match (names.is_empty(), image.ours) {
        (false, _) => names.join(", "),
        (true, true) => "(not declared)".to_owned(),
        (true, false) => "(not this fleet's)".to_owned(),
    };
    let users = match image.users.len() {
        0 => "nothing".to_owned(),
        1 => "1 disk".to_owned(),
        more => format!("{more} disks"),
    };
    [image.host.to_string(), name, image.used.rounded(), users, image.volume.clone()]
}

fn as_json(image: &StoredImage) -> serde_json::Value {
    json!({
        "host": image.host, "file": image.volume, "names": image.names,
        "size": image.size.bytes(), "used": image.used.bytes(), "users": image.users,
        "ours": image.ours, "others": image.others,
    })
}

async fn pull(args: &Args, asked: &Pull) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let declared = &context.fleet.images;
    if let Some(name) = asked.names.iter().find(|name| !declared.contains_key(*name)) {
        let names: Vec<_> = declared.keys().map(ToString::to_string).collect();
        return Err(Failure::input(format!("no image is named {name}"))
            .hint(format!("declared are: {}", names.join(", "))));
    }
    let names: BTreeSet<_> = match asked.names.as_slice() {
        [] => declared.keys().cloned().collect(),
        names => names.iter().cloned().collect(),
    };
    let begun = begin(&context, &asked.hosts)?;
    let mut session = context.begin("freehold image pull").await?;
    let output = Arc::new(Output::of(asked.json));
    let ask = (Goal::Pull(names), begun);
    let mut prepared = Prepared::gather(&context, session.snapshot.clone(), ask, &*output).await?;
    keep_errors(&mut prepared, &asked.hosts);
    let plan = prepared.plan().await;
    tell_errors(&prepared.reached.errors);
    if plan.is_empty() && plan.held.is_empty() {
        output.say("nothing to bring: the images are there");
        return Ok(exit_of(&prepared.reached.errors));
    }
    show(&plan, &output);
    carry_out(prepared, plan, &Consent::default(), &mut session, output).await
}

async fn prune(args: &Args, asked: &Prune) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let begun = begin(&context, &asked.hosts)?;
    let mut session = context.begin("freehold image prune").await?;
    let output = Arc::new(Output::of(asked.json));
    let ask = (Goal::Prune, begun);
    let mut prepared = Prepared::gather(&context, session.snapshot.clone(), ask, &*output).await?;
    keep_errors(&mut prepared, &asked.hosts);
    let plan = prepared.plan().await;
    tell_errors(&prepared.reached.errors);
    if plan.is_empty() && plan.held.is_empty() {
        output.say("nothing to remove: every image of this fleet is declared or in use");
        return Ok(exit_of(&prepared.reached.errors));
    }
    show(&plan, &output);
    if asked.dry_run || plan.is_empty() {
        let held = if plan.held.is_empty() { Exit::Done } else { Exit::Part };
        return Ok(worst(&[held, exit_of(&prepared.reached.errors)]));
    }
    if !asked.yes && !ask::agrees("Remove them?", "image prune --yes") {
        return Ok(Exit::Held);
    }
    carry_out(prepared, plan, &Consent::default(), &mut session, output).await
}

/// Returns the part of the fleet that is meant.
fn begin(context: &Context, hosts: &[HostName]) -> Result<Scope, Failure> {
    let declared = &context.fleet.hosts;
    if let Some(host) = hosts.iter().find(|host| !declared.contains_key(*host)) {
        return Err(Failure::input(format!("no host is named {host}")));
    }
    let hosts = (!hosts.is_empty()).then(|| hosts.iter().cloned().collect());
    Ok(Scope { hosts, ..Scope::default() })
}

/// Errors of hosts that are not meant do not matter.
fn keep_errors(prepared: &mut Prepared<'_>, hosts: &[HostName]) {
    let matters = |host: &_| hosts.is_empty() || hosts.contains(host);
    prepared.reached.errors.retain(|error| matters(&error.host));
}

#[cfg(test)]
mod tests {
    use freehold_core::model::Size;

    use super::*;

    #[test]
    fn a_line_says_what_it_is_and_who_needs_it() {
        let image = StoredImage {
            host: "rack1".parse().unwrap(),
            volume: "image.sha256-00.qcow2".to_owned(),
            names: vec!["debian".parse().unwrap(), "stable".parse().unwrap()],
            size: Size::from_mib(2048),
            used: Size::from_mib(300),
            users: vec!["a".to_owned(), "b".to_owned()],
            ours: true,
            others: false,
        };
        let told = table(&[image.clone(), StoredImage { names: Vec::new(), ..image.clone() }]);
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines[1], "rack1  debian, stable  300 MiB  2 disks  image.sha256-00.qcow2");
        assert!(lines[2].contains("(not declared)"));
        let told = as_json(&image);
        assert_eq!((&told["used"], &told["users"]), (&json!(314_572_800), &json!(["a", "b"])));
    }
}
