//! The simulated host refuses what a real one refuses, and fails as told.

use uuid::Uuid;

use super::*;
use crate::{
    host::{Certainty, Host as _},
    model::{
        Accel, DaemonMode, Digest, DiskSpec, DomainSpec, DomainState, Firmware, HostCard, Mark,
        Ours, VolumeSpec,
    },
};

fn host() -> SimulatedHost {
    SimulatedHost::new("rack1".parse().unwrap(), &["br0"])
}

fn spec(name: &str) -> DomainSpec {
    DomainSpec {
        uuid: Uuid::new_v4(),
        name: name.to_owned(),
        mark: Mark {
            fleet: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            name: name.to_owned(),
            incarnation: 1,
            digest: Digest::of([name.as_bytes()]),
            network: Digest::default(),
            protect: false,
            keep: Vec::new(),
        },
        cpus: 1,
        memory: Size::from_mib(64),
        firmware: Firmware::Uefi,
        nvram: Some(format!("{name}.nvram")),
        accel: Accel::Kvm,
        autostart: true,
        disks: vec![DiskSpec { volume: format!("{name}.0"), backing: None }],
        seed: None,
        nics: Vec::new(),
    }
}

async fn with_volume(host: &SimulatedHost, name: &str) {
    host.create_pool().await.unwrap();
    let size = Size::from_mib(1);
    let volume = VolumeSpec { name: name.to_owned(), size, backing: None };
    host.create_volume(&volume).await.unwrap();
}

#[tokio::test]
async fn refuses_as_libvirt_does() {
    let host = host();
    let web = spec("web");
    with_volume(&host, "web.0").await;
    host.define_domain(&web).await.unwrap();
    host.define_domain(&web).await.unwrap();
    let stranger = DomainSpec { uuid: Uuid::new_v4(), ..web.clone() };
    let error = host.define_domain(&stranger).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Conflict);
    let error = host.rename_volume("web.0", "trash.0").await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Conflict);
    host.start_domain(&web.ours()).await.unwrap();
    assert_eq!(host.undefine_domain(&web.ours()).await.unwrap_err().kind, HostErrorKind::Conflict);
    host.stop_domain(&web.ours(), std::time::Duration::ZERO).await.unwrap();
    let refused = host.rename_volume("web.nvram", "trash.nvram").await.unwrap_err();
    assert_eq!(refused.kind, HostErrorKind::Conflict);
    host.world().domains.get_mut(&web.uuid).unwrap().saved = true;
    assert_eq!(host.undefine_domain(&web.ours()).await.unwrap_err().kind, HostErrorKind::Conflict);
    host.world().domains.get_mut(&web.uuid).unwrap().saved = false;
    assert!(host.domain_xml(web.uuid).await.unwrap().is_some());
    host.undefine_domain(&web.ours()).await.unwrap();
    host.undefine_domain(&web.ours()).await.unwrap();
    assert_eq!(host.domain_xml(web.uuid).await.unwrap(), None);
    for file in ["web.0", "web.nvram"] {
        host.rename_volume(file, &format!("trash.{file}")).await.unwrap();
    }
}

#[tokio::test]
async fn another_ones_domain_is_not_touched() {
    let host = host();
    let web = spec("web");
    with_volume(&host, "web.0").await;
    host.define_domain(&web).await.unwrap();
    let other = Ours { fleet: "f123456789abcdef0123456789abcdef".parse().unwrap(), ..web.ours() };
    let results = [
        host.start_domain(&other).await,
        host.stop_domain(&other, std::time::Duration::ZERO).await,
        host.set_autostart(&other, false).await,
        host.undefine_domain(&other).await,
    ];
    for result in results {
        assert_eq!(result.unwrap_err().kind, HostErrorKind::Conflict);
    }
    assert_eq!(host.world().domains.len(), 1);
}

