//! Plugins: the fleet as outsiders see it goes in, edits come out.
//!
//! A plugin observes what its server holds of ours, proposes edits, publishes them and asks the
//! server back. It knows no plan and no state; the planner decides which edits go out when.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    host::Host,
    model::{Edit, EditKey, HostName, Inventory},
};

/// What earlier runs published and the server accepted: plugin and key to values. Deleting needs
/// a value to be here and on the server.
pub type Published = BTreeMap<(String, EditKey), Vec<String>>;

/// Hosts a plugin may reach its server through, or write files on. A host that is down is missing.
pub type Hosts = BTreeMap<HostName, Arc<dyn Host>>;

/// One server or file that follows the fleet.
#[async_trait]
pub trait Plugin: Send + Sync + fmt::Debug {
    /// Returns its name, as `dns main`: kind and block label.
    fn name(&self) -> &str;

    /// Looks at what is there and returns the edits that lead to the inventory. Read-only.
    ///
    /// What is there already and ours yields no edit; what is somebody else's yields
    /// [`PluginErrorKind::Foreign`] for that name in [`Proposal::refused`] and leaves the rest.
    async fn propose(
        &self,
        inventory: &Inventory,
        published: &Published,
        hosts: &Hosts,
    ) -> Result<Proposal, PluginError>;

    /// Returns everything that is there and bears our mark, wanted or not. Read-only; for a state that
    /// is made again.
    async fn ours(&self, hosts: &Hosts) -> Result<Vec<(EditKey, Vec<String>)>, PluginError>;

    /// Makes these edits, atomically where the server can. All of them belong to this plugin.
    async fn publish(&self, edits: &[Edit], hosts: &Hosts) -> Result<(), PluginError>;

    /// Asks until the server answers as the edits want or the deadline passes. `Ok(false)`: it is
    /// not reachable from anywhere we can ask, so the edits are not verified.
    async fn verify(&self, edits: &[Edit], hosts: &Hosts) -> Result<bool, PluginError>;
}

/// What a plugin wants to change, and what it must not.
#[derive(Debug, Default)]
pub struct Proposal {
    /// Changes, in the order they must be made.
    pub edits: Vec<Edit>,
    /// Changes that are not made, each with its reason.
    pub refused: Vec<PluginError>,
    /// What is there as wanted and carries our mark: belongs into [`Published`], also where the
    /// state that knew it was lost.
    pub present: Vec<(EditKey, Vec<String>)>,
}

/// An act of a plugin that failed; the chain below says why.
#[derive(Debug, thiserror::Error)]
#[error("{plugin}: cannot {act}")]
pub struct PluginError {
    /// The plugin's name.
    pub plugin: String,
    /// What was tried, with its subject: `list zone home.example.org`.
    pub act: String,
    /// What kind of trouble it is.
    pub kind: PluginErrorKind,
    /// What the user can do.
    pub hint: Option<String>,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What kind of trouble a plugin has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginErrorKind {
    /// The server does not answer, or the machine it is on is not reachable: pending.
    Unreachable,
    /// The server refuses us or what we ask: credentials, a missing zone, its own error.
    Refused,
    /// Something is there that is not ours.
    Foreign,
    /// The server accepted the change and does not show it.
    NotShown,
}
