//! `freehold rebuild`: what was on a host that is gone for good is made again, on another machine.

use std::sync::Arc;

use freehold_core::{
    apply::Reached,
    host::HostErrorKind,
    model::{HostCard, HostName, HostView, Impact, Seen, Size, VmName},
    plan::{Burnt, Goal, Plan, Rebuilding, Scope, Unplaced, Work, rebuild},
    state::Snapshot,
};
use uuid::Uuid;

use crate::{
    apply::{Given, consent_to, given_by},
    args::{Args, Rebuild},
    ask,
    carry::{carry_out, exit_of_held, settle_empty, worst},
    context::{Context, Prepared},
    decided::Decided,
    failure::{Exit, Failure, tell_errors},
    plan::show,
    screen::{self, Output, counted},
};

/// Says what becomes of the host's VMs, asks, and makes them again.
pub(crate) async fn run(args: &Args, rebuild: &Rebuild) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let mut session = context.begin("freehold rebuild").await?;
    let output = Arc::new(Output::of(false));
    let mut reached = context.reach(&*output).await;
    let to = rebuild.new.as_ref().unwrap_or(&rebuild.host);
    let given = given_by(&context, &session.snapshot, &rebuild.consent())?;
    let change = Change { context: &context, host: &rebuild.host, to };
    let next = change.planned(&session.snapshot, &reached, &given)?;
    change.tell(&next);
    change.take_in_files(&next, &mut reached);
    // That it does not answer is why.
    reached.errors.retain(|error| error.host != rebuild.host || to == &rebuild.host);
    let decided = Decided::from(&context, next.lock.clone(), &next.state)?;
    if !ask::somebody() {
        decided.refuse_open()?;
    }
    let ask = (Goal::Converge, Scope { vms: Some(next.vms.clone()), hosts: None });
    let mut prepared = Prepared::of(&context, decided, next.state.clone(), ask, reached)?;
    let plan = prepared.plan().await;
    show(&plan, &output);
    tell_errors(&prepared.reached.errors);
    change.tell_room(&prepared.reached, &plan);
    let left = if next.lost.is_empty() { Exit::Done } else { Exit::Held };
    let left = worst(&[left, exit_of_held(&plan)]);
    // What is not made now stays where it was, in lock and state.
    if rebuild.dry_run || !plan.changes.iter().any(freehold_core::plan::Change::is_of_vm) {
        return Ok(left);
    }
    let Some(consent) = consent_to(&plan, given) else { return Ok(Exit::Held) };
    // The lock first: with it alone, the same comes of the next try.
    context.lock.write(&next.lock)?;
    session.save(next.state).await?;
    // From here on it is a run like any other: cut off, `apply` goes on with it.
    prepared.snapshot = session.snapshot.clone();
    let plan = prepared.plan().await;
    let done = match plan.is_empty() {
        true => settle_empty(&prepared, &plan, &mut session).await?,
        false => carry_out(prepared, plan, &consent, &mut session, output).await?,
    };
    Ok(worst(&[done, left]))
}

/// One host in the place of another.
struct Change<'a> {
    context: &'a Context,
    host: &'a HostName,
    /// The same where another machine has its name.
    to: &'a HostName,
}