#[tokio::test]
async fn two_fleets_keep_their_parts_of_the_card() {
    let host = host();
    host.create_pool().await.unwrap();
    let card = |fleet: &str, id: u128| HostCard {
        format: HostCard::FORMAT,
        host: Uuid::from_u128(id),
        libvirt: DaemonMode::System,
        fleets: [(fleet.to_owned(), 1)].into(),
        volumes: [(fleet.to_owned(), vec![format!("{fleet}.root.0")])].into(),
    };
    let names = ["0123456789abcdef0123456789abcdef", "f123456789abcdef0123456789abcdef"];
    for name in names {
        host.write_card(name.parse().unwrap(), &card(name, 1)).await.unwrap();
    }
    let seen = host.world().card.clone().unwrap();
    assert!(names.iter().all(|name| seen.fleets[*name] == 1 && seen.volumes[*name].len() == 1));
    let stranger = host.write_card(names[0].parse().unwrap(), &card(names[0], 2)).await;
    assert_eq!(stranger.unwrap_err().kind, HostErrorKind::Conflict);
    assert_eq!(host.world().card, Some(seen));
}

#[tokio::test]
async fn a_lost_reply_has_happened() {
    let host = host();
    host.fault(0, Fault::LostReply);
    let error = host.create_pool().await.unwrap_err();
    assert_eq!(error.certainty, Certainty::Unknown);
    assert!(host.observe(&[]).await.unwrap().pool.is_some());
}

#[tokio::test]
async fn a_second_connection_sees_the_same_world() {
    let host = host();
    let other = host.clone();
    host.kill_after(1);
    host.create_pool().await.unwrap();
    let error = host.refresh_pool().await.unwrap_err();
    assert_eq!((error.kind, error.certainty), (HostErrorKind::Unreachable, Certainty::DidNot));
    assert!(other.observe(&[]).await.is_err());
    other.heal();
    assert!(other.observe(&["br0".to_owned()]).await.unwrap().pool.is_some());
    assert_eq!(host.calls(), ["create pool"]);
}

/// A domain of its own disk, which is there.
async fn with_web(host: &SimulatedHost) -> DomainSpec {
    let web = spec("web");
    with_volume(host, "web.0").await;
    host.define_domain(&web).await.unwrap();
    web
}

#[tokio::test]
async fn a_late_effect_comes_after_the_next_look() {
    let host = host();
    let web = with_web(&host).await;
    host.fault(0, Fault::LateEffect);
    let error = host.start_domain(&web.ours()).await.unwrap_err();
    assert_eq!(error.certainty, Certainty::Unknown);
    let state = || async { host.observe(&[]).await.unwrap().domains[0].state };
    assert_eq!(state().await, DomainState::Off);
    assert_eq!(state().await, DomainState::Running);
    host.fault(0, Fault::LateEffect);
    host.create_volume(&VolumeSpec { name: "b".into(), size: Size::from_mib(1), backing: None })
        .await
        .unwrap_err();
    host.rename_volume("b", "c").await.unwrap();
}

#[tokio::test]
async fn a_reboot_ends_what_is_only_running() {
    let host = host();
    let web = with_web(&host).await;
    host.start_domain(&web.ours()).await.unwrap();
    host.world().volumes.remove("web.nvram");
    assert!(host.world().somebody_undefines(web.uuid));
    host.world().reboot();
    assert!(host.observe(&[]).await.unwrap().domains.is_empty());
    host.define_domain(&web).await.unwrap();
    host.world().reboot();
    assert_eq!(host.observe(&[]).await.unwrap().domains[0].state, DomainState::Running);
    host.set_autostart(&web.ours(), false).await.unwrap();
    host.world().reboot();
    assert_eq!(host.observe(&[]).await.unwrap().domains[0].state, DomainState::Off);
}

#[tokio::test]
async fn a_full_pool_gets_nothing_half_made() {
    let host = host();
    with_volume(&host, "web.0").await;
    host.world().full = true;
    let before = host.observe(&[]).await.unwrap();
    let volume = VolumeSpec { name: "b".into(), size: Size::from_mib(1), backing: None };
    let failed = [host.create_volume(&volume).await, host.write_volume("seed", &[1]).await];
    for result in failed {
        let error = result.unwrap_err();
        assert_eq!((error.kind, error.certainty), (HostErrorKind::Failed, Certainty::DidNot));
    }
    host.rename_volume("web.0", "trash.0").await.unwrap();
    host.rename_volume("trash.0", "web.0").await.unwrap();
    assert_eq!(host.observe(&[]).await.unwrap(), before);
}
