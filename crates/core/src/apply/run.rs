//! One run: steps in their order, as many at once as can be.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::watch;

use super::{
    Failure, FailureKind,
    batch::{Batcher, Published},
    image::{Images, told},
    ready::await_ready,
    restore::restore_domain,
    schedule::{Ending, Schedule, Turn},
};
use crate::{
    events::{Event, Listener, StepOutcome},
    host::{Host, HostError},
    model::{Edit, Fleet, Secret, VmName},
    plan::{Act, Await, Step},
    plugins::{Hosts, Plugin},
    state::{Journal, Outcome, Pending, Snapshot},
};

/// How long a guest may take to shut down before it is turned off.
pub const SHUTDOWN: Duration = Duration::from_mins(1);
/// How many lines of a console are shown when a VM is not ready in time.
const CONSOLE_LINES: usize = 12;

/// Told when the user wants the run to end early: nothing new begins, waits end.
pub type Interrupt = watch::Receiver<bool>;

/// Everything a run needs; nothing in it is decided here.
pub struct Run<'a> {
    /// The steps of the plan.
    pub steps: &'a [Step],
    /// The fleet, for the sources of images.
    pub fleet: &'a Fleet,
    /// Hosts that were reached.
    pub hosts: &'a Hosts,
    /// Plugins.
    pub plugins: &'a [Arc<dyn Plugin>],
    /// The journal of this run.
    pub journal: &'a Journal,
    /// Gives the seed of a VM.
    pub seed: &'a (dyn Fn(&VmName) -> Secret<Vec<u8>> + Send + Sync),
    /// Where downloaded images are kept on this machine.
    pub cache: PathBuf,
    /// Who is told.
    pub listener: Arc<dyn Listener>,
    /// Whether to end early.
    pub interrupt: Interrupt,
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("steps", &self.steps.len()).finish_non_exhaustive()
    }
}

/// What a run did.
#[derive(Debug)]
pub struct Report {
    /// The state as it is now.
    pub snapshot: Snapshot,
    /// Steps that are done.
    pub done: usize,
    /// Steps that failed.
    pub failures: Vec<Failure>,
    /// Steps that were left out since one they need failed, or the run ended early.
    pub skipped: Vec<String>,
    /// What was published and could not be asked back.
    pub unverified: Vec<String>,
    /// Whether the run ended early.
    pub interrupted: bool,
}

impl Report {
    /// Adds what a run after this one did.
    #[must_use]
    pub fn and(mut self, next: Self) -> Self {
        self.snapshot = next.snapshot;
        self.done += next.done;
        self.failures.extend(next.failures);
        self.skipped.extend(next.skipped);
        self.unverified.extend(next.unverified);
        self.interrupted |= next.interrupted;
        self
    }
}

/// How a step ended inside a run.
enum Ended {
    Done(Option<Published>),
    Failed(Box<Failure>),
}

