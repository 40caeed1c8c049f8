//! `freehold apply`, `destroy`, `replace`, `adopt` and `forget`: the plan, consent, the run.

use std::{collections::BTreeSet, sync::Arc};

use freehold_core::{
    model::{Impact, VmName},
    plan::{Consent, Goal, Plan, SavedPlan, SavedPlanError, Scope},
    state::{Fact, Session, Snapshot},
};

use crate::{
    args::{Adopt, Apply, Args, ConsentArgs, Destroy, Forget, Manner, Part, Replace},
    ask,
    carry::{carry_out, settle_empty},
    context::{Context, Prepared, known_vms},
    decided::Decided,
    failure::{Exit, Failure, tell_errors},
    plan::show,
    screen::{self, Output},
};

/// `freehold apply`.
pub(crate) async fn run(args: &Args, apply: &Apply) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let mut session = context.begin("freehold apply").await?;
    let output = Arc::new(Output::of(apply.json));
    if let Some(file) = apply.part.plan_file() {
        if !apply.part.hosts.is_empty() {
            return Err(Failure::input("a saved plan takes no --host")
                .hint("it is about what it was made for: give it to `plan -o`"));
        }
        return carry_out_saved(&context, &mut session, (&file, apply), output).await;
    }
    let snapshot = session.snapshot.clone();
    let scope = scope_of(&context, &snapshot, &apply.part)?;
    let given = given_by(&context, &snapshot, &apply.consent)?;
    let decided = decided(&context, &snapshot, apply.locked)?;
    let ask = (Goal::Converge, scope);
    let prepared = Prepared::gather_decided(&context, decided, snapshot, ask, &*output).await?;
    let plan = prepared.plan().await;
    let consent = |plan: &Plan| consent_to(plan, given);
    show_and_run(prepared, plan, consent, &mut session, output).await
}

/// Shows a plan, asks, and carries it out.
async fn show_and_run(
    prepared: Prepared<'_>,
    plan: Plan,
    consent: impl FnOnce(&Plan) -> Option<Consent>,
    session: &mut Session,
    output: Arc<Output>,
) -> Result<Exit, Failure> {
    show(&plan, &output);
    tell_errors(&prepared.reached.errors);
    if plan.is_empty() {
        return settle_empty(&prepared, &plan, session).await;
    }
    let Some(consent) = consent(&plan) else { return Ok(Exit::Held) };
    carry_out(prepared, plan, &consent, session, output).await
}

/// Reads a saved plan and refuses one that no longer holds.
fn read_plan(context: &Context, session: &Session, file: &str) -> Result<SavedPlan, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::input(format!("cannot read {file}")).because(&error))?;
    let saved = SavedPlan::read(&text).map_err(|error| refused(file, &error))?;
    let config = context.config_digest()?;
    let state = (session.snapshot.lineage, session.snapshot.serial);
    saved.fits(context.fleet.id, state, &config).map_err(|error| refused(file, &error))?;
    Ok(saved)
}

fn refused(file: &str, error: &SavedPlanError) -> Failure {
    let exit = if error.is_stale() { Exit::Locked } else { Exit::Input };
    let what = format!("the plan in {file} is not carried out");
    Failure::new(exit, what).because(error).hint(error.hint())
}

/// Looks at the lock and every object of a saved plan once more, then carries it out as it was
/// agreed to. What can be told without a host is told before one is asked.
async fn carry_out_saved(
    context: &Context,
    session: &mut Session,
    (file, apply): (&str, &Apply),
    output: Arc<Output>,
) -> Result<Exit, Failure> {
    let saved = read_plan(context, session, file)?;
    let ask = (saved.goal.clone(), saved.scope.clone());
    let snapshot = session.snapshot.clone();
    let decided = decided(context, &snapshot, apply.locked)?;
    saved.agrees_with(&decided.decisions).map_err(|error| refused(file, &error))?;
    let mut prepared = Prepared::gather_decided(context, decided, snapshot, ask, &*output).await?;
    prepared.stamp.clone_from(&saved.stamp);
    let plan = saved.still_true(&prepared.reached.observed);
    let plan = plan.map_err(|error| refused(file, &error))?;
    let given = given_by(context, &session.snapshot, &apply.consent)?;
    show_and_run(prepared, plan, |plan| consent_to(plan, given), session, output).await
}

