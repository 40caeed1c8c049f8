//! Definitions that were kept when their domain was undefined.

use crate::{
    host::{Certainty, Host, HostError, HostErrorKind},
    model::{KeptDomain, Ours},
};

/// Reads the definition in a file of a host; `None` where there is no such file.
pub async fn kept_domain(host: &dyn Host, path: &str) -> Result<Option<KeptDomain>, HostError> {
    let Some(xml) = host.read_file(path).await? else { return Ok(None) };
    host.kept_domain(&String::from_utf8_lossy(&xml)).map(Some)
}

/// Defines a domain again from the XML in a file of its host.
pub(super) async fn restore_domain(
    host: &dyn Host,
    domain: &Ours,
    path: &str,
) -> Result<(), HostError> {
    match host.read_file(path).await? {
        Some(xml) => host.restore_domain(domain, &String::from_utf8_lossy(&xml)).await,
        None => Err(HostError {
            host: host.name().clone(),
            act: format!("define {domain} again from {path}"),
            certainty: Certainty::DidNot,
            hint: Some("somebody removed it meanwhile: plan again".into()),
            kind: HostErrorKind::Failed,
            source: "no such file".into(),
        }),
    }
}
