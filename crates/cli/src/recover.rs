//! `freehold recover`: the state made again where it was lost, from lock, hosts and servers.

use freehold_core::{
    apply::{Reached, published},
    model::{EditKey, HostName},
    plan::{Drift, drift, drift_text, known_decisions, recover, taken_in},
    state::{Anew, Snapshot, StateError},
};

use crate::{
    args::{Args, Recover},
    carry::worst,
    context::Context,
    failure::{Exit, Failure, exit_of, tell_errors},
    screen::{self, Screen, counted},
};

const COMMAND: &str = "freehold recover";

/// Looks at everything and writes the state that it is the outcome of; changes nothing else.
pub(crate) async fn run(args: &Args, recover: &Recover) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    context.identity()?;
    match context.wait_for(async || context.state.lock_anew(COMMAND).await).await {
        Ok(anew) => whole(&context, recover, anew).await,
        Err(there @ StateError::There { .. }) => rest(&context, recover, there).await,
        Err(error) => Err(error.into()),
    }
}

/// Makes all of it again.
async fn whole(context: &Context, recover: &Recover, anew: Anew) -> Result<Exit, Failure> {
    if let Some(lost) = &anew.lost {
        screen::say(&format!("the state cannot be read: {lost}"));
    }
    let reached = context.reach(&Screen::new()).await;
    refuse_unread(&reached, &recover.without)?;
    let (snapshot, asked) = made_again(context, &reached).await?;
    if snapshot.hosts.is_empty() && snapshot.vms.is_empty() {
        return Err(Failure::input("there is nothing to make a state from")
            .hint("no host has anything of this fleet: freehold plan"));
    }
    screen::data(&told(&snapshot));
    let exit = worst(&[tell_rest(&snapshot, &reached), asked]);
    if recover.dry_run {
        return Ok(exit);
    }
    let lost = anew.lost.is_some();
    anew.write(snapshot).await?;
    if lost {
        screen::say("what was left of it is put aside, beside the new one");
    }
    screen::say("next: freehold plan");
    Ok(exit)
}

/// Takes in hosts that a state does not know, as they did not answer when it was made again.
async fn rest(context: &Context, recover: &Recover, there: StateError) -> Result<Exit, Failure> {
    let mut session = context.begin(COMMAND).await?;
    let reached = context.reach(&Screen::new()).await;
    tell_errors(&reached.errors);
    let (made, asked) = made_again(context, &reached).await?;
    let state = &session.snapshot;
    let new: Vec<_> = made.hosts.keys().filter(|host| !state.hosts.contains_key(*host)).collect();
    if new.is_empty() {
        return Err(there.into());
    }
    let names: Vec<_> = new.iter().map(|host| host.as_str()).collect();
    screen::say(&format!("the state does not know {}", names.join(", ")));
    let snapshot = taken_in(state, &made);
    screen::data(&told(&snapshot));
    let exit = worst(&[tell_rest(&snapshot, &reached), asked, exit_of(&reached.errors)]);
    if !recover.dry_run {
        session.save(snapshot).await?;
        screen::say("next: freehold plan");
    }
    Ok(exit)
}

/// What is on a host that was not read would be missing from the state, and be taken for lost.
fn refuse_unread(reached: &Reached, without: &[HostName]) -> Result<(), Failure> {
    let unread = reached.errors.iter().filter(|error| !without.contains(&error.host));
    let unread: Vec<_> = unread.collect();
    let Some(first) = unread.first() else { return Ok(()) };
    tell_errors(&reached.errors);
    let flags: Vec<_> = unread.iter().map(|error| format!("--without {}", error.host)).collect();
    Err(Failure::new(exit_of(std::slice::from_ref(first)), "not every host was read").hint(format!(
        "what is on it belongs into the state: run this again once it answers; if it is gone: {}",
        flags.join(" ")
    )))
}

/// Returns the state, and how asking the servers went.
async fn made_again(context: &Context, reached: &Reached) -> Result<(Snapshot, Exit), Failure> {
    let (fleet, lock) = (&context.fleet, context.lock.read()?);
    let decisions = known_decisions(fleet, &lock, &Snapshot::new(fleet.id));
    let (plugins, mute) = context.plugins_apart(&decisions, &reached.hosts);
    let published = published(&plugins, &reached.hosts).await;
    let mute = mute.iter().map(ToString::to_string);
    let down = published.down.iter().map(|down| down.causes.join(": "));
    let unasked: Vec<String> = mute.chain(down).collect();
    for words in &unasked {
        screen::say(&format!("not asked what it holds of ours: {words}"));
    }
    let asked = if unasked.is_empty() { Exit::Done } else { Exit::Part };
    Ok((recover(fleet, &lock, &reached.observed, &published.present), asked))
}

fn told(snapshot: &Snapshot) -> String {
    let networks: usize = snapshot.networks.values().map(std::collections::BTreeMap::len).sum();
    let published =
        |is: fn(&EditKey) -> bool| snapshot.published.keys().filter(|(_, key)| is(key)).count();
    let records = published(|key| matches!(key, EditKey::Rrset { .. }));
    let targets = published(|key| matches!(key, EditKey::Target { .. }));
    let counts = [
        counted(snapshot.hosts.len(), "host"),
        counted(snapshot.vms.len(), "VM"),
        counted(networks, "network"),
        counted(snapshot.kept.len(), "kept disk"),
        counted(records, "record"),
        counted(targets, "target"),
    ];
    let mut lines = vec![counts.join(", ")];
    for (vm, record) in &snapshot.vms {
        let (disks, host) = (counted(record.disks.len(), "disk"), &record.host);
        let begun = if record.made { "" } else { "; it was begun" };
        lines.push(format!("  vm {vm} on {host}: {disks}{begun}"));
    }
    let kept = snapshot.kept.iter();
    lines.extend(
        kept.map(|kept| format!("  kept: {} of vm {} on {}", kept.disk, kept.vm, kept.host)),
    );
    lines.join("\n")
}

/// Tells of what is ours and nothing explains.
fn tell_rest(snapshot: &Snapshot, reached: &Reached) -> Exit {
    let mut rest = drift(snapshot, &reached.observed);
    rest.retain(|finding| {
        matches!(
            finding.drift,
            Drift::OrphanDomain { .. } | Drift::OrphanNetwork { .. } | Drift::OrphanVolume { .. }
        )
    });
    if rest.is_empty() {
        return Exit::Done;
    }
    screen::say("left out, as freehold.lock does not have it:");
    screen::say(drift_text(&rest).trim_end());
    Exit::Part
}
