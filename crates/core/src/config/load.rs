//! Reads a directory as a fleet.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    Inputs,
    block::{Block, Reader},
    check, decode,
    evaluate::Scope,
    fields::Fields,
    problem::{Problem, Problems, Report, Reported},
    schema::LANGUAGE,
    source::{self, File},
    world::World,
};
use crate::model::{Digest, Fleet, FleetId, Network, NetworkName, StateStore};

/// Reads all `*.hcl` of a directory as one fleet, or returns every mistake in them.
pub fn load(directory: &Path, inputs: &Inputs) -> Result<Fleet, Problems> {
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let report = Report::default();
    let files = source::read_directory(&directory, &report);
    let asked: Arc<Mutex<BTreeMap<String, Option<String>>>> = Arc::default();
    let inputs = recording(inputs, &asked);
    let fleet = read(&directory, &inputs, &files, &report);
    match (report.into_problems(), fleet) {
        (None, Some(mut fleet)) => {
            // What was asked of the environment counts as much as what stands in the files.
            let environment = format!("{:?}", asked.lock().expect("no holder panics"));
            fleet.digest = Digest::of([fleet.digest.as_str().as_bytes(), environment.as_bytes()]);
            Ok(fleet)
        }
        (Some(problems), _) => Err(problems),
        (None, None) => {
            let message = "the fleet is not valid, and freehold does not know why; this is a bug";
            Err(Problems { list: vec![Problem::nowhere(message)] })
        }
    }
}

/// Notes what is asked of the environment.
fn recording(inputs: &Inputs, asked: &Arc<Mutex<BTreeMap<String, Option<String>>>>) -> Inputs {
    let (environment, asked) = (Arc::clone(&inputs.environment), Arc::clone(asked));
    Inputs {
        variables: inputs.variables.clone(),
        environment: Arc::new(move |name: &str| {
            let value = environment(name);
            asked.lock().expect("no holder panics").insert(name.to_owned(), value.clone());
            value
        }),
    }
}

fn read(directory: &Path, inputs: &Inputs, files: &[File], report: &Report) -> Option<Fleet> {
    let blocks: Vec<Block<'_>> =
        files.iter().flat_map(|file| Reader::new(file, report).blocks(&LANGUAGE)).collect();
    check::repeated_blocks(&blocks, report);
    let complete = files.iter().all(|file| file.body.is_some());
    let world = World::new(report, directory, inputs, &blocks, complete);
    world.settle_all();
    let decoder = Decoder { world: &world, blocks: &blocks };
    let (name, id) = decoder.fleet().unwrap_or_else(|| {
        if complete && !files.is_empty() {
            let problem = Problem::nowhere("no file has a `fleet` block");
            report.add(problem.hint("`freehold init` writes one, with a fresh id"));
        }
        (String::new(), Err(Reported))
    });
    let fleet = decoder.parts(directory, name);
    if report.count() > 0 {
        return None;
    }
    let mut fleet = Fleet { id: id.ok()?, digest: world.digest(files), ..fleet };
    check::places(&fleet, &blocks, report);
    check::written_twice(&fleet, &blocks, report);
    check::networks_of_sessions(&fleet, &blocks, report);
    check::unpublishable(&fleet, &blocks, report);
    let names: Vec<_> =
        fleet.zones.values().filter(|zone| zone.reverse).map(|zone| zone.name.clone()).collect();
    for name in names {
        let networks = check::reverse_networks(&fleet, &name);
        if let Some(zone) = fleet.zones.get_mut(&name) {
            zone.reverse_networks = networks;
        }
    }
    Some(fleet)
}

/// Turns blocks into the model's values.
struct Decoder<'a> {
    world: &'a World<'a>,
    blocks: &'a [Block<'a>],
}

impl<'a> Decoder<'a> {
    fn fleet(&self) -> Option<(String, Result<FleetId, Reported>)> {
        let block = self.of("fleet").next()?;
        Some((block.label.to_owned(), decode::fleet_id(self.fields(block))))
    }

    fn retain(&self) -> Duration {
        let block = self.of("fleet").next();
        block.and_then(|block| decode::retain(self.fields(block)).ok()).unwrap_or_default()
    }

    fn state(&self) -> StateStore {
        let block = self.of("state").next();
        block.and_then(|block| decode::state_store(self.fields(block)).ok()).unwrap_or_default()
    }

    /// Returns all but the id; what has mistakes is missing.
    fn parts(&self, directory: &Path, name: String) -> Fleet {
        let networks: Vec<(Network, &Block<'_>)> = self
            .of("network")
            .filter_map(|block| Some((decode::network(self.fields(block)).ok()?, block)))
            .collect();
        check::overlapping_networks(&networks, self.world.report);
        let networks: BTreeMap<NetworkName, Network> =
            networks.into_iter().map(|(network, _)| (network.name.clone(), network)).collect();
        let drafts =
            self.of("vm").filter_map(|block| decode::vms(self.world, block, &networks).ok());
        let vms = check::distinct_vms(drafts.flatten().collect(), self.world.report);
        let moves: Vec<decode::Move<'_>> =
            self.of("moved").filter_map(|block| decode::moved(self.fields(block)).ok()).collect();
        let moved = decode::moves(&moves, &vms, self.world.report);
        Fleet {
            name,
            id: FleetId::from_bytes([0; 16]),
            directory: directory.to_owned(),
            hosts: self.all("host", decode::host, |host| host.name.clone()),
            networks,
            images: self.all("image", decode::image, |image| image.name.clone()),
            vms,
            dns_servers: self.all("dns", decode::dns_server, |server| server.name.clone()),
            zones: self.all("zone", decode::zone, |zone| zone.name.clone()),
            target_files: self.all("prometheus", decode::target_file, |file| file.name.clone()),
            state: self.state(),
            retain: self.retain(),
            digest: Digest::default(),
            moved,
        }
    }

    fn all<N: Ord, T>(
        &self,
        kind: &'static str,
        decode: impl Fn(Fields<'a>) -> Result<T, Reported>,
        name: impl Fn(&T) -> N,
    ) -> BTreeMap<N, T> {
        let decoded = self.of(kind).filter_map(|block| decode(self.fields(block)).ok());
        decoded.map(|value| (name(&value), value)).collect()
    }

    fn of(&self, kind: &'static str) -> impl Iterator<Item = &'a Block<'a>> {
        self.blocks.iter().filter(move |block| block.schema.kind == kind)
    }

    fn fields(&self, block: &'a Block<'a>) -> Fields<'a> {
        Fields { block, scope: Scope::new(self.world, block.source, None) }
    }
}
