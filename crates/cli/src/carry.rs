//! Carrying a plan out: the run, what came of it, the exit code.

use std::sync::Arc;

use freehold_core::{
    apply::{FailureKind, Report, Run},
    events::{Event, Listener},
    host::HostErrorKind,
    model::VmName,
    plan::{Consent, Plan},
    state::{Session, Snapshot},
};
use tokio::sync::watch;

use crate::{
    context::Prepared,
    failure::{Exit, Failure, exit_of},
    interrupt::Wishes,
    screen::{self, Output},
};

/// Ends a run that has nothing to do: only pending edits may have changed.
pub(crate) async fn settle_empty(
    prepared: &Prepared<'_>,
    plan: &Plan,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let snapshot = plan.beginning(&session.snapshot);
    if session.snapshot != snapshot {
        session.save(snapshot).await?;
    }
    if plan.knows_its_hosts() {
        write_lock(prepared, plan, &session.snapshot)?;
    }
    Ok(worst(&[exit_of(&prepared.reached.errors), exit_of_held(plan)]))
}

/// Does what was consented to of a plan, unless it would break a law.
pub(crate) async fn carry_out(
    mut prepared: Prepared<'_>,
    plan: Plan,
    consent: &Consent,
    session: &mut Session,
    output: Arc<Output>,
) -> Result<Exit, Failure> {
    let mut plan = plan.permitted(consent);
    let broken = prepared.with_world(|world| plan.broken_laws(world, consent));
    if !broken.is_empty() {
        let words: Vec<_> = broken.iter().map(ToString::to_string).collect();
        return Err(Failure::input(format!("this plan breaks a law: {}", words.join("; ")))
            .hint("nothing was done; if it is a fresh plan, this is a bug of freehold's planner"));
    }
    for held in plan.held.iter().filter(|held| held.why.is_consent()) {
        output.on(Event::Held {
            object: held.object.to_string(),
            code: held.why.code(),
            text: held.why.to_string(),
            hint: held.why.hint(),
        });
    }
    if plan.is_empty() {
        return settle_empty(&prepared, &plan, session).await;
    }
    prepared.context.lock.write(&prepared.decided(&plan))?;
    let interrupt = interrupts()?;
    let (mut report, mut saved) = walk(&prepared, &plan, session, &output, &interrupt).await?;
    if saved.is_ok()
        && let Some(late) = prepared.late_plan(&plan, &report, session).await
    {
        for edit in &late.edits {
            output.say(&format!("  {edit}"));
        }
        plan.held.clone_from(&late.held);
        let (published, last) = walk(&prepared, &late, session, &output, &interrupt).await?;
        (report, saved) = (report.and(published), last);
    }
    let locked = saved.and_then(|()| write_lock(&prepared, &plan, &report.snapshot));
    // What was done is told, whatever becomes of its record: the journal has it.
    let exit = tell(&prepared, &plan, &report, &output);
    locked.map(|()| exit)
}

/// Walks a plan's steps and writes the state; returns what came of the steps and of the state.
async fn walk(
    prepared: &Prepared<'_>,
    plan: &Plan,
    session: &mut Session,
    output: &Arc<Output>,
    interrupt: &watch::Receiver<bool>,
) -> Result<(Report, Result<(), Failure>), Failure> {
    let context = prepared.context;
    let journal = session.begin().await?;
    let steps = prepared.with_world(|world| plan.steps(world));
    let decided = prepared.decided(plan);
    let seed = |vm: &VmName| prepared.seed(vm, &decided);
    let begun = std::time::Instant::now();
    let run = Run {
        steps: &steps,
        fleet: &context.fleet,
        hosts: &prepared.reached.hosts,
        plugins: &prepared.plugins,
        journal: &journal,
        seed: &seed,
        cache: context.store.path("cache"),
        listener: Arc::clone(output) as Arc<dyn Listener>,
        interrupt: interrupt.clone(),
    };
    let mut snapshot = plan.beginning(&session.snapshot);
    snapshot.decisions.identity.clone_from(&prepared.decisions.identity);
    let report = run.walk(snapshot).await;
    let saved = session.save(report.snapshot.clone()).await.map_err(Failure::from);
    tracing::info!(
        "{} steps in {:.2} s, {:.3} s of them waiting for the journal's disk",
        steps.len(),
        begun.elapsed().as_secs_f64(),
        journal.fsync_time().as_secs_f64()
    );
    Ok((report, saved))
}

/// Writes what was decided, with what is removed by now as tombstones.
fn write_lock(prepared: &Prepared<'_>, plan: &Plan, snapshot: &Snapshot) -> Result<(), Failure> {
    let mut decisions = prepared.decided(plan);
    decisions.bury(snapshot);
    Ok(prepared.context.lock.write(&decisions)?)
}

/// How many of the steps that were left out are named.
const NAMED: usize = 20;

/// Says what came of it and returns the exit code.
fn tell(prepared: &Prepared<'_>, plan: &Plan, report: &Report, output: &Output) -> Exit {
    for words in &report.unverified {
        output.say(&format!("not verified, nobody could be asked: {words}"));
    }
    for words in report.skipped.iter().take(NAMED) {
        output.say(&format!("left out: {words}"));
    }
    if let Some(more) = report.skipped.len().checked_sub(NAMED).filter(|more| *more > 0) {
        output.say(&format!("left out: {more} more"));
    }
    let pending: Vec<_> =
        report.snapshot.pending.iter().map(|pending| pending.plugin.clone()).collect();
    let ended = Event::RunEnded {
        done: report.done,
        failed: report.failures.len(),
        skipped: report.skipped.len(),
        pending,
        interrupted: report.interrupted,
    };
    output.ended(ended);
    if report.interrupted {
        return Exit::Interrupted;
    }
    let of_run = match report.failures.is_empty() {
        true => Exit::Done,
        false if report.failures.iter().any(|failure| is_input(failure.kind)) => Exit::Input,
        false => Exit::Part,
    };
    worst(&[of_run, exit_of(&prepared.reached.errors), exit_of_held(plan)])
}

fn is_input(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Input | FailureKind::Host(HostErrorKind::Input | HostErrorKind::HostKey)
    )
}

pub(crate) fn exit_of_held(plan: &Plan) -> Exit {
    if plan.held.iter().any(|held| held.why.is_consent()) {
        Exit::Held
    } else if plan.held.is_empty() {
        Exit::Done
    } else {
        Exit::Part
    }
}

/// Returns the exit that must not be overlooked: input, then in part, then held.
pub(crate) fn worst(exits: &[Exit]) -> Exit {
    let order = [Exit::Input, Exit::Part, Exit::Held];
    order.into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Done)
}

/// Turns the first Ctrl-C or SIGTERM into a wish to end early; a second one ends at once.
fn interrupts() -> Result<watch::Receiver<bool>, Failure> {
    let (sender, receiver) = watch::channel(false);
    let mut wishes = Wishes::heard()?;
    tokio::spawn(async move {
        wishes.next().await;
        screen::say("ending: calls that run are finished, nothing new begins");
        sender.send_replace(true);
        wishes.next().await;
        screen::say("stopped; the next apply settles what was under way");
        #[expect(clippy::exit, reason = "the second one means now")]
        std::process::exit(130);
    });
    Ok(receiver)
}
