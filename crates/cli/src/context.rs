//! What every command begins with: the fleet, its store, its identity, its plugins.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use freehold_core::{
    apply::{Reached, Report, propose, reach},
    config::{self, Inputs},
    events::Listener,
    host::{self, ConnectOptions, Files, Guest, GuestTarget, Host, Passphrases},
    model::{self, Fleet, HostName, Place, StateStore, VmName},
    plan::{
        Draft, Goal, Held, Object, Plan, Proposals, Scope, Withheld, World, abandoned,
        asked_address, draft,
    },
    plugins::{Hosts, Plugin, PluginError},
    seed::{Guests, Identity},
    state::{Decisions, LocalStore, LockFile, Session, Snapshot, State, StateError, Store},
};
use futures::future::BoxFuture;
use uuid::Uuid;

use crate::{
    args::Args, decided::Decided, failure::Failure, passphrase::Person, screen,
    state::shared_store, vms::no_vm,
};

/// The fleet and what stands beside it.
pub(crate) struct Context {
    /// The fleet's directory, absolute.
    pub(crate) directory: PathBuf,
    pub(crate) fleet: Fleet,
    /// What is of this folder alone, wherever the state is: the identity secret, the cache.
    pub(crate) store: LocalStore,
    pub(crate) state: State,
    pub(crate) lock: LockFile,
    pub(crate) options: ConnectOptions,
    /// How long another run is waited for.
    patience: Duration,
}

impl Context {
    /// Reads the fleet's text.
    pub(crate) fn open(args: &Args) -> Result<Self, Failure> {
        let directory = std::path::absolute(&args.directory)
            .map_err(|error| Failure::input("no such directory").because(&error))?;
        let inputs = Inputs {
            variables: args.variables.iter().cloned().collect(),
            environment: Arc::new(|name: &str| std::env::var(name).ok()),
        };
        let fleet = config::load(&directory, &inputs)?;
        let known_hosts = directory.join(crate::host::KNOWN_HOSTS);
        let options = ConnectOptions {
            ssh_config: args.ssh_config.clone(),
            repo_known_hosts: known_hosts.exists().then_some(known_hosts),
            passphrases: Passphrases::asked_by(Person),
            ..ConnectOptions::default()
        };
        let store = LocalStore::of(&directory, fleet.id);
        let state: Arc<dyn Store> = match shared_store(&fleet, &store, &options)? {
            Some(shared) => Arc::new(shared),
            None => Arc::new(store.clone()),
        };
        Ok(Self {
            state: State::of(state, fleet.id),
            store,
            lock: LockFile::of(&directory, fleet.id),
            options,
            directory,
            fleet,
            patience: args.lock_timeout.unwrap_or_default(),
        })
    }

    /// Takes the store's lock and reads the state; waits for another run as long as it was told.
    pub(crate) async fn begin(&self, command: &str) -> Result<Session, Failure> {
        Ok(self.wait_for(async || self.state.lock(command).await).await?)
    }

    /// Takes something that another run may hold; waits for it as long as it was told.
    pub(crate) async fn wait_for<T>(
        &self,
        take: impl AsyncFn() -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        // A store that is elsewhere is asked less often.
        let pause = match self.fleet.state {
            StateStore::Folder => Duration::from_millis(200),
            _ => Duration::from_secs(1),
        };
        let begun = Instant::now();
        let mut told = false;
        loop {
            match take().await {
                Err(StateError::Locked { holder }) if begun.elapsed() < self.patience => {
                    if !told {
                        screen::say(&format!("waiting for {holder}"));
                    }
                    told = true;
                    tokio::time::sleep(pause).await;
                }
                taken => return taken,
            }
        }
    }

    /// Returns the repository's file of known hosts, where there is one.
    pub(crate) fn repo_known_hosts(&self) -> Option<&Path> {
        self.options.repo_known_hosts.as_deref()
    }

    /// Reads the identity secret.
    pub(crate) fn identity(&self) -> Result<Identity, Failure> {
        Identity::load(&self.store.path(Identity::FILE)).map_err(|error| {
            Failure::input("no identity secret").because(&error).hint(
                "guests' host keys derive from it: put it back from your backup; for a fleet that \
                 was never applied, `freehold init` makes one",
            )
        })
    }

    /// Returns the digest of the fleet's text, keyed: it may hold secrets.
    pub(crate) fn config_digest(&self) -> Result<model::Digest, Failure> {
        Ok(self.identity()?.keyed(&self.fleet.digest))
    }

