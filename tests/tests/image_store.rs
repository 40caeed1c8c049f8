//! The images of hosts: brought ahead of time, once each, and removed when nobody needs them.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{
    fs,
    sync::{PoisonError, RwLock, RwLockReadGuard},
    thread,
};

use acceptance::{
    bed::Bed,
    lab::Lab,
    web::{Page, Web},
};
use common::{
    lab,
    picture::{MIB, POOL, Picture},
    small::{Gone, RACK1, RACK2, fleet, pool_files, says},
};

/// Held by tests that remove for good; alone by one that makes the shared pool unreadable meanwhile.
static PRUNES: RwLock<()> = RwLock::new(());

fn prunes() -> RwLockReadGuard<'static, ()> {
    PRUNES.read().unwrap_or_else(PoisonError::into_inner)
}

/// Takes away what a test made on rack1 past freehold, however the test ends.
struct Undone<'a>(&'a Lab, String);

impl Drop for Undone<'_> {
    fn drop(&mut self) {
        drop(self.0.ssh("rack1", &self.1));
    }
}

/// A fleet with these image blocks and no VM, on both racks.
fn bare(lab: &Lab, name: &str, blocks: &str) -> Bed {
    Bed::new(lab, &fleet(name, &(blocks.to_owned() + RACK1 + RACK2))).unwrap()
}

fn renamed(block: &str, name: &str) -> String {
    block.replace("\"blank\"", &format!("\"{name}\""))
}

fn on(lab: &Lab, rack: &str, picture: &Picture) -> Vec<String> {
    pool_files(lab, rack, &picture.sha256[..32])
}

fn ok(lab: &Lab, command: &str) {
    let output = lab.ssh("rack1", command).unwrap();
    assert!(output.success(), "{command}: {output}");
}

#[test]
fn images_are_brought_ahead_of_time_once_to_each_host() {
    let _prunes = prunes();
    let (lab, web) = (lab(), Web::on("10.77.0.1").unwrap());
    let picture = Picture::of(&lab, 4);
    web.put("/p", Page::of(picture.bytes.clone()));
    let block = picture.block(&web.url("/p"), "");
    // Two names of one file.
    let bed = bare(&lab, "imgfpull", &(renamed(&block, "one") + &renamed(&block, "two")));
    says(
        &bed.expect(1, &["image", "pull", "three"]).unwrap(),
        &["no image is named three", "one, two"],
    );
    bed.expect(0, &["image", "pull", "two", "--host", "rack2"]).unwrap();
    let file = format!("image.sha256-{}.qcow2", &picture.sha256[..32]);
    assert_eq!(
        (on(&lab, "rack1", &picture), on(&lab, "rack2", &picture)),
        (vec![], vec![file.clone()])
    );
    let said = bed.expect(0, &["image", "pull"]).unwrap();
    says(&said, &["+ image one"]);
    picture.is_there();
    assert_eq!(web.sent(), 2 * picture.bytes.len(), "once for each host");
    says(&bed.expect(0, &["image", "pull"]).unwrap(), &["nothing to bring"]);
    says(&bed.expect(0, &["image", "list"]).unwrap(), &["one, two", "nothing", &file]);
    let said = bed.expect(0, &["image", "list", "--json"]).unwrap();
    let ours: Vec<serde_json::Value> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["file"] == file.as_str())
        .collect();
    assert_eq!(
        (ours.len(), &ours[0]["names"][1], &ours[0]["ours"]),
        (2, &"two".into(), &true.into())
    );
    // What is declared stays.
    says(&bed.expect(0, &["image", "prune", "--yes"]).unwrap(), &["nothing to remove"]);
    picture.is_there();
    bed.write("fleet.hcl", &fleet("imgfpull", &(RACK1.to_owned() + RACK2))).unwrap();
    let said = bed.expect(0, &["image", "prune", "--dry-run"]).unwrap();
    says(&said, &["host rack1", "host rack2", &file, "nobody needs it"]);
    picture.is_there();
    says(&bed.expect(5, &["image", "prune"]).unwrap(), &["nobody is there to ask", "--yes"]);
    bed.expect(0, &["image", "prune", "--yes", "--host", "rack1"]).unwrap();
    assert_eq!((on(&lab, "rack1", &picture), on(&lab, "rack2", &picture)), (vec![], vec![file]));
    bed.expect(0, &["image", "prune", "--yes"]).unwrap();
    assert_eq!(on(&lab, "rack2", &picture), [""; 0]);
    let card = lab.ssh("rack1", &format!("cat {POOL}/freehold-host.json")).unwrap();
    assert!(!card.stdout.contains(&picture.sha256[..32]), "{card}");
}

