//! How a plan grows with its fleet: ten times the VMs on the same hosts, none of them made yet.

use std::path::Path;
use std::time::Duration;

use acceptance::lab::command::Run;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Row;
use crate::cargo;

/// The fleets that are planned; the second is ten times the first.
const SIZES: [&str; 2] = ["1000", "10000"];

/// Plans both fleets in a process of their own, so that its peak is the plan's.
pub(super) fn measure() -> Result<Vec<Row>> {
    let build =
        ["build", "--release", "--locked", "-p", "freehold-core", "--example", "plan_scale"];
    cargo::run("the planner, optimised", &build, &[])?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/examples");
    let run = Run::new(program.join("plan_scale")).args(SIZES).limit(Duration::from_mins(5));
    let said = run.ok()?.text().to_owned();
    let lines: Vec<Value> =
        said.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("plan_scale")?;
    ensure!(lines.len() == SIZES.len(), "plan_scale says {} lines", lines.len());
    let number = |line: &Value, field: &str| {
        line[field].as_f64().with_context(|| format!("plan_scale says no {field}"))
    };
    let (small, large) = (number(&lines[0], "seconds")?, number(&lines[1], "seconds")?);
    let row = |name: &str, value, unit, bound| Row { name: name.to_owned(), value, unit, bound };
    Ok(vec![
        row("plan of 1,000 VMs on 100 hosts", small, "s", None),
        row("plan of 10,000 VMs on 100 hosts", large, "s", None),
        row("plan 10,000 VMs / 1,000 VMs", large / small, "", Some(12.0)),
        row("memory of a plan of 10,000 VMs", number(&lines[1], "peak_mib")?, "MiB", None),
    ])
}
