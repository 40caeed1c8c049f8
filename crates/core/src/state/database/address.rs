//! The URL of a database: where it is, who we are there, and whether the way is private.

use std::{fs, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, pki_types::CertificateDer, pki_types::pem::PemObject as _};
use rustls_platform_verifier::Verifier;
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use crate::{
    model::Secret,
    state::{StateError, StoreTrouble},
};

/// Where a database is. It holds the password and has no `Debug`.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: Config,
    /// `None` where the way needs no privacy.
    pub(super) tls: Option<ClientConfig>,
    /// `postgres://freehold@db.example.org:5432/freehold`.
    pub(super) shown: String,
}

/// How private the way is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// In the clear, as it was asked for.
    Disable,
    /// TLS, and the server proves who it is.
    Verify,
}

impl Address {
    /// Reads a URL. `sslmode` and `sslrootcert` are ours: a server that we send a password to
    /// proves who it is, unless it is on this machine or was told not to.
    pub(super) fn parse(url: &Secret<String>) -> Result<Self, StateError> {
        let (base, query) = url.expose().split_once('?').unwrap_or((url.expose(), ""));
        let (mut mode, mut root, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", "disable")) => mode = Some(Mode::Disable),
                Some(("sslmode", "require" | "verify-ca" | "verify-full")) => {
                    mode = Some(Mode::Verify);
                }
                Some(("sslmode", _)) => return Err(lax()),
                Some(("sslrootcert", path)) => root = Some(PathBuf::from(path)),
                _ => rest.push(pair),
            }
        }
        let text = Secret::new(format!("{base}?{}", rest.join("&")));
        // What is wrong with it may hold a part of it, so it is not told.
        let config = text.expose().parse::<Config>().ok();
        // A password with a bare @ would be taken for a part of the host, and shown.
        let is_host = |host: &Host| !matches!(host, Host::Tcp(name) if name.contains('@'));
        let is_whole = |config: &Config| {
            !config.get_hosts().is_empty() && config.get_hosts().iter().all(is_host)
        };
        let mut config = config.filter(is_whole).ok_or_else(bad)?;
        let usual = || if is_here(&config) { Mode::Disable } else { Mode::Verify };
        let mode = mode.unwrap_or_else(usual);
        let shown = shown(&config);
        config.ssl_mode(if mode == Mode::Verify { SslMode::Require } else { SslMode::Disable });
        let tls = match mode {
            Mode::Disable => None,
            Mode::Verify => Some(verifying(root).map_err(|why| unusable(&shown, why))?),
        };
        Ok(Self { config, tls, shown })
    }
}

fn is_here(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    })
}

/// Returns the URL without what is secret.
fn shown(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => String::new(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().unwrap_or("?");
    let database = config.get_dbname().unwrap_or(user);
    format!("postgres://{user}@{host}:{port}/{database}")
}

/// Trusts this machine's authorities, or the ones of a file alone.
fn verifying(root: Option<PathBuf>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let Some(path) = root else {
        let verifier = Verifier::new(provider).map_err(|error| error.to_string())?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        return Ok(builder.with_no_client_auth());
    };
    let failed = |error: String| format!("cannot read {}: {error}", path.display());
    let pem = fs::read(&path).map_err(|error| failed(error.to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("it holds no certificate".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn bad() -> StateError {
    let why = "the `url` of the `state` block names no host, or has something that is not known";
    let hint = "write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % and two digits for \
                what a password has of @ : / ? #";
    refused("the database of the `state` block", why.to_owned(), hint)
}

fn lax() -> StateError {
    let why = "`sslmode` is `disable`, `require` or `verify-full`".to_owned();
    let hint = "with `prefer` and `allow` whoever stands in between chooses to hear the password: \
                take `require`, with `sslrootcert=FILE` for an authority of your own";
    refused("the database of the `state` block", why, hint)
}

fn unusable(shown: &str, why: String) -> StateError {
    let hint = "TLS needs an authority: this machine's (ca-certificates), or `sslrootcert=FILE`";
    refused(shown, why, hint)
}

fn refused(place: &str, why: String, hint: &str) -> StateError {
    StateError::Store {
        place: place.to_owned(),
        act: "read",
        trouble: StoreTrouble::Refused,
        hint: Some(hint.to_owned()),
        source: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn parse(text: &str) -> Result<Address, StateError> {
        Address::parse(&Secret::new(text.to_owned()))
    }

    #[test]
    fn the_way_is_private_unless_it_stays_here_or_is_told_otherwise() {
        for (url, tls) in [
            ("postgres://u:p@127.0.0.1/d", false),
            ("postgres://u:p@localhost/d", false),
            ("postgres://u@/d?host=/run/postgresql", false),
            ("postgres://u:p@db.example.org/d?sslmode=disable", false),
            ("postgres://u:p@localhost/d?sslmode=require", true),
            ("postgres://u:p@db.example.org/d", true),
        ] {
            let address = parse(url).unwrap_or_else(|error| panic!("{url}: {error:?}"));
            assert_eq!(address.tls.is_some(), tls, "{url}");
        }
        let lax = parse("postgres://u:p@db.example.org/d?sslmode=prefer").err().unwrap();
        assert!(lax.hint().unwrap().contains("hear the password"));
    }

    #[test]
    fn no_password_is_ever_shown() {
        let url = "postgres://freehold:poison@db.example.org:6432/state?sslmode=disable";
        assert_eq!(parse(url).unwrap().shown, "postgres://freehold@db.example.org:6432/state");
        assert!(parse("postgres://u:one@poison@db.example.org/d").is_err(), "a bare @");
        for bad in ["?nonsense=poison", ":poison/d", "/d?port=poison", "?sslmode=poison"] {
            let url = format!("postgres://u:poison@db.example.org{bad}");
            let Err(error) = parse(&url) else { panic!("{bad}") };
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            let told = format!("{error} {source} {:?} {error:?}", error.hint());
            assert!(!told.contains("poison"), "{told}");
        }
    }
}
