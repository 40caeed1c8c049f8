//! `freehold trash empty`: the only command that destroys data.

use std::{collections::BTreeSet, sync::Arc};

use freehold_core::plan::{Consent, Goal, Scope, TrashEntry, TrashKey};

use super::{Empty, entries, no_entry};
use crate::{
    args::Args,
    ask,
    carry::{carry_out, worst},
    context::{Context, Prepared},
    failure::{Exit, Failure, exit_of, tell_errors},
    plan::show,
    screen::Output,
};

pub(super) async fn run(args: &Args, empty: &Empty) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let hosts = &context.fleet.hosts;
    if let Some(host) = empty.hosts.iter().find(|host| !hosts.contains_key(*host)) {
        return Err(Failure::input(format!("no host is named {host}")));
    }
    let mut session = context.begin("freehold trash empty").await?;
    let output = Arc::new(Output::of(empty.manner.json));
    let ask = (Goal::Converge, Scope::default());
    let mut prepared = Prepared::gather(&context, session.snapshot.clone(), ask, &*output).await?;
    let matters = |host: &_| empty.hosts.is_empty() || empty.hosts.contains(host);
    prepared.reached.errors.retain(|error| matters(&error.host));
    let chosen = chosen(&prepared, empty)?;
    prepared.scope.hosts = Some(chosen.iter().map(|key| key.host.clone()).collect());
    prepared.goal = Goal::Empty(chosen);
    let plan = prepared.plan().await;
    if plan.is_empty() && plan.held.is_empty() {
        output.say(match prepared.reached.errors.is_empty() {
            true => "nothing to destroy: nothing in the trash is old enough, or named",
            false => "nothing to destroy on the hosts that were read",
        });
        tell_errors(&prepared.reached.errors);
        return Ok(exit_of(&prepared.reached.errors));
    }
    show(&plan, &output);
    tell_errors(&prepared.reached.errors);
    if plan.is_empty() {
        return Ok(worst(&[Exit::Part, exit_of(&prepared.reached.errors)]));
    }
    if !empty.manner.yes && !agreed(plan.changes.len()) {
        return Ok(Exit::Held);
    }
    carry_out(prepared, plan, &Consent::default(), &mut session, output).await
}

/// Returns the entries that are meant: those named, however young, else those that are old enough.
fn chosen(prepared: &Prepared<'_>, empty: &Empty) -> Result<BTreeSet<TrashKey>, Failure> {
    let entries = entries(prepared);
    let called = |name: &String| entries.iter().any(|entry| entry.is_called(name));
    if let Some(name) = empty.names.iter().find(|name| !called(name)) {
        return Err(no_entry(prepared, name));
    }
    let meant = entries.iter().filter(|entry| is_meant(entry, empty));
    Ok(meant.map(|entry| entry.key.clone()).collect())
}

fn is_meant(entry: &TrashEntry, empty: &Empty) -> bool {
    let is_here = empty.hosts.is_empty() || empty.hosts.contains(&entry.key.host);
    let is_named = empty.names.iter().any(|name| entry.is_called(name));
    let is_old = match empty.older_than {
        // What cannot be dated is not old enough for anything.
        Some(limit) => entry.age.is_some_and(|age| age >= limit),
        None => is_named || !entry.is_young,
    };
    is_here && is_old && (is_named || empty.names.is_empty())
}

fn agreed(number: usize) -> bool {
    let question =
        format!("This cannot be undone. Type the number of entries to destroy ({number}):");
    ask::agrees_to(number, &question, "trash empty --yes")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::tests::key, *};
    use crate::args::Manner;

    const DAY: Duration = Duration::from_hours(24);

    fn entry(days: Option<u32>) -> TrashEntry {
        let age = days.map(|days| DAY * days);
        TrashEntry {
            key: key(),
            vm: Some("web-0".parse().unwrap()),
            holds: Vec::new(),
            age,
            is_young: age.is_none_or(|age| age < DAY * 30),
        }
    }

    fn asked(change: impl FnOnce(&mut Empty)) -> Empty {
        let mut empty = Empty {
            names: Vec::new(),
            older_than: None,
            hosts: Vec::new(),
            manner: Manner { yes: false, json: false },
        };
        change(&mut empty);
        empty
    }

    #[test]
    fn what_is_young_or_undated_is_destroyed_by_name_only() {
        let (any, young) = (asked(|_| {}), asked(|empty| empty.older_than = Some(DAY)));
        let named = asked(|empty| empty.names = vec![entry(None).id()]);
        let both = asked(|empty| {
            empty.names = vec![entry(None).id()];
            empty.older_than = Some(DAY * 7);
        });
        let meant = |empty: &Empty| {
            [None, Some(0), Some(8), Some(31)].map(|days| is_meant(&entry(days), empty))
        };
        assert_eq!(meant(&any), [false, false, false, true]);
        assert_eq!(meant(&young), [false, false, true, true]);
        assert_eq!(meant(&named), [true; 4]);
        assert_eq!(meant(&both), [false, false, true, true]);
        let elsewhere = asked(|empty| empty.hosts = vec!["rack2".parse().unwrap()]);
        assert_eq!(meant(&elsewhere), [false; 4]);
    }
}
