//! `freehold trash restore`.

use std::sync::Arc;

use freehold_core::{
    apply::{causes_of, kept_domain},
    model::{KeptDomain, Seen, VmName},
    plan::{
        Consent, Goal, Plan, Restore as Asked, Restoring, Scope, TrashEntry, TrashKey, Work,
        begun_restores,
    },
};

use super::{Restore, entries, no_entry};
use crate::{
    args::Args,
    carry::carry_out,
    context::{Context, Prepared},
    failure::{Exit, Failure},
    plan::show,
    screen::Output,
};

pub(super) async fn run(args: &Args, restore: &Restore) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let mut session = context.begin("freehold trash restore").await?;
    let output = Arc::new(Output::of(restore.json));
    let ask = (Goal::Converge, Scope::default());
    let mut prepared = Prepared::gather(&context, session.snapshot.clone(), ask, &*output).await?;
    let entries = entries(&prepared);
    let key = chosen(&prepared, &entries, &restore.name)?;
    let what = match &restore.disk {
        Some(disk) => Restoring::Disk(disk.clone()),
        None => Restoring::Vm(definition(&prepared, &entries, &key).await?.map(Box::new)),
    };
    // Other hosts were asked whether the VM is there; none of them matters any more.
    prepared.reached.errors.retain(|error| error.host == key.host);
    prepared.scope = Scope { vms: None, hosts: Some([key.host.clone()].into()) };
    prepared.goal = Goal::Restore(Box::new(Asked { entry: key, what }));
    let plan = prepared.plan().await;
    if let Some(held) = plan.held.first().filter(|_| plan.is_empty()) {
        let failure = Failure::input(format!("{} does not come back", held.object));
        let failure = failure.because_of(held.why.causes());
        return Err(match held.why.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        });
    }
    show(&plan, &output);
    let next = next(&prepared, &plan);
    // What is asked for by name is consented to.
    let consent = Consent::default();
    let exit = carry_out(prepared, plan, &consent, &mut session, Arc::clone(&output)).await?;
    if exit == Exit::Done {
        for words in &next {
            output.say(words);
        }
    }
    Ok(exit)
}

/// Returns the entry that the user means: by its id, or the only one of a VM.
fn chosen(
    prepared: &Prepared<'_>,
    entries: &[TrashEntry],
    name: &str,
) -> Result<TrashKey, Failure> {
    if let Some(entry) = entries.iter().find(|entry| entry.is_called(name)) {
        return Ok(entry.key.clone());
    }
    // What is half back may have nothing left in the trash.
    let is_begun = |key: &TrashKey, vm: &VmName| {
        vm.as_str() == name || key.id(Some(vm)) == name || key.id(None) == name
    };
    let begun = prepared.with_world(|world| {
        let mut begun = begun_restores(world).into_iter();
        begun.find(|(key, vm)| is_begun(key, vm)).map(|(key, _)| key)
    });
    if let Some(key) = begun {
        return Ok(key);
    }
    let of_vm = |entry: &&TrashEntry| entry.vm.as_ref().is_some_and(|vm| vm.as_str() == name);
    let found: Vec<_> = entries.iter().filter(of_vm).collect();
    match found.as_slice() {
        [] => Err(no_entry(prepared, name)),
        [entry] => Ok(entry.key.clone()),
        _ => {
            let ids: Vec<_> = found.iter().map(|entry| entry.id()).collect();
            Err(Failure::input(format!("{} entries are of vm {name}", ids.len()))
                .hint(format!("name one of them, the newest is last: {}", ids.join(" "))))
        }
    }
}

/// Reads the definition of an entry.
async fn definition(
    prepared: &Prepared<'_>,
    entries: &[TrashEntry],
    key: &TrashKey,
) -> Result<Option<KeptDomain>, Failure> {
    let entry = entries.iter().find(|entry| entry.key == *key);
    let Some((item, _)) = entry.and_then(TrashEntry::definition) else { return Ok(None) };
    let (Some(host), Some(Seen::Whole(view))) =
        (prepared.reached.hosts.get(&key.host), prepared.reached.observed.get(&key.host))
    else {
        return Ok(None);
    };
    let Some(pool) = &view.pool else { return Ok(None) };
    let path = format!("{}/{}", pool.path, item.name);
    kept_domain(host.as_ref(), &path).await.map_err(|error| {
        Failure::new(Exit::Part, format!("the definition in {} cannot be read", key.id(None)))
            .because_of(causes_of(&error))
            .hint("bring its disks back one by one: add --disk NAME")
    })
}

/// Says what the user should do next.
fn next(prepared: &Prepared<'_>, plan: &Plan) -> Vec<String> {
    let fleet = &prepared.context.fleet;
    let words = plan.changes.iter().filter_map(|change| match &change.work {
        Work::VmRestored(work) if !fleet.vms.contains_key(&work.vm) => Some(format!(
            "vm {} is back, and not declared: put its block back, or the next apply takes it away \
             again; its seed is written, and it starts, once its block is applied",
            work.vm
        )),
        Work::VmRestored(work) if !work.write_seed => Some(format!(
            "vm {} is back; its seed is not written, as its block says something else now than \
             when it was removed: `freehold plan` shows what",
            work.vm
        )),
        Work::VmRestored(work) => {
            Some(format!("vm {} is back and off; `freehold apply` starts it", work.vm))
        }
        Work::DiskRestored(work) => Some(format!(
            "disk {} of vm {} lies in the pool, kept: a block of that VM with that disk attaches it",
            work.disk, work.vm
        )),
        _ => None,
    });
    words.collect()
}
