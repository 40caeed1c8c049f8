//! What keeps a run off a host, or off a VM on it, that is not as it must be.

use freehold_core::model::{Size, VolumeView};

use crate::bed::{Bed, Exit, Hand, Ran, Text, Trick, VmText, all, host, vm};

fn code<'a>(ran: &'a Ran, object: &str) -> &'a str {
    let why = ran.why(object).unwrap_or_else(|| panic!("{object}:\n{}", ran.plan.text()));
    why.code()
}

#[tokio::test]
async fn a_volume_that_comes_late_stays_on_the_card() {
    let web = VmText::new("web");
    let bed = Bed::new(&Text::new(1, vec![web.clone()]));
    // The run ends while the root disk is cloned: pool, card and image are there.
    bed.fate.spoil(3, Trick::KillBefore);
    assert_eq!(bed.apply(&all()).await.exit(), Exit::Killed);
    let rack = &bed.hosts[&host("rack1")];
    let root = bed.snapshot().vms[&vm("web")].disks[0].volume.clone();
    assert!(!rack.world().volumes.contains_key(&root));
    // The next run cannot touch that VM, and writes the card for another one.
    bed.write(&Text::new(1, vec![VmText::new("db"), web]));
    bed.hands.act(Hand::TakeName, 1);
    assert_eq!(code(&bed.apply(&all()).await, "vm web"), "foreign");
    assert!(bed.snapshot().vms.contains_key(&vm("db")));
    {
        let mut world = rack.world();
        let image = world.volumes.keys().find(|name| name.starts_with("image.")).unwrap();
        let backing = Some(format!("{}/{image}", world.pool_path));
        let size = Size::from_mib(1024);
        let clone = VolumeView { capacity: size, backing, used: Size::from_mib(1) };
        world.volumes.insert(root, clone);
    }
    bed.put_back();
    bed.converges(2, "once the name is free").await;
    assert_eq!(bed.destroy(None).await.exit(), Exit::Done);
    bed.check_destroyed();
}
