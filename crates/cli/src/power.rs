//! `freehold start`, `stop` and `restart`: the power of VMs, by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use freehold_core::{
    apply::{SHUTDOWN, await_ready, causes_of},
    events::{Event, Listener as _, StepOutcome},
    host::{Host, HostError},
    model::{DomainState, HostName},
    plan::readiness,
};
use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};

use crate::{
    args::{Args, Power},
    carry::worst,
    context::Context,
    failure::{Exit, Failure, exit_of, tell_errors},
    interrupt::Wishes,
    screen::Output,
    vms::Made,
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// Why one VM was not brought there.
struct Trouble {
    causes: Vec<String>,
    hint: Option<String>,
    exit: Exit,
}

impl Trouble {
    fn new(what: String, hint: impl Into<String>) -> Self {
        Self { causes: vec![what], hint: Some(hint.into()), exit: Exit::Part }
    }
}

impl From<HostError> for Trouble {
    fn from(error: HostError) -> Self {
        let exit = exit_of(std::slice::from_ref(&error));
        Self { causes: causes_of(&error), hint: error.hint, exit }
    }
}

/// The VMs it is about, and how.
struct Job<'a> {
    context: &'a Context,
    verb: Verb,
    power: &'a Power,
    output: &'a Output,
}

pub(crate) async fn run(args: &Args, verb: Verb, power: &Power) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let session = context.begin(&format!("freehold {}", verb.word())).await?;
    let vms = Made::several(&context, &session.snapshot, &power.names)?;
    let output = Output::of(power.json);
    let job = Job { context: &context, verb, power, output: &output };
    let (hosts, missing) = job.reach(&vms).await;
    let mut counts = (0, 0, 0);
    let mut exits = Vec::new();
    exits.push(exit_of(&missing));
    tell_errors(&missing);
    let mut running: FuturesUnordered<_> = vms
        .iter()
        .enumerate()
        .filter_map(|(step, made)| Some(job.one(step, made, hosts.get(made.host_name())?)))
        .collect();
    counts.2 = vms.len() - running.len();
    let mut wishes = Wishes::heard()?;
    let interrupted = loop {
        tokio::select! {
            ended = running.next() => match ended {
                None => break false,
                Some(Ok(())) => counts.0 += 1,
                Some(Err(exit)) => {
                    counts.1 += 1;
                    exits.push(exit);
                }
            },
            () = wishes.next() => break true,
        }
    };
    drop(running);
    if interrupted {
        output.say("no longer waited for; what hosts and guests were asked to do goes on");
        if verb == Verb::Restart {
            let names: Vec<_> = vms.iter().map(|made| made.name.to_string()).collect();
            let names = names.join(" ");
            output.say(&format!(
                "hint: who was to be started again may be off: freehold start {names}"
            ));
        }
    }
    let (done, failed, skipped) = counts;
    output.ended(Event::RunEnded { done, failed, skipped, pending: Vec::new(), interrupted });
    if interrupted {
        return Ok(Exit::Interrupted);
    }
    Ok(worst(&exits))
}

