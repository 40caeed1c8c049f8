//! A fleet in a test: its text, its store, simulated hosts and a name server in memory, put
//! together as the command puts them together.

#![allow(dead_code, unused_imports, reason = "every test binary uses its part of the bed")]

mod check;
mod fate;
mod host;
mod server;
mod texts;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use freehold_core::{
    apply::{Reached, Report, Run, propose, reach},
    config::{self, Inputs},
    events::{Event, Listener, Silence},
    host::{Host, simulated::SimulatedHost},
    model::{self, Fleet, HostName, VmName},
    plan::{Consent, Goal, Plan, PlanProblem, Scope, Withheld, World, decide, draft},
    plugins::Plugin,
    seed::{Guests, Identity},
    state::{Decisions, Fact, LocalStore, LockFile, Session, Snapshot},
};
use futures::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) use fate::{Fate, Trick};
pub(crate) use server::Server;
pub(crate) use texts::{Data, Text, VmText};

use host::TrickyHost;

/// A fleet with everything it is applied to.
pub(crate) struct Bed {
    folder: tempfile::TempDir,
    pub(crate) hosts: BTreeMap<HostName, SimulatedHost>,
    pub(crate) server: Arc<Server>,
    pub(crate) fate: Arc<Fate>,
    /// What the text says; read once.
    fleet: Mutex<Fleet>,
    runs: AtomicU32,
}

/// What one run came to.
pub(crate) struct Ran {
    /// The plan before consent.
    pub(crate) drafted: Plan,
    /// What of it was consented to.
    pub(crate) plan: Plan,
    /// What the run did; nothing where there was nothing to do, or where it was killed.
    pub(crate) report: Option<Report>,
    pub(crate) killed: bool,
    pub(crate) events: Vec<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Part,
    Held,
    Killed,
}

impl Ran {
    /// Returns what the exit code would say.
    pub(crate) fn exit(&self) -> Exit {
        let failed = self.report.as_ref().is_some_and(|report| !report.failures.is_empty());
        if self.killed {
            Exit::Killed
        } else if failed || self.plan.held.iter().any(|held| !held.why.is_consent()) {
            Exit::Part
        } else if self.plan.held.is_empty() {
            Exit::Done
        } else {
            Exit::Held
        }
    }

    /// Returns why an object, as `vm web-0`, was held back.
    pub(crate) fn why(&self, object: &str) -> Option<&Withheld> {
        let mut held = self.plan.held.iter();
        held.find(|held| held.object.to_string() == object).map(|held| &held.why)
    }
}

/// Everything one plan is made from.
pub(crate) struct Prepared {
    pub(crate) fleet: Fleet,
    guests: Guests,
    pub(crate) decisions: Decisions,
    pub(crate) snapshot: Snapshot,
    pub(crate) reached: Reached,
    goal: Goal,
    pub(crate) scope: Scope,
    stamp: String,
    ids: u128,
}

