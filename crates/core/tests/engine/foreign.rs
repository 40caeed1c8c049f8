//! What is not ours is never changed, and what stands in its way is held back.

use freehold_core::{
    host::{Host as _, simulated::SimulatedHost},
    model::{HostView, Mark},
    plan::Withheld,
};
use uuid::Uuid;

use crate::bed::{Bed, Exit, Text, VmText, all, host, vm};

const STRANGER: &str = "0123456789abcdef0123456789abcdef";

/// Two VMs on one host, one of them behind NAT.
fn text() -> Text {
    Text::new(1, vec![VmText::new("web"), VmText::new("db").nat()])
}

async fn view(host: &SimulatedHost) -> HostView {
    host.observe(&["br0".to_owned()]).await.unwrap()
}

/// Changes the domain `web` behind everybody's back.
fn with_web(bed: &Bed, change: impl FnOnce(&mut freehold_core::host::simulated::WorldDomain)) {
    let mut world = bed.hosts[&host("rack1")].world();
    change(world.domains.values_mut().find(|domain| domain.spec.name == "web").unwrap());
}

/// Applies, also without the VM, and checks that nothing on the host changes.
async fn assert_untouched(bed: &Bed, text: &Text, object: &str, is_why: fn(&Withheld) -> bool) {
    let rack = &bed.hosts[&host("rack1")];
    let (before, calls) = (view(rack).await, rack.calls().len());
    let ran = bed.apply(&all()).await;
    assert!(ran.why(object).is_some_and(is_why), "{:?}", ran.plan.held);
    assert_eq!(ran.exit(), Exit::Part);
    bed.write(&text.without("web"));
    let ran = bed.apply(&all()).await;
    let touched: Vec<_> = ran.plan.changes.iter().map(|c| c.object.to_string()).collect();
    assert!(touched.is_empty(), "{touched:?}");
    assert_eq!(view(rack).await, before);
    assert_eq!(rack.calls().len(), calls);
}

fn is_foreign(why: &Withheld) -> bool {
    matches!(why, Withheld::Foreign(_))
}

#[tokio::test]
async fn a_domain_of_the_same_name_is_left_alone() {
    for fleet in [None, Some(STRANGER)] {
        let bed = Bed::new(&text());
        bed.converges(2, "before").await;
        let rack = &bed.hosts[&host("rack1")];
        {
            let mut world = rack.world();
            let ours = world.domains.iter().find(|(_, domain)| domain.spec.name == "web");
            let (uuid, mut stranger) = ours.map(|(uuid, it)| (*uuid, it.clone())).unwrap();
            world.domains.remove(&uuid);
            stranger.spec.uuid = Uuid::from_u128(1);
            stranger.spec.disks.clear();
            stranger.spec.seed = None;
            stranger.marked = fleet.is_some();
            stranger.spec.mark.fleet = fleet.unwrap_or(STRANGER).parse().unwrap();
            world.domains.insert(Uuid::from_u128(1), stranger);
        }
        let (before, calls) = (view(rack).await, rack.calls().len());
        let ran = bed.apply(&all()).await;
        assert!(ran.why("vm web").is_some_and(is_foreign), "{:?}", ran.plan.held);
        assert_eq!((view(rack).await, rack.calls().len()), (before, calls));
    }
}

#[tokio::test]
async fn a_domain_with_our_uuid_and_no_mark_is_left_alone() {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    with_web(&bed, |domain| domain.marked = false);
    let is_lost = |why: &Withheld| matches!(why, Withheld::MarkLost { .. });
    assert_untouched(&bed, &text(), "vm web", is_lost).await;
}

#[tokio::test]
async fn a_domain_with_our_uuid_and_another_mark_is_left_alone() {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    with_web(&bed, |domain| {
        let mark = domain.spec.mark.clone();
        domain.spec.mark = Mark { fleet: STRANGER.parse().unwrap(), ..mark };
    });
    assert_untouched(&bed, &text(), "vm web", is_foreign).await;
}

