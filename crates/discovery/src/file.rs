//! A target file: its form, whose it is, and what differs. Pure.

use std::collections::BTreeMap;

use freehold_core::model::{Edit, EditKey, FleetId, TargetGroup};
use serde::Deserialize;

use crate::groups::{FLEET, key_of};

/// What a file of ours holds; a key stands there once, unless a hand put it there twice.
pub(crate) type Content = BTreeMap<EditKey, Vec<TargetGroup>>;

/// Why a file is not ours to write.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Foreign {
    #[error("it is no list of target groups: {0}")]
    Malformed(String),
    #[error("group {number} ({targets}) does not carry our fleet id")]
    Group { number: usize, targets: String },
    #[error("group {number} ({targets}) carries our fleet id but no VM and exporter")]
    Nameless { number: usize, targets: String },
}

/// A group as a file may have it; Prometheus takes no other field either.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Reads a file of ours; one that is absent or empty is ours too.
pub(crate) fn parse(bytes: Option<&[u8]>, fleet: FleetId) -> Result<Content, Foreign> {
    let bytes = bytes.unwrap_or_default();
    if bytes.trim_ascii().is_empty() {
        return Ok(Content::new());
    }
    let groups: Vec<Group> =
        serde_json::from_slice(bytes).map_err(|error| Foreign::Malformed(error.to_string()))?;
    let mut content = Content::new();
    for (index, Group { targets, labels }) in groups.into_iter().enumerate() {
        let (number, named) = (index + 1, targets.join(" "));
        if labels.get(FLEET) != Some(&fleet.to_string()) {
            return Err(Foreign::Group { number, targets: named });
        }
        let group = TargetGroup { targets, labels };
        let key = key_of(&group).ok_or(Foreign::Nameless { number, targets: named })?;
        content.entry(key).or_default().push(group);
    }
    Ok(content)
}

/// Returns a file's bytes: sorted, and the same for the same content.
pub(crate) fn rendered(content: &Content) -> Vec<u8> {
    let groups: Vec<_> = content.values().flatten().collect();
    let mut text = serde_json::to_vec_pretty(&groups).expect("texts are JSON");
    text.push(b'\n');
    text
}

/// Returns the edits that lead from what is there to what is wanted, removals first, and what is
/// there as wanted.
pub(crate) fn compare(
    plugin: &str,
    content: &Content,
    wanted: &BTreeMap<EditKey, TargetGroup>,
) -> (Vec<Edit>, Vec<(EditKey, Vec<String>)>) {
    let (mut edits, mut present) = (Vec::new(), Vec::new());
    for (key, groups) in content.iter().filter(|(key, _)| !wanted.contains_key(key)) {
        edits.push(edit(plugin, key, compact(groups), Vec::new()));
    }
    for (key, group) in wanted {
        let old = content.get(key).map(|groups| compact(groups)).unwrap_or_default();
        let new = compact(std::slice::from_ref(group));
        if old == new {
            present.push((key.clone(), new));
        } else {
            edits.push(edit(plugin, key, old, new));
        }
    }
    (edits, present)
}

/// Returns what a file holds, as it is published.
pub(crate) fn everything(content: &Content) -> Vec<(EditKey, Vec<String>)> {
    content.iter().map(|(key, groups)| (key.clone(), compact(groups))).collect()
}

fn edit(plugin: &str, key: &EditKey, old: Vec<String>, new: Vec<String>) -> Edit {
    let vm = match key {
        EditKey::Target { vm, .. } => Some(vm.clone()),
        EditKey::Zone { .. } | EditKey::Rrset { .. } => None,
    };
    Edit { plugin: plugin.to_owned(), vm, key: key.clone(), old, new }
}

fn compact(groups: &[TargetGroup]) -> Vec<String> {
    groups.iter().map(|group| serde_json::to_string(group).expect("texts are JSON")).collect()
}

