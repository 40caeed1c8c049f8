//! Where the state is, `freehold state` and `freehold unlock`.

use std::{sync::Arc, time::Duration};

use clap::Subcommand;
use freehold_core::{
    host::{self, ConnectOptions, HostErrorKind},
    model::{self, Fleet, HostName, StateStore},
    state::{
        DatabaseStore, Dial, DialError, HostStore, LocalStore, SharedStore, StateError, Store, Wire,
    },
};

use crate::{
    args::Args,
    ask,
    context::Context,
    failure::{Exit, Failure},
    screen,
};

/// `state`.
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Move this folder's state to the store, which must be empty
    Push,
    /// Move the state from the store into this folder
    Pull,
}

/// `unlock`.
#[derive(Debug, clap::Args)]
pub(crate) struct Unlock {
    /// Do it without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// How long a host may take for one exchange about the state.
const EXCHANGE: Duration = Duration::from_secs(30);

/// Returns the store that people share, where the text names one.
pub(crate) fn shared_store(
    fleet: &Fleet,
    folder: &LocalStore,
    options: &ConnectOptions,
) -> Result<Option<SharedStore>, StateError> {
    let far: Arc<dyn Store> = match &fleet.state {
        StateStore::Folder => return Ok(None),
        StateStore::Ssh { host, copy, path } => {
            let on = |name: &HostName| on_host(fleet, &fleet.hosts[name], path.as_deref(), options);
            match copy {
                None => Arc::new(on(host)),
                Some(copy) => Arc::new(on(host).copied_to(on(copy))),
            }
        }
        StateStore::Postgres { url } => Arc::new(DatabaseStore::new(url, fleet.id)?),
    };
    Ok(Some(SharedStore::new(far, folder.clone(), fleet.id)))
}

fn on_host(
    fleet: &Fleet,
    host: &model::Host,
    path: Option<&str>,
    options: &ConnectOptions,
) -> HostStore {
    let pool = host.pool_path().trim_end_matches('/');
    let own = || format!("{pool}/.freehold-state-{}", fleet.id.short());
    let directory = path.map_or_else(own, str::to_owned);
    HostStore::new(host.name.as_str(), &directory, dial(host, options), EXCHANGE)
}

/// Reaches a host over a connection of its own: what the store's lock is held by.
fn dial(host: &model::Host, options: &ConnectOptions) -> Dial {
    let (host, options) = (host.clone(), options.clone());
    Arc::new(move |script, words| {
        let (host, options) = (host.clone(), options.clone());
        Box::pin(async move {
            match host::shell(&host, &options, script, &words).await {
                Ok(stream) => Ok(Box::new(stream) as Box<dyn Wire>),
                Err(error) => Err(DialError {
                    refused: matches!(
                        error.kind,
                        HostErrorKind::HostKey | HostErrorKind::Login | HostErrorKind::Input
                    ),
                    hint: error.hint.clone(),
                    source: error.into(),
                }),
            }
        })
    })
}

/// `freehold state push` and `pull`.
pub(crate) async fn run(args: &Args, command: &StateCommand) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let Some(shared) = shared_store(&context.fleet, &context.store, &context.options)? else {
        return Err(Failure::input(
            "the state is kept in this folder: the text names no other store",
        )
        .hint("say where it is to be: `state \"ssh\" { host = host.rack1 }`"));
    };
    let place = shared.place();
    match command {
        StateCommand::Push => {
            let serial = shared.push("freehold state push").await?;
            screen::data(&format!("moved the state (serial {serial}) to {place}"));
            screen::say("next: commit the `state` block; the folder's own state is kept aside");
        }
        StateCommand::Pull => {
            let serial = shared.pull("freehold state pull").await?;
            screen::data(&format!(
                "moved the state (serial {serial}) from {place} into this folder"
            ));
            screen::say("next: take the `state` block out of the text and commit that");
        }
    }
    Ok(Exit::Done)
}

/// `freehold unlock`.
pub(crate) async fn unlock(args: &Args, unlock: &Unlock) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let store = context.state.store();
    let Some(holder) = store.holder().await? else {
        screen::data("nobody holds the lock of the state");
        return Ok(Exit::Done);
    };
    if context.fleet.state == StateStore::Folder {
        let what = format!("the lock of the state is held by {holder}");
        return Err(Failure::new(Exit::Locked, what).hint(format!(
            "it goes when that process ends: kill {}; what it had begun is taken in by the next run",
            holder.pid
        )));
    }
    screen::say(&format!(
        "the lock of the state in {} is held by {holder}\n\
         it will be able to write nothing more there, and begin nothing; a call that it has under \
         way on a host may still end",
        store.place()
    ));
    if !unlock.yes && !ask::agrees("Take the lock away?", "--yes") {
        return Ok(Exit::Held);
    }
    store.take_over().await?;
    screen::data("unlocked");
    screen::say("next: `freehold plan` shows what it left behind");
    Ok(Exit::Done)
}
