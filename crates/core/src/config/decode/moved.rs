//! `moved`.

use std::collections::BTreeMap;

use crate::{
    config::{
        block::Block,
        fields::{Fields, required},
        problem::{Report, Reported},
    },
    model::{Vm, VmName},
};

/// One `moved`.
#[derive(Debug)]
pub(in crate::config) struct Move<'a> {
    from: VmName,
    to: VmName,
    block: &'a Block<'a>,
}

/// Reads that a VM was called otherwise.
pub(in crate::config) fn moved(fields: Fields<'_>) -> Result<Move<'_>, Reported> {
    let from = required(fields.parsed("from"));
    let to = required(fields.parsed("to"));
    Ok(Move { from: from?.value, to: to?.value, block: fields.block })
}

/// Returns the earlier names of each VM, the newest first, and reports what cannot be.
pub(in crate::config) fn moves(
    moves: &[Move<'_>],
    vms: &BTreeMap<VmName, Vm>,
    report: &Report,
) -> BTreeMap<VmName, Vec<VmName>> {
    let mut before: BTreeMap<&VmName, &Move<'_>> = BTreeMap::new();
    let mut after: BTreeMap<&VmName, &Move<'_>> = BTreeMap::new();
    for each in moves {
        let problem = |message: String| each.block.problem(message);
        if vms.contains_key(&each.from) {
            let message = format!("vm \"{}\" is declared, so it was not renamed", each.from);
            report.add(problem(message).hint("`from` is a name that is no longer declared"));
        }
        let twice = [before.insert(&each.to, each), after.insert(&each.from, each)];
        if let Some(first) = twice.into_iter().flatten().next() {
            let message = format!("{} -> {} contradicts another `moved`", each.from, each.to);
            report.add(problem(message).note(format!("the other is at {}", first.block.place())));
        }
    }
    for each in moves {
        if !vms.contains_key(&each.to) && !after.contains_key(&each.to) {
            let message = format!("vm \"{}\" is not declared", each.to);
            report.add(each.block.problem(message).hint("`to` is the name it has now"));
        }
    }
    let chain = |vm: &VmName| -> Vec<VmName> {
        let mut names: Vec<VmName> = Vec::new();
        let mut at = vm;
        while let Some(step) = before.get(at).filter(|step| !names.contains(&step.from)) {
            names.push(step.from.clone());
            at = &step.from;
        }
        names
    };
    let chains = vms.keys().map(|vm| (vm.clone(), chain(vm)));
    chains.filter(|(_, names)| !names.is_empty()).collect()
}
