use std::{fs, path::Path};

use super::*;
use crate::fixtures::{fleet, inventory, target_file, vm};

fn plugin(path: &Path) -> FileSd {
    FileSd::new(&fleet(), &target_file(Place::Here, path.to_str().unwrap(), None), None).unwrap()
}

async fn edits(plugin: &FileSd, vms: &[&str]) -> Vec<Edit> {
    let vms: Vec<_> =
        vms.iter().map(|name| vm(name, &["10.77.0.100"], &[("node", 9100)])).collect();
    let proposal =
        plugin.propose(&inventory(&vms), &Published::new(), &Hosts::new()).await.unwrap();
    assert!(proposal.refused.is_empty(), "{:?}", proposal.refused);
    proposal.edits
}

#[tokio::test]
async fn follows_the_fleet_there_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("freehold.json");
    let plugin = plugin(&path);
    let both = edits(&plugin, &["web-0", "web-1"]).await;
    assert_eq!(both.len(), 2);
    assert!(matches!(
        plugin.verify(&both, &Hosts::new()).await,
        Err(PluginError { kind: PluginErrorKind::NotShown, .. })
    ));
    // One by one, as VMs become ready; at the same time, as they do.
    let hosts = Hosts::new();
    let (first, second) =
        tokio::join!(plugin.publish(&both[..1], &hosts), plugin.publish(&both[1..], &hosts));
    first.unwrap();
    second.unwrap();
    assert!(plugin.verify(&both, &hosts).await.unwrap());
    assert!(edits(&plugin, &["web-0", "web-1"]).await.is_empty());

    let gone = edits(&plugin, &[]).await;
    assert_eq!(gone.len(), 2);
    plugin.publish(&gone, &hosts).await.unwrap();
    assert!(plugin.verify(&gone, &hosts).await.unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "[]\n");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn never_writes_over_what_came_in_since() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("freehold.json");
    let plugin = plugin(&path);
    let edits = edits(&plugin, &["web-0"]).await;
    for theirs in [r#"[{"targets":["10.0.0.1:1"],"labels":{}}]"#, "[{\"targ"] {
        fs::write(&path, theirs).unwrap();
        let error = plugin.publish(&edits, &Hosts::new()).await.unwrap_err();
        assert_eq!(error.kind, PluginErrorKind::Foreign);
        assert_eq!(fs::read_to_string(&path).unwrap(), theirs);
        let proposal = plugin
            .propose(
                &inventory(&[vm("web-0", &["10.77.0.100"], &[("node", 9100)])]),
                &Published::new(),
                &Hosts::new(),
            )
            .await
            .unwrap();
        assert!(proposal.edits.is_empty());
        assert_eq!(proposal.refused[0].kind, PluginErrorKind::Foreign);
    }
    // What cannot be read is not written either.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(plugin.publish(&edits, &Hosts::new()).await.is_err());
    assert!(path.is_dir());
}

#[tokio::test]
async fn leaves_a_file_that_is_right_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("freehold.json");
    let plugin = plugin(&path);
    let edits = edits(&plugin, &["web-0"]).await;
    plugin.publish(&edits, &Hosts::new()).await.unwrap();
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    plugin.publish(&edits, &Hosts::new()).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
}

#[tokio::test]
async fn tells_of_exporters_without_an_address() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = plugin(&directory.path().join("freehold.json"));
    let hidden = inventory(&[vm("db", &[], &[("node", 9100)])]);
    let proposal = plugin.propose(&hidden, &Published::new(), &Hosts::new()).await.unwrap();
    assert!(proposal.refused[0].hint.as_ref().unwrap().contains("publish = true"));
}

#[test]
fn refuses_a_vm_as_its_place() {
    let on = Place::Vm("monitor".parse().unwrap());
    let error = FileSd::new(&fleet(), &target_file(on, "/x.json", None), None).unwrap_err();
    assert_eq!(error.kind, PluginErrorKind::Refused);
}