impl Run<'_> {
    /// Walks all steps; `snapshot` is the state they begin from.
    pub async fn walk(&self, snapshot: Snapshot) -> Report {
        let mut report = Report {
            snapshot,
            done: 0,
            failures: Vec::new(),
            skipped: Vec::new(),
            unverified: Vec::new(),
            interrupted: false,
        };
        let images = Images::new(self.fleet, self.cache.clone());
        let batchers: BTreeMap<_, _> = self
            .plugins
            .iter()
            .map(|plugin| (plugin.name().to_owned(), self.batcher(plugin)))
            .collect();
        let mut schedule = Schedule::of(self.steps);
        let mut running: FuturesUnordered<BoxFuture<'_, (usize, Ended)>> = FuturesUnordered::new();
        loop {
            for index in self.due(&mut schedule, &mut report) {
                for fact in &self.steps[index].claims {
                    report.snapshot.fold(fact);
                }
                running.push(self.one(index, &images, &batchers).boxed());
            }
            let Some((index, ended)) = running.next().await else { break };
            let ending = self.settle(index, ended, &mut report);
            schedule.ended(index, ending);
        }
        report.interrupted = *self.interrupt.borrow();
        report
    }

    fn batcher(&self, plugin: &Arc<dyn Plugin>) -> Batcher {
        Batcher::new(Arc::clone(plugin), self.interrupt.clone())
    }

    /// Returns the steps that can begin now; tells of those that never can.
    fn due(&self, schedule: &mut Schedule, report: &mut Report) -> Vec<usize> {
        let mut due = Vec::new();
        for turn in schedule.turns(*self.interrupt.borrow()) {
            match turn {
                Turn::Begin(index) => due.push(index),
                Turn::Skip(index) => {
                    report.skipped.push(self.steps[index].words());
                    self.tell_ended(index, StepOutcome::Skipped);
                }
            }
        }
        due
    }

    fn settle(&self, index: usize, ended: Ended, report: &mut Report) -> Ending {
        let step = &self.steps[index];
        match ended {
            Ended::Done(published) => {
                for fact in &step.settles {
                    report.snapshot.fold(fact);
                }
                report.done += 1;
                if published == Some(Published::NotVerified) {
                    report.unverified.push(step.words());
                }
                self.tell_ended(index, StepOutcome::Done);
                Ending::Done
            }
            Ended::Failed(failure) => {
                let (causes, hint) = (failure.causes.clone(), failure.hint.clone());
                self.tell_ended(index, StepOutcome::Failed { causes, hint });
                if let Act::Publish { plugin, edits } = &step.act {
                    let pending = &mut report.snapshot.pending;
                    note_pending(pending, plugin, &failure.causes, edits);
                }
                report.failures.push(*failure);
                Ending::Not
            }
        }
    }

    fn tell_ended(&self, step: usize, outcome: StepOutcome) {
        self.listener.on(Event::StepEnded { step, outcome });
    }

    /// Does one step: intent on disk, the call, its outcome.
    async fn one(
        &self,
        index: usize,
        images: &Images<'_>,
        batchers: &BTreeMap<String, Batcher>,
    ) -> (usize, Ended) {
        let step = &self.steps[index];
        let what = step.words();
        self.listener.on(Event::StepStarted {
            step: index,
            host: step.host.clone(),
            what: what.clone(),
        });
        if let Err(error) = self.journal.intent(index, &what, &step.claims, &step.settles).await {
            return (index, Ended::Failed(Box::new(Failure::of_state(what, &error))));
        }
        let ended = self.act(index, &what, images, batchers).await;
        self.journal.outcome(
            index,
            match &ended {
                Ended::Done(_) => Outcome::Done,
                Ended::Failed(failure) => failure.outcome,
            },
        );
        (index, ended)
    }

    async fn act(
        &self,
        index: usize,
        what: &str,
        images: &Images<'_>,
        batchers: &BTreeMap<String, Batcher>,
    ) -> Ended {
        let step = &self.steps[index];
        let failed = |failure| Ended::Failed(Box::new(failure));
        if let Act::Publish { plugin, edits } = &step.act {
            let batcher = batchers.get(plugin).expect("plugins that proposed edits are here");
            return match batcher.publish(edits.clone(), self.hosts).await {
                Ok(published) => Ended::Done(Some(published)),
                Err(failure) => failed(failure),
            };
        }
        let name = step.host.as_ref().expect("every other step is a host's");
        let host = self.hosts.get(name).expect("changes are planned on hosts that were reached");
        let result = match &step.act {
            Act::StoreImage(spec) => {
                let progress = told(index, &self.listener);
                let brought = images.bring(spec, host.as_ref(), &progress, what);
                self.unless_interrupted(brought, what).await
            }
            Act::AwaitReady(wait) => self.wait(wait, step, host.as_ref(), what).await,
            act => {
                let done = on_host(act, step, host.as_ref(), self.seed).await;
                done.map_err(|error| Failure::of_host(what.to_owned(), &error))
            }
        };
        match result {
            Ok(()) => Ended::Done(None),
            Err(failure) => failed(failure),
        }
    }

    /// Lets go of an upload or download when the user wants to end: its staging file is swept away,
    /// the next run begins it again.
    async fn unless_interrupted(
        &self,
        work: impl Future<Output = Result<(), Failure>>,
        what: &str,
    ) -> Result<(), Failure> {
        let mut interrupt = self.interrupt.clone();
        tokio::select! {
            done = work => done,
            Ok(_) = interrupt.wait_for(|stop| *stop) => Err(Failure {
                what: what.to_owned(),
                causes: vec!["interrupted".to_owned()],
                hint: Some("`freehold apply` begins it again".into()),
                kind: FailureKind::Interrupted,
                outcome: Outcome::Failed,
            }),
        }
    }

    async fn wait(
        &self,
        wait: &Await,
        step: &Step,
        host: &dyn Host,
        what: &str,
    ) -> Result<(), Failure> {
        let mut interrupt = self.interrupt.clone();
        let seen = tokio::select! {
            ready = await_ready(wait, host) => match ready {
                Ok(()) => return Ok(()),
                Err(seen) => format!("not ready after {} s: {seen}", wait.timeout.as_secs()),
            },
            Ok(_) = interrupt.wait_for(|stop| *stop) => "interrupted".to_owned(),
        };
        let mut causes = vec![seen];
        let interrupted = *self.interrupt.borrow();
        if let Some(uuid) = domain_of(step).filter(|_| !interrupted) {
            match host.console_tail(uuid, CONSOLE_LINES).await {
                Ok(console) if console.trim().is_empty() => {}
                Ok(console) => causes.push(format!("its console last said:\n{console}")),
                Err(error) => tracing::debug!("no console: {error}"),
            }
        }
        Err(Failure {
            what: what.to_owned(),
            causes,
            hint: Some("the VM stays; `freehold apply` looks again".into()),
            kind: FailureKind::NotReady,
            outcome: Outcome::Failed,
        })
    }
}

