//! The plugin for a `file_sd` file of Prometheus.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use freehold_core::{
    host::Files,
    model::{
        DomainName, Edit, EditKey, Fleet, FleetId, Inventory, Place, TargetFile, VmName, ZoneName,
    },
    plugins::{Hosts, Plugin, PluginError, PluginErrorKind, Proposal, Published},
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{
    file::{Content, apply, compare, everything, parse, rendered},
    groups::wanted,
    place::{self, Medium, PlaceError},
    prometheus::{Prometheus, PrometheusError, Way, unshown},
};

/// Prometheus looks at a changed file at most every 5 s.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One target file.
#[derive(Debug)]
pub struct FileSd {
    name: String,
    fleet: FleetId,
    file: TargetFile,
    medium: Medium,
    zones: BTreeMap<ZoneName, DomainName>,
    prometheus: Option<Prometheus>,
    /// Reading and writing the file is one act.
    writing: Mutex<()>,
    shown_within: Duration,
}

impl FileSd {
    /// Prepares the plugin `prometheus <label>`; touches nothing. A TLS provider must be installed
    /// where the file has a `url`. `guest` is the VM that a file lies on, when it lies on one.
    pub fn new(
        fleet: &Fleet,
        file: &TargetFile,
        guest: Option<Arc<dyn Files>>,
    ) -> Result<Self, PluginError> {
        let name = format!("prometheus {}", file.name);
        let (medium, beside) = match &file.on {
            Place::Here => (Medium::Here, None),
            Place::Host(host) => (Medium::Host(host.clone()), Some(host.clone())),
            Place::Vm(vm) => (Medium::Guest(guest.ok_or_else(|| no_guest(&name, vm))?), None),
        };
        let prometheus = file.url.as_deref().map(|url| Prometheus::new(url, beside)).transpose();
        let zones = fleet.zones.values().map(|zone| (zone.name.clone(), zone.domain.clone()));
        Ok(Self {
            fleet: fleet.id,
            file: file.clone(),
            medium,
            zones: zones.collect(),
            prometheus: prometheus.map_err(|error| at_prometheus(&name, "use its `url`", error))?,
            writing: Mutex::new(()),
            shown_within: SHOWN_WITHIN,
            name,
        })
    }

    /// Returns what the file holds, where it is ours.
    async fn content(&self, hosts: &Hosts) -> Result<Content, PluginError> {
        let path = &self.file.path;
        let bytes = place::read(&self.medium, path, hosts).await;
        let bytes = bytes.map_err(|error| at_place(&self.name, format!("read {path}"), error))?;
        parse(bytes.as_deref(), self.fleet).map_err(|foreign| {
            let hint = "give it a `path` of its own; what others wrote is never overwritten";
            self.failure(
                format!("write targets into {path}"),
                PluginErrorKind::Foreign,
                Some(hint.to_owned()),
                foreign.into(),
            )
        })
    }

