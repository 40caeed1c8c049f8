//! `freehold plan`: shows what apply would do.

use std::{path::Path, sync::Arc};

use freehold_core::{
    plan::{Goal, Plan, PlanJson, SavedPlan, Scope},
    state::{Snapshot, replace_file},
};
use tokio::runtime::Handle;

use crate::{
    apply::scope_of,
    args::{Args, Part, PlanArgs},
    carry::{exit_of_held, worst},
    context::{Context, Prepared},
    decided::Decided,
    failure::{Exit, Failure, exit_of, tell_errors},
    screen::{self, Output, Screen},
};

pub(crate) async fn run(args: &Args, arguments: &PlanArgs) -> Result<Exit, Failure> {
    let context = Arc::new(Context::open(args)?);
    let (part, listener) = (arguments.part.clone(), Screen::new());
    // Hosts are read meanwhile: that changes nothing, whatever state and lock say.
    let deciding = decide(Arc::clone(&context), part);
    let reaching = async { Ok(context.reach(&listener).await) };
    let ((snapshot, scope, decided), reached) = tokio::try_join!(deciding, reaching)?;
    decided.tell();
    let ask = (Goal::Converge, scope);
    let prepared = Prepared::of(&context, decided, snapshot, ask, reached)?;
    let plan = prepared.plan().await;
    show(&plan, &Output::of(arguments.json));
    tell_errors(&prepared.reached.errors);
    let exit = worst(&[exit_of(&prepared.reached.errors), exit_of_held(&plan)]);
    let pending = arguments.check && !plan.is_empty();
    if let Some(file) = &arguments.out {
        save(&context, &prepared, plan, file)?;
    }
    // The process ends: the kernel closes its connections sooner than libvirt and sshd bid farewell.
    std::mem::forget(prepared);
    Ok(if pending && exit == Exit::Done { Exit::Held } else { exit })
}

/// Reads state and lock and decides, on a thread of its own.
async fn decide(context: Arc<Context>, part: Part) -> Result<(Snapshot, Scope, Decided), Failure> {
    let deciding = tokio::task::spawn_blocking(move || {
        let snapshot = Handle::current().block_on(context.state.read())?;
        let scope = scope_of(&context, &snapshot, &part)?;
        let decided = Decided::of(&context, &snapshot)?;
        Ok((snapshot, scope, decided))
    });
    deciding.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn save(
    context: &Context,
    prepared: &Prepared<'_>,
    plan: Plan,
    file: &Path,
) -> Result<(), Failure> {
    let config = context.config_digest()?;
    let saved = prepared.with_world(|world| SavedPlan::new(plan, world, config));
    replace_file(file, saved.text().as_bytes(), 0o600).map_err(|error| {
        Failure::input(format!("cannot write {}", file.display())).because(&error)
    })?;
    screen::say(&format!("saved; carry it out with: freehold apply {}", as_argument(file)));
    Ok(())
}

/// Returns a plan's file as `apply` takes it: a name without dot and slash would be a VM's.
fn as_argument(file: &Path) -> String {
    let name = file.display().to_string();
    if name.contains(['.', '/']) { name } else { format!("./{name}") }
}

/// Writes the plan to stdout.
pub(crate) fn show(plan: &Plan, output: &Output) {
    if output.is_json() {
        let json = serde_json::to_string(&PlanJson::from(plan)).expect("a plan is plain JSON");
        screen::data(&json);
        return;
    }
    if plan.is_empty() && plan.held.is_empty() {
        screen::data(&format!("nothing to do: {} unchanged", plan.unchanged));
        return;
    }
    screen::data(&plan.text());
    screen::data(&plan.summary());
}
