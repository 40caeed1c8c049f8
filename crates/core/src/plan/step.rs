//! One step of the work a plan is.

use std::{fmt, net::Ipv4Addr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    model::{
        DomainSpec, Edit, FleetId, HostCard, HostName, ImageSpec, Mark, NetworkSpec, Ours, Size,
        VmName, VolumeSpec,
    },
    state::Fact,
};

/// One step: an act, and which steps it comes after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The host it is done on; `None` is outside the hosts.
    pub host: Option<HostName>,
    /// The VM it is for.
    pub vm: Option<VmName>,
    /// What is done.
    pub act: Act,
    /// Steps that must have succeeded.
    pub needs: Vec<usize>,
    /// Steps that must have ended, either way.
    pub after: Vec<usize>,
    /// What is true for the state from the moment the step may have begun.
    pub claims: Vec<Fact>,
    /// What is true once it is done.
    pub settles: Vec<Fact>,
}

/// What a step does. Nothing in it is left to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Make our pool.
    CreatePool,
    /// Replace a fleet's part of the host's card.
    WriteCard {
        /// Whose part.
        fleet: FleetId,
        /// The card.
        card: HostCard,
    },
    /// Define and start a network.
    DefineNetwork(NetworkSpec),
    /// Stop and undefine a network.
    RemoveNetwork {
        /// Which.
        network: Ours,
    },
    /// Bring an image.
    StoreImage(ImageSpec),
    /// Make a volume.
    CreateVolume(VolumeSpec),
    /// Write a VM's seed.
    WriteSeed {
        /// The volume.
        volume: String,
    },
    /// Define a domain.
    DefineDomain(Box<DomainSpec>),
    /// Change what a domain is defined as.
    UpdateDomain {
        /// The domain.
        domain: Ours,
        /// What it becomes.
        spec: Box<DomainSpec>,
    },
    /// Write a domain's mark.
    MarkDomain {
        /// Its UUID.
        uuid: uuid::Uuid,
        /// Its name.
        name: String,
        /// The mark.
        mark: Mark,
    },
    /// Give a domain that is off another name.
    RenameDomain {
        /// The domain.
        domain: Ours,
        /// What it becomes.
        spec: Box<DomainSpec>,
    },
    /// Make a volume larger.
    GrowVolume {
        /// The domain whose disk it is.
        domain: Ours,
        /// The volume.
        volume: String,
        /// Its size from then on.
        size: Size,
    },
    /// Define a domain again from its XML in the trash.
    RestoreDomain {
        /// The domain.
        domain: Ours,
        /// The file on the host that holds its XML.
        xml: String,
    },
    /// Set autostart.
    SetAutostart {
        /// The domain.
        domain: Ours,
        /// To what.
        autostart: bool,
    },
    /// Start a domain.
    StartDomain {
        /// The domain.
        domain: Ours,
    },
    /// Wait until a VM is ready.
    AwaitReady(Await),
    /// Shut a domain down.
    StopDomain {
        /// The domain.
        domain: Ours,
    },
    /// Keep the XML of a domain that is off in the trash, then undefine it.
    UndefineDomain {
        /// The domain.
        domain: Ours,
        /// The name its XML gets in the pool.
        xml: String,
    },
    /// Move a volume to the trash.
    TrashVolume {
        /// Its name.
        from: String,
        /// Its name in the trash.
        to: String,
    },
    /// Bring a volume back from the trash.
    RestoreVolume {
        /// Its name in the trash.
        from: String,
        /// The name it gets back.
        to: String,
    },
    /// Remove a volume without data of the user's, or one from the trash.
    DiscardVolume {
        /// Its name.
        name: String,
    },
    /// Note what the state is to know of a VM; nothing is done on its host.
    Note,
    /// Note that a VM is gone.
    Forget,
    /// Let libvirt see files that were written past it.
    RefreshPool,
    /// Publish edits of one plugin.
    Publish {
        /// The plugin.
        plugin: String,
        /// The edits.
        edits: Vec<Edit>,
    },
}

/// How readiness is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Await {
    /// Where.
    pub address: Ipv4Addr,
    /// The TCP port.
    pub port: u16,
    /// The host key an sshd there must show, `ssh-ed25519 AAAA…`; `None` when accepting is enough.
    pub host_key: Option<String>,
    /// Who asks.
    pub from: AskedFrom,
    /// How long.
    pub timeout: Duration,
}

/// Who asks whether a VM is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskedFrom {
    /// This machine, else its host.
    Anywhere,
    /// Its host only: the network is behind it, and here the same address may be somebody else's.
    Host,
}

impl Step {
    /// Returns the step in words: `define domain web-0`.
    pub fn words(&self) -> String {
        let vm = self.vm.as_ref().map(ToString::to_string).unwrap_or_default();
        match &self.act {
            Act::Publish { plugin, edits } => {
                let of = self.vm.as_ref().map(|vm| format!(" of {vm}")).unwrap_or_default();
                match edits.as_slice() {
                    [edit] => format!("publish {plugin}: {edit}"),
                    edits => format!("publish {plugin}: {} edits{of}", edits.len()),
                }
            }
            Act::AwaitReady(wait) => {
                format!("wait for {vm} at {}:{}", wait.address, wait.port)
            }
            Act::SetAutostart { autostart, .. } => format!("set autostart of {vm} to {autostart}"),
            Act::UpdateDomain { .. } => format!("change {vm}"),
            Act::MarkDomain { .. } => format!("mark {vm}"),
            Act::StartDomain { .. } => format!("start {vm}"),
            Act::StopDomain { .. } => format!("shut down {vm}"),
            Act::UndefineDomain { .. } => format!("undefine {vm}"),
            Act::Note => format!("note what is known of {vm}"),
            Act::Forget => format!("forget {vm}"),
            act => act.to_string(),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreatePool => f.write_str("create pool"),
            Self::WriteCard { .. } => f.write_str("write the host's card"),
            Self::DefineNetwork(spec) => write!(f, "define network {}", spec.name),
            Self::RemoveNetwork { network, .. } => write!(f, "remove network {network}"),
            Self::StoreImage(spec) => write!(f, "bring image {}", spec.name),
            Self::CreateVolume(spec) => write!(f, "create volume {}", spec.name),
            Self::WriteSeed { volume } => write!(f, "write seed {volume}"),
            Self::DefineDomain(spec) => write!(f, "define domain {}", spec.name),
            Self::TrashVolume { from, .. } => write!(f, "move volume {from} to the trash"),
            Self::RestoreVolume { to, .. } => write!(f, "bring volume {to} back from the trash"),
            Self::DiscardVolume { name } => write!(f, "remove volume {name}"),
            Self::RefreshPool => f.write_str("refresh pool"),
            Self::UpdateDomain { .. } => f.write_str("change"),
            Self::MarkDomain { name, .. } => write!(f, "mark {name}"),
            Self::RenameDomain { domain, spec } => write!(f, "rename {domain} to {}", spec.name),
            Self::GrowVolume { volume, size, .. } => write!(f, "grow volume {volume} to {size}"),
            Self::RestoreDomain { domain, .. } => write!(f, "define {domain} again"),
            Self::SetAutostart { .. } => f.write_str("set autostart"),
            Self::StartDomain { .. } => f.write_str("start"),
            Self::AwaitReady(_) => f.write_str("wait"),
            Self::StopDomain { .. } => f.write_str("shut down"),
            Self::UndefineDomain { .. } => f.write_str("undefine"),
            Self::Note => f.write_str("note"),
            Self::Forget => f.write_str("forget"),
            Self::Publish { plugin, .. } => write!(f, "publish {plugin}"),
        }
    }
}
