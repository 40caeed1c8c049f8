//! `freehold plan --lock` and `freehold lock prune`: `freehold.lock` alone, no host is asked.

use freehold_core::state::{NicDecision, VmDecision};

use crate::{
    args::{Args, Prune},
    context::Context,
    decided::Decided,
    failure::{Exit, Failure},
    screen,
};

/// `freehold plan --lock`: decides, writes the lock and says what was new.
pub(crate) async fn decide(args: &Args) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    // A run that ends writes the lock too.
    let session = context.begin("freehold plan --lock").await?;
    let decided = Decided::of(&context, &session.snapshot)?;
    decided.tell();
    context.lock.write(&decided.decisions)?;
    for open in &decided.open {
        let place = place_of(&decided.decisions.vms[&open.vm]);
        screen::data(&format!("decided: vm {} {place}", open.vm));
    }
    if decided.open.is_empty() {
        screen::data("nothing to decide");
    } else {
        screen::say("next: commit freehold.lock");
    }
    Ok(Exit::Done)
}

/// `freehold lock prune`: takes tombstones out of lock and state that nothing needs any more.
pub(crate) async fn prune(args: &Args, prune: &Prune) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let mut session = context.begin("freehold lock prune").await?;
    let mut lock = context.lock.read()?;
    lock.bury(&session.snapshot);
    let mut snapshot = session.snapshot.clone();
    let mut dead = lock.prunable(&context.fleet, &snapshot);
    dead.extend(snapshot.decisions.prunable(&context.fleet, &snapshot));
    dead.sort();
    dead.dedup();
    let word = if prune.dry_run { "would forget" } else { "forgot" };
    for vm in &dead {
        let in_lock = lock.vms.remove(vm);
        let in_state = snapshot.decisions.vms.remove(vm);
        let place = in_lock.or(in_state).map(|vm| place_of(&vm)).unwrap_or_default();
        screen::data(&format!("{word}: vm {vm} {place}"));
    }
    if dead.is_empty() {
        screen::data("nothing to forget");
    } else if !prune.dry_run {
        // The state first: from there they would come back.
        session.save(snapshot).await?;
        context.lock.write(&lock)?;
        screen::say("next: commit freehold.lock");
    }
    Ok(Exit::Done)
}

/// Returns where a VM is to be found: `on rack1, 10.77.0.100`.
fn place_of(vm: &VmDecision) -> String {
    let address = |nic: &NicDecision| match nic.address {
        Some(address) => format!(", {address}"),
        None => ", dhcp".to_owned(),
    };
    format!("on {}{}", vm.host, vm.nics.iter().map(address).collect::<String>())
}
