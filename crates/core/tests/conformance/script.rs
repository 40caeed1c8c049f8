//! The script: what we and others say to a host, and in what order.

use std::time::Duration;

use freehold_core::model::{DomainSpec, Firmware, NetworkSpec, Ours, Size};
use uuid::Uuid;

use super::{
    cast::{disk, domain, mark, network, nic, uuid, volume},
    somebody::{Deed, by_hand},
    stage::Stage,
};

/// A guest without a system never obeys.
const AT_ONCE: Duration = Duration::ZERO;

/// Writes what an act of ours comes to, under its own words.
macro_rules! ours {
    ($stage:ident, $act:expr, $call:ident($($argument:expr),*)) => {{
        let result = $stage.host.$call($($argument),*).await;
        $stage.ours($act, result).await
    }};
}

macro_rules! theirs {
    ($stage:ident, $($deed:tt)*) => {
        $stage.theirs(&Deed::$($deed)*).await
    };
}

/// Plays the whole script and returns what was written down.
pub(crate) async fn play(mut stage: Stage) -> String {
    ours!(stage, "create pool", create_pool());
    ours!(stage, "create pool again", create_pool());
    networks(&mut stage).await;
    volumes(&mut stage).await;
    defining(&mut stage).await;
    running(&mut stage).await;
    changing(&mut stage).await;
    growing(&mut stage).await;
    marks(&mut stage).await;
    renaming(&mut stage).await;
    saving(&mut stage).await;
    snapshot(&mut stage).await;
    from_scratch(&mut stage).await;
    transient(&mut stage).await;
    lost_disk(&mut stage).await;
    uefi(&mut stage).await;
    removing(&mut stage).await;
    stage.finish()
}

fn web() -> DomainSpec {
    domain("conf-web")
}

fn stranger(ours: Ours) -> Ours {
    Ours { fleet: "dead0000000000000000000000000000".parse().unwrap(), ..ours }
}

async fn networks(stage: &mut Stage) {
    stage.title("A network is ours once it bears our mark");
    ours!(stage, "define conf-net", define_network(&network()));
    ours!(stage, "define conf-net again", define_network(&network()));
    let other = NetworkSpec { mark: mark("other"), ..network() };
    ours!(stage, "define conf-net with another mark", define_network(&other));
    let other = NetworkSpec { uuid: Uuid::from_u128(7), ..network() };
    ours!(stage, "define conf-net with another UUID", define_network(&other));
    let other = stranger(network().ours());
    ours!(stage, "remove conf-net for another fleet", remove_network(&other));
}

async fn volumes(stage: &mut Stage) {
    stage.title("Volumes are made once, and not taken from under others");
    ours!(stage, "create the base", create_volume(&volume("conf.base", 16)));
    ours!(stage, "create the base again", create_volume(&volume("conf.base", 16)));
    ours!(stage, "create the base larger", create_volume(&volume("conf.base", 32)));
    let root = "conf.conf-web.root.0";
    ours!(stage, "create a disk smaller than the base", create_volume(&volume(root, 8)));
    ours!(stage, "create a disk on it", create_volume(&volume(root, 32)));
    let mut lost = volume("conf.lost", 32);
    lost.backing = Some("conf.no-such".to_owned());
    ours!(stage, "create a disk on nothing", create_volume(&lost));
    ours!(stage, "write a seed", write_volume("conf.web.seed.1", &[7; 4096]));
    ours!(stage, "write it again", write_volume("conf.web.seed.1", &[8; 8192]));
    ours!(stage, "remove the base", remove_volume("conf.base"));
    ours!(stage, "rename the base", rename_volume("conf.base", "conf.trash"));
    ours!(stage, "rename a disk over the seed", rename_volume(root, "conf.web.seed.1"));
    ours!(stage, "rename a disk", rename_volume(root, "conf.trash"));
    ours!(stage, "and back", rename_volume("conf.trash", root));
    ours!(stage, "rename what is not there", rename_volume("conf.no-such", "conf.trash"));
    ours!(stage, "remove what is not there", remove_volume("conf.no-such"));
    ours!(stage, "create the disk again", create_volume(&volume(root, 32)));
}

