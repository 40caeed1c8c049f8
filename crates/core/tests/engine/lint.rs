//! A plan that would break a law is refused, whoever wrote it: each law by a plan that was tampered
//! with.

use freehold_core::{
    model::DiskName,
    plan::{Broken, Change, Consent, Detached, Goal, Plan, Reason, Work},
};

use crate::bed::{Bed, Data, Text, VmText, all, host, vm};

/// Two VMs with a kept and a loose disk; a third one behind NAT.
fn text() -> Text {
    let mut db = VmText::new("db").data(true);
    db.data = Some(Data { size: "2GiB", keep: false });
    Text::new(1, vec![VmText::new("web").data(true), db, VmText::new("back").nat()])
}

/// Plans `to` on a bed where `text` was applied, tampers with the plan and returns what breaks.
async fn broken(
    to: Text,
    goal: Goal,
    spoil: impl FnOnce(&Bed),
    tamper: impl FnOnce(&mut Plan),
) -> Vec<Broken> {
    let bed = Bed::new(&text());
    bed.converges(2, "before").await;
    bed.write(&to);
    let prepared = bed.prepare(bed.snapshot(), goal.clone()).await.unwrap();
    let mut plan = prepared.plan(&[]).await;
    let consent = Consent { deletes: Some(9), ..all() };
    let laws = prepared.with_world(|world| plan.broken_laws(world, &consent));
    assert_eq!(laws, [], "before it was tampered with");
    spoil(&bed);
    let prepared = bed.prepare(bed.snapshot(), goal).await.unwrap();
    tamper(&mut plan);
    prepared.with_world(|world| plan.broken_laws(world, &consent))
}

fn of<'a>(plan: &'a mut Plan, name: &str) -> &'a mut Change {
    plan.changes.iter_mut().find(|change| change.vm() == Some(&vm(name))).unwrap()
}

fn nothing(_: &Bed) {}

#[tokio::test]
async fn a_kept_disk_does_not_go_with_its_vm_nor_alone() {
    let gone = broken(text().without("web"), Goal::Converge, nothing, |plan| {
        let Work::VmGone(removal) = &mut of(plan, "web").work else { panic!() };
        let kept = removal.kept.remove(0);
        removal.trash.push((kept.clone(), format!("trash.x.{kept}")));
    });
    assert!(matches!(gone.await[..], [Broken::KeptDisk { .. }]));
    let mut bare = text();
    bare.vms[0].data = None;
    let alone = broken(bare, Goal::Converge, nothing, |plan| {
        let Work::Vm(work) = &mut of(plan, "web").work else { panic!() };
        assert_eq!(work.detach[0].1, Detached::Kept);
        work.detach[0].1 = Detached::Trashed("trash.x".into());
    });
    assert!(matches!(alone.await[..], [Broken::KeptDisk { .. }]));
}

#[tokio::test]
async fn a_disk_that_its_mark_alone_keeps_does_not_go() {
    let mark_keeps = |bed: &Bed| {
        let uuid = bed.decided().vms[&vm("db")].uuid;
        let data: DiskName = "data".parse().unwrap();
        let mut world = bed.hosts[&host("rack1")].world();
        world.domains.get_mut(&uuid).unwrap().spec.mark.keep.push(data);
    };
    let gone = broken(text().without("db"), Goal::Converge, mark_keeps, |_| {});
    assert!(matches!(gone.await[..], [Broken::KeptDisk { .. }]));
}

#[tokio::test]
async fn a_protected_vm_is_not_taken_away_and_no_promise_lifted_in_silence() {
    let protect = |bed: &Bed| {
        let uuid = bed.decided().vms[&vm("web")].uuid;
        bed.hosts[&host("rack1")].world().domains.get_mut(&uuid).unwrap().spec.mark.protect = true;
    };
    let gone = broken(text().without("web"), Goal::Converge, protect, |_| {});
    assert!(matches!(gone.await[..], [Broken::Protected(_)]));
    let mut more = text();
    more.vms[0].memory = "512MiB";
    let lifted = broken(more, Goal::Converge, protect, |plan| {
        let Work::Vm(work) = &mut of(plan, "web").work else { panic!() };
        work.spec.mark.keep.clear();
    });
    let lifted = lifted.await;
    assert!(matches!(lifted[..], [Broken::Promise { .. }, Broken::Promise { .. }]), "{lifted:?}");
}

#[tokio::test]
async fn nothing_foreign_is_touched() {
    let fleet = "00000000000000000000000000000009".parse().unwrap();
    let stolen = |bed: &Bed| {
        let uuid = bed.decided().vms[&vm("web")].uuid;
        bed.hosts[&host("rack1")].world().domains.get_mut(&uuid).unwrap().spec.mark.fleet = fleet;
    };
    let mut more = text();
    more.vms[0].memory = "512MiB";
    let touched = broken(more, Goal::Converge, stolen, |_| {}).await;
    assert!(matches!(touched[..], [Broken::Foreign { .. }]), "{touched:?}");
    let volume = broken(text().without("db"), Goal::Converge, nothing, |plan| {
        let Work::VmGone(removal) = &mut of(plan, "db").work else { panic!() };
        removal.trash[0].0 = "somebodys.qcow2".into();
    });
    assert!(matches!(volume.await[..], [Broken::Foreign { .. }]));
    let mut bare = text();
    bare.vms[1].data = None;
    let detached = broken(bare, Goal::Converge, nothing, |plan| {
        let Work::Vm(work) = &mut of(plan, "db").work else { panic!() };
        work.detach[0].0 = "somebodys.qcow2".into();
    });
    assert!(matches!(detached.await[..], [Broken::Foreign { .. }]));
    let network_stolen = |bed: &Bed| {
        let mut world = bed.hosts[&host("rack1")].world();
        world.networks.values_mut().for_each(|network| network.0.mark.fleet = fleet);
    };
    let network = broken(text().without("back"), Goal::Converge, network_stolen, |_| {}).await;
    assert!(matches!(network[..], [Broken::Foreign { .. }]), "{network:?}");
}

#[tokio::test]
async fn nothing_but_a_seed_is_destroyed() {
    let gone = broken(text().without("db"), Goal::Converge, nothing, |plan| {
        let Work::VmGone(removal) = &mut of(plan, "db").work else { panic!() };
        removal.discard.push(removal.trash[0].0.clone());
    });
    assert!(matches!(gone.await[..], [Broken::Destroyed { .. }]));
}

#[tokio::test]
async fn no_two_vms_get_one_address_and_no_more_vanish_than_may() {
    let mut more = text();
    more.vms.push(VmText::new("new"));
    let shared = broken(more, Goal::Converge, nothing, |plan| {
        let Work::Vm(work) = &mut of(plan, "new").work else { panic!() };
        work.decision.nics[0].address = Some([127, 77, 0, 100].into());
    });
    assert!(matches!(shared.await[..], [Broken::OneAddress { .. }]));
    let many = broken(text().without("db"), Goal::Converge, nothing, |plan| {
        let change = of(plan, "db").clone();
        assert_eq!(change.reasons, [Reason::NotDeclared]);
        plan.changes.extend(std::iter::repeat_n(change, 9));
    });
    assert_eq!(many.await, [Broken::Budget { wanted: 10, allowed: 9 }]);
}
