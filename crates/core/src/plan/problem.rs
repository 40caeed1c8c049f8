//! Why no plan can be made.

use crate::{
    model::{NetworkName, VmName},
    state::Clash,
};

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
    /// Two VMs have the same: the one in the state, the other in the lock.
    #[error("{0}")]
    Clash(Clash),
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
            Self::Clash(_) => "one of them stands in .freehold/state.json, the other in \
                               freehold.lock alone: put the committed lock back (git checkout \
                               freehold.lock), or delete the [vm] table of the one that was never \
                               applied"
                .into(),
            Self::NoSuchVm(_) => "`freehold status` lists them".into(),
        }
    }
}