async fn defining(stage: &mut Stage) {
    stage.title("A domain is defined once, under a name and a UUID that are free");
    ours!(stage, "define conf-web", define_domain(&web()));
    ours!(stage, "define conf-web again", define_domain(&web()));
    let other = DomainSpec { uuid: uuid("other"), ..web() };
    ours!(stage, "define conf-web with another UUID", define_domain(&other));
    let other = DomainSpec { mark: mark("other"), ..web() };
    ours!(stage, "define conf-web with another mark", define_domain(&other));
    let other = DomainSpec { name: "conf-other".into(), mark: mark("conf-other"), ..web() };
    ours!(stage, "define conf-other with its UUID", define_domain(&other));
    let other = stranger(web().ours());
    ours!(stage, "start conf-web for another fleet", start_domain(&other));
    ours!(stage, "undefine conf-web for another fleet", undefine_domain(&other));
    ours!(stage, "change conf-web for another fleet", update_domain(&other, &web()));
    let absent = Ours { uuid: uuid("absent"), ..web().ours() };
    ours!(stage, "start what is not there", start_domain(&absent));
    ours!(stage, "change what is not there", update_domain(&absent, &web()));
    ours!(stage, "stop what is not there", stop_domain(&absent, AT_ONCE));
    ours!(stage, "undefine what is not there", undefine_domain(&absent));
    ours!(stage, "rename its disk", rename_volume("conf.conf-web.root.0", "conf.trash"));
    ours!(stage, "autostart off", set_autostart(&web().ours(), false));
}

async fn running(stage: &mut Stage) {
    stage.title("A machine goes on as it is while its definition changes");
    ours!(stage, "start conf-web", start_domain(&web().ours()));
    ours!(stage, "start it again", start_domain(&web().ours()));
    let larger = DomainSpec { cpus: 2, memory: Size::from_mib(96), ..web() };
    ours!(stage, "change its CPUs and memory", update_domain(&web().ours(), &larger));
    ours!(stage, "change them again", update_domain(&web().ours(), &larger));
    ours!(stage, "undefine it", undefine_domain(&web().ours()));
    theirs!(stage, Suspends(uuid("conf-web")));
    ours!(stage, "start it while it is paused", start_domain(&web().ours()));
    ours!(stage, "stop it", stop_domain(&web().ours(), AT_ONCE));
    ours!(stage, "stop it again", stop_domain(&web().ours(), AT_ONCE));
    ours!(stage, "change it back", update_domain(&web().ours(), &web()));
}

async fn changing(stage: &mut Stage) {
    stage.title("What the spec manages changes, what others added stays");
    let stale = stage.as_seen(web().ours()).await;
    theirs!(stage, AddsDevices(uuid("conf-web")));
    let mut wanted = web();
    wanted.disks.push(disk("conf.data.0"));
    wanted.seed = Some("conf.web.seed.1".to_owned());
    wanted.nics.push(nic("conf-web", 1, "conf-net"));
    wanted.mark.protect = true;
    wanted.mark.keep = vec!["data".parse().unwrap()];
    stage.with_volume(&volume("conf.data.0", 16)).await;
    ours!(stage, "change it as it was seen before", update_domain(&stale, &wanted));
    ours!(stage, "start it as it was seen before", start_domain(&stale));
    let seen = stage.as_seen(web().ours()).await;
    ours!(stage, "add a disk, a seed and an interface", update_domain(&seen, &wanted));
    ours!(stage, "add them again, as it was seen before", update_domain(&seen, &wanted));
    ours!(stage, "remove the network it is on", remove_network(&network().ours()));
    ours!(stage, "start it", start_domain(&web().ours()));
    ours!(stage, "stop it", stop_domain(&web().ours(), AT_ONCE));
    ours!(stage, "write another seed", write_volume("conf.web.seed.2", &[9; 4096]));
    wanted.seed = Some("conf.web.seed.2".to_owned());
    wanted.nics.remove(0);
    wanted.nics[0] = nic("conf-web", 1, "br0");
    ours!(stage, "exchange the seed, move an interface", update_domain(&web().ours(), &wanted));
    ours!(stage, "remove the old seed", remove_volume("conf.web.seed.1"));
    ours!(stage, "take all of that away", update_domain(&web().ours(), &web()));
    theirs!(stage, FindsPassword(uuid("conf-web")));
    ours!(stage, "start it", start_domain(&web().ours()));
}

async fn growing(stage: &mut Stage) {
    stage.title("A disk grows and never shrinks, whether its machine runs or not");
    let root = "conf.conf-web.root.0";
    let web = web().ours();
    ours!(stage, "grow the disk", grow_volume(&web, root, Size::from_mib(48)));
    ours!(stage, "grow it again", grow_volume(&web, root, Size::from_mib(48)));
    ours!(stage, "make it smaller", grow_volume(&web, root, Size::from_mib(40)));
    ours!(stage, "stop it", stop_domain(&web, AT_ONCE));
    ours!(stage, "grow it while it is off", grow_volume(&web, root, Size::from_mib(64)));
    ours!(stage, "grow it again", grow_volume(&web, root, Size::from_mib(64)));
    ours!(stage, "make it smaller", grow_volume(&web, root, Size::from_mib(40)));
    ours!(stage, "grow what is not there", grow_volume(&web, "conf.no", Size::from_mib(64)));
}

