//! Drift: nothing right after an apply, and exactly what hands changed since.

mod hands;

use std::collections::BTreeMap;

use freehold_core::{
    apply::look,
    events::Silence,
    host::{Host as _, ReadOnly},
    model::{self, DomainState, Mark, NicSource, Observed, Seen, Size},
    plan::{
        Drift, FieldChange, Finding, MarkChange, MarkField, Owner, ShapeField, drift, drift_text,
        unmanaged,
    },
    state::Snapshot,
};
use futures::future::BoxFuture;
use uuid::Uuid;

use self::hands::{ON_DEFINITIONS, ON_DOMAINS, ON_OTHERS, STRANGER, card, redefine, volume, web};
use crate::bed::{Bed, Exit, Text, Trick, VmText, all, host, vm};

/// Reads all hosts through conversations that cannot change them.
async fn seen(bed: &Bed) -> Observed {
    let connect = |block: &model::Host| {
        let host = ReadOnly::of(std::sync::Arc::new(bed.hosts[&block.name].clone()));
        Box::pin(async move { Ok(host) }) as BoxFuture<'static, Result<ReadOnly, _>>
    };
    look(&bed.fleet(), &connect, &Silence).await.observed
}

async fn found(bed: &Bed) -> Vec<Finding> {
    drift(&bed.snapshot(), &seen(bed).await)
}

/// Says findings as `rack1 vm web: domain-off`; what is outside of hosts as `dns main: not-published`.
pub(super) fn codes(findings: &[Finding]) -> Vec<String> {
    let code = |one: &Finding| {
        let host = one.host.iter().map(|host| format!("{host} ")).collect::<String>();
        format!("{host}{}: {}", one.object, one.drift.code())
    };
    findings.iter().map(code).collect()
}

/// Two VMs on one host, one of them behind NAT with UEFI; the other with a kept disk.
fn text() -> Text {
    let db = VmText::new("db").nat().more("  firmware = \"uefi\"\n");
    Text::new(1, vec![VmText::new("web").data(true), db])
}

async fn applied(text: &Text) -> Bed {
    let bed = Bed::new(text);
    bed.converges(2, "before").await;
    assert_eq!(found(&bed).await, [], "nothing drifts right after an apply");
    bed
}