impl Job<'_> {
    /// Connects to the hosts of these VMs, to all at once; tells those that were not reached apart.
    async fn reach(&self, vms: &[Made<'_>]) -> (BTreeMap<HostName, Arc<dyn Host>>, Vec<HostError>) {
        let mut seen = BTreeSet::new();
        let firsts = vms.iter().filter(|made| seen.insert(made.host_name()));
        let reaching = join_all(
            firsts.map(|made| async { (made.host_name().clone(), made.reach(self.context).await) }),
        );
        let (mut reached, mut missing) = (BTreeMap::new(), Vec::new());
        for (name, host) in reaching.await {
            match host {
                Ok(host) => drop(reached.insert(name, host)),
                Err(error) => missing.push(error),
            }
        }
        (reached, missing)
    }

    /// Brings one VM there and says how it went.
    async fn one(&self, step: usize, made: &Made<'_>, host: &Arc<dyn Host>) -> Result<(), Exit> {
        let what = format!("{} {}", self.verb.word(), made.name);
        let on = Some(made.host_name().clone());
        self.output.on(Event::StepStarted { step, host: on, what });
        let ended = self.act(made, &**host).await;
        let (outcome, ended) = match ended {
            Ok(()) => (StepOutcome::Done, Ok(())),
            Err(Trouble { causes, hint, exit }) => {
                (StepOutcome::Failed { causes, hint }, Err(exit))
            }
        };
        self.output.on(Event::StepEnded { step, outcome });
        if ended.is_ok()
            && let Some(note) = declared_otherwise(self.verb, made)
        {
            self.output.say(&note);
        }
        ended
    }

    async fn act(&self, made: &Made<'_>, host: &dyn Host) -> Result<(), Trouble> {
        let (name, ours) = (made.name, made.ours(self.context));
        let Some(state) = host.domain_state(&ours).await? else {
            let what = format!("{name} is not on {} any more", made.host_name());
            return Err(Trouble::new(what, "`freehold plan` shows what apply would do about it"));
        };
        if self.verb != Verb::Start {
            self.stop(made, host, state).await?;
        }
        if self.verb == Verb::Stop {
            return Ok(());
        }
        if self.verb == Verb::Start && state == DomainState::Paused {
            let hint = format!("on {}: virsh resume {name}", made.host_name());
            return Err(Trouble::new(format!("{name} is paused"), hint));
        }
        host.start_domain(&ours).await?;
        if self.power.wait { self.ready(made, host).await } else { Ok(()) }
    }

    async fn stop(
        &self,
        made: &Made<'_>,
        host: &dyn Host,
        state: DomainState,
    ) -> Result<(), Trouble> {
        let (name, ours) = (made.name, made.ours(self.context));
        if self.power.force {
            return Ok(host.stop_domain(&ours, Duration::ZERO).await?);
        }
        let waits = self.power.wait || self.verb == Verb::Restart;
        if state == DomainState::Paused {
            let hint =
                format!("--force turns it off; on {}: virsh resume {name}", made.host_name());
            return Err(Trouble::new(format!("{name} is paused and hears no button"), hint));
        }
        let wait = if waits { SHUTDOWN } else { Duration::ZERO };
        match host.shut_down_domain(&ours, wait).await? {
            true => {}
            false if waits => {
                let what = format!("{name} still runs {} s after it was asked", wait.as_secs());
                let hint = format!("freehold {} {name} --force pulls its plug", self.verb.word());
                return Err(Trouble::new(what, hint));
            }
            false => self.output.say(&format!("{name} was asked to shut down")),
        }
        Ok(())
    }

    /// Waits as `apply` does.
    async fn ready(&self, made: &Made<'_>, host: &dyn Host) -> Result<(), Trouble> {
        let wait = made.vm.and_then(|vm| readiness(&self.context.fleet, vm, made.decision));
        let Some(wait) = wait else {
            self.output.say(&format!("{}: there is nobody to ask whether it is ready", made.name));
            return Ok(());
        };
        await_ready(&wait, host).await.map_err(|seen| {
            let what =
                format!("{} not ready after {} s: {seen}", made.name, wait.timeout.as_secs());
            Trouble::new(what, format!("`freehold logs {}` shows what it says", made.name))
        })
    }
}

/// Says what the next apply makes of it, where that is something else.
fn declared_otherwise(verb: Verb, made: &Made<'_>) -> Option<String> {
    let name = made.name;
    match (made.vm.map(|vm| vm.running), verb) {
        (None, _) => Some(format!("{name} is no longer declared: the next apply takes it away")),
        (Some(true), Verb::Stop) => Some(format!(
            "{name} is declared to run: the next apply starts it; `running = false` in its block \
             keeps it off"
        )),
        (Some(false), Verb::Start | Verb::Restart) => {
            Some(format!("{name} is declared with `running = false`: the next apply stops it"))
        }
        _ => None,
    }
}
