//! `freehold drift`: in what hosts differ from what was last made of them.

use std::collections::BTreeSet;

use freehold_core::plan::{Finding, drift, drift_text};
use serde_json::{Value, json};

use crate::{
    args::Drift,
    carry::worst,
    failure::{Exit, exit_of, tell_errors},
    onlook::Onlooker,
    screen::{self, Screen, counted},
};

/// The form of what `--json` writes.
pub(crate) const FORMAT: u32 = 1;

/// Looks and tells. It is handed an [`Onlooker`] and nothing else, so it cannot write.
pub(crate) async fn run(onlooker: &Onlooker, drift_args: &Drift) -> Exit {
    let looked = onlooker.look(&Screen::new()).await;
    let findings = drift(&onlooker.snapshot, &looked.observed);
    if drift_args.json {
        screen::data(&json!({ "format": FORMAT, "findings": in_json(&findings) }).to_string());
    } else {
        screen::data(&text(onlooker, &findings));
    }
    tell_errors(&looked.errors);
    worst(&[exit_of(&looked.errors), exit_of_findings(&findings)])
}

fn text(onlooker: &Onlooker, findings: &[Finding]) -> String {
    let hosts: BTreeSet<_> = findings.iter().filter_map(|one| one.host.as_ref()).collect();
    if findings.is_empty() {
        let vms = counted(onlooker.snapshot.vms.len(), "VM");
        return format!("no drift: {vms} on {}", counted(onlooker.fleet.hosts.len(), "host"));
    }
    let counts =
        format!("{} on {}", counted(findings.len(), "finding"), counted(hosts.len(), "host"));
    drift_text(findings) + &counts
}

/// A host that was not read weighs more than what was found on others.
pub(crate) fn exit_of_findings(findings: &[Finding]) -> Exit {
    if findings.iter().any(|finding| finding.drift.is_unread()) {
        Exit::Part
    } else if findings.is_empty() {
        Exit::Done
    } else {
        Exit::Held
    }
}

/// Returns findings as `--json` writes them.
pub(crate) fn in_json(findings: &[Finding]) -> Vec<Value> {
    let entry = |finding: &Finding| {
        let mut entry = json!(finding.drift);
        entry["host"] = json!(finding.host);
        entry["object"] = json!(finding.object);
        entry["text"] = json!(finding.drift.to_string());
        entry
    };
    findings.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use freehold_core::plan::{Drift, Subject};

    use super::*;

    fn finding(drift: Drift) -> Finding {
        let host = "rack1".parse().unwrap();
        Finding { host: Some(host), object: Subject::Vm("web".parse().unwrap()), drift }
    }

    #[test]
    fn json_has_one_entry_each_with_code_and_detail() {
        let entries = in_json(&[
            finding(Drift::DomainOff),
            finding(Drift::DomainMissing { taken_by: None, seen_on: None }),
        ]);
        let said = json!([
            {
                "host": "rack1", "object": { "kind": "vm", "name": "web" },
                "code": "domain-off", "text": "it was made to run, and is off",
            },
            {
                "host": "rack1", "object": { "kind": "vm", "name": "web" },
                "code": "domain-missing", "text": "libvirt has no such domain",
                "detail": { "taken_by": null, "seen_on": null },
            },
        ]);
        assert_eq!(json!(entries), said);
    }

    #[test]
    fn a_host_that_was_not_read_weighs_most() {
        let unread = finding(Drift::HostUnreachable { why: "gone".into() });
        assert_eq!(exit_of_findings(&[]), Exit::Done);
        assert_eq!(exit_of_findings(&[finding(Drift::DomainOff)]), Exit::Held);
        assert_eq!(exit_of_findings(&[finding(Drift::DomainOff), unread]), Exit::Part);
    }
}
