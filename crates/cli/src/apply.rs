//! `freehold apply` and `freehold destroy`: the plan, consent, the run, what came of it.

use std::sync::Arc;

use freehold_core::{
    apply::{FailureKind, Report, Run},
    events::Listener,
    host::HostErrorKind,
    model::VmName,
    plan::{Consent, Goal, Plan, Scope},
    state::{Session, Snapshot},
};
use tokio::sync::watch;

use crate::{
    args::{Apply, Args, Destroy},
    ask,
    context::{Context, Prepared, known_vms},
    failure::{Exit, Failure, exit_of},
    plan::{show, tell_unreached},
    screen::{self, Screen},
};

/// `freehold apply`.
pub(crate) async fn run(args: &Args, apply: &Apply) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let mut session = context.store.lock("freehold apply")?;
    let screen = Arc::new(Screen::new());
    let snapshot = session.snapshot.clone();
    let prepared =
        Prepared::gather(&context, snapshot, (Goal::Converge, Scope::default()), &*screen).await?;
    let plan = prepared.plan().await;
    show(&plan);
    tell_unreached(&prepared);
    if plan.is_empty() {
        return settle_empty(&prepared, &plan, &mut session);
    }
    let Some(consent) = consent_to_apply(&plan, apply) else { return Ok(Exit::Held) };
    carry_out(prepared, plan.permitted(&consent), &mut session, screen).await
}

/// `freehold destroy`.
pub(crate) async fn destroy(args: &Args, destroy: &Destroy) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let mut session = context.store.lock("freehold destroy")?;
    known_vms(&context, &session.snapshot, &destroy.vms)?;
    let names = (!destroy.vms.is_empty()).then(|| destroy.vms.iter().cloned().collect());
    let screen = Arc::new(Screen::new());
    let snapshot = session.snapshot.clone();
    let prepared =
        Prepared::gather(&context, snapshot, (Goal::Destroy(names), Scope::default()), &*screen)
            .await?;
    let plan = prepared.plan().await;
    show(&plan);
    tell_unreached(&prepared);
    if plan.is_empty() {
        return settle_empty(&prepared, &plan, &mut session);
    }
    let number = plan.changes.len().to_string();
    if !destroy.yes {
        if !ask::somebody() {
            screen::say("nothing was done; nobody is there to ask\n\nhint: destroy --yes");
            return Ok(Exit::Held);
        }
        if ask::answer(&format!("Type the number of objects to remove ({number}):")) != number {
            screen::say("nothing was done");
            return Ok(Exit::Held);
        }
    }
    carry_out(prepared, plan, &mut session, screen).await
}

/// Returns what the user agreed to, or nothing when he did not.
fn consent_to_apply(plan: &Plan, apply: &Apply) -> Option<Consent> {
    let given = Consent {
        allowances: apply.consent.allow.clone(),
        deletes: apply.consent.deletes,
        all: false,
        unprotect: apply.consent.unprotect.iter().cloned().collect(),
    };
    if apply.consent.yes {
        return Some(given);
    }
    if !ask::somebody() {
        screen::say("nothing was done; nobody is there to ask\n\nhint: apply --yes");
        return None;
    }
    let mut consent = Consent { all: true, ..given };
    let vanishing = plan.vanishing();
    if vanishing > plan.budget() && apply.consent.deletes.is_none() {
        let question = format!("{vanishing} VMs and networks vanish. Type that number to go on:");
        if ask::answer(&question) != vanishing.to_string() {
            screen::say("nothing was done");
            return None;
        }
        consent.deletes = Some(vanishing);
        return Some(consent);
    }
    if ask::agrees("Apply this?") {
        return Some(consent);
    }
    screen::say("nothing was done");
    None
}

