//! The plugin for `PowerDNS` Authoritative.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use freehold_core::{
    model::{DnsServer, DnsServerKind, DomainName, Edit, EditKey, Fleet, FleetId, Inventory, Zone},
    plugins::{Hosts, Plugin, PluginError, PluginErrorKind, Proposal, Published},
};
use tokio::time::Instant;

use crate::{
    api::{Api, ApiError, PATIENCE},
    ask::{AskError, NameServer},
    ownership::{Shelf, change_for, compare, ledger, spot_of},
    records::{Refusal, Served, wanted},
    reverse::is_reverse,
    verify::unshown,
    wire::{Change, ZoneEntry, batches, zone_body},
};

/// Well below `webserver-max-bodysize` (2 MB by default), past which there is a bare 400.
const BATCH: usize = 1_000_000;
/// How long a record may take to show.
const SHOWN_WITHIN: Duration = Duration::from_secs(15);

/// One `PowerDNS` server with all zones the fleet has on it.
#[derive(Debug)]
pub struct PowerDns {
    name: String,
    fleet: FleetId,
    server: DnsServer,
    zones: Vec<Zone>,
    api: Api,
    shown_within: Duration,
}

impl PowerDns {
    /// Prepares the plugin `dns <label>`; asks nobody. A TLS provider must be installed.
    pub fn new(fleet: &Fleet, server: &DnsServer) -> Result<Self, PluginError> {
        Self::with_patience(fleet, server, PATIENCE, SHOWN_WITHIN)
    }

    fn with_patience(
        fleet: &Fleet,
        server: &DnsServer,
        patience: Duration,
        shown_within: Duration,
    ) -> Result<Self, PluginError> {
        let name = format!("dns {}", server.name);
        let DnsServerKind::PowerDns { url, api_key } = &server.kind;
        let api = Api::new(url, api_key.clone(), patience)
            .map_err(|error| failure(&name, "use its API", error))?;
        let zones = fleet.zones.values().filter(|zone| zone.server == server.name);
        Ok(Self {
            fleet: fleet.id,
            server: server.clone(),
            zones: zones.cloned().collect(),
            api,
            shown_within,
            name,
        })
    }

    fn failed(&self, act: impl Into<String>, error: ApiError) -> PluginError {
        failure(&self.name, act, error)
    }

    fn refused(&self, refusal: Refusal) -> PluginError {
        PluginError {
            plugin: self.name.clone(),
            act: refusal.act,
            kind: refusal.kind,
            hint: refusal.hint,
            source: refusal.reason.into(),
        }
    }

    async fn served(&self) -> Result<Served, PluginError> {
        let zones = self.api.zones().await.map_err(|error| self.failed("list its zones", error))?;
        // A name we could not have in a fleet (RFC 2317: `0/26.2.0.192…`) is no zone for us.
        let named = zones.into_iter().filter_map(|zone| Some((zone.name.parse().ok()?, zone)));
        Ok(named.collect())
    }

    async fn publish_zone(&self, zone: &DomainName, edits: &[&Edit]) -> Vec<PluginError> {
        match self.try_publish_zone(zone, edits).await {
            Ok(refused) => refused.into_iter().map(|refusal| self.refused(refusal)).collect(),
            Err(error) => vec![self.failed(format!("write into zone {zone}"), error)],
        }
    }

    /// Reads what stands there now, so that nothing that came in since the plan is overwritten and
    /// nothing is written twice, and sends the rest.
    async fn try_publish_zone(
        &self,
        zone: &DomainName,
        edits: &[&Edit],
    ) -> Result<Vec<Refusal>, ApiError> {
        let entry = match self.api.zone(&zone.fqdn()).await? {
            Some(entry) => entry,
            None if edits.iter().all(|edit| edit.new.is_empty()) => return Ok(Vec::new()),
            None => assumed(zone),
        };
        let only = match edits {
            [edit] => spot_of(&edit.key).map(|(spot, _)| spot.name.fqdn()),
            _ => None,
        };
        let body = self.api.rrsets(&entry.id, only.as_deref()).await?;
        let shelf = Shelf::new(zone, &body.rrsets);
        let (changes, refused) = sorted_out(edits, self.fleet, &shelf);
        for batch in batches(&changes, BATCH) {
            self.api.patch(&entry.id, batch).await?;
        }
        if !changes.is_empty()
            && entry.is_primary()
            && let Err(error) = self.api.notify(&entry.id).await
        {
            tracing::warn!(%zone, %error, "secondaries were not notified");
        }
        Ok(refused)
    }
}

/// Returns an entry whose request will say that the zone is missing.
fn assumed(zone: &DomainName) -> ZoneEntry {
    ZoneEntry { id: zone.fqdn(), name: zone.fqdn(), kind: String::new() }
}

/// Returns what to send, removals first (an A cannot follow a CNAME that is still there).
fn sorted_out(edits: &[&Edit], fleet: FleetId, shelf: &Shelf<'_>) -> (Vec<Change>, Vec<Refusal>) {
    let (mut changes, mut refused) = (Vec::new(), Vec::new());
    let (removals, rest): (Vec<_>, Vec<_>) = edits.iter().partition(|edit| edit.new.is_empty());
    for edit in removals.into_iter().chain(rest) {
        match change_for(edit, fleet, shelf) {
            Ok(change) => changes.extend(change),
            Err(refusal) => refused.push(refusal),
        }
    }
    (changes, refused)
}

