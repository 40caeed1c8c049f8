//! The same table for whole command lines: the part they name, `replace`, `destroy`, `forget`, and
//! plans in files. What they touch is seen on the hosts and at the name server.

use std::collections::{BTreeMap, BTreeSet};

use freehold_core::plan::{Consent, Goal, Scope};

use super::{after, before, consent};
use crate::bed::{Ask, Bed, Text, VmText, host, vm};

/// The same fleet with a second host, and a VM that is to go behind a network of its own.
fn wide(mut text: Text, done: bool) -> Text {
    text.hosts = 2;
    let mut far = VmText::new("far").on(&[2]);
    if done {
        far.more = "  autostart = false\n".into();
    } else {
        text.vms.push(VmText::new("inner").nat());
    }
    text.vms.push(far);
    text
}

async fn wide_bed() -> Bed {
    let bed = Bed::new(&wide(before(), false));
    bed.converges(2, "before").await;
    bed.write(&wide(after(), true));
    bed
}

/// Everything that somebody outside sees: domains, networks, and names where no domain says more.
fn seen(bed: &Bed) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    for (name, record) in bed.server.records() {
        seen.insert(
            format!("name {}", name.trim_end_matches(".example.org")),
            format!("{record:?}"),
        );
    }
    for host in bed.hosts.values() {
        let world = host.world();
        for domain in world.domains.values() {
            seen.insert(domain.spec.name.clone(), format!("{domain:?}"));
        }
        for network in world.networks.values() {
            seen.insert(format!("network {}", network.0.name), format!("{network:?}"));
        }
    }
    seen
}

/// What differs; of a VM that does, its name is no news.
fn touched(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let all: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut touched: Vec<_> =
        all.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect();
    let vms = touched.clone();
    touched.retain(|key| key.strip_prefix("name ").is_none_or(|vm| !vms.iter().any(|v| v == vm)));
    touched
}

/// A command line: what it is for, the part it is about, what it lets through.
fn command(line: &str) -> (Ask, Consent) {
    let mut ask = Ask { goal: Goal::Converge, scope: Scope::default() };
    let mut rest = Vec::new();
    for word in line.split_whitespace() {
        match word.split_once(':') {
            Some(("name", name)) => {
                ask.scope.vms.get_or_insert_default().insert(vm(name));
            }
            Some(("host", name)) => {
                ask.scope.hosts.get_or_insert_default().insert(host(name));
            }
            Some(("replace", name)) => ask.goal = Goal::Replace([vm(name)].into()),
            Some(("destroy", name)) => ask.goal = Goal::Destroy(Some([vm(name)].into())),
            None if word == "apply" => {}
            None if word == "destroy" => ask.goal = Goal::Destroy(None),
            _ => rest.push(word),
        }
    }
    if ask.goal != Goal::Converge {
        // Its number was typed, or `--yes` given.
        rest.push("all");
    }
    (ask, consent(&rest.join(" ")))
}

#[tokio::test]
async fn each_command_touches_what_it_names_and_nothing_else() {
    let base = wide_bed().await;
    let most = "unprotect:unprotect unprotect:unkeep deletes:9 all";
    let table: &[(&str, &[&str])] = &[
        ("apply", &["create", "far", "live"]),
        ("apply name:live", &["live"]),
        ("apply name:live name:create", &["create", "live"]),
        ("apply name:restart", &[]),
        ("apply name:restart allow:restart", &["restart"]),
        ("apply name:live allow:restart", &["live"]),
        ("apply name:unprotect all", &[]),
        ("apply name:unprotect unprotect:unprotect", &["unprotect"]),
        ("apply name:live unprotect:unprotect", &["live"]),
        ("apply host:rack1", &["create", "live"]),
        ("apply host:rack2", &["far"]),
        ("apply host:rack2 name:live", &[]),
        // Of two that vanish one may, each alone as well as both together.
        ("apply name:gone-0 allow:data-loss", &["gone-0"]),
        ("apply name:gone-0 name:gone-1 allow:data-loss", &[]),
        ("apply name:gone-0 name:gone-1 allow:data-loss deletes:2", &["gone-0", "gone-1"]),
        // A network goes after the last VM on it, counts as they do, and is no VM's part.
        ("apply host:rack1 allow:disconnect", &["create", "live"]),
        ("apply host:rack1 allow:data-loss=inner", &["create", "inner", "live"]),
        ("apply host:rack1 allow:data-loss=inner allow:disconnect", &["create", "live"]),
        (
            "apply host:rack1 allow:data-loss=inner allow:disconnect deletes:2",
            &["create", "inner", "live", "network back"],
        ),
        ("apply name:inner allow:data-loss allow:disconnect deletes:9", &["inner"]),
        ("replace:live", &["live"]),
        ("replace:far", &["far"]),
        ("replace:unprotect", &[]),
        ("replace:unprotect unprotect:unprotect", &[]),
        ("destroy:live", &["live"]),
        ("destroy:gone-0", &["gone-0"]),
        ("destroy:create", &[]),
        ("destroy:unprotect", &[]),
        // The network stays: only everything takes it along.
        ("destroy:inner", &["inner"]),
        (
            "destroy",
            &[
                "data-loss",
                "far",
                "gone-0",
                "gone-1",
                "inner",
                "live",
                "network back",
                "rebuild",
                "restart",
                "unkeep",
            ],
        ),
    ];
    for (line, expected) in table {
        let bed = base.fork();
        let before = seen(&bed);
        let (ask, consent) = command(line);
        bed.run(ask, &consent).await;
        assert_eq!(touched(&before, &seen(&bed)), *expected, "{line:?}");
    }
    // A host's part is its own, whatever is agreed to.
    for (part, others) in [("host:rack1", "far"), ("host:rack2", "live")] {
        let bed = base.fork();
        let before = seen(&bed);
        let (ask, consent) = command(&format!("apply {part} {most}"));
        bed.run(ask, &consent).await;
        let touched = touched(&before, &seen(&bed));
        assert!(!touched.is_empty() && !touched.contains(&others.to_owned()), "{touched:?}");
    }
}

