//! The HTTP API of `PowerDNS` Authoritative, and what its answers mean.

use std::{fmt, time::Duration};

use freehold_core::{model::Secret, plugins::PluginErrorKind};
use reqwest::{
    Client, Method, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::wire::{ZoneBody, ZoneEntry};

/// How long a server may take to be reached.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may be silent.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How much of a foreign answer is quoted.
const QUOTED: usize = 200;

/// Why a request failed. The API key and the rest of the address are in none of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("`{0}` is no address of an HTTP API, as in \"http://10.77.0.1:8081\"")]
    Address(String),
    #[error("the API key has characters that no HTTP header can carry")]
    Key,
    #[error("cannot set up HTTP")]
    Client(#[source] reqwest::Error),
    #[error("{server} does not answer")]
    Unreachable { server: String, source: reqwest::Error },
    #[error("{server} gave no whole answer within {} s", .patience.as_secs())]
    Slow { server: String, patience: Duration },
    #[error("{server} broke off in the middle of its answer")]
    Broken { server: String, source: reqwest::Error },
    #[error("{server} answers {status}: {message}")]
    Status { server: String, status: StatusCode, message: String },
    #[error("{server} answers {status} with {what}, not as the API of PowerDNS: {beginning}")]
    NotApi { server: String, status: StatusCode, what: &'static str, beginning: String },
}

impl ApiError {
    pub(crate) fn kind(&self) -> PluginErrorKind {
        match self {
            Self::Unreachable { .. } | Self::Slow { .. } | Self::Broken { .. } => {
                PluginErrorKind::Unreachable
            }
            // What a proxy says when the server behind it is down.
            Self::NotApi { status, .. } if [502, 503, 504].contains(&status.as_u16()) => {
                PluginErrorKind::Unreachable
            }
            _ => PluginErrorKind::Refused,
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Status { status, .. } => match status.as_u16() {
                401 => "`api_key` must be the server's own `api-key`",
                403 => "let this machine in by `webserver-allow-from` of the server",
                _ => return None,
            },
            Self::Key | Self::Client(_) => return None,
            Self::Address(_) | Self::NotApi { .. } => {
                "`url` is the base of the API of PowerDNS, without `/api/v1`"
            }
            Self::Unreachable { .. } => "`url` must be reachable from this machine",
            Self::Slow { .. } | Self::Broken { .. } => return None,
        };
        Some(text.to_owned())
    }

    /// Says whether the server has no such thing (422 in versions before 4.2 and some of 4.9).
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Status { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Status { status, .. } if *status == StatusCode::CONFLICT)
    }
}

/// One server's API.
pub(crate) struct Api {
    client: Client,
    base: String,
    /// The server as errors name it: without login, path and query.
    server: String,
    key: Secret<String>,
    patience: Duration,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Api({})", self.server)
    }
}

/// What the server says of an error.
#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    error: String,
    #[serde(default)]
    errors: Vec<String>,
}

impl Api {
    /// Prepares for talking to the API at `url`. The machine's proxy settings are not used: the
    /// key goes to the server and nobody else.
    pub(crate) fn new(
        url: &str,
        key: Secret<String>,
        patience: Duration,
    ) -> Result<Self, ApiError> {
        let parsed = Url::parse(url)
            .ok()
            .filter(|url| ["http", "https"].contains(&url.scheme()) && url.query().is_none());
        let Some((parsed, host)) =
            parsed.and_then(|url| Some((url.clone(), url.host_str()?.to_owned())))
        else {
            return Err(ApiError::Address(without_login(url)));
        };
        let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(patience)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(ApiError::Client)?;
        Ok(Self {
            client,
            base: format!("{}/api/v1/servers/localhost", url.trim_end_matches('/')),
            server: format!("{}://{host}{port}", parsed.scheme()),
            key,
            patience,
        })
    }

    /// Lists all zones.
    pub(crate) async fn zones(&self) -> Result<Vec<ZoneEntry>, ApiError> {
        self.read("/zones").await
    }