fn failure(plugin: &str, act: impl Into<String>, error: ApiError) -> PluginError {
    PluginError {
        plugin: plugin.to_owned(),
        act: act.into(),
        kind: error.kind(),
        hint: error.hint(),
        source: error.into(),
    }
}

#[async_trait]
impl Plugin for PowerDns {
    fn name(&self) -> &str {
        &self.name
    }

    async fn propose(
        &self,
        inventory: &Inventory,
        published: &Published,
        _hosts: &Hosts,
    ) -> Result<Proposal, PluginError> {
        let served = self.served().await?;
        let wanted = wanted(inventory, &self.zones, &served);
        let ledger = ledger(&self.name, published);
        let mut proposal = Proposal::default();
        proposal.edits.extend(wanted.zones.iter().map(|(zone, nameservers)| Edit {
            plugin: self.name.clone(),
            vm: None,
            key: EditKey::Zone { zone: zone.clone() },
            old: Vec::new(),
            new: nameservers.iter().map(DomainName::to_string).collect(),
        }));
        proposal.refused.extend(wanted.refused.into_iter().map(|refusal| self.refused(refusal)));

        let spots = wanted.rrsets.keys().chain(ledger.keys());
        let zones: BTreeSet<_> = spots.map(|spot| &spot.zone).collect();
        for zone in zones {
            // A zone that is not there yet holds nothing; one that went holds nothing of ours.
            let rrsets = match served.get(zone) {
                None => Vec::new(),
                Some(entry) => match self.api.rrsets(&entry.id, None).await {
                    Ok(body) => body.rrsets,
                    Err(error) if error.is_missing() => Vec::new(),
                    Err(error) => {
                        proposal.refused.push(self.failed(format!("read zone {zone}"), error));
                        continue;
                    }
                },
            };
            let shelf = Shelf::new(zone, &rrsets);
            let found = compare(&self.name, self.fleet, &shelf, &wanted.rrsets, &ledger);
            proposal.edits.extend(found.edits);
            proposal.present.extend(found.present);
            proposal.refused.extend(found.refused.into_iter().map(|refusal| self.refused(refusal)));
        }
        Ok(proposal)
    }

    async fn ours(&self, _hosts: &Hosts) -> Result<Vec<(EditKey, Vec<String>)>, PluginError> {
        let served = self.served().await?;
        let declared = |zone: &DomainName| self.zones.iter().any(|known| known.domain == *zone);
        let mut ours = Vec::new();
        for (zone, entry) in served.iter().filter(|(zone, _)| declared(zone) || is_reverse(zone)) {
            let body = self.api.rrsets(&entry.id, None).await;
            let body = body.map_err(|error| self.failed(format!("read zone {zone}"), error))?;
            ours.extend(Shelf::new(zone, &body.rrsets).all_ours(self.fleet));
        }
        Ok(ours)
    }

    async fn publish(&self, edits: &[Edit], _hosts: &Hosts) -> Result<(), PluginError> {
        let mut failures = Vec::new();
        let mut by_zone: BTreeMap<&DomainName, Vec<&Edit>> = BTreeMap::new();
        for edit in edits {
            match &edit.key {
                EditKey::Zone { zone } => {
                    let nameservers: Vec<_> =
                        edit.new.iter().filter_map(|name| name.parse().ok()).collect();
                    if let Err(error) = self.api.create_zone(&zone_body(zone, &nameservers)).await {
                        failures.push(self.failed(format!("make zone {zone}"), error));
                    }
                }
                EditKey::Rrset { zone, .. } => by_zone.entry(zone).or_default().push(edit),
                EditKey::Target { .. } => {}
            }
        }
        for (zone, edits) in by_zone {
            failures.extend(self.publish_zone(zone, &edits).await);
        }
        let mut failures = failures.into_iter();
        let first = failures.next();
        for error in failures {
            let reason = error.source.to_string();
            tracing::warn!(%error, reason, "another change was not published");
        }
        first.map_or(Ok(()), Err)
    }

    async fn verify(&self, edits: &[Edit], hosts: &Hosts) -> Result<bool, PluginError> {
        if edits.is_empty() {
            return Ok(true);
        }
        let deadline = Instant::now() + self.shown_within;
        let server = match NameServer::reach(&self.server, hosts).await {
            Ok(server) => server,
            Err(error @ (AskError::Resolve(..) | AskError::Unreachable(_))) => {
                tracing::info!(plugin = self.name, %error, "not verified");
                return Ok(false);
            }
            Err(error) => {
                return Err(PluginError {
                    plugin: self.name.clone(),
                    act: "ask it over DNS".to_owned(),
                    kind: PluginErrorKind::Unreachable,
                    hint: None,
                    source: error.into(),
                });
            }
        };
        let mut failures = unshown(&server, edits, deadline).await.into_iter();
        let Some(first) = failures.next() else {
            return Ok(true);
        };
        let more = failures.len();
        let count = if more == 0 { String::new() } else { format!(" and {more} more") };
        Err(PluginError {
            plugin: self.name.clone(),
            act: format!("see all records by DNS within {} s{count}", self.shown_within.as_secs()),
            kind: PluginErrorKind::NotShown,
            hint: None,
            source: first.into(),
        })
    }
}

#[cfg(test)]
#[path = "powerdns_tests.rs"]
mod tests;