/// Ends a run that has nothing to do: only pending edits may have changed.
fn settle_empty(
    prepared: &Prepared<'_>,
    plan: &Plan,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let snapshot = plan.beginning(&session.snapshot);
    if session.snapshot != snapshot {
        session.save(snapshot)?;
    }
    if plan.knows_its_hosts() {
        write_lock(prepared, plan, &session.snapshot)?;
    }
    Ok(worst(&[exit_of(&prepared.reached.errors), exit_of_held(plan)]))
}

async fn carry_out(
    mut prepared: Prepared<'_>,
    mut plan: Plan,
    session: &mut Session,
    screen: Arc<Screen>,
) -> Result<Exit, Failure> {
    for held in plan.held.iter().filter(|held| held.why.is_consent()) {
        let hint = held.why.hint().unwrap_or_default();
        screen::say(&format!("held back: {}: {} ({hint})", held.object, held.why));
    }
    if plan.is_empty() {
        return settle_empty(&prepared, &plan, session);
    }
    prepared.context.lock.write(&prepared.decided(&plan))?;
    let interrupt = interrupts();
    let mut report = walk(&prepared, &plan, session, &screen, &interrupt).await?;
    if let Some(late) = prepared.late_plan(&plan, &report, session).await {
        for edit in &late.edits {
            screen::data(&format!("  {edit}"));
        }
        plan.held.clone_from(&late.held);
        let published = walk(&prepared, &late, session, &screen, &interrupt).await?;
        report = report.and(published);
    }
    write_lock(&prepared, &plan, &report.snapshot)?;
    Ok(tell(&prepared, &plan, &report))
}

/// Walks a plan's steps and writes the state.
async fn walk(
    prepared: &Prepared<'_>,
    plan: &Plan,
    session: &mut Session,
    screen: &Arc<Screen>,
    interrupt: &watch::Receiver<bool>,
) -> Result<Report, Failure> {
    let context = prepared.context;
    let journal = session.begin()?;
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
        listener: Arc::clone(screen) as Arc<dyn Listener>,
        interrupt: interrupt.clone(),
    };
    let mut snapshot = plan.beginning(&session.snapshot);
    snapshot.decisions.identity.clone_from(&prepared.decisions.identity);
    let report = run.walk(snapshot).await;
    session.save(report.snapshot.clone())?;
    tracing::info!(
        "{} steps in {:.2} s, {:.3} s of them waiting for the journal's disk",
        steps.len(),
        begun.elapsed().as_secs_f64(),
        journal.fsync_time().as_secs_f64()
    );
    Ok(report)
}

/// Writes what was decided, with what is removed by now as tombstones.
fn write_lock(prepared: &Prepared<'_>, plan: &Plan, snapshot: &Snapshot) -> Result<(), Failure> {
    let mut decisions = prepared.decided(plan);
    decisions.bury(snapshot);
    Ok(prepared.context.lock.write(&decisions)?)
}

/// Says what came of it and returns the exit code.
fn tell(prepared: &Prepared<'_>, plan: &Plan, report: &Report) -> Exit {
    for words in &report.unverified {
        screen::say(&format!("not verified, nobody could be asked: {words}"));
    }
    let mut words = vec![format!("{} steps done", report.done)];
    if !report.failures.is_empty() {
        words.push(format!("{} failed", report.failures.len()));
    }
    if !report.skipped.is_empty() {
        words.push(format!("{} left out", report.skipped.len()));
    }
    for pending in &report.snapshot.pending {
        words.push(format!("{} pending", pending.plugin));
    }
    screen::data(&words.join(", "));
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
    let host_input = [HostErrorKind::Input, HostErrorKind::HostKey].map(FailureKind::Host);
    kind == FailureKind::Input || host_input.contains(&kind)
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

/// Turns the first Ctrl-C into a wish to end early; a second one ends at once.
fn interrupts() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            screen::say("ending: calls that run are finished, nothing new begins");
            sender.send_replace(true);
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            screen::say("stopped; the next apply settles what was under way");
            #[expect(clippy::exit, reason = "the second Ctrl-C means now")]
            std::process::exit(130);
        }
    });
    receiver
}
