//! One run of the tool: looked, planned, applied; or killed on the way.

use std::sync::{Arc, Mutex, atomic::Ordering};

use freehold_core::{
    apply::{Reached, Report, Run, propose, published, reach},
    events::{Event, Listener, Silence},
    host::Host,
    model::{self, Fleet, HostName, VmName},
    plan::{Consent, Goal, Plan, PlanProblem, Scope, Withheld, World, decide, draft, recover},
    plugins::Plugin,
    seed::Guests,
    state::{Decisions, Fact, Session, Snapshot, State},
};
use futures::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Bed, Fate, Trick, all, fate::Cut, host::TrickyHost, vm};

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

/// What a run is for, and the part of the fleet it is about.
pub(crate) struct Ask {
    pub(crate) goal: Goal,
    pub(crate) scope: Scope,
}

impl From<Goal> for Ask {
    fn from(goal: Goal) -> Self {
        Self { goal, scope: Scope::default() }
    }
}

impl From<Scope> for Ask {
    fn from(scope: Scope) -> Self {
        Self { goal: Goal::Converge, scope }
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
    lag: u64,
    pub(super) stamp: String,
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
            lag: self.lag,
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

struct Recorder {
    events: Mutex<Vec<Event>>,
    fate: Arc<Fate>,
}

impl Listener for Recorder {
    fn on(&self, event: Event) {
        if matches!(event, Event::StepEnded { .. }) {
            self.fate.outcome();
        }
        self.events.lock().unwrap().push(event);
    }
}

impl Bed {
    pub(crate) async fn prepare(
        &self,
        snapshot: Snapshot,
        ask: impl Into<Ask>,
    ) -> Result<Prepared, Vec<PlanProblem>> {
        let Ask { goal, scope } = ask.into();
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let (fleet, identity) = (self.fleet(), self.identity());
        let fingerprint = identity.fingerprint();
        let guests = Guests::new(identity, fleet.id);
        let keys = |vm: &VmName, epoch: u32| guests.host_key(vm, epoch);
        let decisions = decide(&fleet, &self.decided(), &snapshot, &fingerprint, &keys)?;
        let reached = self.reach(&fleet).await;
        let stamp = format!("20261122T{number:06}Z");
        let ids = u128::from(number);
        let lag = self.store().lag(&snapshot);
        Ok(Prepared { fleet, guests, decisions, snapshot, reached, goal, scope, lag, stamp, ids })
    }

    /// Reads all hosts.
    pub(super) async fn reach(&self, fleet: &Fleet) -> Reached {
        let connect = |host: &model::Host| {
            let host = TrickyHost::new(self.hosts[&host.name].clone(), Arc::clone(&self.fate));
            let host = Arc::new(host) as Arc<dyn Host>;
            Box::pin(async move { Ok(host) }) as BoxFuture<'static, Result<Arc<dyn Host>, _>>
        };
        reach(fleet, &connect, &Silence).await
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

    /// Returns the state that lock, hosts and server are the outcome of.
    pub(crate) async fn recovered(&self) -> Snapshot {
        let fleet = self.fleet();
        let reached = self.reach(&fleet).await;
        let published = published(&self.plugins(), &reached.hosts).await;
        assert!(published.down.is_empty(), "{:?}", published.down);
        recover(&fleet, &self.decided(), &reached.observed, &published.present)
    }

    /// Makes a state that was lost again, as `recover` does.
    pub(crate) async fn make_state_again(&self, context: &str) {
        let state = State::of(Arc::new(self.store()), self.fleet().id);
        let anew = state.lock_anew("test").await.unwrap_or_else(|why| panic!("{context}: {why}"));
        let made = self.recovered().await;
        anew.write(made).await.unwrap();
    }

    /// Stops managing a VM.
    pub(crate) async fn forget(&self, name: &str) {
        let mut session = self.store().lock("test").unwrap();
        let mut snapshot = session.snapshot.clone();
        snapshot.fold(&Fact::VmForgotten { vm: vm(name) });
        session.save(snapshot).await.unwrap();
        self.bury(&self.decided(), &session.snapshot);
        self.witness.state_is_lost();
    }

    /// Runs with something happening between the plan and its first step.
    pub(crate) async fn run_after(
        &self,
        ask: impl Into<Ask>,
        consent: &Consent,
        meanwhile: impl FnOnce(),
    ) -> Ran {
        self.try_run_after(ask, consent, meanwhile).await.unwrap_or_else(|p| panic!("{p:?}"))
    }

    pub(crate) async fn run(&self, ask: impl Into<Ask>, consent: &Consent) -> Ran {
        self.try_run(ask, consent).await.unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    pub(crate) async fn try_run(
        &self,
        ask: impl Into<Ask>,
        consent: &Consent,
    ) -> Result<Ran, Vec<PlanProblem>> {
        self.try_run_after(ask, consent, || {}).await
    }

    async fn try_run_after(
        &self,
        ask: impl Into<Ask>,
        consent: &Consent,
        meanwhile: impl FnOnce(),
    ) -> Result<Ran, Vec<PlanProblem>> {
        let mut session = self.store().lock("test").unwrap();
        let prepared = self.prepare(session.snapshot.clone(), ask).await?;
        let drafted = prepared.plan(&self.plugins()).await;
        Ok(self.carry_out((&prepared, drafted), consent, &mut session, meanwhile).await)
    }

    /// Carries out of a plan what is consented to.
    pub(super) async fn carry_out(
        &self,
        (prepared, drafted): (&Prepared, Plan),
        consent: &Consent,
        session: &mut Session,
        meanwhile: impl FnOnce(),
    ) -> Ran {
        let plan = drafted.clone().permitted(consent);
        let mut ran = Ran { drafted, plan, report: None, killed: false, events: Vec::new() };
        if ran.plan.is_empty() {
            let snapshot = ran.plan.beginning(&session.snapshot);
            if session.snapshot != snapshot {
                session.save(snapshot).await.unwrap();
            }
            if ran.plan.knows_its_hosts() {
                self.bury(&prepared.decisions, &session.snapshot);
            }
            return ran;
        }
        let laws = prepared.with_world(|world| ran.plan.broken_laws(world, consent));
        assert_eq!(laws, [], "{}", ran.plan.text());
        let mut decisions = prepared.decisions.clone();
        ran.plan.overrule(&mut decisions);
        self.lock().write(&decisions).unwrap();
        meanwhile();
        self.walk(prepared, &self.plugins(), session, &mut ran).await;
        ran
    }

    async fn walk(
        &self,
        prepared: &Prepared,
        plugins: &[Arc<dyn Plugin>],
        session: &mut Session,
        ran: &mut Ran,
    ) {
        let journal = session.begin().await.unwrap();
        let steps = prepared.with_world(|world| ran.plan.steps(world));
        let fleet = &prepared.fleet;
        let mut decisions = prepared.decisions.clone();
        ran.plan.overrule(&mut decisions);
        let seed =
            |vm: &VmName| prepared.guests.seed(fleet, &fleet.vms[vm], &decisions.vms[vm]).bytes;
        let fate = Arc::clone(&self.fate);
        let recorder = Arc::new(Recorder { events: Mutex::default(), fate });
        let (_interrupt, interrupt) = watch::channel(false);
        let run = Run {
            steps: &steps,
            fleet,
            hosts: &prepared.reached.hosts,
            plugins,
            journal: &journal,
            seed: &seed,
            cache: self.store().path("cache"),
            listener: Arc::clone(&recorder) as Arc<dyn Listener>,
            interrupt,
        };
        let mut snapshot = ran.plan.beginning(&session.snapshot);
        snapshot.decisions.identity.clone_from(&decisions.identity);
        self.witness.run_begins(matches!(prepared.goal, Goal::Empty(_)));
        let ended = tokio::select! {
            biased;
            cut = self.fate.death(&journal) => Err((Trick::KillBefore, cut)),
            report = run.walk(snapshot) => match self.fate.is_dead() {
                // The last outcome it wrote was its last.
                true => Err((Trick::KillAfterOutcome, Cut::Whole)),
                false => Ok(report),
            },
        };
        ran.events = std::mem::take(&mut *recorder.events.lock().unwrap());
        let ended = match ended.map(|report| (self.fate.end(), report)) {
            Ok((None, report)) => Ok(report),
            Ok((Some(kill), report)) => Err(self.end_in(kill, &report, session, &decisions).await),
            Err(killed) => Err(killed),
        };
        match ended {
            Ok(report) => {
                session.save(report.snapshot.clone()).await.unwrap();
                self.bury(&decisions, &report.snapshot);
                ran.report = Some(report);
            }
            Err((_, cut)) => {
                // Whatever was on its way to the disk is there before the next run reads.
                journal.intent(usize::MAX, "killed", &[], &[]).await.unwrap();
                self.cut_journal(cut);
                self.fate.clear();
                ran.killed = true;
            }
        }
    }

    fn bury(&self, decisions: &Decisions, snapshot: &Snapshot) {
        let mut decisions = decisions.clone();
        decisions.bury(snapshot);
        self.lock().write(&decisions).unwrap();
    }

    /// Goes as far at the end of a run as it gets before it is killed there.
    async fn end_in(
        &self,
        kill: (Trick, Cut),
        report: &Report,
        session: &mut Session,
        decisions: &Decisions,
    ) -> (Trick, Cut) {
        let (Trick::KillAfter | Trick::KillTornOutcome | Trick::KillAfterOutcome) = kill.0 else {
            return kill;
        };
        session.save(report.snapshot.clone()).await.unwrap();
        if kill.0 == Trick::KillAfter {
            // The state is there, its copy in the history is not.
            let copy = format!("history/state-{:08}.json", session.snapshot.serial);
            std::fs::remove_file(self.store().path(&copy)).unwrap();
        }
        if kill.0 == Trick::KillAfterOutcome {
            self.bury(decisions, &report.snapshot);
        }
        kill
    }

    /// Leaves of the journal what a kill at this moment may leave.
    fn cut_journal(&self, cut: Cut) {
        let path = self.store().path("journal.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<_> = text.split_inclusive('\n').collect();
        let marker = lines.pop();
        assert!(marker.is_some_and(|line| line.contains("killed")), "{text}");
        if cut == Cut::LessOutcomes {
            while lines.last().is_some_and(|line| line.contains("\"entry\":\"outcome\"")) {
                lines.pop();
            }
        }
        let whole: usize = lines.iter().map(|line| line.len()).sum();
        // The first line comes with the file.
        let begin = lines.first().map_or(0, |line| line.len());
        let acted = self.witness.acted().max(begin);
        let mut left = text[..whole].to_owned();
        match cut {
            Cut::Whole | Cut::LessOutcomes => {}
            Cut::ToLastCall => left.truncate(acted),
            Cut::InNextLine => {
                let next = left[acted..].split_inclusive('\n').next().map_or(0, str::len);
                left.truncate(acted + next / 2);
            }
            Cut::TornEnd => left.push_str("{\"entry\":\"outcome\",\"st"),
        }
        std::fs::write(&path, left).unwrap();
    }
}