async fn marks(stage: &mut Stage) {
    stage.title("A lost mark is put back, another's is not overwritten");
    let (id, ours) = (uuid("conf-web"), web().ours());
    theirs!(stage, DropsMark(id));
    ours!(stage, "start it without its mark", start_domain(&ours));
    ours!(stage, "change it without its mark", update_domain(&ours, &web()));
    ours!(stage, "mark it under another name", mark_domain(id, "conf-db", &mark("conf-db")));
    ours!(stage, "mark what is not there", mark_domain(uuid("no"), "no", &mark("no")));
    ours!(stage, "mark it", mark_domain(id, "conf-web", &mark("conf-web")));
    ours!(stage, "mark it as another", mark_domain(id, "conf-web", &mark("conf-db")));
    ours!(stage, "start it", start_domain(&ours));
    let mut second = mark("conf-web");
    second.incarnation = 2;
    second.protect = true;
    ours!(stage, "mark it anew while it runs", mark_domain(id, "conf-web", &second));
    ours!(stage, "stop it", stop_domain(&ours, AT_ONCE));
    ours!(stage, "mark it as before", mark_domain(id, "conf-web", &mark("conf-web")));
}

async fn renaming(stage: &mut Stage) {
    stage.title("A name changes while the machine is off, in two steps that can be repeated");
    let ours = web().ours();
    let www = DomainSpec { name: "conf-www".into(), mark: mark("conf-www"), ..web() };
    let id = uuid("conf-web");
    ours!(stage, "start it", start_domain(&ours));
    ours!(stage, "rename it while it runs", rename_domain(&ours, &www));
    ours!(stage, "stop it", stop_domain(&ours, AT_ONCE));
    let other = domain("conf-other");
    stage.with_volume(&volume("conf.conf-other.root.0", 32)).await;
    theirs!(stage, Defines(&other));
    let taken = DomainSpec { name: "conf-other".into(), mark: mark("conf-other"), ..web() };
    ours!(stage, "rename it to a name that is taken", rename_domain(&ours, &taken));
    theirs!(stage, Undefines(other.uuid));
    ours!(stage, "remove its disk", remove_volume("conf.conf-other.root.0"));
    ours!(stage, "rename it", rename_domain(&ours, &www));
    ours!(stage, "rename it again", rename_domain(&ours, &www));
    ours!(stage, "start it under its old name", start_domain(&ours));
    theirs!(stage, Renames(id, "conf-web"));
    ours!(stage, "finish a rename that was cut short", rename_domain(&www.ours(), &web()));
    ours!(stage, "finish it again", rename_domain(&www.ours(), &web()));
}

async fn saving(stage: &mut Stage) {
    stage.title("A saved run goes on as what it was");
    let (id, ours) = (uuid("conf-web"), web().ours());
    ours!(stage, "start it", start_domain(&ours));
    theirs!(stage, Saves(id));
    ours!(stage, "undefine it", undefine_domain(&ours));
    theirs!(stage, Undefines(id));
    let www = DomainSpec { name: "conf-www".into(), mark: mark("conf-www"), ..web() };
    ours!(stage, "rename it", rename_domain(&ours, &www));
    let larger = DomainSpec { memory: Size::from_mib(96), ..web() };
    ours!(stage, "change it", update_domain(&ours, &larger));
    ours!(stage, "start it", start_domain(&ours));
    ours!(stage, "stop it", stop_domain(&ours, AT_ONCE));
    ours!(stage, "start it", start_domain(&ours));
    ours!(stage, "stop it", stop_domain(&ours, AT_ONCE));
    ours!(stage, "change it back", update_domain(&ours, &web()));
}

async fn snapshot(stage: &mut Stage) {
    stage.title("What somebody wrote to an overlay is not lost");
    let (id, ours, root) = (uuid("conf-web"), web().ours(), "conf.conf-web.root.0");
    let kept = stage.host.domain_xml(id).await.unwrap().unwrap();
    ours!(stage, "start it", start_domain(&ours));
    theirs!(stage, Snapshots(id, root));
    let larger = DomainSpec { cpus: 2, ..web() };
    ours!(stage, "change it", update_domain(&ours, &larger));
    ours!(stage, "grow its disk", grow_volume(&ours, root, Size::from_mib(96)));
    ours!(stage, "stop it", stop_domain(&ours, AT_ONCE));
    ours!(stage, "change it while it is off", update_domain(&ours, &larger));
    ours!(stage, "grow it while it is off", grow_volume(&ours, root, Size::from_mib(96)));
    ours!(stage, "rename its disk", rename_volume(root, "conf.trash"));
    ours!(stage, "rename the overlay", rename_volume("conf.conf-web.root.s1", "conf.trash"));
    ours!(stage, "undefine it", undefine_domain(&ours));
    theirs!(stage, Undefines(id));
    theirs!(stage, ForgetsSnapshots(id));
    ours!(stage, "undefine it without the snapshot", undefine_domain(&ours));
    theirs!(stage, DeletesVolume("conf.conf-web.root.s1"));
    stage.title("What was kept of a domain is defined again");
    let other = domain("conf-other").ours();
    ours!(stage, "restore another from it", restore_domain(&other, &kept));
    theirs!(stage, Defines(&DomainSpec { uuid: uuid("other"), ..web() }));
    ours!(stage, "restore it under a name that is taken", restore_domain(&ours, &kept));
    theirs!(stage, Undefines(uuid("other")));
    ours!(stage, "restore it", restore_domain(&ours, &kept));
    theirs!(stage, FindsPassword(id));
    ours!(stage, "restore it again", restore_domain(&ours, &kept));
    ours!(stage, "restore it for another fleet", restore_domain(&stranger(ours.clone()), &kept));
}