impl Change<'_> {
    /// Returns what becomes of state and lock.
    fn planned(
        &self,
        snapshot: &Snapshot,
        reached: &Reached,
        given: &Given,
    ) -> Result<Rebuilding, Failure> {
        let (context, lock) = (self.context, self.context.lock.read()?);
        self.refuse_lost_state(snapshot, reached)?;
        let view = self.new_host(reached)?;
        self.refuse_living(snapshot, reached)?;
        let given_up = |vm: &VmName| given.gives(Impact::DataLoss, vm);
        let burnt = Burnt {
            fleet: &context.fleet,
            lock: &lock,
            snapshot,
            host: self.host,
            to: self.to,
            view,
            given_up: &given_up,
        };
        let next = rebuild(&burnt).map_err(|unplaced| self.misplaced(&unplaced))?;
        if next.vms.is_empty() && next.lost.is_empty() {
            let what = format!("nothing of {} is to be made again", self.host);
            return Err(Failure::input(what).hint(
                "state and freehold.lock know of no VM there that is missing; see `freehold status`",
            ));
        }
        Ok(next)
    }

    /// Other hosts would be taken for new ones.
    fn refuse_lost_state(&self, snapshot: &Snapshot, reached: &Reached) -> Result<(), Failure> {
        let is_lost = snapshot.hosts.is_empty()
            && reached.hosts.keys().any(|host| self.has_ours(reached, host));
        if !is_lost {
            return Ok(());
        }
        Err(Failure::input("the state was lost").hint(format!(
            "make it again first, then run this: freehold recover --without {}",
            self.host
        )))
    }

    fn has_ours(&self, reached: &Reached, host: &HostName) -> bool {
        let Some(Seen::Whole(view)) = reached.observed.get(host) else { return false };
        view.card().is_some_and(|card| card.knows(self.context.fleet.id))
    }

    fn new_host<'a>(&self, reached: &'a Reached) -> Result<&'a HostView, Failure> {
        let to = self.to;
        if !self.context.fleet.hosts.contains_key(to) {
            return Err(Failure::input(format!("no host is named {to}"))
                .hint("make the new machine one first: freehold host add ADDRESS"));
        }
        if let Some(Seen::Whole(view)) = reached.observed.get(to) {
            return Ok(view);
        }
        tell_errors(&reached.errors);
        let hint = match to == self.host {
            true => format!(
                "let its block name the new machine, or give another host: --as NEW; `freehold \
                 doctor {to}` says what is wrong"
            ),
            false => format!("freehold doctor {to}"),
        };
        Err(Failure::new(Exit::Part, format!("{to} was not read")).hint(hint))
    }

    /// Two machines would have the same VMs.
    fn refuse_living(&self, snapshot: &Snapshot, reached: &Reached) -> Result<(), Failure> {
        if self.to == self.host {
            return Ok(());
        }
        let error = reached.errors.iter().find(|error| error.host == *self.host);
        if let Some(error) = error.filter(|error| error.kind != HostErrorKind::Unreachable) {
            tell_errors(std::slice::from_ref(error));
            return Err(Failure::input(format!("{} may live: it answers", self.host))
                .hint("its VMs would run twice: shut the machine down first"));
        }
        let Some(Seen::Whole(view)) = reached.observed.get(self.host) else { return Ok(()) };
        let known = snapshot.hosts.get(self.host);
        let is_known = view.card().is_some_and(|card| known == Some(&card.host));
        if !is_known && !self.has_ours(reached, self.host) {
            return Ok(());
        }
        Err(Failure::input(format!("{} answers, and has what is ours", self.host)).hint(
            "only what is gone is made again elsewhere: shut the machine down first; single VMs are \
             made again by `freehold replace`",
        ))
    }

    fn misplaced(&self, unplaced: &[Unplaced]) -> Failure {
        let line = |one: &Unplaced| match one {
            Unplaced::NotAllowed(vm, hosts) => {
                let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
                format!("vm {vm} may live on {} alone", hosts.join(", "))
            }
            Unplaced::Taken(vm) => format!("a domain with the UUID of vm {vm} is there"),
        };
        let lines: Vec<_> = unplaced.iter().map(line).collect();
        let hint = match unplaced.iter().any(|one| matches!(one, Unplaced::Taken(_))) {
            true => {
                "if it is an old copy: freehold apply --allow data-loss; if it is the VM itself: \
                     freehold adopt NAME"
                    .to_owned()
            }
            false => format!("let their blocks say `host = host.{}`, or list it there", self.to),
        };
        Failure::input(format!("{} has no place for what was on {}", self.to, self.host))
            .because_of(vec![lines.join("\n")])
            .hint(hint)
    }

    /// Files of kept disks that lie in the new pool are put on its list by the run's first step.
    fn take_in_files(&self, next: &Rebuilding, reached: &mut Reached) {
        let fleet = &self.context.fleet;
        let Some(Seen::Whole(view)) = reached.observed.get_mut(self.to) else { return };
        let Some(pool) = view.pool.as_mut().filter(|_| !next.found.is_empty()) else { return };
        let card = pool.card.get_or_insert_with(|| HostCard {
            format: HostCard::FORMAT,
            host: Uuid::new_v4(),
            libvirt: fleet.hosts[self.to].libvirt,
            fleets: [].into(),
            volumes: [].into(),
        });
        let listed = card.volumes.entry(fleet.id.to_string()).or_default();
        listed.extend(next.found.iter().map(|kept| kept.volume.clone()));
        listed.sort();
        listed.dedup();
    }

    fn tell(&self, next: &Rebuilding) {
        let (host, to) = (self.host, self.to);
        let names: Vec<_> = next.vms.iter().map(ToString::to_string).collect();
        let place = if host == to { "on its new machine".to_owned() } else { format!("on {to}") };
        if !names.is_empty() {
            let count = counted(names.len(), "VM");
            screen::data(&format!("{host} is given up; {place}: {count}: {}", names.join(", ")));
        }
        if host != to {
            screen::say(&format!("see that {host} stays off: its VMs would run twice"));
        }
        for gone in &next.gone {
            screen::data(&format!("gone with {host}: {gone}"));
        }
        for found in &next.found {
            let (disk, vm) = (&found.disk, &found.vm);
            screen::data(&format!("kept disk {disk} of vm {vm} lies in the pool: it is attached"));
        }
        let pool = self.context.fleet.hosts[to].pool_path();
        for lost in &next.lost {
            let (disk, vm, volume) = (&lost.disk, &lost.vm, &lost.volume);
            screen::data(&format!("not made: vm {vm}: its kept disk {disk} was on {host}"));
            screen::data(&format!(
                "  hint: copy its backup to {pool}/{volume} on {to} and run this again;\n  \
                 or begin with an empty one: --allow data-loss={vm}"
            ));
        }
    }

    /// Says what the new machine has for what is made.
    fn tell_room(&self, reached: &Reached, plan: &Plan) {
        let Some(Seen::Whole(view)) = reached.observed.get(self.to) else { return };
        let works = plan.changes.iter().filter_map(|change| match &change.work {
            Work::Vm(work) => Some(work),
            _ => None,
        });
        let (mut memory, mut disks) = (0, 0);
        for work in works {
            memory += work.spec.memory.bytes();
            disks += work.volumes.iter().map(|volume| volume.size.bytes()).sum::<u64>();
        }
        let running = view.domains.iter().filter(|domain| domain.state.runs());
        let taken: u64 = running.map(|domain| domain.defined.memory.bytes()).sum();
        let said = |bytes: u64| Size::from_bytes(bytes).rounded();
        if view.memory.bytes() > 0 {
            let short = memory + taken > view.memory.bytes();
            screen::say(&format!(
                "memory: {} wanted, {} has {}, {} of it for VMs that run{}",
                said(memory),
                self.to,
                view.memory.rounded(),
                said(taken),
                if short { ": not all of them will run at once" } else { "" }
            ));
        }
        if let Some(pool) = &view.pool {
            let short = disks > pool.free.bytes();
            screen::say(&format!(
                "disks: {} when they are full, {} are free{}",
                said(disks),
                pool.free.rounded(),
                if short { ": they may fill the pool" } else { "" }
            ));
        }
    }
}