    /// Finds one zone by its name with the final dot.
    pub(crate) async fn zone(&self, fqdn: &str) -> Result<Option<ZoneEntry>, ApiError> {
        // A version that does not know the filter lists all.
        let zones: Vec<ZoneEntry> = self.read(&format!("/zones?zone={fqdn}")).await?;
        Ok(zones.into_iter().find(|zone| zone.name.eq_ignore_ascii_case(fqdn)))
    }

    /// Reads a zone's rrsets; those of one name only, where one is given.
    pub(crate) async fn rrsets(&self, id: &str, name: Option<&str>) -> Result<ZoneBody, ApiError> {
        let filter = name.map(|name| format!("?rrset_name={name}")).unwrap_or_default();
        self.read(&format!("/zones/{id}{filter}")).await
    }

    /// Makes a zone; one that is there already is fine.
    pub(crate) async fn create_zone(&self, body: &serde_json::Value) -> Result<(), ApiError> {
        match self.send(Method::POST, "/zones", Some(body.to_string())).await {
            Err(error) if error.is_conflict() => Ok(()),
            result => result.map(drop),
        }
    }

    /// Changes rrsets of a zone, all or none of them.
    pub(crate) async fn patch(&self, id: &str, body: String) -> Result<(), ApiError> {
        self.send(Method::PATCH, &format!("/zones/{id}"), Some(body)).await.map(drop)
    }

    /// Tells a zone's secondaries that it changed.
    pub(crate) async fn notify(&self, id: &str) -> Result<(), ApiError> {
        self.send(Method::PUT, &format!("/zones/{id}/notify"), None).await.map(drop)
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let (status, body) = self.send(Method::GET, path, None).await?;
        serde_json::from_slice(&body).map_err(|_| self.not_api(status, &body))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let mut key = HeaderValue::from_str(self.key.expose()).map_err(|_| ApiError::Key)?;
        key.set_sensitive(true);
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header("X-API-Key", key)
            // Errors are plain text otherwise.
            .header(ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| self.failed(error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.failed(error))?;
        if status.is_success() {
            return Ok((status, body.to_vec()));
        }
        Err(self.complaint(status, &body))
    }

    fn failed(&self, error: reqwest::Error) -> ApiError {
        let server = self.server.clone();
        let source = error.without_url();
        if source.is_connect() {
            ApiError::Unreachable { server, source }
        } else if source.is_timeout() {
            ApiError::Slow { server, patience: self.patience }
        } else if source.is_body() || source.is_decode() {
            ApiError::Broken { server, source }
        } else {
            ApiError::Unreachable { server, source }
        }
    }

    fn complaint(&self, status: StatusCode, body: &[u8]) -> ApiError {
        let Ok(complaint) = serde_json::from_slice::<Complaint>(body) else {
            return self.not_api(status, body);
        };
        let mut message = [vec![complaint.error], complaint.errors].concat();
        message.retain(|part| !part.is_empty());
        let message = if message.is_empty() {
            "no reason given".to_owned()
        } else {
            printable(message.join("; ").as_bytes())
        };
        ApiError::Status { server: self.server.clone(), status, message }
    }

    fn not_api(&self, status: StatusCode, body: &[u8]) -> ApiError {
        let text = String::from_utf8_lossy(body).trim_start().to_ascii_lowercase();
        let what = if text.starts_with("<!doctype html") || text.starts_with("<html") {
            "an HTML page (of a proxy?)"
        } else if status.is_redirection() {
            "a redirection"
        } else if text.is_empty() {
            "an empty body"
        } else {
            "something else"
        };
        let server = self.server.clone();
        ApiError::NotApi { server, status, what, beginning: printable(body) }
    }
}

/// Returns the beginning of foreign bytes as one harmless line.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = text.trim().chars().take(QUOTED).map(clean).collect();
    if text.trim().chars().count() > QUOTED { format!("{line}…") } else { line }
}

/// Returns an address without what may be a password.
fn without_login(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => url.to_owned(),
    }
}