/// Applies edits to what is there; says whether that made a difference.
pub(crate) fn apply(content: &mut Content, edits: &[Edit]) -> Result<bool, serde_json::Error> {
    let before = content.clone();
    for edit in edits {
        let groups = edit.new.iter().map(|text| serde_json::from_str(text));
        let groups: Vec<TargetGroup> = groups.collect::<Result<_, _>>()?;
        if groups.is_empty() {
            content.remove(&edit.key);
        } else {
            content.insert(edit.key.clone(), groups);
        }
    }
    Ok(*content != before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{fleet_id, inventory, vm, zones},
        groups::wanted,
    };

    const PLUGIN: &str = "prometheus main";

    fn groups(vms: &[(&str, &str)]) -> BTreeMap<EditKey, TargetGroup> {
        let vms: Vec<_> =
            vms.iter().map(|(name, address)| vm(name, &[address], &[("node", 9100)])).collect();
        wanted(&inventory(&vms), &zones()).0
    }

    fn written(vms: &[(&str, &str)]) -> Vec<u8> {
        let content = groups(vms).into_iter().map(|(key, group)| (key, vec![group])).collect();
        rendered(&content)
    }

    fn shown(bytes: Option<&[u8]>, vms: &[(&str, &str)]) -> Vec<String> {
        let content = parse(bytes, fleet_id()).unwrap();
        compare(PLUGIN, &content, &groups(vms)).0.iter().map(Edit::to_string).collect()
    }

    const WEB: (&str, &str) = ("web-0", "10.77.0.100");

    #[test]
    fn takes_a_file_that_is_absent_or_empty() {
        for bytes in [None, Some(&b""[..]), Some(b"\n"), Some(b"[]"), Some(b" [ ] \n")] {
            assert_eq!(shown(bytes, &[WEB]), ["+ target web-0:9100 node"], "{bytes:?}");
            assert!(shown(bytes, &[]).is_empty());
        }
    }

    #[test]
    fn reads_back_what_it_writes() {
        let bytes = written(&[("web-1", "10.77.0.101"), WEB]);
        assert!(bytes.ends_with(b"]\n"));
        let content = parse(Some(&bytes), fleet_id()).unwrap();
        assert_eq!(rendered(&content), bytes);
        let both = [WEB, ("web-1", "10.77.0.101")];
        assert!(shown(Some(&bytes), &both).is_empty());
        assert_eq!(compare(PLUGIN, &content, &groups(&both)).1.len(), 2);
    }

    #[test]
    fn updates_and_removes() {
        let bytes = written(&[WEB]);
        assert_eq!(shown(Some(&bytes), &[("web-0", "10.77.0.9")]), ["~ target web-0:9100 node"]);
        assert_eq!(
            shown(Some(&bytes), &[("web-1", "10.77.0.9")]),
            ["- target web-0:9100 node", "+ target web-1:9100 node"]
        );
    }

    #[test]
    fn corrects_what_a_hand_changed_in_ours() {
        let text = String::from_utf8(written(&[WEB])).unwrap();
        let edited = text.replace("\"rack1\"", "\"rack9\"");
        assert_ne!(edited, text);
        assert_eq!(shown(Some(edited.as_bytes()), &[WEB]), ["~ target web-0:9100 node"]);
        // The same group twice.
        let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
        let twice = format!("[{inner},{inner}]");
        assert_eq!(shown(Some(twice.as_bytes()), &[WEB]), ["~ target web-0:9100 node"]);
    }

    #[test]
    fn leaves_the_files_of_others_alone() {
        let ours = String::from_utf8(written(&[WEB])).unwrap();
        let theirs = r#"{"targets":["10.0.0.1:9100"],"labels":{"job":"x"}}"#;
        let mixed = ours.replacen('[', &format!("[{theirs},"), 1);
        let other = ours.replace(&fleet_id().to_string(), &"8".repeat(32));
        let nameless = ours.replace("__meta_freehold_vm_name", "renamed");
        for (bytes, want) in [
            (format!("[{theirs}]"), "group 1 (10.0.0.1:9100) does not carry our fleet id"),
            (mixed, "group 1 (10.0.0.1:9100) does not carry our fleet id"),
            (other, "group 1 (10.77.0.100:9100) does not carry our fleet id"),
            (nameless, "carries our fleet id but no VM"),
            (r#"[{"targets":[]}]"#.to_owned(), "group 1 () does not carry our fleet id"),
            ("[{".to_owned(), "no list of target groups: EOF"),
            ("{}".to_owned(), "no list of target groups"),
            (ours.replace("\"targets\"", "\"target\""), "unknown field `target`"),
            (ours.replace("\"512\"", "512"), "invalid type: integer `512`"),
            ("- targets: []".to_owned(), "no list of target groups"),
        ] {
            let error = parse(Some(bytes.as_bytes()), fleet_id()).unwrap_err().to_string();
            assert!(error.contains(want), "{bytes}: {error}");
        }
    }

    #[test]
    fn adds_up_what_several_publishes_bring() {
        let mut content = Content::new();
        for vms in [[WEB], [("web-1", "10.77.0.101")]] {
            let edits = compare(PLUGIN, &Content::new(), &groups(&vms)).0;
            assert!(apply(&mut content, &edits).unwrap());
            assert!(!apply(&mut content, &edits).unwrap(), "safe to repeat");
        }
        assert_eq!(content.len(), 2);
        let edits = compare(PLUGIN, &content, &BTreeMap::new()).0;
        assert!(apply(&mut content, &edits).unwrap());
        assert_eq!(rendered(&content), b"[]\n");
    }
}
