//! The target groups the fleet wants: pure, from the inventory.

use std::collections::BTreeMap;

use freehold_core::model::{
    DomainName, EditKey, Exporter, Inventory, InventoryVm, TargetGroup, ZoneName,
};

/// Labels with this prefix live in relabelling only.
const META: &str = "__meta_freehold_";

/// The label that says whose a group is.
pub(crate) const FLEET: &str = "__meta_freehold_fleet";

/// A VM's exporter that cannot be scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub(crate) target: String,
    pub(crate) reason: String,
}

/// Returns one group per exporter, by key, and the exporters no address leads to.
pub(crate) fn wanted(
    inventory: &Inventory,
    zones: &BTreeMap<ZoneName, DomainName>,
) -> (BTreeMap<EditKey, TargetGroup>, Vec<Hidden>) {
    let (mut groups, mut hidden) = (BTreeMap::new(), Vec::new());
    for vm in inventory.vms.values() {
        for exporter in &vm.exporters {
            let Some(address) = vm.addresses.first() else {
                let target = format!("{}:{} {}", vm.name, exporter.port, exporter.name);
                let reason = format!("no address of {} is published", vm.name);
                hidden.push(Hidden { target, reason });
                continue;
            };
            let group = TargetGroup {
                targets: vec![format!("{address}:{}", exporter.port)],
                labels: labels(inventory, vm, exporter, zones),
            };
            groups.insert(key_for(vm, exporter), group);
        }
    }
    (groups, hidden)
}

fn key_for(vm: &InventoryVm, exporter: &Exporter) -> EditKey {
    EditKey::Target {
        vm: vm.name.clone(),
        exporter: exporter.name.to_string(),
        port: exporter.port,
    }
}

fn labels(
    inventory: &Inventory,
    vm: &InventoryVm,
    exporter: &Exporter,
    zones: &BTreeMap<ZoneName, DomainName>,
) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        // These two stay on every sample, so that it works without relabelling.
        ("vm".to_owned(), vm.name.to_string()),
        ("exporter".to_owned(), exporter.name.to_string()),
    ]);
    if let Some(path) = &exporter.path {
        labels.insert("__metrics_path__".to_owned(), path.clone());
    }
    let mut meta = |name: &str, value: String| labels.insert(format!("{META}{name}"), value);
    meta("fleet", inventory.fleet.to_string());
    meta("vm_name", vm.name.to_string());
    meta("vm_uuid", vm.uuid.to_string());
    meta("vm_state", vm.state.word().to_owned());
    meta("host", vm.host.to_string());
    meta("cpu_cores", vm.cpus.to_string());
    meta("memory_mb", (vm.memory.bytes() >> 20).to_string());
    meta("image", vm.image.to_string());
    meta("service", exporter.name.to_string());
    meta("service_port", exporter.port.to_string());
    if let Some(address) = vm.addresses.first() {
        meta("ipv4", address.to_string());
    }
    if let Some(zone) = vm.dns.first().and_then(|place| zones.get(&place.zone)) {
        meta("fqdn", format!("{}.{zone}", vm.name));
    }
    for group in &vm.groups {
        meta(&format!("group_{}", suitable(group)), "true".to_owned());
    }
    for (key, value) in &vm.labels {
        meta(&format!("label_{}", suitable(key)), value.clone());
        meta(&format!("labelpresent_{}", suitable(key)), "true".to_owned());
    }
    labels
}

/// Returns a text with only what every version takes in a label's name.
fn suitable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Returns which exporter a group is about, where its labels say so.
pub(crate) fn key_of(group: &TargetGroup) -> Option<EditKey> {
    let meta = |name: &str| group.labels.get(&format!("{META}{name}"));
    Some(EditKey::Target {
        vm: meta("vm_name")?.parse().ok()?,
        exporter: meta("service")?.clone(),
        port: meta("service_port")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{inventory, vm, zones};

    #[test]
    fn makes_one_group_per_exporter() {
        let mut web = vm("web-0", &["10.77.0.100", "10.77.0.101"], &[("node", 9100), ("app", 80)]);
        web.exporters[1].path = Some("/stats".to_owned());
        let (groups, hidden) = wanted(&inventory(&[web]), &zones());
        assert!(hidden.is_empty());
        let groups: Vec<_> = groups.values().collect();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].targets, ["10.77.0.100:80"]);
        assert_eq!(groups[0].labels["__metrics_path__"], "/stats");
        assert!(!groups[1].labels.contains_key("__metrics_path__"));
        for (label, value) in [
            ("vm", "web-0"),
            ("exporter", "node"),
            ("__meta_freehold_fqdn", "web-0.home.example.org"),
            ("__meta_freehold_host", "rack1"),
            ("__meta_freehold_memory_mb", "512"),
            ("__meta_freehold_vm_state", "running"),
            ("__meta_freehold_service_port", "9100"),
            ("__meta_freehold_group_web_servers", "true"),
            ("__meta_freehold_label_tier_x", "ä \"quoted\""),
            ("__meta_freehold_labelpresent_tier_x", "true"),
        ] {
            assert_eq!(groups[1].labels[label], value, "{label}");
        }
    }

    #[test]
    fn finds_the_key_of_what_it_made() {
        let inventory = inventory(&[vm("web-0", &["10.77.0.100"], &[("node", 9100)])]);
        for (key, group) in wanted(&inventory, &zones()).0 {
            assert_eq!(key_of(&group), Some(key));
        }
    }

    #[test]
    fn tells_of_an_exporter_nobody_reaches() {
        let (groups, hidden) = wanted(&inventory(&[vm("db", &[], &[("node", 9100)])]), &zones());
        assert!(groups.is_empty());
        assert_eq!(hidden[0].target, "db:9100 node");
    }
}