/// Decides; where nobody is there to see it, nothing that the lock does not hold.
fn decided(context: &Context, snapshot: &Snapshot, locked: bool) -> Result<Decided, Failure> {
    let decided = Decided::of(context, snapshot)?;
    decided.tell();
    if locked || !ask::somebody() {
        decided.refuse_open()?;
    }
    Ok(decided)
}

/// `freehold destroy`.
pub(crate) async fn destroy(args: &Args, destroy: &Destroy) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let mut session = context.begin("freehold destroy").await?;
    known_vms(&context, &session.snapshot, &destroy.vms)?;
    let names = (!destroy.vms.is_empty()).then(|| destroy.vms.iter().cloned().collect());
    let ask = (Goal::Destroy(names), Scope::default());
    named_run(&context, &mut session, ask, &destroy.manner).await
}

/// `freehold replace`.
pub(crate) async fn replace(args: &Args, replace: &Replace) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let mut session = context.begin("freehold replace").await?;
    for name in &replace.vms {
        let made = session.snapshot.vms.contains_key(name);
        if !context.fleet.vms.contains_key(name) || !made {
            return Err(Failure::input(format!("vm {name} is not declared, or was never made"))
                .hint(
                    "only a VM that is there and declared is made again; see `freehold status`",
                ));
        }
    }
    let ask = (Goal::Replace(replace.vms.iter().cloned().collect()), Scope::default());
    named_run(&context, &mut session, ask, &replace.manner).await
}

/// `freehold adopt`.
pub(crate) async fn adopt(args: &Args, adopt: &Adopt) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let mut session = context.begin("freehold adopt").await?;
    if let Some(name) = adopt.vms.iter().find(|name| !context.fleet.vms.contains_key(*name)) {
        return Err(Failure::input(format!("vm {name} is not declared"))
            .hint("write its block first: what is adopted is compared with it"));
    }
    let vms = adopt.vms.iter().cloned().collect();
    let ask = (Goal::Adopt { vms, mark: adopt.mark }, Scope::default());
    let manner = Manner { yes: adopt.yes, json: false };
    named_run(&context, &mut session, ask, &manner).await
}

/// Runs what is asked for by name; its number is asked for once.
async fn named_run(
    context: &Context,
    session: &mut Session,
    ask: (Goal, Scope),
    manner: &Manner,
) -> Result<Exit, Failure> {
    let output = Arc::new(Output::of(manner.json));
    let snapshot = session.snapshot.clone();
    let decided = Decided::of(context, &snapshot)?;
    if ask.0.is_to_make() && !ask::somebody() {
        decided.refuse_open()?;
    }
    let prepared = Prepared::gather_decided(context, decided, snapshot, ask, &*output).await?;
    let plan = prepared.plan().await;
    let consent = |plan: &Plan| {
        let agreed = manner.yes || number_agreed(plan.changes.len());
        // What is asked for by name was consented to by its number.
        agreed.then(|| Consent { all: true, ..Consent::default() })
    };
    show_and_run(prepared, plan, consent, session, output).await
}

fn number_agreed(number: usize) -> bool {
    let question = format!("Type the number of objects this is about ({number}):");
    ask::agrees_to(number, &question, "--yes")
}