async fn from_scratch(stage: &mut Stage) {
    stage.title("Who defines a domain from scratch drops what he does not repeat");
    let (id, ours) = (uuid("conf-web"), web().ours());
    theirs!(stage, Defines(&by_hand("conf-web")));
    ours!(stage, "start it", start_domain(&ours));
    ours!(stage, "undefine it", undefine_domain(&ours));
    ours!(stage, "define it", define_domain(&web()));
    theirs!(stage, Defines(&DomainSpec { name: "conf-www".into(), ..by_hand("conf-web") }));
    ours!(stage, "mark it", mark_domain(id, "conf-web", &mark("conf-web")));
    ours!(stage, "change it back", update_domain(&ours, &web()));
}

async fn transient(stage: &mut Stage) {
    stage.title("A running domain that somebody undefines is gone when it goes off");
    let (id, ours) = (uuid("conf-web"), web().ours());
    ours!(stage, "start it", start_domain(&ours));
    theirs!(stage, Undefines(id));
    ours!(stage, "undefine it", undefine_domain(&ours));
    let larger = DomainSpec { cpus: 2, ..web() };
    ours!(stage, "change it", update_domain(&ours, &larger));
    ours!(stage, "autostart on", set_autostart(&ours, true));
    ours!(stage, "define it", define_domain(&web()));
    theirs!(stage, Undefines(id));
    ours!(stage, "stop it", stop_domain(&ours, AT_ONCE));
    ours!(stage, "define it", define_domain(&web()));
}

async fn lost_disk(stage: &mut Stage) {
    stage.title("libvirt protects no disk from somebody");
    let (id, ours, root) = (uuid("conf-web"), web().ours(), "conf.conf-web.root.0");
    theirs!(stage, Starts(id));
    theirs!(stage, DeletesVolume(root));
    theirs!(stage, Destroys(id));
    theirs!(stage, Destroys(id));
    ours!(stage, "start it without its disk", start_domain(&ours));
    ours!(stage, "make the disk anew", create_volume(&volume(root, 32)));
    ours!(stage, "start it with another", start_domain(&ours));
    ours!(stage, "stop it", stop_domain(&ours, AT_ONCE));
}

async fn uefi(stage: &mut Stage) {
    stage.title("What firmware remembers is kept");
    let nvram = "conf.db.nvram";
    let db = DomainSpec {
        firmware: Firmware::Uefi,
        nvram: Some(nvram.to_owned()),
        autostart: false,
        disks: vec![disk("conf.data.0")],
        ..domain("conf-db")
    };
    ours!(stage, "define conf-db", define_domain(&db));
    ours!(stage, "start it", start_domain(&db.ours()));
    ours!(stage, "rename its variables", rename_volume(nvram, "conf.trash.nvram"));
    ours!(stage, "stop it", stop_domain(&db.ours(), AT_ONCE));
    theirs!(stage, Undefines(db.uuid));
    let renamed = DomainSpec { name: "conf-dbs".into(), mark: mark("conf-dbs"), ..db.clone() };
    ours!(stage, "rename it", rename_domain(&db.ours(), &renamed));
    ours!(stage, "start it", start_domain(&renamed.ours()));
    ours!(stage, "stop it", stop_domain(&renamed.ours(), AT_ONCE));
    ours!(stage, "undefine it", undefine_domain(&renamed.ours()));
    ours!(stage, "undefine it again", undefine_domain(&renamed.ours()));
    ours!(stage, "remove its variables", remove_volume(nvram));
}

async fn removing(stage: &mut Stage) {
    stage.title("Everything goes");
    ours!(stage, "undefine conf-web", undefine_domain(&web().ours()));
    let volumes = ["conf.conf-web.root.0", "conf.data.0", "conf.web.seed.2", "conf.base"];
    for name in volumes {
        ours!(stage, &format!("remove {name}"), remove_volume(name));
    }
    ours!(stage, "remove conf-net", remove_network(&network().ours()));
    ours!(stage, "remove conf-net again", remove_network(&network().ours()));
}