#[test]
fn two_runs_at_once_bring_one_file_and_neither_removes_the_others() {
    let _prunes = prunes();
    let (lab, web) = (lab(), Web::on("10.77.0.1").unwrap());
    let picture = Picture::of(&lab, 6);
    web.put("/p", Page { pace: Some(2 * MIB), ..Page::of(picture.bytes.clone()) });
    let block = picture.block(&web.url("/p"), "");
    let beds = ["imgftwo1", "imgftwo2"].map(|name| bare(&lab, name, &block));
    thread::scope(|scope| {
        let runs = beds.each_ref().map(|bed| {
            scope.spawn(move || {
                bed.freehold(&["image", "pull", "--host", "rack1"]).output().unwrap()
            })
        });
        for run in runs {
            let said = run.join().unwrap();
            assert!(said.success(), "{said}");
        }
    });
    picture.is_there();
    assert_eq!(web.asked().len(), 1, "{:?}", web.asked());
    for (bed, name) in beds.iter().zip(["imgftwo1", "imgftwo2"]) {
        bed.write("fleet.hcl", &fleet(name, RACK1)).unwrap();
    }
    // The first takes it off its list, the second removes it.
    let said = beds[0].expect(0, &["image", "prune", "--yes"]).unwrap();
    says(&said, &["stays, another fleet brought it too"]);
    picture.is_there();
    says(&beds[1].expect(0, &["image", "prune", "--yes"]).unwrap(), &["nobody needs it"]);
    assert_eq!(on(&lab, "rack1", &picture), [""; 0]);
}

#[test]
fn an_old_image_goes_only_when_nothing_stands_on_it() {
    let _prunes = prunes();
    let lab = lab();
    let (old, new) = (Picture::of(&lab, 2), Picture::of(&lab, 2));
    let bed = old.bed("imgfbump", "picture.qcow2");
    let gone = Gone(&bed, "imgfbump");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    fs::write(bed.path().join("picture.qcow2"), &new.bytes).unwrap();
    bed.edit(&old.sha256, &new.sha256).unwrap();
    let keeps = |why: &str| {
        let said = bed.freehold(&["image", "prune", "--yes"]).output().unwrap();
        assert_eq!(on(&lab, "rack1", &old).len(), 1, "{why}: {said}");
        said
    };
    says(&keeps("a VM's disk stands on it"), &["nothing to remove"]);
    says(&bed.expect(0, &["plan"]).unwrap(), &["imgfbump", "image"]);
    bed.expect(0, &["apply", "--yes", "--allow", "rebuild", "--allow", "data-loss"]).unwrap();
    new.is_there();
    says(&keeps("its old disk lies in the trash"), &["nothing to remove"]);
    drop(gone);
    // Only this fleet's: others test here, too.
    ok(&lab, &format!("rm -f {POOL}/trash.*.{}*", common::small::volume_prefix("imgfbump")));
    says(&bed.expect(0, &["image", "prune", "--yes"]).unwrap(), &["nobody needs it"]);
    assert_eq!(on(&lab, "rack1", &old), [""; 0]);
    new.is_there();
}

/// An image on rack1 that its fleet does not declare any more.
fn unneeded(lab: &Lab, name: &str) -> (Picture, Bed) {
    let picture = Picture::of(lab, 2);
    let bed = Bed::new(lab, &fleet(name, &(picture.block("picture.qcow2", "") + RACK1))).unwrap();
    fs::write(bed.path().join("picture.qcow2"), &picture.bytes).unwrap();
    bed.expect(0, &["image", "pull"]).unwrap();
    picture.is_there();
    bed.write("fleet.hcl", &fleet(name, RACK1)).unwrap();
    (picture, bed)
}

