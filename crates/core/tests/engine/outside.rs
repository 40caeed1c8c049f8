//! Hosts and servers that are down, and what waits for them.

use freehold_core::plan::{Consent, Withheld};

use crate::bed::{Bed, Exit, Text, VmText, all, host, vm};

#[tokio::test]
async fn a_server_that_is_down_stops_no_vm() {
    let bed = Bed::new(&Text::usual());
    bed.server.set_down(true);
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!(ran.exit(), Exit::Part);
    assert!(matches!(ran.why("dns main"), Some(Withheld::ServerDown { .. })));
    assert_eq!(bed.snapshot().vms.len(), 3);
    let pending = bed.snapshot().pending;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].plugin, "dns main");
    bed.server.set_down(false);
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!((ran.exit(), ran.plan.changes.len(), ran.plan.edits.len()), (Exit::Done, 0, 3));
    assert_eq!(bed.snapshot().pending, []);
    bed.check("once the server is back").await;
}

#[tokio::test]
async fn a_server_that_goes_down_meanwhile_leaves_edits_pending() {
    let bed = Bed::new(&Text::usual());
    bed.server.set_mute(true);
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!((ran.exit(), bed.snapshot().vms.len()), (Exit::Part, 3));
    let pending = bed.snapshot().pending;
    let edits: usize = pending.iter().map(|pending| pending.edits.len()).sum();
    assert_eq!(edits, 3, "{pending:?}");
    bed.server.set_mute(false);
    bed.converges(2, "once the server is back").await;
}

#[tokio::test]
async fn a_server_that_refuses_stops_no_vm() {
    let bed = Bed::new(&Text::usual());
    bed.server.set_refuses(true);
    let ran = bed.apply(&Consent::default()).await;
    assert!(matches!(ran.why("dns main"), Some(Withheld::ServerDown { .. })));
    assert_eq!((ran.exit(), bed.snapshot().vms.len()), (Exit::Part, 3));
    bed.server.set_refuses(false);
    bed.converges(2, "once it takes our key").await;
}

#[tokio::test]
async fn an_update_that_failed_can_still_be_taken_back() {
    let text = |address| Text::new(1, vec![VmText::new("web").fixed(address)]);
    let bed = Bed::new(&text(" address = \"127.77.0.50\" "));
    bed.converges(2, "before").await;
    // The server still has what nobody wants: an update that fails must not disown it.
    let name = "web.example.org";
    let calls = bed.fate.calls();
    let mut snapshot = bed.snapshot();
    let plan = {
        let prepared = bed.prepare(snapshot.clone(), freehold_core::plan::Goal::Converge).await;
        let prepared = prepared.unwrap();
        let mut plan = bed.plan().await;
        let key = snapshot.published.keys().next().unwrap().1.clone();
        plan.edits.push(freehold_core::model::Edit {
            plugin: "dns main".into(),
            vm: Some(vm("web")),
            key,
            old: vec!["127.77.0.50".into()],
            new: vec!["127.77.0.51".into()],
        });
        prepared.with_world(|world| plan.steps(world))
    };
    for fact in plan.iter().flat_map(|step| &step.claims) {
        snapshot.fold(fact);
    }
    let values: Vec<_> = snapshot.published.values().flatten().cloned().collect();
    assert_eq!(values, ["127.77.0.50", "127.77.0.51"]);
    assert!(bed.server.records().contains_key(name));
    assert_eq!(bed.fate.calls(), calls);
}

#[tokio::test]
async fn a_host_that_is_down_holds_only_its_own() {
    let bed = Bed::new(&Text::usual());
    bed.hosts[&host("rack2")].set_down(true);
    for _ in 0..2 {
        let ran = bed.apply(&Consent::default()).await;
        assert_eq!(ran.exit(), Exit::Part);
        for object in ["host rack2", "vm web-1"] {
            assert!(matches!(ran.why(object), Some(Withheld::Unreachable(_))), "{object}");
        }
        let made: Vec<_> = bed.snapshot().vms.into_keys().collect();
        assert_eq!(made, [vm("db"), vm("web-0")]);
        assert!(!bed.server.records().contains_key("web-1.example.org"));
    }
    bed.converges(2, "once the host is back").await;
}

#[tokio::test]
async fn a_host_that_goes_down_at_any_step_stops_no_other() {
    let mut seen = 0;
    for k in 0.. {
        let bed = Bed::new(&Text::usual());
        bed.hosts[&host("rack2")].kill_after(k);
        let ran = bed.apply(&Consent::default()).await;
        if ran.exit() == Exit::Done {
            break;
        }
        seen += 1;
        let made: Vec<_> = bed.hosts[&host("rack1")].world().domains.values().cloned().collect();
        assert_eq!(made.len(), 2, "rack2 gone at {k}");
        let records = bed.server.records();
        assert!(records.contains_key("db.example.org"), "rack2 gone at {k}");
        assert!(records.contains_key("web-0.example.org"), "rack2 gone at {k}");
        bed.converges(2, &format!("rack2 gone at {k}")).await;
    }
    assert_eq!(seen, 9, "calls on rack2");
}

#[tokio::test]
async fn a_vm_held_for_its_host_keeps_its_name() {
    let bed = Bed::new(&Text::usual());
    bed.converges(2, "before").await;
    bed.hosts[&host("rack2")].set_down(true);
    bed.write(&Text::usual().without("web"));
    let ran = bed.apply(&all()).await;
    assert_eq!(ran.exit(), Exit::Part);
    let records: Vec<_> = bed.server.records().into_keys().collect();
    assert_eq!(records, ["db.example.org", "web-1.example.org"]);
    bed.converges(2, "once the host is back").await;
}

#[tokio::test]
async fn a_missing_bridge_holds_its_vms_alone() {
    let bed = Bed::new(&Text::usual());
    bed.hosts[&host("rack2")].world().bridges.clear();
    let ran = bed.apply(&all()).await;
    assert!(matches!(ran.why("network lan"), Some(Withheld::NoBridge(_))));
    assert!(matches!(ran.why("vm web-1"), Some(Withheld::Needs(_))));
    assert_eq!(bed.snapshot().vms.len(), 2);
    bed.hosts[&host("rack2")].world().bridges.insert("br0".into());
    bed.converges(2, "once the bridge is there").await;
}

#[tokio::test]
async fn a_domain_that_was_turned_off_is_started() {
    let bed = Bed::new(&Text::usual());
    bed.converges(2, "before").await;
    for domain in bed.hosts[&host("rack1")].world().domains.values_mut() {
        domain.state = freehold_core::model::DomainState::Off;
        domain.autostart = false;
    }
    let ran = bed.apply(&Consent::default()).await;
    assert_eq!((ran.exit(), ran.plan.changes.len()), (Exit::Done, 2));
    bed.check("started again").await;
}
