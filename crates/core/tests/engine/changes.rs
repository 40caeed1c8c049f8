//! What changes in a VM that is there, and what is made again.

use freehold_core::{
    model::{DomainState, Impact},
    plan::{Action, Consent, Goal, Reason, Withheld},
};

use crate::bed::{Bed, Data, Exit, Text, Trick, VmText, all, host, vm};

fn one(change: impl FnOnce(&mut VmText)) -> Text {
    let mut vm = VmText::new("web").data(true);
    change(&mut vm);
    Text::new(1, vec![vm])
}

async fn applied(text: &Text) -> Bed {
    let bed = Bed::new(text);
    bed.converges(2, "before").await;
    bed
}

fn allow(class: &str) -> Consent {
    Consent { allowances: vec![class.parse().unwrap()], ..Consent::default() }
}

/// Applies a text without consent, then with the consent it needs, and checks what came of it.
async fn changes(bed: &Bed, text: &Text, impact: Impact, words: &str) {
    bed.write(text);
    let ran = bed.apply(&Consent::default()).await;
    assert!(ran.drafted.text().contains(words), "{words}: {}", ran.drafted.text());
    let ran = match impact {
        Impact::Live => ran,
        impact => {
            assert_eq!(ran.why("vm web"), Some(&Withheld::Consent(impact)), "{words}");
            bed.apply(&allow(impact.word())).await
        }
    };
    assert_eq!(ran.exit(), Exit::Done, "{words}: {:?}", ran.plan.held);
    bed.check(words).await;
}

#[tokio::test]
async fn a_running_vm_is_changed_by_patch_and_restart() {
    let bed = applied(&one(|_| {})).await;
    let rack = &bed.hosts[&host("rack1")];
    let uuid = bed.decided().vms[&vm("web")].uuid;
    rack.world().domains.get_mut(&uuid).unwrap().extra = "a hand-made device".into();
    let spec = || rack.world().domains[&uuid].clone();
    changes(&bed, &one(|web| web.memory = "512MiB"), Impact::Restart, "256MiB -> 512MiB").await;
    assert_eq!(spec().runs.unwrap().memory.to_string(), "512MiB", "it runs so");
    let more = |web: &mut VmText| {
        web.memory = "512MiB";
        web.more = "  firmware = \"bios\"\n  disk \"log\" {\n    size = \"1GiB\"\n  }\n".into();
    };
    changes(&bed, &one(more), Impact::Restart, "disk: none -> log of 1GiB").await;
    assert_eq!(spec().spec.disks.len(), 3);
    let with_nat = |web: &mut VmText| {
        more(web);
        web.nat = true;
    };
    changes(&bed, &one(with_nat), Impact::Restart, "nic: ").await;
    assert_eq!(spec().spec.nics.len(), 2);
    assert_eq!(spec().extra, "a hand-made device", "what is not ours stays");
    assert_eq!(spec().spec.mark.incarnation, 1);
}

#[tokio::test]
async fn a_vm_that_is_off_is_changed_without_anybody_noticing() {
    let off = |web: &mut VmText| web.more = "  running = false\n".into();
    let bed = Bed::new(&one(off));
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    bed.write(&one(|web| {
        off(web);
        web.memory = "1GiB";
    }));
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.held);
    assert!(bed.plan().await.is_empty());
}

#[tokio::test]
async fn disks_grow_while_they_run_and_leave_with_consent() {
    let data = |size| Some(Data { size, keep: false });
    let bed = applied(&one(|web| web.data = data("2GiB"))).await;
    let volume = bed.decided().vms[&vm("web")].disks[1].volume.clone();
    let grown = one(|web| web.data = data("3GiB"));
    changes(&bed, &grown, Impact::Live, "disk.size: 2GiB -> 3GiB").await;
    let rack = &bed.hosts[&host("rack1")];
    assert_eq!(rack.world().volumes[&volume].capacity.to_string(), "3GiB");
    bed.write(&one(|web| web.data = data("1GiB")));
    let ran = bed.apply(&all()).await;
    assert!(matches!(ran.why("vm web"), Some(Withheld::NotYet { .. })), "it never shrinks");
    let bare = one(|web| web.data = None);
    changes(&bed, &bare, Impact::DataLoss, "disk: data -> none").await;
    let trash = |name: &String| name.starts_with("trash.") && name.ends_with(&volume);
    assert!(rack.world().volumes.keys().any(trash), "{:?}", rack.world().volumes.keys());
    // A new disk of that name begins empty.
    changes(&bed, &grown, Impact::Restart, "disk: none -> data of 3GiB").await;
}

