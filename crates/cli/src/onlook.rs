//! A fleet to be looked at: all that `drift` and `status` are handed, and nothing to write with.

use freehold_core::{
    apply::{Looked, look},
    events::Listener,
    host::{ConnectOptions, ReadOnly},
    model::{self, Fleet},
    state::{Decisions, Snapshot},
};
use futures::future::BoxFuture;

use crate::{args::Args, context::Context, failure::Failure};

/// A fleet, what was decided about it and what was done. It has no store, no lock and no secret, and
/// its conversations with hosts are [`ReadOnly`]: whoever is handed this one can change nothing.
pub(crate) struct Onlooker {
    pub(crate) fleet: Fleet,
    pub(crate) decided: Decisions,
    pub(crate) snapshot: Snapshot,
    options: ConnectOptions,
}

impl Onlooker {
    /// Reads the fleet's text, its lock and its state; takes no lock.
    pub(crate) async fn open(args: &Args) -> Result<Self, Failure> {
        let context = Context::open(args)?;
        let snapshot = context.state.read().await?;
        let decided = known(context.lock.read()?, &snapshot);
        Ok(Self { decided, snapshot, fleet: context.fleet, options: context.options })
    }

    /// Reads all hosts.
    pub(crate) async fn look(&self, listener: &dyn Listener) -> Looked {
        let connect = |host: &model::Host| {
            let (host, options) = (host.clone(), self.options.clone());
            let future = async move { ReadOnly::connect(&host, &options).await };
            Box::pin(future) as BoxFuture<'static, Result<ReadOnly, _>>
        };
        look(&self.fleet, &connect, listener).await
    }
}

/// Returns what the lock says, overruled by what was done.
fn known(mut lock: Decisions, snapshot: &Snapshot) -> Decisions {
    for (vm, decision) in &snapshot.decisions.vms {
        if snapshot.vms.contains_key(vm) || !lock.vms.contains_key(vm) {
            lock.vms.insert(vm.clone(), decision.clone());
        }
    }
    lock
}
