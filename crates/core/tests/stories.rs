//! Plan stories: a fleet, what is remembered of it, what is seen of it, and the plan that follows.
//!
//! A story is a folder of `plans/`; its name is the claim. `UPDATE_PLANS=1` writes what the plans
//! say now; `GROW_PLANS=1` makes the stories' lock, state and observation anew before.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "bed/mod.rs"]
mod bed;
mod grow;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use freehold_core::{
    apply::propose,
    model::{Digest, Fleet, HostName, Observed, SeedDigest, Vm, VmName},
    plan::{Goal, Plan, Scope, World, decide, draft},
    plugins::{Hosts, Plugin},
    state::{Decisions, LocalStore, LockFile, Snapshot, VmDecision},
};
use uuid::Uuid;

use bed::{Fate, Server, load};

fn plans() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans")
}

/// Everything a story tells before its plan.
struct Story {
    fleet: Fleet,
    decisions: Decisions,
    snapshot: Snapshot,
    observed: Observed,
    server: Arc<Server>,
}

impl Story {
    /// Reads the folder of a story, or one laid out like it.
    fn read(folder: &Path, observed: Observed) -> Self {
        let fleet = load(folder);
        let copy = tempfile::tempdir().unwrap();
        let store = LocalStore::of(copy.path(), fleet.id);
        if folder.join("state.json").exists() {
            fs::create_dir(store.path("")).unwrap();
            fs::copy(folder.join("state.json"), store.path("state.json")).unwrap();
        }
        let snapshot = store.read().unwrap();
        let lock = LockFile::of(folder, fleet.id).read().unwrap();
        let keys = |vm: &VmName, epoch: u32| format!("ssh-ed25519 key-{epoch}-of-{vm}");
        let decisions = decide(&fleet, &lock, &snapshot, "SHA256:story", &keys).unwrap();
        let server = Arc::new(Server::new("dns main", Arc::new(Fate::default())));
        for ((_, key), values) in &snapshot.published {
            server.put_ours(key, values);
        }
        Self { fleet, decisions, snapshot, observed, server }
    }

    fn with_world<T>(&self, with: impl FnOnce(&World<'_>) -> T) -> T {
        let digest = |vm: &Vm, decision: &VmDecision| {
            let first = Digest::of([vm.name.as_str().as_bytes()]);
            let network = format!("{:?}", decision.nics);
            SeedDigest { first, network: Digest::of([network.as_bytes()]) }
        };
        with(&World {
            fleet: &self.fleet,
            decisions: &self.decisions,
            snapshot: &self.snapshot,
            lag: 0,
            observed: &self.observed,
            goal: &Goal::Converge,
            scope: &Scope::default(),
            seed_digest: &digest,
            fresh_id: &|host: &HostName| Uuid::from_u128(u128::from(host.as_str().as_bytes()[4])),
            stamp: "20261122T121314Z",
        })
    }

    async fn plan(&self) -> Plan {
        let (draft, inventory) = self.with_world(|world| {
            let draft = draft(world);
            let inventory = draft.inventory(world);
            (draft, inventory)
        });
        let plugins = [Arc::clone(&self.server) as Arc<dyn Plugin>];
        let published = &self.snapshot.published;
        let proposals = propose(&plugins, &inventory, published, &Hosts::new()).await;
        self.with_world(|world| draft.with(world, proposals))
    }
}

/// Returns a plan as `freehold plan` shows it.
fn shown(plan: &Plan) -> String {
    if plan.is_empty() && plan.held.is_empty() {
        return format!("nothing to do: {} unchanged\n", plan.unchanged);
    }
    format!("{}{}", plan.text(), plan.summary())
}

#[tokio::test]
async fn every_story_ends_as_it_is_written() {
    let set = |name: &str| std::env::var_os(name).is_some();
    let (update, anew) = (set("UPDATE_PLANS"), set("GROW_PLANS"));
    let mut folders: Vec<_> =
        fs::read_dir(plans()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut wrong = BTreeMap::new();
    for folder in &folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if anew {
            grow::grow(folder, &name).await;
        }
        let observed = fs::read_to_string(folder.join("observed.json")).unwrap();
        let story = Story::read(folder, serde_json::from_str(&observed).unwrap());
        let told = shown(&story.plan().await);
        if update {
            fs::write(folder.join("plan.txt"), &told).unwrap();
        }
        let written = fs::read_to_string(folder.join("plan.txt")).unwrap_or_default();
        if told != written {
            wrong.insert(name, told);
        }
    }
    assert!(folders.len() >= 12, "{} stories", folders.len());
    let texts: Vec<_> = wrong.iter().map(|(name, told)| format!("{name}:\n{told}")).collect();
    assert!(wrong.is_empty(), "UPDATE_PLANS=1 writes these:\n{}", texts.join("\n"));
}
