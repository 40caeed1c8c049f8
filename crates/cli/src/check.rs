//! `freehold check`: the text and the lock, no host.

use crate::{
    args::Args,
    context::Context,
    failure::{Exit, Failure},
    screen,
};

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    context.lock.read()?;
    let fleet = &context.fleet;
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    screen::data(&format!(
        "fleet {}: {}, {}, {}, {}, {}: no mistake found",
        fleet.name,
        count(fleet.hosts.len(), "host"),
        count(fleet.networks.len(), "network"),
        count(fleet.images.len(), "image"),
        count(fleet.vms.len(), "vm"),
        count(fleet.zones.len(), "zone"),
    ));
    Ok(Exit::Done)
}