/// Notes edits of one plugin that could not be published.
fn note_pending(pending: &mut Vec<Pending>, plugin: &str, why: &[String], edits: &[Edit]) {
    let known = pending.iter_mut().find(|pending| pending.plugin == plugin);
    if let Some(known) = known {
        known.edits.extend_from_slice(edits);
    } else {
        pending.push(Pending {
            plugin: plugin.to_owned(),
            why: why.to_vec(),
            edits: edits.to_vec(),
        });
    }
}

fn domain_of(step: &Step) -> Option<uuid::Uuid> {
    step.claims.iter().find_map(|fact| match fact {
        crate::state::Fact::Vm { record, .. } => Some(record.uuid),
        _ => None,
    })
}

/// Does what a host alone can do.
async fn on_host(
    act: &Act,
    step: &Step,
    host: &dyn Host,
    seed: &(dyn Fn(&VmName) -> Secret<Vec<u8>> + Send + Sync),
) -> Result<(), HostError> {
    match act {
        Act::CreatePool => host.create_pool().await,
        Act::WriteCard { fleet, card } => host.write_card(*fleet, card).await,
        Act::DefineNetwork(spec) => host.define_network(spec).await,
        Act::RemoveNetwork { network } => host.remove_network(network).await,
        Act::CreateVolume(spec) => host.create_volume(spec).await,
        Act::WriteSeed { volume } => {
            let vm = step.vm.as_ref().expect("a seed is a VM's");
            host.write_volume(volume, seed(vm).expose()).await
        }
        Act::DefineDomain(spec) => host.define_domain(spec).await,
        Act::UpdateDomain { domain, spec } => host.update_domain(domain, spec).await,
        Act::MarkDomain { uuid, name, mark } => host.mark_domain(*uuid, name, mark).await,
        Act::RenameDomain { domain, spec } => host.rename_domain(domain, spec).await,
        Act::GrowVolume { domain, volume, size } => host.grow_volume(domain, volume, *size).await,
        Act::RestoreDomain { domain, xml } => restore_domain(host, domain, xml).await,
        Act::SetAutostart { domain, autostart } => host.set_autostart(domain, *autostart).await,
        Act::StartDomain { domain } => host.start_domain(domain).await,
        Act::StopDomain { domain } => host.stop_domain(domain, SHUTDOWN).await,
        Act::UndefineDomain { domain, xml } => {
            // Its last words are safe before it goes: a kill in between loses nothing.
            if let Some(text) = host.domain_xml(domain.uuid).await? {
                host.write_volume(xml, text.as_bytes()).await?;
            }
            host.undefine_domain(domain).await
        }
        Act::TrashVolume { from, to } | Act::RestoreVolume { from, to } => {
            host.rename_volume(from, to).await
        }
        Act::DiscardVolume { name } => host.remove_volume(name).await,
        Act::RefreshPool => host.refresh_pool().await,
        Act::Note | Act::Forget => Ok(()),
        Act::StoreImage(_) | Act::AwaitReady(_) | Act::Publish { .. } => {
            unreachable!("done by the run")
        }
    }
}
