//! Hosts reached and read: with everything that is needed to change them, or for a look alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};

use super::causes_of;
use crate::{
    events::{Event, Listener},
    host::{Host, HostError, ReadOnly},
    model::{self, Fleet, HostName, HostView, NetworkKind, Observed, Seen},
};

/// Opens something to talk to a host through.
pub(super) type Opening<'a, H> =
    &'a (dyn Fn(&model::Host) -> BoxFuture<'static, Result<H, HostError>> + Sync);

/// Opens a conversation with a host that can change nothing on it.
pub type Onlook<'a> = Opening<'a, ReadOnly>;

/// What was seen of all hosts by one who can change none.
#[derive(Debug, Default)]
pub struct Looked {
    /// What was seen.
    pub observed: Observed,
    /// Why hosts were not read.
    pub errors: Vec<HostError>,
}

/// Reads every host of the fleet at once. What opens the conversations yields [`ReadOnly`] ones, and
/// they end with the look: by its types this changes nothing on any host.
pub async fn look(fleet: &Fleet, connect: Onlook<'_>, listener: &dyn Listener) -> Looked {
    let (_, looked) = read(fleet, connect, listener).await;
    looked
}

/// What can be read.
pub(super) trait Readable: Send + Sync {
    /// Reads all of it.
    fn read<'a>(&'a self, bridges: &'a [String]) -> BoxFuture<'a, Result<HostView, HostError>>;
}

impl Readable for Arc<dyn Host> {
    fn read<'a>(&'a self, bridges: &'a [String]) -> BoxFuture<'a, Result<HostView, HostError>> {
        Box::pin(self.observe(bridges))
    }
}

impl Readable for ReadOnly {
    fn read<'a>(&'a self, bridges: &'a [String]) -> BoxFuture<'a, Result<HostView, HostError>> {
        Box::pin(self.observe(bridges))
    }
}

/// Opens and reads all hosts at once; returns the conversations with those that were read.
pub(super) async fn read<H: Readable>(
    fleet: &Fleet,
    open: Opening<'_, H>,
    listener: &dyn Listener,
) -> (BTreeMap<HostName, H>, Looked) {
    let bridges: Vec<String> = bridges_of(fleet).into_iter().collect();
    let mut looks: FuturesUnordered<_> = fleet
        .hosts
        .values()
        .map(|host| {
            listener.on(Event::Observing { host: host.name.clone() });
            let (opened, bridges) = (open(host), &bridges);
            async move {
                let look = async {
                    let host = opened.await?;
                    let view = host.read(bridges).await?;
                    Ok((host, view))
                };
                (host.name.clone(), look.await)
            }
        })
        .collect();
    let (mut hosts, mut looked) = (BTreeMap::new(), Looked::default());
    while let Some((name, look)) = looks.next().await {
        let seen = match look {
            Ok((host, view)) => {
                hosts.insert(name.clone(), host);
                Seen::Whole(Box::new(view))
            }
            Err(error) => {
                let seen = Seen::Unreachable(causes_of(&error).join(": "));
                looked.errors.push(error);
                seen
            }
        };
        listener.on(Event::Observed { host: name.clone() });
        looked.observed.insert(name, seen);
    }
    (hosts, looked)
}

fn bridges_of(fleet: &Fleet) -> BTreeSet<String> {
    let kinds = fleet.networks.values().map(|network| &network.kind);
    kinds
        .filter_map(|kind| match kind {
            NetworkKind::Bridge(bridge) => Some(bridge.clone()),
            NetworkKind::Nat => None,
        })
        .collect()
}