#[tokio::test]
async fn a_network_of_the_same_name_is_left_alone_and_its_vms_wait() {
    let bed = Bed::new(&text());
    let rack = &bed.hosts[&host("rack1")];
    let other = {
        let other = Bed::new(&Text { id: STRANGER, ..text() });
        other.converges(2, "the other fleet").await;
        let world = other.hosts[&host("rack1")].world();
        world.networks.values().next().unwrap().clone()
    };
    rack.world().networks.insert(other.0.uuid, other.clone());
    let ran = bed.apply(&all()).await;
    assert!(ran.why("network back").is_some_and(is_foreign), "{:?}", ran.plan.held);
    assert!(matches!(ran.why("vm db"), Some(Withheld::Needs(_))), "{:?}", ran.plan.held);
    let world = rack.world();
    assert_eq!(world.networks, [(other.0.uuid, other)].into());
    let domains: Vec<_> = world.domains.values().map(|domain| &domain.spec.name).collect();
    assert_eq!(domains, ["web"]);
}

#[tokio::test]
async fn a_network_that_lost_our_mark_is_not_removed() {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    let rack = &bed.hosts[&host("rack1")];
    for (network, _) in rack.world().networks.values_mut() {
        network.mark.fleet = STRANGER.parse().unwrap();
    }
    bed.write(&text().without("db"));
    let before = rack.world().networks.clone();
    for _ in 0..2 {
        let ran = bed.apply(&all()).await;
        assert!(ran.why("network back").is_some_and(is_foreign), "{:?}", ran.plan.held);
        assert_eq!(rack.world().networks, before);
    }
    let ran = bed.destroy(None).await;
    assert!(ran.why("network back").is_some_and(is_foreign), "{:?}", ran.plan.held);
    assert_eq!(rack.world().networks, before);
}

#[tokio::test]
async fn a_record_of_others_is_left_alone_and_the_vm_is_made() {
    let bed = Bed::new(&text());
    bed.server.put_foreign("web.example.org", "192.0.2.1");
    let before = bed.server.records()["web.example.org"].clone();
    for _ in 0..2 {
        let ran = bed.apply(&all()).await;
        assert_eq!(ran.exit(), Exit::Part);
        assert!(matches!(ran.why("dns main"), Some(Withheld::Refused { .. })));
        assert_eq!(bed.server.records()["web.example.org"], before);
    }
    assert!(bed.snapshot().vms.contains_key(&vm("web")));
    let ran = bed.destroy(None).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.held);
    assert_eq!(bed.server.records(), [("web.example.org".to_owned(), before)].into());
}

#[tokio::test]
async fn a_record_that_becomes_anothers_meanwhile_is_not_overwritten() {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    bed.server.put_foreign("web.example.org", "192.0.2.1");
    let ran = bed.destroy(None).await;
    assert_eq!(bed.server.records().len(), 1);
    assert_eq!(bed.server.records()["web.example.org"].vm, None);
    assert_eq!(ran.report.unwrap().failures, []);
}

#[tokio::test]
async fn a_lost_state_touches_nothing() {
    let text = Text::usual();
    let bed = Bed::new(&text);
    bed.converges(2, "before").await;
    let lock = bed.decided();
    bed.lose_state();
    let calls = bed.fate.calls();
    for _ in 0..2 {
        let ran = bed.apply(&all()).await;
        for (object, code) in [("host rack1", "state-lost"), ("vm web-0", "needs")] {
            assert_eq!(ran.why(object).map(Withheld::code), Some(code), "{object}");
        }
        assert!(ran.why("vm db").is_some(), "{:?}", ran.plan.held);
        assert!(ran.plan.is_empty(), "{}", ran.plan.text());
        assert_eq!(ran.exit(), Exit::Part);
    }
    assert!(bed.destroy(None).await.plan.is_empty());
    bed.write(&text.without("web"));
    assert!(bed.apply(&all()).await.plan.is_empty());
    assert_eq!(bed.fate.calls(), calls);
    assert_eq!(bed.server.records().len(), 3);
    assert_eq!(bed.decided(), lock);
}

#[tokio::test]
async fn volumes_the_state_does_not_know_are_not_taken_for_new_ones() {
    let bed = Bed::new(&Text::usual());
    bed.converges(2, "before").await;
    // All domains are gone, their volumes are not, and nothing says what they are.
    for rack in bed.hosts.values() {
        rack.world().domains.clear();
        rack.world().networks.clear();
    }
    let mut session = bed.store().lock("test").unwrap();
    let mut snapshot = session.snapshot.clone();
    snapshot.vms.clear();
    session.save(snapshot).await.unwrap();
    drop(session);
    bed.witness.state_is_lost();
    let ran = bed.apply(&all()).await;
    for object in ["vm web-0", "vm web-1", "vm db"] {
        let why = ran.why(object);
        assert!(matches!(why, Some(Withheld::NotInState(_))), "{object}: {why:?}");
    }
    assert!(bed.hosts.values().all(|rack| rack.world().domains.is_empty()));
}

