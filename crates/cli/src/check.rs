//! `freehold check`: the text and the lock, no host.

use crate::{
    args::Args,
    context::Context,
    failure::{Exit, Failure},
    screen::{self, counted},
};

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    context.lock.read()?;
    let fleet = &context.fleet;
    screen::data(&format!(
        "fleet {}: {}, {}, {}, {}, {}: no mistake found",
        fleet.name,
        counted(fleet.hosts.len(), "host"),
        counted(fleet.networks.len(), "network"),
        counted(fleet.images.len(), "image"),
        counted(fleet.vms.len(), "vm"),
        counted(fleet.zones.len(), "zone"),
    ));
    Ok(Exit::Done)
}