    /// Returns the fleet's plugins.
    fn plugins(
        &self,
        decisions: &Decisions,
        hosts: &Hosts,
    ) -> Result<Vec<Arc<dyn Plugin>>, Failure> {
        let (plugins, errors) = self.plugins_apart(decisions, hosts);
        errors.into_iter().next().map_or(Ok(plugins), |error| Err(error.into()))
    }

    /// Returns the fleet's plugins, and why others cannot be had.
    pub(crate) fn plugins_apart(
        &self,
        decisions: &Decisions,
        hosts: &Hosts,
    ) -> (Vec<Arc<dyn Plugin>>, Vec<PluginError>) {
        let dns = self.fleet.dns_servers.values().map(|server| {
            let plugin = freehold_dns::PowerDns::new(&self.fleet, server);
            plugin.map(|plugin| Arc::new(plugin) as Arc<dyn Plugin>)
        });
        let targets = self.fleet.target_files.values().map(|file| {
            let guest = match &file.on {
                Place::Vm(vm) => self.guest(vm, decisions, hosts),
                Place::Here | Place::Host(_) => None,
            };
            let plugin = freehold_discovery::FileSd::new(&self.fleet, file, guest);
            plugin.map(|plugin| Arc::new(plugin) as Arc<dyn Plugin>)
        });
        let (mut plugins, mut errors) = (Vec::new(), Vec::new());
        for plugin in dns.chain(targets) {
            match plugin {
                Ok(plugin) => plugins.push(plugin),
                Err(error) => errors.push(error),
            }
        }
        (plugins, errors)
    }

    /// Returns a VM as a machine that holds files; `None` when no address of it is known.
    fn guest(&self, vm: &VmName, decisions: &Decisions, hosts: &Hosts) -> Option<Arc<dyn Files>> {
        let decision = decisions.vms.get(vm)?;
        let target = GuestTarget {
            vm: vm.clone(),
            address: asked_address(&self.fleet, decision)?.0,
            user: self.fleet.vms.get(vm).and_then(|vm| vm.cloud_init.user.clone()),
            host_key: decision.host_key.clone(),
            through: hosts.get(&decision.host).cloned(),
        };
        Some(Arc::new(Guest::new(target, self.options.clone())))
    }

    /// Connects to all hosts and reads them.
    pub(crate) async fn reach(&self, listener: &dyn Listener) -> Reached {
        let connect = |host: &model::Host| {
            let (host, options) = (host.clone(), self.options.clone());
            let future = async move { host::connect(&host, &options).await };
            Box::pin(future) as BoxFuture<'static, Result<Arc<dyn Host>, _>>
        };
        reach(&self.fleet, &connect, listener).await
    }
}

/// Everything a plan was made from, kept for the run.
pub(crate) struct Prepared<'a> {
    pub(crate) context: &'a Context,
    pub(crate) guests: Guests,
    pub(crate) decisions: Decisions,
    /// What freehold.lock said before.
    lock: Decisions,
    pub(crate) snapshot: Snapshot,
    pub(crate) reached: Reached,
    pub(crate) goal: Goal,
    pub(crate) scope: Scope,
    pub(crate) plugins: Vec<Arc<dyn Plugin>>,
    pub(crate) stamp: String,
}

impl<'a> Prepared<'a> {
    /// Decides, reaches and reads everything.
    pub(crate) async fn gather(
        context: &'a Context,
        snapshot: Snapshot,
        (goal, scope): (Goal, Scope),
        listener: &dyn Listener,
    ) -> Result<Self, Failure> {
        let decided = Decided::of(context, &snapshot)?;
        Self::gather_decided(context, decided, snapshot, (goal, scope), listener).await
    }

    /// Reaches and reads everything for what was decided from this snapshot.
    pub(crate) async fn gather_decided(
        context: &'a Context,
        decided: Decided,
        snapshot: Snapshot,
        (goal, scope): (Goal, Scope),
        listener: &dyn Listener,
    ) -> Result<Self, Failure> {
        let reached = context.reach(listener).await;
        Self::of(context, decided, snapshot, (goal, scope), reached)
    }

    /// Puts together what was decided from this snapshot and what was read of the hosts.
    pub(crate) fn of(
        context: &'a Context,
        decided: Decided,
        snapshot: Snapshot,
        (goal, scope): (Goal, Scope),
        reached: Reached,
    ) -> Result<Self, Failure> {
        let Decided { guests, decisions, lock, .. } = decided;
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let plugins = context.plugins(&decisions, &reached.hosts)?;
        Ok(Self {
            context,
            guests,
            decisions,
            lock,
            snapshot,
            reached,
            goal,
            scope,
            plugins,
            stamp,
        })
    }

