//! What is seen, in lines that any host writes alike; and the transcript that is kept.

use std::{collections::BTreeMap, fs, path::PathBuf};

use freehold_core::{
    host::Host,
    model::{Digest, DomainShape, DomainView, HostView, Mark, NetworkView, NicSource, VolumeView},
};
use uuid::Uuid;

use super::{cast::PREFIX, somebody::DEVICE};

fn kept() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/transcript.txt")
}

/// Writes the transcript anew.
pub(crate) fn update(written: &str) {
    fs::write(kept(), written).unwrap();
}

/// Fails at the first line that is another than the one kept.
pub(crate) fn compare(written: &str, who: &str) {
    let kept = fs::read_to_string(kept()).unwrap_or_default();
    let lines = kept.lines().map(Some).chain(std::iter::repeat(None));
    let mut act = "";
    for (number, (want, have)) in lines.zip(written.lines()).enumerate() {
        act = if have.starts_with(' ') { act } else { have };
        assert!(
            want == Some(have),
            "line {}: {who} says otherwise\nafter  {act}\nkept   {}\nhere   {have}\n\n{written}",
            number + 1,
            want.unwrap_or("(nothing)"),
        );
    }
    assert_eq!(kept.lines().count(), written.lines().count(), "{who} says no more");
}

/// Returns what is there of the script's objects, a line each.
pub(crate) async fn scene(
    host: &dyn Host,
    view: &HostView,
    definitions: &BTreeMap<Uuid, (Digest, u32)>,
) -> Vec<String> {
    let pool = view.pool.clone().unwrap_or_default();
    let mut lines = Vec::new();
    for network in view.networks.iter().filter(|network| network.name.starts_with(PREFIX)) {
        lines.push(network_line(network));
    }
    let mut domains: Vec<_> =
        view.domains.iter().filter(|domain| domain.name.starts_with(PREFIX)).collect();
    domains.sort_by(|a, b| a.name.cmp(&b.name));
    for domain in domains {
        let xml = host.domain_xml(domain.uuid).await.unwrap().unwrap_or_default();
        let number = definitions.get(&domain.uuid).map_or(0, |(_, number)| *number);
        lines.push(domain_line(domain, number, xml.contains(DEVICE)));
        let name = &domain.name;
        lines.push(format!("{name} is defined {}", shape(&domain.defined, &pool.path)));
        lines.extend(
            domain.live.iter().map(|live| format!("{name} runs {}", shape(live, &pool.path))),
        );
    }
    for (name, volume) in pool.volumes.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        lines.push(volume_line(name, volume, &pool.path));
    }
    lines
}

fn network_line(network: &NetworkView) -> String {
    let NetworkView { name, active, autostart, mark, defined, .. } = network;
    let mark = mark_word(mark.as_ref());
    let address = defined.address.map(|address| address.to_string());
    let ranges: Vec<_> = defined.dhcp.iter().map(ToString::to_string).collect();
    format!(
        "network {name}: {} {}, dhcp {}, {}, {}, {mark}",
        defined.forward.as_deref().unwrap_or("isolated"),
        address.unwrap_or_default(),
        list(&ranges),
        if *active { "active" } else { "stopped" },
        if *autostart { "autostart" } else { "by hand" },
    )
}

fn domain_line(domain: &DomainView, definition: u32, device: bool) -> String {
    let mut words = vec![format!("{:?}", domain.state).to_lowercase()];
    let says = [
        (domain.autostart, "autostart"),
        (!domain.persistent, "transient"),
        (domain.saved, "saved"),
        (domain.snapshots, "snapshots"),
        (device, "with a device by hand"),
    ];
    words.extend(says.into_iter().filter(|(so, _)| *so).map(|(_, word)| word.to_owned()));
    words.push(format!("definition {definition}"));
    words.push(mark_word(domain.mark.as_ref()));
    format!("domain {}: {}", domain.name, words.join(", "))
}

fn mark_word(mark: Option<&Mark>) -> String {
    let Some(mark) = mark else { return "no mark".to_owned() };
    let keep: Vec<_> = mark.keep.iter().map(ToString::to_string).collect();
    let protect = if mark.protect { " protected" } else { "" };
    let keep = if keep.is_empty() { String::new() } else { format!(" keeps {}", list(&keep)) };
    format!("mark {} {}{protect}{keep}", mark.name, mark.incarnation)
}

fn shape(shape: &DomainShape, pool: &str) -> String {
    let files =
        |files: &[String]| list(&files.iter().map(|file| short(file, pool)).collect::<Vec<_>>());
    let nics: Vec<_> = shape
        .nics
        .iter()
        .map(|nic| match &nic.source {
            NicSource::Bridge(name) => format!("{} on bridge {name}", nic.mac),
            NicSource::Network(name) => format!("{} on network {name}", nic.mac),
        })
        .collect();
    format!(
        "{} {} cpus {} {}, disks {} over {}, cdroms {}, nics {}",
        shape.kind,
        shape.cpus,
        shape.memory,
        if shape.uefi { "uefi" } else { "bios" },
        files(&shape.disks),
        files(&shape.beneath),
        files(&shape.cdroms),
        list(&nics),
    )
}

fn volume_line(name: &str, volume: &VolumeView, pool: &str) -> String {
    let on = volume.backing.as_ref().map(|file| format!(" on {}", short(file, pool)));
    // How large a file of variables is, is its template's business.
    let size = if name.contains(".nvram") { String::new() } else { volume.capacity.to_string() };
    format!("volume {name}: {size}{}", on.unwrap_or_default())
}

fn short(file: &str, pool: &str) -> String {
    file.strip_prefix(pool).and_then(|name| name.strip_prefix('/')).unwrap_or(file).to_owned()
}

fn list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}
