//! `freehold plan`: shows what apply would do.

use freehold_core::plan::{Goal, Plan, Scope};

use crate::{
    apply::{exit_of_held, worst},
    args::Args,
    context::{Context, Prepared},
    failure::{Exit, Failure, exit_of},
    screen::{self, Screen},
};

pub(crate) async fn run(args: &Args) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let snapshot = context.store.read()?;
    let prepared =
        Prepared::gather(&context, snapshot, (Goal::Converge, Scope::default()), &Screen::new())
            .await?;
    let plan = prepared.plan().await;
    show(&plan);
    tell_unreached(&prepared);
    Ok(worst(&[exit_of(&prepared.reached.errors), exit_of_held(&plan)]))
}

/// Writes the plan to stdout.
pub(crate) fn show(plan: &Plan) {
    if plan.is_empty() && plan.held.is_empty() {
        screen::data(&format!("nothing to do: {} unchanged", plan.unchanged));
        return;
    }
    screen::data(&plan.text());
    screen::data(&plan.summary());
}

/// Says on stderr why hosts were not reached, with what to do.
pub(crate) fn tell_unreached(prepared: &Prepared<'_>) {
    for error in &prepared.reached.errors {
        let causes = freehold_core::apply::causes_of(error);
        screen::say(&crate::failure::told(&causes, error.hint.as_deref()));
    }
}