#[tokio::test]
async fn what_was_forgotten_is_let_alone_by_every_word() {
    let base = wide_bed().await;
    let table: &[(&str, &str, &[&str])] = &[
        ("live", "apply", &["create", "far"]),
        // Nobody follows its name any more; it may live on.
        ("gone-0", "apply", &["create", "far", "live", "name gone-0"]),
        ("gone-0", "apply allow:data-loss=gone-0", &["create", "far", "live", "name gone-0"]),
        ("live", "apply name:live all", &[]),
        ("live", "replace:live", &[]),
        // All that is left of it to take away.
        ("live", "destroy:live", &["name live"]),
        ("restart", "apply allow:restart", &["create", "far", "live"]),
        ("unprotect", "apply unprotect:unprotect", &["create", "far", "live"]),
        (
            "inner",
            "destroy",
            &[
                "data-loss",
                "far",
                "gone-0",
                "gone-1",
                "live",
                "name inner",
                "rebuild",
                "restart",
                "unkeep",
            ],
        ),
    ];
    for (name, line, expected) in table {
        let bed = base.fork();
        let before = seen(&bed);
        bed.forget(name).await;
        assert_eq!(touched(&before, &seen(&bed)), [""; 0], "forget alone touches nothing");
        let (ask, consent) = command(line);
        bed.run(ask, &consent).await;
        assert_eq!(touched(&before, &seen(&bed)), *expected, "forget {name}; {line}");
    }
}

#[tokio::test]
async fn a_saved_plan_lets_through_what_the_same_words_do_or_nothing() {
    let base = wide_bed().await;
    let all = "all deletes:9 unprotect:unprotect unprotect:unkeep";
    let table: &[(&str, &str, &str, &[&str])] = &[
        ("apply", "", "", &["create", "far", "live"]),
        ("apply", "", "allow:restart", &["create", "far", "live", "restart"]),
        // What was agreed to when it was saved is asked for again.
        ("apply allow:restart", "", "", &["create", "far", "live"]),
        ("apply name:live", "", all, &["live"]),
        ("apply host:rack2", "", all, &["far"]),
        // Nothing of it is done where anything of it is not as it was.
        ("apply", "card rack1", all, &[]),
        ("apply", "card rack2", all, &[]),
        ("apply", "pool rack2", all, &[]),
        ("apply", "lock create", all, &[]),
        // What it is not about may change.
        ("apply name:live", "card rack2", all, &["live"]),
        ("apply host:rack2", "card rack1", all, &["far"]),
        ("apply name:live", "lock create", all, &["live"]),
    ];
    for (line, meanwhile, words, expected) in table {
        let bed = base.fork();
        let before = seen(&bed);
        let file = bed.save_plan(command(line).0).await;
        let world = |name: &str| bed.hosts[&host(name)].world();
        match meanwhile.split_once(' ') {
            Some(("card", name)) => world(name).card = None,
            Some(("pool", name)) => world(name).pool = Some(false),
            Some(("lock", name)) => {
                let prepared = bed.prepare(bed.snapshot(), Goal::Converge).await.unwrap();
                let mut decisions = prepared.decisions;
                let nic = &mut decisions.vms.get_mut(&vm(name)).unwrap().nics[0];
                nic.address = Some("127.77.0.177".parse().unwrap());
                bed.lock().write(&decisions).unwrap();
            }
            _ => {}
        }
        let ran = bed.apply_file(&file, &consent(words)).await;
        assert_eq!(ran.is_err(), expected.is_empty(), "{line}; {meanwhile}; {words}");
        assert_eq!(touched(&before, &seen(&bed)), *expected, "{line}; {meanwhile}; {words}");
    }
}
