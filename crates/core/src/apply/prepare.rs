//! Everything a plan is made from, gathered: hosts reached and read, plugins asked.

use std::sync::Arc;

use futures::future::join_all;

use super::{
    causes_of,
    look::{self, Looked, Opening},
};
use crate::{
    events::Listener,
    host::{Host, HostError},
    model::{EditKey, Fleet, HostName, Inventory, Observed},
    plan::{Proposals, Trouble, TroubleKind},
    plugins::{Hosts, Plugin, PluginError, PluginErrorKind, Proposal, Published},
    state::Fact,
};

/// Opens a conversation with a host.
pub type Connect<'a> = Opening<'a, Arc<dyn Host>>;

/// What was reached.
#[derive(Debug, Default)]
pub struct Reached {
    /// Hosts that were read completely.
    pub hosts: Hosts,
    /// What was seen of all of them.
    pub observed: Observed,
    /// Why the others were not.
    pub errors: Vec<HostError>,
}

/// Connects to every host of the fleet at once and reads it.
pub async fn reach(fleet: &Fleet, connect: Connect<'_>, listener: &dyn Listener) -> Reached {
    let (hosts, Looked { observed, errors }) = look::read(fleet, connect, listener).await;
    Reached { hosts, observed, errors }
}

/// Asks all plugins at once what they want to change.
pub async fn propose(
    plugins: &[Arc<dyn Plugin>],
    inventory: &Inventory,
    published: &Published,
    hosts: &Hosts,
) -> Proposals {
    let asked = plugins.iter().map(|plugin| async move {
        (plugin.name().to_owned(), plugin.propose(inventory, published, hosts).await)
    });
    let mut proposals = Proposals::default();
    for (plugin, answer) in join_all(asked).await {
        match answer {
            Ok(proposal) => {
                proposals.present.extend(gone(&plugin, &proposal, published));
                proposals.edits.extend(proposal.edits);
                proposals.present.extend(facts(&plugin, proposal.present));
                let refused = proposal.refused.iter().map(|error| trouble(&plugin, error));
                proposals.refused.extend(refused);
            }
            Err(error) if error.kind == PluginErrorKind::Foreign => {
                proposals.refused.push(trouble(&plugin, &error));
            }
            // Not read is pending, whether the server was silent, did not know us or was broken.
            Err(error) => proposals.down.push(trouble(&plugin, &error)),
        }
    }
    proposals
}

/// Asks all plugins at once what of ours is there, wanted or not: [`Proposals::present`] says it.
pub async fn published(plugins: &[Arc<dyn Plugin>], hosts: &Hosts) -> Proposals {
    let asked = plugins
        .iter()
        .map(|plugin| async move { (plugin.name().to_owned(), plugin.ours(hosts).await) });
    let mut proposals = Proposals::default();
    for (plugin, answer) in join_all(asked).await {
        match answer {
            Ok(ours) => proposals.present.extend(facts(&plugin, ours)),
            Err(error) => proposals.down.push(trouble(&plugin, &error)),
        }
    }
    proposals
}

fn facts(plugin: &str, there: Vec<(EditKey, Vec<String>)>) -> impl Iterator<Item = Fact> {
    there.into_iter().map(move |(key, values)| Fact::Published {
        plugin: plugin.to_owned(),
        key,
        values,
    })
}

/// What was published, is not there and nobody wants back: a run was killed after taking it away.
/// Only a server that was read without any refusal says so; unknown is not empty.
fn gone(plugin: &str, proposal: &Proposal, published: &Published) -> Vec<Fact> {
    let stays = |key: &EditKey| {
        proposal.edits.iter().any(|edit| edit.key.same_place(key))
            || proposal.present.iter().any(|(present, _)| present.same_place(key))
    };
    let ours = published.keys().filter(|(owner, _)| owner == plugin).map(|(_, key)| key);
    let gone = ours.filter(|key| proposal.refused.is_empty() && !stays(key));
    gone.map(|key| Fact::Published {
        plugin: plugin.to_owned(),
        key: key.clone(),
        values: Vec::new(),
    })
    .collect()
}

pub(super) fn trouble(plugin: &str, error: &PluginError) -> Trouble {
    let kind = match error.kind {
        PluginErrorKind::Foreign => TroubleKind::Foreign,
        PluginErrorKind::Unreachable => TroubleKind::Unread,
        _ => TroubleKind::Refused,
    };
    let (plugin, causes, hint) = (plugin.to_owned(), causes_of(error), error.hint.clone());
    Trouble { plugin, kind, causes, hint }
}

impl Reached {
    /// Returns the names of hosts that were not read.
    pub fn missing(&self) -> Vec<&HostName> {
        self.errors.iter().map(|error| &error.host).collect()
    }
}