    /// Calls `with` with everything the planner needs.
    pub(crate) fn with_world<T>(&self, with: impl FnOnce(&World<'_>) -> T) -> T {
        let fleet = &self.context.fleet;
        let seed_digest =
            |vm: &model::Vm, decision: &_| self.guests.seed_digest(fleet, vm, decision);
        let fresh_id = |_: &HostName| Uuid::new_v4();
        with(&World {
            fleet,
            decisions: &self.decisions,
            snapshot: &self.snapshot,
            lag: self.context.state.lag(&self.snapshot),
            observed: &self.reached.observed,
            goal: &self.goal,
            scope: &self.scope,
            seed_digest: &seed_digest,
            fresh_id: &fresh_id,
            stamp: &self.stamp,
        })
    }

    /// Returns the seed of a VM of the fleet, as a plan decided about it.
    pub(crate) fn seed(&self, vm: &VmName, decided: &Decisions) -> model::Secret<Vec<u8>> {
        let fleet = &self.context.fleet;
        self.guests.seed(fleet, &fleet.vms[vm], &decided.vms[vm]).bytes
    }

    /// Returns what was decided, with what a plan decides about VMs that it makes again. A run that
    /// takes away or brings back decides nothing about VMs that it is not about.
    pub(crate) fn decided(&self, plan: &Plan) -> Decisions {
        let mut decisions = self.decisions.clone();
        if !self.goal.is_to_make() {
            let applied = &self.snapshot.decisions.vms;
            decisions.vms.retain(|vm, decision| {
                let known = self.lock.vms.get(vm).or_else(|| applied.get(vm));
                known.inspect(|known| decision.clone_from(known)).is_some()
            });
        }
        plan.overrule(&mut decisions);
        decisions
    }

    /// Makes the plan, plugins' edits included.
    pub(crate) async fn plan(&self) -> Plan {
        let (draft, inventory): (Draft, _) = self.with_world(|world| {
            let draft = draft(world);
            let inventory = draft.inventory(world);
            (draft, inventory)
        });
        if self.goal.is_of_files() {
            return self.with_world(|world| draft.with(world, Proposals::default()));
        }
        let published = &self.snapshot.published;
        let proposals = propose(&self.plugins, &inventory, published, &self.reached.hosts).await;
        let mut plan = self.with_world(|world| draft.with(world, proposals));
        let declared = self.plugins.iter().map(|plugin| plugin.name().to_owned()).collect();
        plan.held.extend(abandoned(&self.snapshot, &declared));
        plan
    }
}

impl Prepared<'_> {
    /// Returns what servers take now that a whole run has made them; `None` when no server was
    /// missing before it, or the run did not go well.
    pub(crate) async fn late_plan(
        &mut self,
        plan: &Plan,
        report: &Report,
        session: &Session,
    ) -> Option<Plan> {
        let down = |plugin: &Arc<dyn Plugin>| {
            let object = Object::Outside(plugin.name().to_owned());
            let is_down = |held: &Held| {
                held.object == object && matches!(held.why, Withheld::ServerDown { .. })
            };
            plan.held.iter().any(is_down)
        };
        let missing: Vec<_> = self.plugins.iter().filter(|plugin| down(plugin)).cloned().collect();
        if missing.is_empty() || !report.failures.is_empty() || report.interrupted {
            return None;
        }
        self.snapshot = session.snapshot.clone();
        // What was held back stays held back, with the edits about it; and what nobody was shown
        // only adds.
        let held = plan.held.iter().filter(|held| !matches!(held.why, Withheld::ServerDown { .. }));
        let draft = Draft { held: held.cloned().collect(), ..Draft::default() };
        let inventory = self.with_world(|world| draft.inventory(world));
        let published = &self.snapshot.published;
        let mut proposals = propose(&missing, &inventory, published, &self.reached.hosts).await;
        proposals.edits.retain(|edit| !edit.new.is_empty());
        Some(self.with_world(|world| draft.with(world, proposals)))
    }
}

/// Refuses names that are no VM of the fleet or the state.
pub(crate) fn known_vms(
    context: &Context,
    snapshot: &Snapshot,
    names: &[VmName],
) -> Result<(), Failure> {
    for name in names {
        if !context.fleet.vms.contains_key(name) && !snapshot.vms.contains_key(name) {
            return Err(no_vm(context, snapshot, name.as_str()));
        }
    }
    Ok(())
}
