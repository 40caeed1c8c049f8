//! Makes what a story remembers and sees, by applying its fleet to simulated hosts and changing
//! them behind its back.

use std::{fs, path::Path, sync::Arc};

use freehold_core::{
    apply::{Run, reach},
    events::{Listener, Silence},
    host::{Host, simulated::SimulatedHost},
    model::{self, Digest, DomainState, ImageSource, Observed, Secret, Seen, VmName},
    plugins::Plugin,
    state::{Fact, LocalStore, LockFile},
};
use futures::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Story, load};
use crate::bed::all;

/// A VM that the story's fleet no longer has.
const GONE: &str = r#"
network "back" {
  kind      = "nat"
  subnet    = "10.99.0.0/24"
  addresses = "10.99.0.100-10.99.0.199"
}
vm "db" {
  host   = host.rack1
  image  = image.debian-12
  cpus   = 2
  memory = "1GiB"
  wait   = "none"

  disk "root" {
    size = "10GiB"
  }
  disk "data" {
    size = "50GiB"
    keep = true
  }
  nic "lan" {}
  nic "back" {}
}
"#;

/// Returns the text that was applied before the story begins, if any was.
fn text_before(name: &str, text: &str) -> Option<String> {
    let old = text.split("# New since the last apply.").next().unwrap_or_default();
    match name {
        "a_new_fleet_is_made_whole"
        | "a_taken_name_holds_its_vm"
        | "a_missing_bridge_holds_its_vms"
        | "a_nat_network_is_made_where_its_vms_are" => None,
        "a_change_of_memory_is_refused_by_name" => Some(text.replace("4GiB", "2GiB")),
        "a_vm_no_longer_declared_goes_to_the_trash" => Some(format!("{text}{GONE}")),
        _ => Some(old.to_owned()),
    }
}

/// Changes what is seen behind the story's back.
fn change(name: &str, observed: &mut Observed) {
    let Some(Seen::Whole(rack1)) = observed.get_mut(&"rack1".parse().unwrap()) else {
        panic!("rack1 is read")
    };
    match name {
        "a_stopped_vm_is_started" => {
            let web = &mut rack1.domains[0];
            (web.state, web.live, web.autostart) = (DomainState::Off, None, false);
        }
        "an_unfinished_vm_is_finished" | "a_lost_disk_is_not_made_anew" => {
            rack1.domains.clear();
            let pool = rack1.pool.as_mut().unwrap();
            pool.volumes.retain(|volume, _| !volume.contains(".data."));
        }
        "a_taken_name_holds_its_vm" => rack1.domains.push(model::DomainView {
            name: "web-0".into(),
            uuid: Uuid::from_u128(7),
            state: DomainState::Running,
            persistent: true,
            autostart: true,
            mark: None,
            defined: model::DomainShape::default(),
            live: None,
            fingerprint: Digest::default(),
            saved: false,
            snapshots: false,
        }),
        "a_host_that_is_down_holds_only_its_own" => {
            let why = "rack2: cannot connect: no route to host".to_owned();
            observed.insert("rack2".parse().unwrap(), Seen::Unreachable(why));
        }
        "a_missing_bridge_holds_its_vms" => {
            if let Some(Seen::Whole(rack2)) = observed.get_mut(&"rack2".parse().unwrap()) {
                rack2.bridges.clear();
            }
        }
        _ => {}
    }
}

/// Writes the lock, the state and the observation of a story.
pub(crate) async fn grow(folder: &Path, name: &str) {
    let text = fs::read_to_string(folder.join("fleet.hcl")).unwrap();
    let before = text_before(name, &text);
    let bench = tempfile::tempdir().unwrap();
    let declared = before.as_ref().unwrap_or(&text);
    fs::write(bench.path().join("fleet.hcl"), declared).unwrap();
    let hosts = hosts_of(bench.path());
    for file in ["freehold.lock", "state.json"] {
        drop(fs::remove_file(folder.join(file)));
    }
    if before.is_some() {
        apply(bench.path(), &hosts, name).await;
        fs::copy(bench.path().join("freehold.lock"), folder.join("freehold.lock")).unwrap();
        if name != "a_lost_state_is_noticed" {
            let state = bench.path().join(".freehold/state.json");
            fs::copy(state, folder.join("state.json")).unwrap();
        }
    }
    let mut observed = look(bench.path(), &hosts).await.1;
    change(name, &mut observed);
    let text = serde_json::to_string_pretty(&observed).unwrap();
    fs::write(folder.join("observed.json"), text + "\n").unwrap();
}

fn hosts_of(folder: &Path) -> Vec<SimulatedHost> {
    let fleet = load(folder);
    let hosts = fleet.hosts.into_keys().map(|name| SimulatedHost::new(name, &["br0"]));
    let hosts: Vec<_> = hosts.collect();
    for image in fleet.images.values() {
        if let ImageSource::Url(url) = &image.source {
            for host in &hosts {
                host.world().sources.insert(url.clone(), image.checksum.clone());
            }
        }
    }
    hosts
}

async fn look(folder: &Path, hosts: &[SimulatedHost]) -> (freehold_core::plugins::Hosts, Observed) {
    let connect = |host: &model::Host| {
        let found = hosts.iter().find(|simulated| *simulated.name() == host.name).cloned();
        let found = Arc::new(found.unwrap()) as Arc<dyn Host>;
        Box::pin(async move { Ok(found) }) as BoxFuture<'static, Result<Arc<dyn Host>, _>>
    };
    let reached = reach(&load(folder), &connect, &Silence).await;
    (reached.hosts, reached.observed)
}

async fn apply(folder: &Path, simulated: &[SimulatedHost], name: &str) {
    let (hosts, observed) = look(folder, simulated).await;
    let mut story = Story::read(folder, observed);
    let mut session = LocalStore::of(folder, story.fleet.id).lock("story").unwrap();
    session.snapshot.lineage = Uuid::from_u128(42);
    story.snapshot = session.snapshot.clone();
    let plan = story.plan().await.permitted(&all());
    let steps = story.with_world(|world| plan.steps(world));
    let seed = |_: &VmName| Secret::new(b"seed".to_vec());
    let (_interrupt, interrupt) = watch::channel(false);
    let run = Run {
        steps: &steps,
        fleet: &story.fleet,
        hosts: &hosts,
        plugins: &[Arc::clone(&story.server) as Arc<dyn Plugin>],
        journal: &session.begin().await.unwrap(),
        seed: &seed,
        cache: folder.join("cache"),
        listener: Arc::new(Silence) as Arc<dyn Listener>,
        interrupt,
    };
    let mut snapshot = story.snapshot.clone();
    snapshot.decisions.identity.clone_from(&story.decisions.identity);
    let report = run.walk(snapshot).await;
    assert_eq!(report.failures, []);
    let mut snapshot = report.snapshot;
    if name == "an_unfinished_vm_is_finished" {
        let web: VmName = "web-0".parse().unwrap();
        snapshot.fold(&Fact::VmMade { vm: web.clone(), made: false });
        let disks = &mut snapshot.vms.get_mut(&web).unwrap().disks;
        for disk in disks {
            disk.there = false;
        }
    }
    session.save(snapshot).await.unwrap();
    LockFile::of(folder, story.fleet.id).write(&story.decisions).unwrap();
}
