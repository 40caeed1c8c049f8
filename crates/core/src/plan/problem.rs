//! Why no plan can be made.

use crate::model::{HostName, NetworkName, VmName};

/// Something the text asks for that cannot be decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    /// All addresses of a network are taken.
    #[error("network {network} has no address left for vm {vm}")]
    NoAddress {
        /// The network.
        network: NetworkName,
        /// The VM.
        vm: VmName,
    },
    /// A fixed address was handed out to another VM.
    #[error("vm {vm} wants {address} of network {network}, which is {other}'s in freehold.lock")]
    AddressTaken {
        /// The VM.
        vm: VmName,
        /// The address.
        address: std::net::Ipv4Addr,
        /// The network.
        network: NetworkName,
        /// Who has it.
        other: VmName,
    },
    /// The lock was made with another identity secret.
    #[error("the identity secret is {have}, freehold.lock was made with {want}")]
    Identity {
        /// Fingerprint of the secret that is here.
        have: String,
        /// Fingerprint in the lock.
        want: String,
    },
    /// A VM of the state has gone to another host in the lock.
    #[error("vm {vm} was made on {applied}, freehold.lock says {locked}")]
    HostDisagrees {
        /// The VM.
        vm: VmName,
        /// Where it was made.
        applied: HostName,
        /// What the lock says.
        locked: HostName,
    },
    /// A name given on the command line is no VM of the fleet or the state.
    #[error("no vm is named {0}")]
    NoSuchVm(String),
}

impl PlanProblem {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoAddress { network, .. } => format!(
                "widen `addresses` of network \"{network}\"; tombstones of removed VMs are used \
                 last and are used up too"
            ),
            Self::AddressTaken { .. } => "give one of them another address".into(),
            Self::Identity { .. } => {
                "put the secret of this fleet back into .freehold/identity.key: guests' host keys \
                 derive from it"
                    .into()
            }
            Self::HostDisagrees { .. } => {
                "restore freehold.lock; moving a VM to another host is not supported yet".into()
            }
            Self::NoSuchVm(_) => "`freehold status` lists them".into(),
        }
    }
}
