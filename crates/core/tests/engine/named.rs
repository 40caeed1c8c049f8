//! What is asked for by name, and that nothing beside it is touched.

use freehold_core::plan::{Consent, Scope};

use crate::bed::{Bed, Exit, Text, VmText, all, host, vm};

/// Names with a record, less the domain.
fn published(bed: &Bed) -> Vec<String> {
    let names = bed.server.records().into_keys();
    names.map(|name| name.trim_end_matches(".example.org").to_owned()).collect()
}

/// Names of the domains on the one host.
fn domains(bed: &Bed) -> Vec<String> {
    let world = bed.hosts[&host("rack1")].world();
    let mut names: Vec<_> = world.domains.values().map(|found| found.spec.name.clone()).collect();
    names.sort();
    names
}

async fn applied(names: &[&str]) -> Bed {
    let bed = Bed::new(&Text::new(1, names.iter().map(|name| VmText::new(name)).collect()));
    bed.converges(2, "before").await;
    bed
}

/// `db` beside `www`, which was `web`.
fn renamed() -> Text {
    let mut text = Text::new(1, vec![VmText::new("db"), VmText::new("www")]);
    text.more = "moved {\n  from = \"web\"\n  to = \"www\"\n}\n".into();
    text
}

#[tokio::test]
async fn a_vm_destroyed_before_its_rename_comes_back_under_its_new_name() {
    let bed = applied(&["db", "web"]).await;
    let before = bed.decided().vms[&vm("web")].clone();
    bed.write(&renamed());
    assert_eq!(bed.destroy(None).await.exit(), Exit::Done);
    bed.converges(2, "again").await;
    assert_eq!(published(&bed), ["db", "www"]);
    let after = bed.decided().vms[&vm("www")].clone();
    assert_eq!((after.uuid, after.nics), (before.uuid, before.nics));
    assert_eq!(after.incarnation, before.incarnation + 1);
    assert_eq!(after.born, Some(vm("web")));
    // Whatever was noted under the old name is gone: a new VM may bear it.
    let mut both = renamed();
    both.more = String::new();
    both.vms.push(VmText::new("web"));
    bed.write(&both);
    bed.converges(1, "a new one of the old name").await;
    assert_ne!(bed.decided().vms[&vm("web")].uuid, before.uuid);
}

#[tokio::test]
async fn destroying_one_leaves_the_names_of_others_that_are_to_go() {
    let bed = applied(&["db", "gone", "web"]).await;
    bed.write(&Text::new(1, vec![VmText::new("db"), VmText::new("web")]));
    let ran = bed.destroy(Some(&["web"])).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.held);
    assert_eq!(domains(&bed), ["db", "gone"]);
    assert_eq!(published(&bed), ["db", "gone"]);
}

#[tokio::test]
async fn destroying_one_renames_no_other() {
    let bed = applied(&["db", "web"]).await;
    bed.write(&renamed());
    let ran = bed.destroy(Some(&["db"])).await;
    assert_eq!(ran.exit(), Exit::Done, "{:?}", ran.plan.held);
    assert_eq!(domains(&bed), ["web"]);
    assert_eq!(published(&bed), ["web"]);
}

#[tokio::test]
async fn a_vm_that_is_to_be_renamed_is_destroyed_under_either_name() {
    for names in [Some(&["www"][..]), Some(&["web"]), None] {
        let bed = applied(&["db", "web"]).await;
        bed.write(&renamed());
        let ran = bed.destroy(names).await;
        assert_eq!(ran.exit(), Exit::Done, "{names:?}: {:?}", ran.plan.held);
        let left: &[&str] = if names.is_some() { &["db"] } else { &[] };
        assert_eq!(domains(&bed), left, "{names:?}");
        assert_eq!(published(&bed), left, "{names:?}");
        bed.converges(2, &format!("{names:?}: again")).await;
        assert_eq!(published(&bed), ["db", "www"], "{names:?}");
    }
}

#[tokio::test]
async fn a_rename_that_is_applied_alone_takes_its_old_name_along() {
    for name in ["www", "web"] {
        let bed = applied(&["db", "web"]).await;
        bed.write(&renamed());
        let scope = Scope { vms: Some([vm(name)].into()), hosts: None };
        let ran = bed.run(scope, &all()).await;
        assert_eq!(ran.exit(), Exit::Done, "{name}: {:?}", ran.plan.held);
        assert_eq!(domains(&bed), ["db", "www"], "{name}");
        assert_eq!(published(&bed), ["db", "www"], "{name}");
        assert!(bed.apply(&Consent::default()).await.plan.is_empty(), "{name}");
    }
}
