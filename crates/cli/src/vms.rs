//! VMs that were made, as a command names them.

use std::{collections::BTreeMap, sync::Arc};

use freehold_core::{
    config::nearest,
    host::{self, Host, HostError},
    model::{self, HostName, Ours, VmName},
    state::{Snapshot, VmDecision, VmRecord},
};

use crate::{context::Context, failure::Failure};

/// A VM that was made: what is declared, decided and known of it.
#[derive(Clone, Copy)]
pub(crate) struct Made<'a> {
    /// What the state calls it, which is what its mark says.
    pub(crate) name: &'a VmName,
    /// Its block, as long as it is declared.
    pub(crate) vm: Option<&'a model::Vm>,
    pub(crate) decision: &'a VmDecision,
    pub(crate) record: &'a VmRecord,
    pub(crate) host: &'a model::Host,
}

impl<'a> Made<'a> {
    /// Finds a VM by its name, or by the new one that it was not given yet.
    pub(crate) fn find(
        context: &'a Context,
        snapshot: &'a Snapshot,
        word: &str,
    ) -> Result<Self, Failure> {
        let unknown = || no_vm(context, snapshot, word);
        let name: VmName = word.parse().map_err(|_| unknown())?;
        let before = context.fleet.moved.get(&name).into_iter().flatten();
        let mut names = std::iter::once(&name).chain(before);
        let vm = context.fleet.vms.get(&name);
        let Some((name, record)) = names.find_map(|name| snapshot.vms.get_key_value(name)) else {
            return Err(match vm {
                None => unknown(),
                Some(_) => Failure::input(format!("vm {name} was not made yet"))
                    .hint(format!("freehold apply {name}")),
            });
        };
        let decision = snapshot.decisions.vms.get(name).ok_or_else(unknown)?;
        let host = context.fleet.hosts.get(&record.host).ok_or_else(|| {
            Failure::input(format!("{}, the host of {name}, is no longer declared", record.host))
                .hint("put its block back")
        })?;
        Ok(Self { name, vm, decision, record, host })
    }

    /// Finds the VMs of these names, and those of blocks of these names, each once.
    pub(crate) fn several(
        context: &'a Context,
        snapshot: &'a Snapshot,
        words: &[String],
    ) -> Result<Vec<Self>, Failure> {
        let mut found: BTreeMap<&VmName, Self> = BTreeMap::new();
        for word in words {
            let of_block = context.fleet.vms.values().filter(|vm| vm.block.as_str() == word);
            let names: Vec<&str> = of_block.map(|vm| vm.name.as_str()).collect();
            let names = if names.is_empty() { vec![word.as_str()] } else { names };
            for name in names {
                let made = Self::find(context, snapshot, name)?;
                found.insert(made.name, made);
            }
        }
        Ok(found.into_values().collect())
    }

    /// Returns what proves on its host that the domain is this VM.
    pub(crate) fn ours(&self, context: &Context) -> Ours {
        let (uuid, fleet) = (self.record.uuid, context.fleet.id);
        Ours { uuid, fleet, name: self.name.to_string(), seen: None }
    }

    /// Connects to its host.
    pub(crate) async fn reach(&self, context: &Context) -> Result<Arc<dyn Host>, HostError> {
        host::connect(self.host, &context.options).await
    }

    pub(crate) fn host_name(&self) -> &'a HostName {
        &self.host.name
    }
}

/// Says that nothing has this name, and what was probably meant.
pub(crate) fn no_vm(context: &Context, snapshot: &Snapshot, word: &str) -> Failure {
    let known = context.fleet.vms.keys().chain(snapshot.vms.keys()).map(VmName::as_str);
    let blocks = context.fleet.vms.values().map(|vm| vm.block.as_str());
    let failure = Failure::input(format!("no vm is named {word}"));
    match nearest(word, known.chain(blocks)) {
        Some(meant) => {
            failure.hint(format!("did you mean `{meant}`? `freehold status` lists them"))
        }
        None => failure.hint("`freehold status` lists them"),
    }
}
