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

#[tokio::test]
async fn two_blocks_of_one_machine_do_not_share_its_card() {
    let bed = Bed::new(&Text::new(2, vec![VmText::new("web")]));
    bed.converges(2, "before").await;
    {
        let (first, second) = (&bed.hosts[&host("rack1")], &bed.hosts[&host("rack2")]);
        let (first, mut second) = (first.world(), second.world());
        second.pool = first.pool;
        second.pool_path.clone_from(&first.pool_path);
        second.card.clone_from(&first.card);
    }
    {
        // Both show the same domain, and it is off: that is no other one.
        let (first, second) = (&bed.hosts[&host("rack1")], &bed.hosts[&host("rack2")]);
        let uuid = bed.decided().vms[&vm("web")].uuid;
        assert!(first.world().somebody_destroys(uuid));
        let domains = first.world().domains.clone();
        second.world().domains = domains;
        let plan = bed.plan().await;
        assert!(plan.text().contains("vm web (not running: start)"), "{}", plan.text());
        second.world().domains.clear();
        assert!(first.world().somebody_starts(uuid));
    }
    let mut more = Text::new(2, vec![VmText::new("web"), VmText::new("late").on(&[2])]);
    more.vms.push(VmText::new("db"));
    bed.write(&more);
    let ran = bed.apply(&all()).await;
    assert_eq!((code(&ran, "host rack2"), code(&ran, "vm late")), ("same-machine", "needs"));
    let why = ran.why("host rack2").unwrap();
    assert!(why.to_string().contains("rack1"), "{why}");
    assert!(why.hint().is_some_and(|hint| hint.contains("`host` block")), "{why}");
    assert_eq!(bed.hosts[&host("rack2")].calls().len(), 0);
    assert!(bed.snapshot().vms.contains_key(&vm("db")), "the one we know goes on");
    // Where neither is known, neither is believed.
    bed.lose_state();
    let calls = bed.fate.calls();
    let ran = bed.apply(&all()).await;
    for rack in ["host rack1", "host rack2"] {
        assert_eq!(code(&ran, rack), "same-machine", "{}", ran.plan.text());
    }
    assert_eq!((bed.fate.calls(), ran.exit()), (calls, Exit::Part));
}

#[tokio::test]
async fn a_domain_that_runs_and_is_not_defined_is_left_alone() {
    let text = || Text::new(1, vec![VmText::new("web"), VmText::new("db")]);
    let mut changed = text();
    changed.vms[0].memory = "512MiB";
    for now in [text(), changed, text().without("web")] {
        let bed = Bed::new(&text());
        bed.converges(2, "before").await;
        let uuid = bed.decided().vms[&vm("web")].uuid;
        let rack = &bed.hosts[&host("rack1")];
        assert!(rack.world().somebody_undefines(uuid));
        bed.write(&now);
        let calls = bed.fate.calls();
        for _ in 0..2 {
            let ran = bed.apply(&all()).await;
            assert_eq!(code(&ran, "vm web"), "transient");
            let hint = ran.why("vm web").unwrap().hint().unwrap();
            assert!(hint.contains("virsh define"), "{hint}");
            assert_eq!((ran.exit(), bed.fate.calls()), (Exit::Part, calls), "{}", ran.plan.text());
        }
        rack.world().domains.get_mut(&uuid).unwrap().persistent = true;
        bed.converges(2, "once it is defined").await;
    }
}

#[tokio::test]
async fn a_new_state_killed_at_its_first_card_goes_on_where_cards_know_later_runs() {
    let base = Bed::new(&Text::new(1, vec![VmText::new("web")]));
    for _ in 0..3 {
        base.converges(2, "before").await;
        assert_eq!(base.destroy(None).await.exit(), Exit::Done);
    }
    base.lose_state();
    for trick in [
        Trick::KillBeforeIntent,
        Trick::KillBefore,
        Trick::KillAfter,
        Trick::KillAndLoseOutcomes,
        Trick::LostRequest,
        Trick::LostReply,
    ] {
        let bed = base.fork();
        bed.fate.spoil(0, trick);
        assert_ne!(bed.apply(&all()).await.exit(), Exit::Done);
        bed.converges(2, &format!("{trick:?}")).await;
    }
}
