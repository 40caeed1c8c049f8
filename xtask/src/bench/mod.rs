//! `cargo xtask bench`: ratios against a real reference, in turns, in the same run.
//!
//! The reference "bare" is a Python client that makes the same libvirt calls over tunnels that are
//! open already, hosts in parallel, four connections each; freehold's times are whole commands.

mod fleet;
mod image;
mod plan;
mod rebuild;
mod reference;
mod vm;
mod wide;

use std::fs;
use std::path::PathBuf;

use acceptance::lab::guest::{cached_image, default_cache};
use acceptance::lab::{Lab, RACKS, Zones};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::setup::{Needs, setup};
use crate::{cargo, lab, root, screen};
use fleet::Subject;
use reference::Bare;

/// Options of the bench.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write rows `{name, value, unit, bound, holds}` to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure one part only; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// How many VMs are made on two hosts
    #[arg(long, default_value_t = 100)]
    vms: usize,
    /// How often each is measured; medians are compared
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Plans of large fleets on simulated hosts; needs no lab
    Plan,
    /// Whole commands on two hosts of the lab, against bare libvirt calls and virsh
    Lab,
    /// A running VM on one host: status against virsh, ssh against ssh
    Vm,
    /// An image sent to hosts of the lab, against ssh; fetched by one of them
    Image,
    /// What was on a host made again on a fresh one, against the first apply of the same
    Rebuild,
    /// A plan with nothing to do of 1,000 VMs on ten hosts of the lab, against bare reads
    Wide,
}

const ALL: [Part; 6] = [Part::Plan, Part::Lab, Part::Vm, Part::Image, Part::Rebuild, Part::Wide];

impl Part {
    /// How many racks the lab must have for it, if it needs a lab.
    fn racks(self) -> Option<usize> {
        match self {
            Self::Plan => None,
            Self::Lab | Self::Vm | Self::Image | Self::Rebuild => Some(RACKS.len()),
            Self::Wide => Some(wide::RACKS),
        }
    }
}

/// One row of the result.
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    bound: Option<f64>,
}

impl Row {
    fn holds(&self) -> bool {
        self.bound.is_none_or(|bound| self.value <= bound)
    }

    fn json(&self) -> Value {
        let Self { name, value, unit, bound } = self;
        json!({"name": name, "value": value, "unit": unit, "bound": bound, "holds": self.holds()})
    }
}

/// Measures, says the rows and writes them where asked.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let parts = if arguments.only.is_empty() { &ALL[..] } else { &arguments.only[..] };
    let racks = parts.iter().filter_map(|part| part.racks()).max();
    setup(if racks.is_some() { Needs::Bench } else { Needs::Build })?;
    let mut rows = Vec::new();
    if parts.contains(&Part::Plan) {
        rows.extend(plan::measure()?);
    }
    if let Some(racks) = racks {
        rows.extend(in_the_lab(racks, parts, arguments)?);
    }
    for row in &rows {
        let bound = row.bound.map_or(String::new(), |bound| format!("  (bound {bound:.2})"));
        let verdict = if row.holds() { "" } else { "  DOES NOT HOLD" };
        screen::say(format_args!(
            "{:48} {:>8.3} {}{bound}{verdict}",
            row.name, row.value, row.unit
        ));
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&rows.iter().map(Row::json).collect::<Vec<_>>())?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Measures these parts in one lab, as large as the largest of them needs it.
fn in_the_lab(racks: usize, parts: &[Part], arguments: &Arguments) -> Result<Vec<Row>> {
    let build = ["build", "--release", "--locked", "-p", "freehold-cli"];
    cargo::run("the program, optimised", &build, &[])?;
    cached_image(&default_cache())?;
    ensure!(root::is_root(), "run it as root: it opens tunnels into the lab");
    let dir = Lab::default_dir();
    let was_up = Lab::attach(&dir).is_ok();
    lab::up(&dir, Zones::Usual, racks)?;
    let measured = Lab::attach(&dir).and_then(|lab| {
        let mut rows = Vec::new();
        if parts.contains(&Part::Lab) {
            rows.extend(measure(&lab, arguments)?);
        }
        if parts.contains(&Part::Vm) {
            rows.extend(vm::measure(&lab, arguments.rounds)?);
        }
        if parts.contains(&Part::Image) {
            rows.extend(image::measure(&lab, arguments.rounds)?);
        }
        if parts.contains(&Part::Rebuild) {
            rows.extend(rebuild::measure(&lab, arguments.rounds)?);
        }
        if parts.contains(&Part::Wide) {
            rows.extend(wide::measure(&lab, arguments.rounds)?);
        }
        Ok(rows)
    });
    if !was_up {
        lab::down(&dir)?;
    }
    measured
}

fn measure(lab: &Lab, arguments: &Arguments) -> Result<Vec<Row>> {
    let subject = Subject::new(lab, &RACKS, arguments.vms)?;
    // One apply brings the image and makes the pools; it is not counted.
    subject.apply()?;
    subject.remove(lab)?;
    let bare = Bare::open(lab, &RACKS, arguments.vms)?;
    let (mut create, mut bare_create) = (Vec::new(), Vec::new());
    let (mut plan, mut list, mut journal) = (Vec::new(), Vec::new(), Vec::new());
    let mut verify = Vec::new();
    for round in 0..arguments.rounds {
        screen::say(format_args!("round {} of {}", round + 1, arguments.rounds));
        bare_create.push(bare.create()?);
        bare.remove()?;
        let applied = subject.apply()?;
        create.push(applied.seconds);
        journal.push(applied.journal / applied.seconds);
        for _ in 0..3 {
            list.push(reference::cold_list(lab)?);
            plan.push(subject.empty_plan()?);
            verify.push(subject.verify()?);
        }
        subject.remove(lab)?;
    }
    let n = arguments.vms;
    let (create, bare_create) = (median(create), median(bare_create));
    let (plan, list, verify) = (median(plan), median(list), median(verify));
    let row = |name: String, value, unit, bound| Row { name, value, unit, bound };
    Ok(vec![
        row(format!("create {n} VMs"), create, "s", None),
        row(format!("bare create of {n} VMs"), bare_create, "s", None),
        row(
            "create / (1.5 x bare + 0.3 s)".into(),
            create / (1.5 * bare_create + 0.3),
            "",
            Some(1.0),
        ),
        row(format!("no-op plan of {n} VMs"), plan, "s", None),
        row("cold virsh list over ssh to one".into(), list, "s", None),
        row("no-op plan / cold virsh list".into(), plan / list, "", Some(1.5)),
        row(format!("verify of {n} VMs"), verify, "s", None),
        row("verify / no-op plan".into(), verify / plan, "", Some(2.0)),
        row("journal's fsync / apply's wall time".into(), median(journal), "", Some(0.05)),
    ])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
