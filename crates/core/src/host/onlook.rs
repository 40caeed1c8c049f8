//! A host that can be looked at, and nothing else.

use std::sync::Arc;

use super::{ConnectOptions, Host, HostError, connect};
use crate::model::{self, HostView};

/// A conversation with a host that has no way to change anything on it: whoever is handed this one
/// cannot get at the [`Host`] behind it.
///
/// ```compile_fail,E0599
/// async fn makes_a_pool(host: &freehold_core::host::ReadOnly) {
///     let _made = host.create_pool().await;
/// }
/// ```
#[derive(Debug)]
pub struct ReadOnly(Arc<dyn Host>);

impl ReadOnly {
    /// Takes away everything from a conversation but looking.
    pub fn of(host: Arc<dyn Host>) -> Self {
        Self(host)
    }

    /// Connects to a host to look at it.
    pub async fn connect(host: &model::Host, options: &ConnectOptions) -> Result<Self, HostError> {
        connect(host, options).await.map(Self)
    }

    /// Reads everything, as [`Host::observe`] does.
    pub async fn observe(&self, bridges: &[String]) -> Result<HostView, HostError> {
        self.0.observe(bridges).await
    }
}