#[tokio::test]
async fn a_state_put_back_from_an_old_copy_is_noticed() {
    let text = Text::usual();
    let bed = Bed::new(&text);
    bed.converges(2, "before").await;
    let path = bed.store().path("state.json");
    let old = std::fs::read(&path).unwrap();
    let state = bed.snapshot().serial;
    for text in [text.without("db"), text.clone(), text.without("db"), text.clone()] {
        bed.write(&text);
        assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    }
    let (new, card) = (std::fs::read(&path).unwrap(), bed.snapshot().serial);
    std::fs::write(&path, old).unwrap();
    // All of the folder is old: by its own files one could tell.
    std::fs::remove_file(bed.store().path("journal.jsonl")).unwrap();
    std::fs::remove_dir_all(bed.store().path("history")).unwrap();
    let calls = bed.hosts[&host("rack1")].calls().len();
    for _ in 0..2 {
        let ran = bed.apply(&all()).await;
        assert_eq!(ran.why("host rack1"), Some(&Withheld::OldState { card, state }));
        assert_eq!((ran.exit(), bed.hosts[&host("rack1")].calls().len()), (Exit::Part, calls));
        assert!(ran.why("vm web-1").is_none(), "the other host was not written to since");
    }
    std::fs::write(&path, new).unwrap();
    bed.check("with the newest state").await;
}

#[tokio::test]
async fn a_host_without_its_card_is_a_stranger_for_kept_disks_and_networks_too() {
    let usual = Text::usual();
    for left in [usual.without("web"), usual.without("db"), usual] {
        let bed = Bed::new(&left);
        bed.converges(2, "before").await;
        let mut gone = Text::new(2, Vec::new());
        gone.vms =
            left.vms.iter().map(|block| VmText { count: Some(0), ..block.clone() }).collect();
        bed.write(&gone);
        assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
        let had = !bed.snapshot().kept.is_empty()
            || bed.snapshot().networks.values().any(|known| !known.is_empty());
        {
            // The pool's directory is not mounted, or the host was set up anew.
            let mut world = bed.hosts[&host("rack1")].world();
            world.card = None;
            world.volumes.clear();
            world.networks.clear();
        }
        let calls = bed.hosts[&host("rack1")].calls().len();
        bed.write(&left);
        let ran = bed.apply(&all()).await;
        let why = ran.why("host rack1");
        assert_eq!(had, matches!(why, Some(Withheld::Stranger(_))), "{why:?}");
        assert_eq!(had, bed.hosts[&host("rack1")].calls().len() == calls);
    }
}

#[tokio::test]
async fn another_card_or_none_is_a_stranger() {
    for card in [true, false] {
        let bed = Bed::new(&Text::usual());
        bed.converges(2, "before").await;
        {
            let mut world = bed.hosts[&host("rack1")].world();
            let known = world.card.take();
            world.card = known.filter(|_| card);
            if let Some(card) = &mut world.card {
                card.host = Uuid::from_u128(1);
            }
            world.domains.clear();
        }
        let calls = bed.hosts[&host("rack1")].calls().len();
        let mut text = Text::usual();
        text.vms.push(VmText::new("mail").on(&[2]));
        text.vms.push(VmText::new("late"));
        bed.write(&text);
        let ran = bed.apply(&all()).await;
        assert!(matches!(ran.why("host rack1"), Some(Withheld::Stranger(_))));
        for object in ["vm web-0", "vm db", "vm late"] {
            assert!(matches!(ran.why(object), Some(Withheld::Needs(_))), "{:?}", ran.plan.held);
        }
        assert_eq!(ran.exit(), Exit::Part);
        assert_eq!(bed.hosts[&host("rack1")].calls().len(), calls);
        assert!(bed.snapshot().vms.contains_key(&vm("mail")), "the other host goes on");
        assert!(!bed.server.records().contains_key("late.example.org"));
        assert!(bed.server.records().contains_key("web-0.example.org"));
        assert_eq!(bed.destroy(None).await.exit(), Exit::Part);
        assert_eq!(bed.hosts[&host("rack1")].calls().len(), calls);
    }
}