/// It is not removed, for this reason.
fn stays(bed: &Bed, picture: &Picture, why: &[&str]) {
    let said = bed.freehold(&["image", "prune", "--yes"]).output().unwrap();
    picture.is_there();
    says(&said, why);
    assert_eq!(said.status, 3, "{said}");
}

fn goes(lab: &Lab, bed: &Bed, picture: &Picture) {
    says(&bed.expect(0, &["image", "prune", "--yes"]).unwrap(), &["nobody needs it"]);
    assert_eq!(on(lab, "rack1", picture), [""; 0]);
}

/// Makes an overlay on an image in rack1's pool.
fn over(picture: &Picture, overlay: &str) -> String {
    let image = format!("{POOL}/image.sha256-{}.qcow2", &picture.sha256[..32]);
    format!("qemu-img create -q -f qcow2 -F qcow2 -b {image} {overlay}")
}

#[test]
fn an_image_under_a_domains_disk_outside_of_the_pool_stays() {
    let (lab, _prunes) = (lab(), prunes());
    let (picture, bed) = unneeded(&lab, "imgfown");
    let elsewhere = "/var/lib/libvirt/images/imgf-over.qcow2";
    let undo = "virsh -c qemu:///system undefine imgf-foreign; rm -f /tmp/imgf-link /tmp/imgf.xml";
    let undone = Undone(&lab, format!("{undo} {elsewhere}"));
    ok(&lab, &over(&picture, elsewhere));
    // Two links away.
    ok(&lab, &format!("ln -sf {elsewhere} /tmp/imgf-link"));
    let xml = "<domain type=\"qemu\"><name>imgf-foreign</name><memory>16384</memory><os><type>hvm</type>\
               </os><devices><disk type=\"file\"><driver name=\"qemu\" type=\"qcow2\"/>\
               <source file=\"/tmp/imgf-link\"/><target dev=\"vda\"/></disk></devices></domain>";
    let define =
        format!("printf %s '{xml}' >/tmp/imgf.xml; virsh -c qemu:///system define /tmp/imgf.xml");
    ok(&lab, &define);
    stays(&bed, &picture, &["domain imgf-foreign uses it"]);
    drop(undone);
    goes(&lab, &bed, &picture);
}

#[test]
fn an_image_under_a_disk_of_another_pool_stays_though_no_domain_names_it() {
    let (lab, _prunes) = (lab(), prunes());
    let (picture, bed) = unneeded(&lab, "imgfelse");
    let (folder, virsh) = ("/var/lib/libvirt/imgf-pool", "virsh -q -c qemu:///system");
    let undo = format!("{virsh} pool-destroy imgf-pool; rm -rf {folder}");
    let undone = Undone(&lab, undo);
    ok(
        &lab,
        &format!("mkdir -p {folder} && {virsh} pool-create-as imgf-pool dir --target {folder}"),
    );
    // libvirt has not read the pool since.
    ok(&lab, &over(&picture, &format!("{folder}/over.qcow2")));
    stays(&bed, &picture, &["over.qcow2 of pool imgf-pool uses it"]);
    ok(&lab, &format!("{virsh} pool-refresh imgf-pool"));
    stays(&bed, &picture, &["over.qcow2 of pool imgf-pool uses it"]);
    drop(undone);
    goes(&lab, &bed, &picture);
}

#[test]
fn a_disk_that_cannot_be_read_keeps_every_image() {
    let lab = lab();
    let (picture, bed) = unneeded(&lab, "imgfdark");
    // In our pool a disk whose header says nothing that can be read.
    let dark = format!("{POOL}/imgf-dark");
    let make = format!(
        "qemu-img create -q -f qcow2 -F qcow2 -u -b /nnnnnnnn {dark} 1M; \
         at=$(od -An -j8 -N8 -tu1 {dark} | awk '{{print $7*256+$8}}'); \
         printf '\\377\\377' | dd of={dark} bs=1 seek=$at conv=notrunc status=none"
    );
    {
        let _alone = PRUNES.write().unwrap_or_else(PoisonError::into_inner);
        let _undone = Undone(&lab, format!("rm -f {dark}"));
        ok(&lab, &make);
        stays(&bed, &picture, &["which cannot be read", "hint: "]);
    }
    let _prunes = prunes();
    goes(&lab, &bed, &picture);
}
