//! Findings as text: by host, one line each.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Subject, Unmanaged};
use crate::{
    model::{HostName, Size},
    plan::report::{line, wrapped},
};

/// Returns findings as the user reads them, at 80 columns. A hint stands once.
pub fn drift_text(findings: &[Finding]) -> String {
    hosts_text(findings, &BTreeMap::new())
}

/// Returns findings with what is unmanaged, for every host that has an entry in either.
pub fn hosts_text(findings: &[Finding], unmanaged: &BTreeMap<HostName, Unmanaged>) -> String {
    // What is outside of all hosts comes last.
    let place = |host: Option<&'_ HostName>| (host.is_none(), host.cloned());
    let mut hosts: BTreeMap<(bool, Option<HostName>), Vec<&Finding>> =
        unmanaged.keys().map(|host| (place(Some(host)), Vec::new())).collect();
    for finding in findings {
        hosts.entry(place(finding.host.as_ref())).or_default().push(finding);
    }
    let (mut text, mut told) = (String::new(), BTreeSet::new());
    for ((_, host), findings) in hosts {
        match &host {
            Some(host) => line(&mut text, &format!("host {host}")),
            None => line(&mut text, "outside"),
        }
        let others = host.and_then(|host| unmanaged.get(&host)).map(Unmanaged::lines);
        let others = others.unwrap_or_default();
        if findings.is_empty() && others.is_empty() {
            line(&mut text, "  all is ours and as it was made");
        }
        for finding in findings {
            wrapped(&mut text, "  ", finding.to_string().split_inclusive(": "));
            if let Some(hint) = finding.hint().filter(|hint| told.insert(hint.clone())) {
                wrapped(&mut text, "    ", [format!("hint: {hint}").as_str()]);
            }
        }
        for other in others {
            wrapped(&mut text, "  ", format!("unmanaged {other}").split_inclusive(": "));
        }
    }
    text
}

/// Returns a size as one says it: `1.2GiB`.
pub fn short_size(size: Size) -> String {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    let bytes = size.bytes();
    let (unit, factor) = units.into_iter().find(|(_, factor)| bytes >= *factor).unwrap_or(units[4]);
    let tenths = (bytes % factor) * 10 / factor;
    let point = if tenths == 0 { String::new() } else { format!(".{tenths}") };
    format!("{}{point}{unit}", bytes / factor)
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The host stands above.
        match &self.object {
            Subject::Host(_) => write!(f, "{}: {}", self.drift.code(), self.drift),
            object => write!(f, "{object}: {}: {}", self.drift.code(), self.drift),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_shortly() {
        for (bytes, said) in [
            (0, "0B"),
            (1023, "1023B"),
            (1 << 20, "1MiB"),
            (3 << 19, "1.5MiB"),
            ((20 << 30) - 1, "19.9GiB"),
        ] {
            assert_eq!(short_size(Size::from_bytes(bytes)), said);
        }
    }
}