#[tokio::test]
async fn each_change_by_hand_is_found_and_nothing_else() {
    let mut wrong = Vec::new();
    for (what, change, expected) in [ON_DOMAINS, ON_DEFINITIONS, ON_OTHERS].concat() {
        let bed = applied(&text()).await;
        let calls = bed.hosts[&host("rack1")].calls();
        change(&mut bed.hosts[&host("rack1")].world());
        let findings = found(&bed).await;
        let short = bed.decided().vms[&vm("web")].uuid.simple().to_string()[..8].to_owned();
        let expected: Vec<_> =
            expected.iter().map(|one| format!("rack1 {}", one.replace("WEB", &short))).collect();
        if codes(&findings) != expected {
            wrong.push(format!("{what}: {expected:?}:\n{}", drift_text(&findings)));
        }
        assert_eq!(bed.hosts[&host("rack1")].calls(), calls, "{what}: looking changes nothing");
        assert!(drift_text(&findings).lines().all(|line| line.chars().count() <= 80), "{what}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn fields_are_told_with_what_they_were_made_as() {
    let bed = applied(&text()).await;
    redefine(&mut bed.hosts[&host("rack1")].world(), |spec| {
        spec.cpus = 4;
        spec.disks.pop();
        spec.disks.push(model::DiskSpec { volume: "hand.img".into(), backing: None });
        spec.nics[0].source = NicSource::Network("default".into());
    });
    let data = bed.decided().vms[&vm("web")].disks[1].volume.clone();
    let mac = bed.decided().vms[&vm("web")].nics[0].mac;
    let said = |field, from: Option<&str>, to: Option<&str>| {
        let (from, to) = (from.map(str::to_owned), to.map(str::to_owned));
        Drift::FieldChanged(FieldChange { field, from, to })
    };
    let drifts: Vec<_> = found(&bed).await.into_iter().map(|finding| finding.drift).collect();
    let (before, after) = (format!("{mac} on bridge br0"), format!("{mac} on network default"));
    let expected = [
        said(ShapeField::Cpus, Some("1"), Some("4")),
        said(ShapeField::Disk, Some(&data), None),
        said(ShapeField::Disk, None, Some("hand.img")),
        said(ShapeField::Nic, Some(&before), Some(&after)),
    ];
    assert_eq!(drifts, expected);
}

#[tokio::test]
async fn what_the_text_wants_is_no_drift_and_what_apply_did_is_none() {
    let bed = applied(&Text::usual()).await;
    let mut more = Text::usual();
    more.vms[0].memory = "512MiB";
    more.vms.push(VmText::new("late"));
    bed.write(&more);
    assert_eq!(found(&bed).await, [], "nobody applied it yet");
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    assert_eq!(found(&bed).await, []);
    bed.write(&more.without("web"));
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Done);
    assert_eq!(bed.snapshot().kept.len(), 2);
    assert_eq!(found(&bed).await, [], "kept disks and trash are where they belong");
    let gone = bed.snapshot().kept[0].clone();
    bed.hosts[&gone.host].world().volumes.remove(&gone.volume);
    let expected = format!("{} volume {}: kept-disk-missing", gone.host, gone.volume);
    assert_eq!(codes(&found(&bed).await), [expected]);
}

#[tokio::test]
async fn a_host_that_is_down_or_no_longer_declared_hides_no_other() {
    let bed = applied(&Text::usual()).await;
    bed.hosts[&host("rack2")].set_down(true);
    web_off(&bed);
    let expected = ["rack1 vm web-0: domain-off", "rack2 host rack2: host-unreachable"];
    assert_eq!(codes(&found(&bed).await), expected);
    let mut one = seen(&bed).await;
    one.remove(&host("rack2"));
    assert_eq!(codes(&drift(&bed.snapshot(), &one)), expected);
}

fn web_off(bed: &Bed) {
    let mut world = bed.hosts[&host("rack1")].world();
    let domain = world.domains.values_mut().find(|domain| domain.spec.name == "web-0").unwrap();
    domain.state = DomainState::Off;
}

#[tokio::test]
async fn a_state_of_another_age_accuses_nobody() {
    let bed = applied(&text()).await;
    {
        let mut world = bed.hosts[&host("rack1")].world();
        redefine(&mut world, |spec| {
            spec.cpus = 4;
            spec.mark = Mark { protect: true, keep: Vec::new(), ..spec.mark.clone() };
        });
        web(&mut world).state = DomainState::Off;
    }
    let mut old = bed.snapshot();
    old.vms.values_mut().for_each(|record| record.applied = None);
    assert_eq!(drift(&old, &seen(&bed).await), []);
    old.vms.values_mut().for_each(|record| record.made = false);
    bed.hosts[&host("rack1")].world().domains.clear();
    assert_eq!(drift(&old, &seen(&bed).await), [], "what was only begun is not missing");
}

#[tokio::test]
async fn a_domain_that_is_elsewhere_is_said_to_be_there() {
    let bed = applied(&Text::usual()).await;
    let moved = {
        let mut world = bed.hosts[&host("rack1")].world();
        let found = world.domains.iter().find(|(_, domain)| domain.spec.name == "web-0");
        let uuid = *found.unwrap().0;
        world.domains.remove(&uuid).unwrap()
    };
    let uuid = moved.spec.uuid;
    bed.hosts[&host("rack2")].world().domains.insert(uuid, moved);
    let findings = found(&bed).await;
    let missing = Drift::DomainMissing { taken_by: None, seen_on: Some(host("rack2")) };
    let lives_on = Some(host("rack1"));
    let orphan = Drift::OrphanDomain { uuid, vm: "web-0".into(), incarnation: 1, lives_on };
    let drifts: Vec<_> = findings.into_iter().map(|finding| finding.drift).collect();
    assert_eq!(drifts, [missing, orphan]);
}

#[tokio::test]
async fn a_lost_state_leaves_orphans_and_a_forgotten_vm_none() {
    let bed = applied(&text()).await;
    let fleet = bed.fleet().id;
    let mut findings = codes(&drift(&Snapshot::new(fleet), &seen(&bed).await));
    findings.retain(|said| !said.contains("orphan-volume"));
    let expected = [
        "rack1 network back: orphan-network",
        "rack1 domain db: orphan-domain",
        "rack1 domain web: orphan-domain",
    ];
    findings.sort();
    let mut expected = expected.map(str::to_owned);
    expected.sort();
    assert_eq!(findings, expected);
    bed.forget("web").await;
    assert_eq!(found(&bed).await, []);
    let listed = unmanaged(&bed.snapshot(), &seen(&bed).await);
    let rack = &listed[&host("rack1")];
    let owner = Owner::Forgotten { vm: vm("web") };
    assert!(rack.domains.iter().all(|domain| domain.name == "web" && domain.owner == owner));
    assert_eq!((rack.domains.len(), rack.networks.len(), rack.volumes.len()), (1, 0, 3));
    assert!(rack.volumes.iter().all(|volume| volume.owner == owner));
}

#[tokio::test]
async fn what_is_nobodys_of_this_fleet_is_listed_and_no_drift() {
    let bed = applied(&text()).await;
    let other = applied(&Text { id: STRANGER, ..text() }).await;
    {
        let mut ours = bed.hosts[&host("rack1")].world();
        let theirs = other.hosts[&host("rack1")].world();
        for domain in theirs.domains.values() {
            ours.domains.insert(domain.spec.uuid, domain.clone());
        }
        let mut plain = theirs.domains.values().next().unwrap().clone();
        plain.marked = false;
        plain.spec.uuid = Uuid::from_u128(5);
        plain.spec.name = "legacy".into();
        plain.state = DomainState::Off;
        ours.domains.insert(plain.spec.uuid, plain);
        ours.networks.extend(theirs.networks.clone());
        ours.volumes.extend(theirs.volumes.clone());
        ours.volumes.insert("notes.qcow2".into(), volume(3 << 29));
        card(&mut ours).volumes.extend(theirs.card.clone().unwrap().volumes);
    }
    assert_eq!(found(&bed).await, []);
    let listed = unmanaged(&bed.snapshot(), &seen(&bed).await);
    let rack = &listed[&host("rack1")];
    let lines = rack.lines();
    for line in [
        "domain legacy: off, 1 cpu, 256MiB".to_owned(),
        format!("domain web: running, 1 cpu, 256MiB, of fleet {STRANGER}"),
        format!("network back: active, of fleet {STRANGER}"),
        "volume notes.qcow2: 1.5GiB, takes 1.5GiB".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line}: {lines:#?}");
    }
    let theirs = rack.volumes.iter().filter(|volume| volume.name.starts_with("01234567."));
    assert!(theirs.count() >= 4, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("f7c10b8e.")), "{lines:#?}");
}

