//! What is asked for by name, and that nothing beside it is touched.

use crate::bed::{Bed, Exit, Text, VmText, vm};

/// Names with a record, less the domain.
fn published(bed: &Bed) -> Vec<String> {
    let names = bed.server.records().into_keys();
    names.map(|name| name.trim_end_matches(".example.org").to_owned()).collect()
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