#[tokio::test]
async fn a_kept_disk_that_leaves_its_vm_stays_in_the_pool() {
    let bed = applied(&one(|_| {})).await;
    let volume = bed.decided().vms[&vm("web")].disks[1].volume.clone();
    let bare = one(|web| web.data = None);
    changes(&bed, &bare, Impact::Restart, "disk: data -> kept").await;
    assert_eq!(bed.snapshot().kept[0].volume, volume);
    changes(&bed, &one(|_| {}), Impact::Restart, "disk: none -> data").await;
    assert_eq!(bed.snapshot().kept, []);
}

#[tokio::test]
async fn what_only_a_new_guest_learns_makes_it_again() {
    let told = |text: &'static str| {
        move |web: &mut VmText| {
            web.more = format!("  cloud_init {{\n    user_data = \"{text}\"\n  }}\n");
        }
    };
    let bed = applied(&one(told("#cloud-config\\n"))).await;
    let before = bed.decided().vms[&vm("web")].clone();
    let text = one(told("#cloud-config\\nx: y\\n"));
    changes(&bed, &text, Impact::Rebuild, "± vm web: 1 disk to the trash, 1 kept").await;
    let mut after = bed.decided().vms[&vm("web")].clone();
    assert_eq!(after.incarnation, 2);
    after.incarnation = 1;
    assert_eq!(after, before, "UUID, MAC, address, key and volumes are the same");
    assert_eq!(bed.snapshot().kept, [], "the kept disk is attached again");
    assert!(bed.server.records().contains_key("web.example.org"));
}

#[tokio::test]
async fn a_rebuild_converges_after_any_single_fault_at_every_step() {
    let text = one(|_| {});
    let mut counted = Vec::new();
    for trick in Trick::ALL {
        for k in 0.. {
            let bed = applied(&text).await;
            bed.fate.spoil(k, trick);
            let goal = Goal::Replace([vm("web")].into());
            bed.run(goal.clone(), &all()).await;
            if bed.fate.fired() == 0 {
                counted.push(k);
                break;
            }
            let data = bed.decided().vms[&vm("web")].disks[1].volume.clone();
            let rack = &bed.hosts[&host("rack1")];
            assert!(rack.world().volumes.contains_key(&data), "{trick:?} at {k}: kept");
            bed.converges(3, &format!("{trick:?} at {k}")).await;
            let begun = bed.decided().vms[&vm("web")].incarnation;
            let roots = rack.world().volumes.keys().filter(|name| name.contains(".root.")).count();
            assert_eq!(roots, usize::try_from(begun).unwrap(), "{trick:?} at {k}: one each");
        }
    }
    assert!(counted.iter().all(|steps| *steps == counted[0] && *steps >= 9), "{counted:?}");
}

#[tokio::test]
async fn replace_makes_one_vm_again_and_touches_no_other() {
    let text = Text::new(1, vec![VmText::new("web"), VmText::new("db")]);
    let bed = applied(&text).await;
    let ran = bed.run(Goal::Replace([vm("web")].into()), &all()).await;
    assert_eq!(ran.exit(), Exit::Done);
    let changed: Vec<_> = ran.plan.changes.iter().map(|c| (c.action, c.object.clone())).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(ran.plan.changes[0].reasons, [Reason::Asked]);
    bed.check("replaced").await;
    assert_eq!(bed.decided().vms[&vm("db")].incarnation, 1);
}