#[tokio::test]
async fn a_killed_run_leaves_nothing_unexplained() {
    for k in 0..14 {
        let bed = Bed::new(&text());
        bed.fate.spoil(k, Trick::KillAfter);
        bed.apply(&all()).await;
        let findings = codes(&found(&bed).await);
        // The state claims a network before it is made, and a VM is whole before it is started.
        let expected = |said: &String| {
            said.ends_with("network back: network-missing") || said.ends_with(": domain-off")
        };
        assert!(findings.iter().all(expected), "killed after {k}: {findings:?}");
    }
}

#[tokio::test]
async fn a_mark_tells_what_changed_in_it() {
    let bed = applied(&text()).await;
    web(&mut bed.hosts[&host("rack1")].world()).spec.mark.keep.clear();
    let change = MarkChange { field: MarkField::Keep, from: "data".into(), to: "none".into() };
    assert_eq!(found(&bed).await[0].drift, Drift::MarkChanged(change));
}

#[tokio::test]
async fn simulated_hosts_are_read_as_they_are() {
    let bed = applied(&text()).await;
    let direct = bed.hosts[&host("rack1")].observe(&["br0".to_owned()]).await.unwrap();
    let looked = seen(&bed).await;
    assert_eq!(looked, BTreeMap::from([(host("rack1"), Seen::Whole(Box::new(direct)))]));
}

#[tokio::test]
async fn what_the_text_follows_and_what_was_never_recorded_is_learnt_by_the_next_apply() {
    let bed = applied(&text()).await;
    redefine(&mut bed.hosts[&host("rack1")].world(), |spec| spec.memory = Size::from_mib(512));
    let mut session = bed.store().lock("test").unwrap();
    let mut old = session.snapshot.clone();
    old.vms.get_mut(&vm("db")).unwrap().applied = None;
    session.save(old).await.unwrap();
    drop(session);
    assert_eq!(codes(&found(&bed).await), ["rack1 vm web: field-changed"]);
    let mut more = text();
    more.vms[0].memory = "512MiB";
    bed.write(&more);
    let ran = bed.apply(&all()).await;
    assert!(ran.plan.is_empty(), "{}", ran.plan.text());
    assert_eq!(found(&bed).await, []);
    assert!(bed.snapshot().vms.values().all(|record| record.applied.is_some()));
}

#[tokio::test]
async fn what_came_back_from_the_trash_is_as_the_state_says() {
    let bed = applied(&text()).await;
    assert_eq!(bed.destroy(Some(&["web"])).await.exit(), Exit::Done);
    assert_eq!(found(&bed).await, []);
    let key = crate::trash::removed(&bed).await;
    assert_eq!(crate::trash::restore(&bed, &key).await.exit(), Exit::Done);
    assert_eq!(codes(&found(&bed).await), Vec::<String>::new(), "it came back switched off");
    bed.converges(2, "started again").await;
}

#[tokio::test]
async fn a_change_that_was_cut_short_drifts_no_more_once_it_converged() {
    let autostart = |web: &mut VmText| web.more = "  autostart = false\n".into();
    let memory = |web: &mut VmText| web.memory = "512MiB";
    let protect = |web: &mut VmText| web.more = "  protect = true\n".into();
    for change in [autostart as fn(&mut VmText), memory, protect] {
        let mut more = text();
        change(&mut more.vms[0]);
        for trick in Trick::ALL {
            cut_short(&more, trick).await;
        }
    }
}

async fn cut_short(more: &Text, trick: Trick) {
    for k in 0.. {
        let bed = applied(&text()).await;
        bed.write(more);
        bed.fate.spoil(k, trick);
        bed.apply(&all()).await;
        if bed.fate.fired() == 0 {
            break;
        }
        bed.converges(3, &format!("{trick:?} at {k}")).await;
        let findings = found(&bed).await;
        assert_eq!(findings, [], "{trick:?} at {k}: {}", drift_text(&findings));
    }
}
