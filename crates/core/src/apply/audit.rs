//! Everything `verify` asks, asked at once: clocks, servers, files. Nothing in it changes anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use uuid::Uuid;

use super::{
    Reached,
    prepare::{propose, trouble},
};
use crate::{
    host::HostError,
    model::{Fleet, HostName, SeedDigest, Vm},
    plan::{Draft, Finding, Goal, Looks, Scope, World, known_decisions, verify},
    plugins::{Plugin, PluginError},
    state::{Decisions, Snapshot, VmDecision},
};

/// What an audit is made from.
#[derive(Debug)]
pub struct Audit<'a> {
    /// The text.
    pub fleet: &'a Fleet,
    /// The state.
    pub snapshot: &'a Snapshot,
    /// The lock.
    pub lock: &'a Decisions,
    /// The hosts.
    pub reached: &'a Reached,
    /// What is published by.
    pub plugins: Vec<Arc<dyn Plugin>>,
    /// Plugins that cannot even ask.
    pub mute: Vec<PluginError>,
    /// Hosts whose keys a clone of the repository does not know, and where they are.
    pub unpinned: BTreeMap<HostName, String>,
}

impl Audit<'_> {
    /// Asks, and returns what is not as it should be, and why hosts could not be asked.
    pub async fn findings(self) -> (Vec<Finding>, Vec<HostError>) {
        let decisions = known_decisions(self.fleet, self.lock, self.snapshot);
        let hosts = &self.reached.hosts;
        // Of a world that is looked at and not planned for: no seed is compared, no id is given.
        let seed_digest = |_: &Vm, _: &VmDecision| SeedDigest::default();
        let fresh_id = |_: &HostName| Uuid::nil();
        let world = World {
            fleet: self.fleet,
            decisions: &decisions,
            snapshot: self.snapshot,
            lag: 0,
            observed: &self.reached.observed,
            goal: &Goal::Converge,
            scope: &Scope::default(),
            seed_digest: &seed_digest,
            fresh_id: &fresh_id,
            stamp: "",
        };
        let inventory = Draft::default().inventory(&world);
        let clocks = hosts.iter().map(async |(name, host)| (name.clone(), host.clock().await));
        let (clocks, proposals) = futures::join!(
            join_all(clocks),
            propose(&self.plugins, &inventory, &self.snapshot.published, hosts)
        );
        let named = self.plugins.iter().map(|plugin| plugin.name().to_owned());
        let mute = self.mute.iter().map(|error| error.plugin.clone());
        let plugins: BTreeSet<_> = named.chain(mute).collect();
        let mut looks = Looks { unpinned: self.unpinned, plugins, proposals, ..Looks::default() };
        looks.proposals.down.extend(self.mute.iter().map(|error| trouble(&error.plugin, error)));
        let mut errors = Vec::new();
        for (name, clock) in clocks {
            match clock {
                Ok(ahead) => drop(looks.clocks.insert(name, ahead)),
                Err(error) => errors.push(error),
            }
        }
        (verify(&world, &looks), errors)
    }
}