#[tokio::test]
async fn protection_survives_its_block_and_destroy_and_is_lifted_by_name() {
    let protected = one(|web| web.more = "  protect = true\n".into());
    let bed = applied(&one(|_| {})).await;
    changes(&bed, &protected, Impact::Live, "protect = true").await;
    for text in [&protected, &one(|_| {}), &protected.without("web")] {
        bed.write(text);
        let ran = bed.destroy(Some(&["web"])).await;
        assert_eq!(ran.why("vm web"), Some(&Withheld::Protected));
        if !text.vms.is_empty() {
            let ran = bed.run(Goal::Replace([vm("web")].into()), &all()).await;
            assert_eq!(ran.why("vm web"), Some(&Withheld::Protected));
        }
    }
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.why("vm web"), Some(&Withheld::Protected), "its block is gone");
    // Neither a lost state entry nor a lost text lifts it: the mark says so too.
    bed.write(&one(|_| {}));
    let mut session = bed.store().lock("test").unwrap();
    let mut snapshot = session.snapshot.clone();
    snapshot.vms.get_mut(&vm("web")).unwrap().protect = false;
    session.save(snapshot).await.unwrap();
    drop(session);
    assert_eq!(bed.destroy(Some(&["web"])).await.why("vm web"), Some(&Withheld::Protected));
    assert_eq!(bed.apply(&all()).await.why("vm web"), Some(&Withheld::Unprotect(vm("web"))));
    let lift = Consent { unprotect: [vm("web")].into(), ..Consent::default() };
    assert_eq!(bed.apply(&lift).await.exit(), Exit::Done);
    bed.check("lifted").await;
    assert_eq!(bed.destroy(Some(&["web"])).await.exit(), Exit::Done);
}

#[tokio::test]
async fn a_renamed_vm_keeps_all_but_its_name() {
    let named = |name: &str| {
        let mut text = Text::new(1, vec![VmText::new(name).data(true), VmText::new("db")]);
        if name == "www" {
            text.more = "moved {\n  from = \"web\"\n  to = \"www\"\n}\n".into();
        }
        text
    };
    let bed = applied(&named("web")).await;
    let before = bed.decided().vms[&vm("web")].clone();
    bed.write(&named("www"));
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!(ran.why("vm www"), Some(&Withheld::Consent(Impact::Restart)));
    assert!(bed.server.records().contains_key("web.example.org"), "held: the old name stays");
    assert!(!bed.server.records().contains_key("www.example.org"));
    let ran = bed.apply(&allow("restart")).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.report);
    let mut after = bed.decided().vms[&vm("www")].clone();
    assert_eq!(after.born, Some(vm("web")));
    after.born = None;
    assert_eq!(after, before, "UUID, MAC, address, disks and host key stay");
    assert!(!bed.decided().vms.contains_key(&vm("web")));
    assert!(!bed.server.records().contains_key("web.example.org"));
    bed.check("renamed").await;
    // A new VM of the old name is another one, and no two share a host key.
    let mut both = named("www");
    both.more = String::new();
    both.vms.push(VmText::new("web"));
    bed.write(&both);
    bed.converges(1, "a new one of the old name").await;
    let decided = bed.decided();
    assert_ne!(decided.vms[&vm("web")].uuid, decided.vms[&vm("www")].uuid);
    assert_ne!(decided.vms[&vm("web")].host_key, decided.vms[&vm("www")].host_key);
}

#[tokio::test]
async fn a_rename_converges_after_any_single_fault_at_every_step() {
    let before = one(|_| {});
    let mut after = one(|web| web.name = "www".into());
    after.more = "moved {\n  from = \"web\"\n  to = \"www\"\n}\n".into();
    let mut counted = Vec::new();
    for trick in Trick::ALL {
        for k in 0.. {
            let bed = applied(&before).await;
            let uuid = bed.decided().vms[&vm("web")].uuid;
            bed.write(&after);
            bed.fate.spoil(k, trick);
            bed.apply(&all()).await;
            if bed.fate.fired() == 0 {
                counted.push(k);
                break;
            }
            bed.converges(3, &format!("{trick:?} at {k}")).await;
            assert_eq!(bed.decided().vms[&vm("www")].uuid, uuid, "{trick:?} at {k}");
        }
    }
    assert!(counted.iter().all(|steps| *steps == counted[0] && *steps >= 4), "{counted:?}");
}

#[tokio::test]
async fn what_runs_differently_than_it_is_defined_waits_for_a_restart() {
    let bed = applied(&one(|_| {})).await;
    let uuid = bed.decided().vms[&vm("web")].uuid;
    let rack = &bed.hosts[&host("rack1")];
    rack.world().domains.get_mut(&uuid).unwrap().runs.as_mut().unwrap().cpus = 9;
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!(ran.why("vm web"), Some(&Withheld::Consent(Impact::Restart)));
    assert!(ran.drafted.text().contains("runs as it was before: cpus"), "{}", ran.drafted.text());
    assert_eq!(bed.apply(&allow("restart")).await.exit(), Exit::Done);
    bed.check("restarted").await;
}