/// `freehold forget`: no host is asked, nothing on one changes.
pub(crate) async fn forget(args: &Args, forget: &Forget) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let mut session = context.begin("freehold forget").await?;
    let snapshot = &session.snapshot;
    let kept = |name: &VmName| snapshot.kept.iter().any(|kept| kept.vm == *name);
    let unknown = |name: &&VmName| !snapshot.vms.contains_key(*name) && !kept(name);
    if let Some(name) = forget.vms.iter().find(unknown) {
        return Err(Failure::input(format!("the state knows no vm {name}"))
            .hint("`freehold status` lists them"));
    }
    let names = forget.vms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    screen::say(&format!(
        "{names}: what is on its host stays, and is nobody's business of this fleet from now on;\n\
         its names and targets go with the next apply"
    ));
    if !forget.yes && !number_agreed(forget.vms.len()) {
        return Ok(Exit::Held);
    }
    let mut next = session.snapshot.clone();
    for vm in &forget.vms {
        next.fold(&Fact::VmForgotten { vm: vm.clone() });
    }
    session.save(next).await?;
    let mut decisions = context.lock.read()?;
    decisions.bury(&session.snapshot);
    context.lock.write(&decisions)?;
    screen::data(&format!("{} forgotten", forget.vms.len()));
    Ok(Exit::Done)
}

/// Returns the part of the fleet that the command line names.
pub(crate) fn scope_of(
    context: &Context,
    snapshot: &Snapshot,
    part: &Part,
) -> Result<Scope, Failure> {
    if let Some(host) = part.hosts.iter().find(|host| !context.fleet.hosts.contains_key(*host)) {
        return Err(Failure::input(format!("no host is named {host}"))
            .hint("it is the label of a `host` block"));
    }
    let vms = named_vms(context, snapshot, &part.names)?;
    Ok(Scope {
        vms: (!part.names.is_empty()).then_some(vms),
        hosts: (!part.hosts.is_empty()).then(|| part.hosts.iter().cloned().collect()),
    })
}

/// Returns the VMs that are named, those of a block that is.
fn named_vms(
    context: &Context,
    snapshot: &Snapshot,
    names: &[String],
) -> Result<BTreeSet<VmName>, Failure> {
    let mut vms: BTreeSet<VmName> = BTreeSet::new();
    for name in names {
        let blocks = context.fleet.vms.values().filter(|vm| vm.block.as_str() == name);
        let found: Vec<VmName> = blocks.map(|vm| vm.name.clone()).collect();
        if found.is_empty() {
            let name: VmName = name
                .parse()
                .map_err(|error| Failure::input(format!("{name} names no vm")).because(&error))?;
            known_vms(context, snapshot, std::slice::from_ref(&name))?;
            vms.insert(name);
        }
        vms.extend(found);
    }
    Ok(vms)
}

/// The consent that the command line gives, and whether it is all of it.
pub(crate) struct Given {
    consent: Consent,
    yes: bool,
}

impl Given {
    /// Says whether a class was consented to for a VM, by name or for all.
    pub(crate) fn gives(&self, impact: Impact, vm: &VmName) -> bool {
        let mut given = self.consent.allowances.iter().filter(|given| given.impact == impact);
        given.any(|given| given.vms.as_ref().is_none_or(|vms| vms.contains(vm)))
    }
}

/// Reads what the command line consents to; names are VMs or blocks that are there.
pub(crate) fn given_by(
    context: &Context,
    snapshot: &Snapshot,
    args: &ConsentArgs,
) -> Result<Given, Failure> {
    let mut allowances = args.allow.clone();
    for vms in allowances.iter_mut().filter_map(|allowance| allowance.vms.as_mut()) {
        let names: Vec<_> = vms.iter().map(ToString::to_string).collect();
        *vms = named_vms(context, snapshot, &names)?;
    }
    let unprotect = named_vms(context, snapshot, &args.unprotect)?;
    let consent = Consent { allowances, deletes: args.deletes, all: false, unprotect };
    Ok(Given { consent, yes: args.yes })
}

/// Returns what the user agreed to, or nothing when he did not.
pub(crate) fn consent_to(plan: &Plan, given: Given) -> Option<Consent> {
    if given.yes {
        return Some(given.consent);
    }
    let mut consent = Consent { all: true, ..given.consent };
    let vanishing = plan.vanishing();
    let agreed = if vanishing > plan.budget() && consent.deletes.is_none() {
        consent.deletes = Some(vanishing);
        let question = format!("{vanishing} VMs and networks vanish. Type that number to go on:");
        ask::agrees_to(vanishing, &question, "--yes")
    } else {
        ask::agrees("Apply this?", "--yes")
    };
    agreed.then_some(consent)
}
