//! `freehold doctor`: what works on each host, what does not, and what mends it.

use freehold_core::{
    events::{Event, Listener as _},
    host::doctor::{Check, Examination, Verdict, Wanted, examine},
    model::{Host, HostName},
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, json};

use crate::{
    args::{Args, Doctor},
    context::Context,
    drift::FORMAT,
    failure::{Exit, Failure, shown},
    screen::{self, Screen, counted},
};

pub(crate) async fn run(args: &Args, doctor: &Doctor) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let hosts = chosen(&context, &doctor.hosts)?;
    let screen = Screen::new();
    let examining: FuturesUnordered<_> = hosts
        .iter()
        .map(|host| async {
            let wanted = Wanted::of(&context.fleet, &host.name);
            screen.on(Event::Observing { host: host.name.clone() });
            let found = examine(host, &wanted, &context.options).await;
            screen.on(Event::Observed { host: host.name.clone() });
            found
        })
        .collect();
    let mut found: Vec<Examination> = examining.collect().await;
    found.sort_by(|one, other| one.host.cmp(&other.host));
    if doctor.json {
        let hosts: Vec<Value> = found.iter().map(in_json).collect();
        screen::data(&json!({ "format": FORMAT, "hosts": hosts }).to_string());
    } else {
        screen::data(&text(&found));
    }
    let is_bad = found.iter().any(|one| one.verdict() == Verdict::Bad);
    Ok(if is_bad { Exit::Part } else { Exit::Done })
}

fn chosen<'a>(context: &'a Context, names: &[HostName]) -> Result<Vec<&'a Host>, Failure> {
    let hosts = &context.fleet.hosts;
    if hosts.is_empty() {
        return Err(Failure::input("the fleet has no host")
            .hint("`freehold host add ADDRESS` makes one known and writes its block"));
    }
    if names.is_empty() {
        return Ok(hosts.values().collect());
    }
    let known = |name: &HostName| {
        hosts.get(name).ok_or_else(|| {
            let all: Vec<_> = hosts.keys().map(ToString::to_string).collect();
            Failure::input(format!("no host named {name} is declared"))
                .hint(format!("declared are {}", all.join(", ")))
        })
    };
    let mut chosen: Vec<&Host> = names.iter().map(known).collect::<Result<_, _>>()?;
    chosen.sort_by(|one, other| one.name.cmp(&other.name));
    chosen.dedup_by(|one, other| one.name == other.name);
    Ok(chosen)
}

fn text(found: &[Examination]) -> String {
    let mut text: String = found.iter().map(host_text).collect();
    let count = |verdict| {
        let checks = found.iter().flat_map(|one| &one.checks);
        checks.filter(|check| check.verdict == verdict).count()
    };
    let (bad, notes) = (count(Verdict::Bad), count(Verdict::Note));
    let hosts = counted(found.len(), "host");
    text += &match (bad, notes) {
        (0, 0) => format!("{hosts}: all is well"),
        (0, notes) => format!("{hosts}: all works; {}", counted(notes, "note")),
        (bad, notes) => format!("{hosts}: {} wrong, {}", things(bad), counted(notes, "note")),
    };
    text
}

fn things(number: usize) -> String {
    counted(number, "thing") + if number == 1 { " is" } else { " are" }
}

/// One line for each step, what mends it below.
fn host_text(found: &Examination) -> String {
    let mut text = format!("{}  {}\n", found.host, found.place);
    for check in &found.checks {
        let said = shown(&check.said).replace('\n', "\n                    ");
        text += &format!("  {}  {:<12}{said}\n", word(check.verdict), check.step);
        for fix in &check.fix {
            text += &format!("        {:<12}{}\n", "→ try:", shown(fix));
        }
    }
    text + "\n"
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "ok  ",
        Verdict::Note => "note",
        Verdict::Bad => "BAD ",
    }
}

fn in_json(found: &Examination) -> Value {
    let check = |check: &Check| {
        json!({
            "step": check.step.to_string(),
            "verdict": word(check.verdict).trim().to_lowercase(),
            "said": shown(&check.said),
            "fix": check.fix.iter().map(|fix| shown(fix)).collect::<Vec<_>>(),
        })
    };
    let checks: Vec<Value> = found.checks.iter().map(check).collect();
    json!({ "host": found.host, "place": found.place, "checks": checks })
}