#[tokio::test]
async fn a_definition_that_changed_since_the_plan_is_not_touched() {
    let bed = applied(&one(|_| {})).await;
    bed.write(&one(|web| web.memory = "512MiB"));
    let uuid = bed.decided().vms[&vm("web")].uuid;
    let rack = &bed.hosts[&host("rack1")];
    let ran = bed
        .run_after(Goal::Converge, &all(), || {
            rack.world().domains.get_mut(&uuid).unwrap().extra = "somebody was faster".into();
        })
        .await;
    let failures = ran.report.unwrap().failures;
    assert!(failures[0].causes.join(": ").contains("not defined as the plan saw it"));
    assert_eq!(rack.world().domains[&uuid].state, DomainState::Running, "it was not even stopped");
    bed.converges(1, "planned again").await;
    assert_eq!(rack.world().domains[&uuid].extra, "somebody was faster");
}

#[tokio::test]
async fn somebodys_snapshot_holds_its_vm() {
    let bed = applied(&one(|_| {})).await;
    let decision = bed.decided().vms[&vm("web")].clone();
    let rack = &bed.hosts[&host("rack1")];
    let overlays = [(decision.disks[0].volume.clone(), "/mnt/web.snap1".to_owned())];
    rack.world().domains.get_mut(&decision.uuid).unwrap().overlays = overlays.into();
    let calls = rack.calls().len();
    for text in [one(|_| {}), one(|web| web.memory = "512MiB"), one(|_| {}).without("web")] {
        bed.write(&text);
        let ran = bed.apply(&all()).await;
        let why = ran.why("vm web").map(ToString::to_string).unwrap_or_default();
        assert!(why.contains("external-snapshot") || why.contains("uses"), "{why}");
        assert_eq!(rack.calls().len(), calls);
    }
}

#[tokio::test]
async fn a_lost_mark_is_put_back_by_name_and_by_nothing_else() {
    let bed = applied(&one(|_| {})).await;
    let uuid = bed.decided().vms[&vm("web")].uuid;
    let rack = &bed.hosts[&host("rack1")];
    rack.world().domains.get_mut(&uuid).unwrap().marked = false;
    let ran = bed.apply(&all()).await;
    assert!(matches!(ran.why("vm web"), Some(Withheld::MarkLost { .. })));
    let adopt = |mark| Goal::Adopt { vms: [vm("web")].into(), mark };
    let ran = bed.run(adopt(false), &all()).await;
    assert!(matches!(ran.why("vm web"), Some(Withheld::MarkLost { .. })));
    let ran = bed.run(adopt(true), &all()).await;
    assert_eq!((ran.exit(), ran.plan.changes[0].action), (Exit::Done, Action::Adopt));
    bed.check("marked again").await;
    // Without its mark and without the state nothing proves it.
    rack.world().domains.get_mut(&uuid).unwrap().marked = false;
    bed.forget("web").await;
    let ran = bed.run(adopt(true), &all()).await;
    assert!(matches!(ran.why("vm web"), Some(Withheld::Foreign(_))), "{:?}", ran.plan.held);
    rack.world().domains.get_mut(&uuid).unwrap().marked = true;
    assert_eq!(bed.run(adopt(false), &all()).await.exit(), Exit::Done);
    bed.converges(1, "taken back").await;
}

#[tokio::test]
async fn a_forgotten_vm_lives_on_and_keeps_its_address() {
    let bed = applied(&one(|_| {})).await;
    let before = bed.decided().vms[&vm("web")].clone();
    bed.forget("web").await;
    let calls = bed.fate.calls();
    let ran = bed.apply(&all()).await;
    assert!(ran.why("vm web").is_some(), "{}", ran.plan.text());
    bed.write(&Text::new(1, vec![VmText::new("other")]));
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.text());
    assert!(bed.fate.calls() > calls);
    let rack = &bed.hosts[&host("rack1")];
    assert_eq!(rack.world().domains[&before.uuid].state, DomainState::Running);
    assert!(!bed.server.records().contains_key("web.example.org"), "its name is let go of");
    let other = bed.decided().vms[&vm("other")].nics[0].address;
    assert_ne!(other, before.nics[0].address);
}
