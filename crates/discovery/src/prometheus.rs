//! Prometheus' own word on what it scrapes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use freehold_core::{
    host::{Host, HostError, Stream},
    model::{Edit, HostName, TargetGroup},
    plugins::{Hosts, PluginErrorKind},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use reqwest::{Client, Url, redirect::Policy};
use serde::Deserialize;
use tokio::time::timeout;

use crate::groups::{FLEET, key_of};

const CONNECT: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(10);
/// A thousand targets are about a megabyte.
const LARGEST: usize = 256 << 20;

/// Why Prometheus could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrometheusError {
    #[error("`{0}` is no address of Prometheus, as in \"http://10.77.0.1:9090\"")]
    Address(String),
    #[error("cannot set up HTTP")]
    Client(#[source] reqwest::Error),
    #[error("it does not answer")]
    Unreachable(#[source] reqwest::Error),
    #[error("it does not answer within {} s", PATIENCE.as_secs())]
    Slow,
    #[error("the way through a host failed")]
    Through(#[source] HostError),
    #[error("the exchange through a host failed")]
    Exchange(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("it does not answer as Prometheus does")]
    Garbled(#[source] serde_json::Error),
}

impl PrometheusError {
    pub(crate) fn kind(&self) -> PluginErrorKind {
        match self {
            Self::Address(_) | Self::Client(_) | Self::Status(_) | Self::Garbled(_) => {
                PluginErrorKind::Refused
            }
            Self::Unreachable(_) | Self::Slow | Self::Through(_) | Self::Exchange(_) => {
                PluginErrorKind::Unreachable
            }
        }
    }
}

/// One Prometheus.
#[derive(Debug)]
pub(crate) struct Prometheus {
    url: Url,
    client: Client,
    /// The host the file lies on, which `localhost` in the address then means.
    beside: Option<HostName>,
}

/// Where questions to Prometheus go from.
#[derive(Debug)]
pub(crate) enum Way {
    Here,
    Through(Arc<dyn Host>, Ipv4Addr),
}

#[derive(Deserialize)]
struct Reply {
    data: Targets,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<Target>,
}

/// A target as Prometheus found it, before relabelling.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    #[serde(default)]
    discovered_labels: BTreeMap<String, String>,
}

impl Prometheus {
    pub(crate) fn new(url: &str, beside: Option<HostName>) -> Result<Self, PrometheusError> {
        let bad = || PrometheusError::Address(url.rsplit('@').next().unwrap_or(url).to_owned());
        let plain = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.query().is_none();
        Url::parse(url).ok().filter(plain).ok_or_else(bad)?;
        let asked = format!("{}/api/v1/targets?state=active", url.trim_end_matches('/'));
        let asked = Url::parse(&asked).ok().ok_or_else(bad)?;
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(PrometheusError::Client)?;
        Ok(Self { url: asked, client, beside })
    }

    /// Returns the ways there may be to it, the shortest first.
    pub(crate) async fn ways(&self, hosts: &Hosts) -> Vec<Way> {
        let addresses = self.addresses().await;
        let local = addresses.iter().any(IpAddr::is_loopback);
        let beside = self.beside.as_ref();
        let mut ways = Vec::new();
        if !(local && beside.is_some()) {
            ways.push(Way::Here);
        }
        if self.url.scheme() != "http" {
            return ways;
        }
        let v4 = addresses.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        let Some(address) = v4 else {
            return ways;
        };
        let near = hosts.iter().filter(|(name, _)| Some(*name) == beside);
        let far = hosts.iter().filter(|(name, _)| Some(*name) != beside && !local);
        ways.extend(near.chain(far).map(|(_, host)| Way::Through(Arc::clone(host), address)));
        ways
    }

    async fn addresses(&self) -> Vec<IpAddr> {
        let Some(host) = self.url.host_str() else {
            return Vec::new();
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let looked = timeout(CONNECT, tokio::net::lookup_host((bare, self.port()))).await;
        let late = |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
        match looked.unwrap_or_else(late) {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(error) => {
                tracing::debug!(host, %error, "cannot find Prometheus");
                Vec::new()
            }
        }
    }

    fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// Asks what it scrapes now.
    pub(crate) async fn targets(&self, way: &Way) -> Result<Vec<Target>, PrometheusError> {
        let body = match way {
            Way::Here => self.get().await?,
            Way::Through(host, address) => {
                let talk = async {
                    let stream = host.dial(*address, self.port()).await;
                    self.get_over(stream.map_err(PrometheusError::Through)?).await
                };
                timeout(PATIENCE, talk).await.unwrap_or(Err(PrometheusError::Slow))?
            }
        };
        let reply: Reply = serde_json::from_slice(&body).map_err(PrometheusError::Garbled)?;
        Ok(reply.data.active_targets)
    }

    async fn get(&self) -> Result<Bytes, PrometheusError> {
        let failed = |error: reqwest::Error| {
            if error.is_timeout() && !error.is_connect() {
                PrometheusError::Slow
            } else {
                PrometheusError::Unreachable(error.without_url())
            }
        };
        let response = self.client.get(self.url.clone()).send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(PrometheusError::Status(response.status()));
        }
        response.bytes().await.map_err(failed)
    }

    /// Asks over a stream somebody else opened.
    async fn get_over(&self, stream: Box<dyn Stream>) -> Result<Bytes, PrometheusError> {
        let failed = |error: hyper::Error| PrometheusError::Exchange(error.into());
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let path = format!("{}?{}", self.url.path(), self.url.query().unwrap_or_default());
        let host = format!("{}:{}", self.url.host_str().unwrap_or_default(), self.port());
        let request = Request::get(path)
            .header(HOST, host)
            .body(Empty::<Bytes>::new())
            .map_err(|error| PrometheusError::Exchange(error.into()))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            if response.status() != StatusCode::OK {
                return Err(PrometheusError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            Ok(body.map_err(PrometheusError::Exchange)?.to_bytes())
        };
        // The connection moves only while it is polled.
        tokio::pin!(connection, exchange);
        tokio::select! {
            result = &mut exchange => result,
            ended = &mut connection => {
                ended.map_err(failed)?;
                exchange.await
            }
        }
    }
}

/// Returns what Prometheus does not show yet, as one reads it aloud.
pub(crate) fn unshown(edits: &[Edit], targets: &[Target]) -> BTreeSet<String> {
    edits.iter().filter_map(|edit| missing(edit, targets)).collect()
}

fn missing(edit: &Edit, targets: &[Target]) -> Option<String> {
    let wanted: Vec<TargetGroup> =
        edit.new.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    if wanted.is_empty() {
        let old: Vec<TargetGroup> =
            edit.old.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        let fleet = old.first().and_then(|group| group.labels.get(FLEET))?;
        let stays = targets.iter().any(|target| target.is_about(edit, fleet));
        return stays.then(|| format!("{edit} (it is still there)"));
    }
    let shows = |group: &TargetGroup| {
        let found = |address: &String| targets.iter().any(|target| target.shows(address, group));
        group.targets.iter().all(found)
    };
    (!wanted.iter().all(shows)).then(|| edit.to_string())
}

impl Target {
    fn shows(&self, address: &str, group: &TargetGroup) -> bool {
        self.discovered_labels.get("__address__").is_some_and(|found| found == address)
            && group
                .labels
                .iter()
                .all(|(key, value)| self.discovered_labels.get(key) == Some(value))
    }

    fn is_about(&self, edit: &Edit, fleet: &str) -> bool {
        let labels = self.discovered_labels.clone();
        labels.get(FLEET).is_some_and(|found| found == fleet)
            && key_of(&TargetGroup { targets: Vec::new(), labels }) == Some(edit.key.clone())
    }
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