impl Prepared {
    pub(crate) fn with_world<T>(&self, with: impl FnOnce(&World<'_>) -> T) -> T {
        let seed_digest =
            |vm: &model::Vm, decision: &_| self.guests.seed_digest(&self.fleet, vm, decision);
        // Every run proposes other ids: what was claimed must win.
        let fresh_id = |host: &HostName| {
            Uuid::from_u128((self.ids << 64) | u128::from(host.as_str().as_bytes()[4]))
        };
        with(&World {
            fleet: &self.fleet,
            decisions: &self.decisions,
            snapshot: &self.snapshot,
            observed: &self.reached.observed,
            goal: &self.goal,
            scope: &self.scope,
            seed_digest: &seed_digest,
            fresh_id: &fresh_id,
            stamp: &self.stamp,
        })
    }

    pub(crate) async fn plan(&self, plugins: &[Arc<dyn Plugin>]) -> Plan {
        let (draft, inventory) = self.with_world(|world| {
            let draft = draft(world);
            let inventory = draft.inventory(world);
            (draft, inventory)
        });
        let published = &self.snapshot.published;
        let proposals = propose(plugins, &inventory, published, &self.reached.hosts).await;
        self.with_world(|world| draft.with(world, proposals))
    }
}

struct Recorder(Mutex<Vec<Event>>);

impl Listener for Recorder {
    fn on(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// Everything is agreed to.
pub(crate) fn all() -> Consent {
    Consent { all: true, deletes: Some(usize::MAX), ..Consent::default() }
}

pub(crate) fn host(name: &str) -> HostName {
    name.parse().unwrap()
}

pub(crate) fn vm(name: &str) -> VmName {
    name.parse().unwrap()
}

/// A folder in memory where there is one: these tests sync much.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}

/// Reads the fleet of a folder.
pub(crate) fn load(folder: &Path) -> Fleet {
    let inputs = Inputs { variables: BTreeMap::new(), environment: Arc::new(|_: &str| None) };
    config::load(folder, &inputs).unwrap_or_else(|problems| panic!("{}", problems.render()))
}

impl Bed {
    /// Lays out a fleet; its hosts have the bridge `br0`.
    pub(crate) fn new(text: &Text) -> Self {
        let fate = Arc::new(Fate::default());
        let folder = folder();
        std::fs::write(folder.path().join("base.qcow2"), b"image").unwrap();
        let store = folder.path().join(LocalStore::DIRECTORY);
        std::fs::create_dir(&store).unwrap();
        Identity::generate().unwrap().save(&store.join(Identity::FILE)).unwrap();
        std::fs::write(folder.path().join("fleet.hcl"), text.to_string()).unwrap();
        let fleet = load(folder.path());
        let hosts = fleet.hosts.keys().cloned();
        let hosts = hosts.map(|name| (name.clone(), SimulatedHost::new(name, &["br0"])));
        Self {
            folder,
            hosts: hosts.collect(),
            server: Arc::new(Server::new("dns main", Arc::clone(&fate))),
            fate,
            fleet: Mutex::new(fleet),
            runs: AtomicU32::new(0),
        }
    }

    /// Replaces the text.
    pub(crate) fn write(&self, text: &Text) {
        std::fs::write(self.path("fleet.hcl"), text.to_string()).unwrap();
        *self.fleet.lock().unwrap() = load(self.folder.path());
    }

    pub(crate) fn path(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn fleet(&self) -> Fleet {
        self.fleet.lock().unwrap().clone()
    }

    pub(crate) fn store(&self) -> LocalStore {
        LocalStore::of(self.folder.path(), self.fleet().id)
    }

    pub(crate) fn lock(&self) -> LockFile {
        LockFile::of(self.folder.path(), self.fleet().id)
    }

    pub(crate) fn decided(&self) -> Decisions {
        self.lock().read().unwrap()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.store().read().unwrap()
    }

    /// Loses the state, but for the identity secret.
    pub(crate) fn lose_state(&self) {
        let identity = self.store().path(Identity::FILE);
        let secret = Identity::load(&identity).unwrap();
        std::fs::remove_dir_all(identity.parent().unwrap()).unwrap();
        std::fs::create_dir(identity.parent().unwrap()).unwrap();
        secret.save(&identity).unwrap();
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::load(&self.store().path(Identity::FILE)).unwrap()
    }

    /// Ends all trouble: hosts and server are reachable, nothing is going to fail.
    pub(crate) fn heal(&self) {
        self.fate.clear();
        self.hosts.values().for_each(SimulatedHost::heal);
        self.server.set_down(false);
    }

    fn plugins(&self) -> Vec<Arc<dyn Plugin>> {
        vec![Arc::clone(&self.server) as Arc<dyn Plugin>]
    }

    pub(crate) async fn prepare(
        &self,
        snapshot: Snapshot,
        goal: Goal,
    ) -> Result<Prepared, Vec<PlanProblem>> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let (fleet, identity) = (self.fleet(), self.identity());
        let fingerprint = identity.fingerprint();
        let guests = Guests::new(identity, fleet.id);
        let keys = |vm: &VmName, epoch: u32| guests.host_key(vm, epoch);
        let decisions = decide(&fleet, &self.decided(), &snapshot, &fingerprint, &keys)?;
        let connect = |host: &model::Host| {
            let host = TrickyHost::new(self.hosts[&host.name].clone(), Arc::clone(&self.fate));
            let host = Arc::new(host) as Arc<dyn Host>;
            Box::pin(async move { Ok(host) }) as BoxFuture<'static, Result<Arc<dyn Host>, _>>
        };
        let reached = reach(&fleet, &connect, &Silence).await;
        let stamp = format!("20261122T{number:06}Z");
        let ids = u128::from(number);
        let scope = Scope::default();
        Ok(Prepared { fleet, guests, decisions, snapshot, reached, goal, scope, stamp, ids })
    }

    /// Plans without doing anything.
    pub(crate) async fn plan(&self) -> Plan {
        let prepared = self.prepare(self.snapshot(), Goal::Converge).await.unwrap();
        prepared.plan(&self.plugins()).await
    }

    pub(crate) async fn apply(&self, consent: &Consent) -> Ran {
        self.run(Goal::Converge, consent).await
    }

    pub(crate) async fn destroy(&self, vms: Option<&[&str]>) -> Ran {
        let vms = vms.map(|vms| vms.iter().map(|name| vm(name)).collect());
        // The number was asked for once.
        self.run(Goal::Destroy(vms), &all()).await
    }

    /// Stops managing a VM.
    pub(crate) fn forget(&self, name: &str) {
        let mut session = self.store().lock("test").unwrap();
        let mut snapshot = session.snapshot.clone();
        snapshot.fold(&Fact::VmForgotten { vm: vm(name) });
        session.save(snapshot).unwrap();
        let mut decisions = self.decided();
        decisions.bury(&session.snapshot);
        self.lock().write(&decisions).unwrap();
    }

    /// Runs with something happening between the plan and its first step.
    pub(crate) async fn run_after(
        &self,
        goal: Goal,
        consent: &Consent,
        meanwhile: impl FnOnce(),
    ) -> Ran {
        self.try_run_after(goal, consent, meanwhile).await.unwrap_or_else(|p| panic!("{p:?}"))
    }

    pub(crate) async fn run(&self, goal: Goal, consent: &Consent) -> Ran {
        self.try_run(goal, consent).await.unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    pub(crate) async fn try_run(
        &self,
        goal: Goal,
        consent: &Consent,
    ) -> Result<Ran, Vec<PlanProblem>> {
        self.try_run_after(goal, consent, || {}).await
    }

    async fn try_run_after(
        &self,
        goal: Goal,
        consent: &Consent,
        meanwhile: impl FnOnce(),
    ) -> Result<Ran, Vec<PlanProblem>> {
        let mut session = self.store().lock("test").unwrap();
        let prepared = self.prepare(session.snapshot.clone(), goal).await?;
        let plugins = self.plugins();
        let drafted = prepared.plan(&plugins).await;
        let plan = drafted.clone().permitted(consent);
        let mut ran = Ran { drafted, plan, report: None, killed: false, events: Vec::new() };
        if ran.plan.is_empty() {
            let snapshot = ran.plan.beginning(&session.snapshot);
            if session.snapshot != snapshot {
                session.save(snapshot).unwrap();
            }
            if ran.plan.knows_its_hosts() {
                let mut decisions = prepared.decisions.clone();
                decisions.bury(&session.snapshot);
                self.lock().write(&decisions).unwrap();
            }
            return Ok(ran);
        }
        let laws = prepared.with_world(|world| ran.plan.broken_laws(world, consent));
        assert_eq!(laws, [], "{}", ran.plan.text());
        let mut decisions = prepared.decisions.clone();
        ran.plan.overrule(&mut decisions);
        self.lock().write(&decisions).unwrap();
        meanwhile();
        self.walk(&prepared, &plugins, &mut session, &mut ran).await;
        Ok(ran)
    }

    async fn walk(
        &self,
        prepared: &Prepared,
        plugins: &[Arc<dyn Plugin>],
        session: &mut Session,
        ran: &mut Ran,
    ) {
        let journal = session.begin().unwrap();
        let steps = prepared.with_world(|world| ran.plan.steps(world));
        let fleet = &prepared.fleet;
        let mut decisions = prepared.decisions.clone();
        ran.plan.overrule(&mut decisions);
        let seed =
            |vm: &VmName| prepared.guests.seed(fleet, &fleet.vms[vm], &decisions.vms[vm]).bytes;
        let recorder = Arc::new(Recorder(Mutex::default()));
        let (_interrupt, interrupt) = watch::channel(false);
        let run = Run {
            steps: &steps,
            fleet,
            hosts: &prepared.reached.hosts,
            plugins,
            journal: &journal,
            seed: &seed,
            cache: session_cache(self),
            listener: Arc::clone(&recorder) as Arc<dyn Listener>,
            interrupt,
        };
        let mut snapshot = ran.plan.beginning(&session.snapshot);
        snapshot.decisions.identity.clone_from(&decisions.identity);
        let report = tokio::select! {
            biased;
            () = self.fate.death() => None,
            report = run.walk(snapshot) => Some(report),
        };
        ran.events = std::mem::take(&mut *recorder.0.lock().unwrap());
        if let Some(report) = &report {
            session.save(report.snapshot.clone()).unwrap();
            let mut decisions = decisions.clone();
            decisions.bury(&report.snapshot);
            self.lock().write(&decisions).unwrap();
        } else {
            // Whatever was on its way to the disk is there before the next run reads.
            journal.intent(usize::MAX, "killed", &[], &[]).await.unwrap();
            if self.fate.loses_outcomes() {
                self.lose_last_outcomes();
            }
            self.fate.clear();
            ran.killed = true;
        }
        ran.report = report;
    }

    /// Takes back the journal's last lines that nobody waited for.
    fn lose_last_outcomes(&self) {
        let path = self.store().path("journal.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        let marker = lines.pop();
        assert!(marker.is_some_and(|line| line.contains("killed")), "{text}");
        while lines.last().is_some_and(|line| line.contains("\"entry\":\"outcome\"")) {
            lines.pop();
        }
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }

    /// Applies until nothing is left, at most `runs` times, and checks what came of it.
    pub(crate) async fn converges(&self, runs: usize, context: &str) {
        self.heal();
        for _ in 0..runs {
            if self.apply(&all()).await.plan.is_empty() {
                return self.check(context).await;
            }
        }
        let plan = self.plan().await;
        assert!(plan.is_empty(), "{context}: still to do:\n{}", plan.text());
        self.check(context).await;
    }
}

fn session_cache(bed: &Bed) -> std::path::PathBuf {
    bed.store().path("cache")
}
