//! Measures how long a plan takes and what it needs, of fleets of many VMs that nothing was made of.
//!
//! `plan_scale [VMS…]`: one line of JSON for each number of VMs (default 1000 and 10000), on 100
//! simulated hosts. Measured is what the planner does between the look at the hosts and the first
//! step: decide, draft, inventory, edits, steps. The text was read before.
#![allow(clippy::print_stdout, reason = "it is a program for the terminal")]

use std::{collections::BTreeMap, error::Error, path::Path, sync::Arc, time::Instant};

use freehold_core::{
    config::{self, Inputs},
    host::{Host as _, simulated::SimulatedHost},
    model::{Fleet, HostName, Observed, Seen, Vm, VmName},
    plan::{Goal, Proposals, Scope, World, decide, draft},
    seed::{Guests, Identity},
    state::{Decisions, Snapshot, VmDecision},
};
use uuid::Uuid;

const HOSTS: usize = 100;
/// The smallest of so many rounds counts: the others were disturbed.
const ROUNDS: usize = 3;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How long each part took.
#[derive(Debug, Clone, Default)]
struct Times {
    parts: BTreeMap<&'static str, f64>,
    steps: usize,
}

impl Times {
    fn seconds(&self) -> f64 {
        self.parts.values().sum()
    }

    fn take<T>(&mut self, part: &'static str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.parts.insert(part, begun.elapsed().as_secs_f64());
        done
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let asked: Vec<usize> =
        std::env::args().skip(1).map(|number| number.parse()).collect::<Result<_, _>>()?;
    let sizes = if asked.is_empty() { vec![1_000, 10_000] } else { asked };
    for vms in sizes {
        let (fleet, observed) = laid_out(vms).await?;
        let mut best: Option<Times> = None;
        for _ in 0..ROUNDS {
            // As a run does: it begins without a key and derives each once.
            let guests = Guests::new(Identity::generate()?, fleet.id);
            let times = plan(&fleet, &guests, &observed)?;
            if best.as_ref().is_none_or(|best| times.seconds() < best.seconds()) {
                best = Some(times);
            }
        }
        let times = best.unwrap_or_default();
        let row = serde_json::json!({
            "vms": fleet.vms.len(),
            "hosts": fleet.hosts.len(),
            "seconds": times.seconds(),
            "peak_mib": peak_mib()?,
            "steps": times.steps,
            "parts": times.parts,
        });
        println!("{row}");
    }
    Ok(())
}

/// A fleet of blocks of a hundred VMs, each spread over ten hosts.
fn text(vms: usize) -> String {
    let hosts: String =
        (0..HOSTS).map(|n| format!("host \"rack{n}\" {{\n  ssh = \"rack{n}\"\n}}\n")).collect();
    let block = |n: usize, count: usize| {
        let spread: Vec<_> =
            (0..10).map(|host| format!("host.rack{}", (n * 10 + host) % HOSTS)).collect();
        format!(
            "vm \"web{n}\" {{\n  count = {count}\n  host = [{}]\n  image = image.base\n  \
             memory = \"1GiB\"\n  disk \"root\" {{\n    size = \"10GiB\"\n  }}\n  \
             disk \"data\" {{\n    size = \"20GiB\"\n    keep = true\n  }}\n  nic \"lan\" {{}}\n}}\n",
            spread.join(", ")
        )
    };
    let blocks: String =
        (0..vms.div_ceil(100)).map(|n| block(n, (vms - n * 100).min(100))).collect();
    format!(
        "fleet \"scale\" {{\n  id = \"7363616c657363616c657363616c6500\"\n}}\n{hosts}\
         network \"lan\" {{\n  kind = \"bridge\"\n  bridge = \"br0\"\n  subnet = \"10.0.0.0/8\"\n  \
         addresses = \"10.1.0.0-10.9.255.255\"\n}}\n\
         image \"base\" {{\n  source = \"base.qcow2\"\n  sha256 = \"{}\"\n}}\n{blocks}",
        "0123456789abcdef".repeat(4)
    )
}

async fn laid_out(vms: usize) -> Outcome<(Fleet, Observed)> {
    let folder = tempfile::tempdir()?;
    let fleet = read(folder.path(), &text(vms))?;
    let mut observed = Observed::new();
    for name in fleet.hosts.keys() {
        let host = SimulatedHost::new(name.clone(), &["br0"]);
        let view = host.observe(&["br0".to_owned()]).await?;
        observed.insert(name.clone(), Seen::Whole(Box::new(view)));
    }
    Ok((fleet, observed))
}

fn read(folder: &Path, text: &str) -> Outcome<Fleet> {
    std::fs::write(folder.join("base.qcow2"), b"image")?;
    std::fs::write(folder.join("fleet.hcl"), text)?;
    let inputs = Inputs { variables: BTreeMap::new(), environment: Arc::new(|_: &str| None) };
    config::load(folder, &inputs).map_err(|problems| problems.render().into())
}

fn plan(fleet: &Fleet, guests: &Guests, observed: &Observed) -> Outcome<Times> {
    let mut times = Times::default();
    let snapshot = Snapshot::new(fleet.id);
    let keys = |vm: &VmName, epoch: u32| guests.host_key(vm, epoch);
    let decisions = times
        .take("decide", || decide(fleet, &Decisions::default(), &snapshot, "SHA256:scale", &keys))
        .map_err(|problems| format!("{problems:?}"))?;
    let seed_digest = |vm: &Vm, decision: &VmDecision| guests.seed_digest(fleet, vm, decision);
    let world = World {
        fleet,
        decisions: &decisions,
        snapshot: &snapshot,
        lag: 0,
        observed,
        goal: &Goal::Converge,
        scope: &Scope::default(),
        seed_digest: &seed_digest,
        fresh_id: &|host: &HostName| Uuid::from_u128(host.as_str().len() as u128),
        stamp: "20261122T121314Z",
    };
    let draft = times.take("draft", || draft(&world));
    let inventory = times.take("inventory", || draft.inventory(&world));
    let plan = times.take("edits", || draft.with(&world, Proposals::default()));
    let steps = times.take("steps", || plan.steps(&world));
    if inventory.vms.len() != fleet.vms.len() || !plan.held.is_empty() {
        return Err(format!("not everything is planned: {:?}", plan.held.first()).into());
    }
    times.steps = steps.len();
    Ok(times)
}

/// Returns the most memory that this process had so far.
fn peak_mib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("VmHWM says nothing")?.parse()?;
    Ok(kib / 1024.0)
}
