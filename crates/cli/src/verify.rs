//! `freehold verify`: whether everything is as the state and the text say, also outside of the hosts.

use std::collections::BTreeMap;

use freehold_core::{
    apply::Audit,
    host::{ConnectOptions, is_pinned},
    model::{Connection, Fleet, HostName},
    plan::{Finding, drift_text, known_decisions},
};
use serde_json::json;

use crate::{
    args::{Args, Verify},
    carry::worst,
    context::Context,
    drift::{FORMAT, exit_of_findings, in_json},
    failure::{Exit, Failure, exit_of, tell_errors},
    screen::{self, Screen, counted},
};

/// Looks at everything and tells. It takes no lock, and asks nothing that changes anything.
pub(crate) async fn run(args: &Args, verify: &Verify) -> Result<Exit, Failure> {
    let context = Context::open(args)?;
    let (snapshot, lock) = (context.state.read().await?, context.lock.read()?);
    let (fleet, options) = (context.fleet.clone(), context.options.clone());
    // ssh_config may run commands.
    let pinned = tokio::task::spawn_blocking(move || unpinned(&fleet, &options));
    let reached = context.reach(&Screen::new()).await;
    let decisions = known_decisions(&context.fleet, &lock, &snapshot);
    let (plugins, mute) = context.plugins_apart(&decisions, &reached.hosts);
    let audit = Audit {
        fleet: &context.fleet,
        snapshot: &snapshot,
        lock: &lock,
        reached: &reached,
        plugins,
        mute,
        unpinned: pinned.await.unwrap_or_default(),
    };
    let (findings, unasked) = audit.findings().await;
    if verify.json {
        screen::data(&json!({ "format": FORMAT, "findings": in_json(&findings) }).to_string());
    } else {
        screen::data(&text(&context.fleet, snapshot.vms.len(), &findings));
    }
    tell_errors(&reached.errors);
    tell_errors(&unasked);
    Ok(worst(&[exit_of(&reached.errors), exit_of(&unasked), exit_of_findings(&findings)]))
}

/// Returns the hosts whose keys a clone of the repository would not know.
fn unpinned(fleet: &Fleet, options: &ConnectOptions) -> BTreeMap<HostName, String> {
    let unpinned = fleet.hosts.values().filter_map(|host| match &host.connection {
        Connection::Ssh(target) if !is_pinned(target, options) => {
            Some((host.name.clone(), target.to_string()))
        }
        Connection::Ssh(_) | Connection::Local => None,
    });
    unpinned.collect()
}

fn text(fleet: &Fleet, vms: usize, findings: &[Finding]) -> String {
    let seen = format!("{} on {}", counted(vms, "VM"), counted(fleet.hosts.len(), "host"));
    if findings.is_empty() {
        return format!("all is as it should be: {seen}");
    }
    drift_text(findings) + &format!("{}: {seen}", counted(findings.len(), "finding"))
}