    fn failure(
        &self,
        act: impl Into<String>,
        kind: PluginErrorKind,
        hint: Option<String>,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> PluginError {
        PluginError { plugin: self.name.clone(), act: act.into(), kind, hint, source }
    }

    /// Says whether the file itself is as the edits want.
    async fn is_written(&self, edits: &[Edit], hosts: &Hosts) -> Result<bool, PluginError> {
        let mut content = match self.content(hosts).await {
            Ok(content) => content,
            Err(error) if error.kind == PluginErrorKind::Unreachable => return Ok(false),
            Err(error) => return Err(error),
        };
        let differs = apply(&mut content, edits).map_err(|error| self.odd_edit(error))?;
        if differs {
            return Err(self.failure(
                format!("find the targets in {}", self.file.path),
                PluginErrorKind::NotShown,
                None,
                "the file does not hold what was written into it".into(),
            ));
        }
        Ok(true)
    }

    fn odd_edit(&self, error: serde_json::Error) -> PluginError {
        self.failure("read its own edits", PluginErrorKind::Refused, None, error.into())
    }

    /// Asks Prometheus until it shows the edits.
    async fn is_scraped(
        &self,
        prometheus: &Prometheus,
        edits: &[Edit],
        hosts: &Hosts,
    ) -> Result<bool, PluginError> {
        let deadline = Instant::now() + self.shown_within;
        let Some(way) = self.way_to(prometheus, hosts).await? else {
            return Ok(false);
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let shown = prometheus.targets(&way).await.map(|targets| unshown(edits, &targets));
            if shown.as_ref().is_ok_and(BTreeSet::is_empty) {
                return Ok(true);
            }
            if Instant::now() + pause >= deadline {
                return Err(match shown {
                    Ok(missing) => self.not_shown(&missing),
                    Err(error) => at_prometheus(&self.name, "ask Prometheus", error),
                });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn way_to(
        &self,
        prometheus: &Prometheus,
        hosts: &Hosts,
    ) -> Result<Option<Way>, PluginError> {
        for way in prometheus.ways(hosts).await {
            match prometheus.targets(&way).await {
                Ok(_) => return Ok(Some(way)),
                Err(error) if error.kind() == PluginErrorKind::Unreachable => {
                    tracing::debug!(?way, %error, "no way to Prometheus");
                }
                Err(error) => return Err(at_prometheus(&self.name, "ask Prometheus", error)),
            }
        }
        Ok(None)
    }

    fn not_shown(&self, missing: &BTreeSet<String>) -> PluginError {
        let hint = format!(
            "`file_sd_configs` of Prometheus must name {}; see also `sd_file` in its log",
            self.file.path
        );
        self.failure(
            format!("see all targets in Prometheus within {} s", self.shown_within.as_secs()),
            PluginErrorKind::NotShown,
            Some(hint),
            missing.iter().map(String::as_str).collect::<Vec<_>>().join(", ").into(),
        )
    }
}

fn at_place(plugin: &str, act: String, error: PlaceError) -> PluginError {
    PluginError {
        plugin: plugin.to_owned(),
        act,
        kind: error.kind(),
        hint: error.hint(),
        source: error.into(),
    }
}

fn no_guest(plugin: &str, vm: &VmName) -> PluginError {
    PluginError {
        plugin: plugin.to_owned(),
        act: format!("reach vm {vm}"),
        kind: PluginErrorKind::Refused,
        hint: Some("give it a NIC whose address freehold knows".to_owned()),
        source: "it has no address that is known".into(),
    }
}

fn at_prometheus(plugin: &str, act: &str, error: PrometheusError) -> PluginError {
    let refused = error.kind() == PluginErrorKind::Refused;
    PluginError {
        plugin: plugin.to_owned(),
        act: act.to_owned(),
        kind: error.kind(),
        hint: refused.then(|| "`url` is the address of Prometheus' own pages".to_owned()),
        source: error.into(),
    }
}

#[async_trait]
impl Plugin for FileSd {
    fn name(&self) -> &str {
        &self.name
    }

    async fn propose(
        &self,
        inventory: &Inventory,
        _published: &Published,
        hosts: &Hosts,
    ) -> Result<Proposal, PluginError> {
        let (groups, hidden) = wanted(inventory, &self.zones);
        let refused = hidden.into_iter().map(|hidden| {
            let hint = "`publish = true` in one of its `nic` blocks publishes that address";
            self.failure(
                format!("publish target {}", hidden.target),
                PluginErrorKind::Refused,
                Some(hint.to_owned()),
                hidden.reason.into(),
            )
        });
        let mut proposal = Proposal { refused: refused.collect(), ..Proposal::default() };
        match self.content(hosts).await {
            Ok(content) => {
                (proposal.edits, proposal.present) = compare(&self.name, &content, &groups);
            }
            // Where nothing is wanted, nobody is kept from anything by a file of others.
            Err(error) if error.kind == PluginErrorKind::Foreign && groups.is_empty() => {}
            Err(error) if error.kind == PluginErrorKind::Foreign => proposal.refused.push(error),
            Err(error) => return Err(error),
        }
        Ok(proposal)
    }

    async fn ours(&self, hosts: &Hosts) -> Result<Vec<(EditKey, Vec<String>)>, PluginError> {
        match self.content(hosts).await {
            Ok(content) => Ok(everything(&content)),
            // A file of others holds nothing of ours.
            Err(error) if error.kind == PluginErrorKind::Foreign => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn publish(&self, edits: &[Edit], hosts: &Hosts) -> Result<(), PluginError> {
        if edits.is_empty() {
            return Ok(());
        }
        let _one_at_a_time = self.writing.lock().await;
        let mut content = self.content(hosts).await?;
        if !apply(&mut content, edits).map_err(|error| self.odd_edit(error))? {
            return Ok(());
        }
        let path = &self.file.path;
        place::write(&self.medium, path, rendered(&content), hosts)
            .await
            .map_err(|error| at_place(&self.name, format!("write targets into {path}"), error))
    }

    async fn verify(&self, edits: &[Edit], hosts: &Hosts) -> Result<bool, PluginError> {
        if edits.is_empty() {
            return Ok(true);
        }
        match &self.prometheus {
            Some(prometheus) => self.is_scraped(prometheus, edits, hosts).await,
            None => self.is_written(edits, hosts).await,
        }
    }
}

#[cfg(test)]
#[path = "file_sd_tests.rs"]
mod tests;
