//! Images that do not come as they should: each fault has its own words, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _};

use acceptance::{
    bed::{Bed, Place},
    sshd::Sshd,
    web::{Length, Page, Web},
};
use common::{
    lab,
    picture::{MIB, Picture, by, cached, programs_without},
    small::{Gone, id, pool_files, says},
};

/// Where a host gets by itself, and where only this machine gets.
const PLACES: [&str; 2] = ["10.77.0.1", "127.0.0.1"];

/// Applies with this page in both places; it must be refused with these words, and no image is made.
fn refused(name: &str, page: impl Fn(&Picture) -> Page, words: &[&str]) {
    let lab = lab();
    for place in PLACES {
        let (picture, web) = (Picture::of(&lab, 4), Web::on(place).unwrap());
        web.put("/p", page(&picture));
        let bed = picture.bed(name, &web.url("/p"));
        let said = bed.expect(1, &["apply", "--yes"]).unwrap();
        says(&said, words);
        says(&said, &["image blank", "hint: "]);
        let files = pool_files(&lab, "rack1", &picture.sha256[..32]);
        assert!(files.iter().all(|file| file.starts_with(".staging-")), "{name}: {files:?}");
        // What was put right comes.
        web.put("/p", Page::of(picture.bytes.clone()));
        let _gone = Gone(&bed, name);
        bed.expect(0, &["apply", "--yes"]).unwrap();
        picture.is_there();
    }
}

#[test]
fn a_download_that_ends_early_says_how_much_came() {
    let cut = |picture: &Picture| Page {
        ranges: false,
        cuts: vec![2 * MIB; 20],
        ..Page::of(picture.bytes.clone())
    };
    refused(
        "imgfearly",
        cut,
        &["the connection ended after 2 MiB of 4.", "goes on where it ended"],
    );
}

#[test]
fn a_length_that_is_too_long_is_no_matter_where_the_digest_is_right() {
    let lab = lab();
    for place in PLACES {
        let (picture, web) = (Picture::of(&lab, 4), Web::on(place).unwrap());
        let length = Length::Lie(picture.bytes.len() as u64 + 1000);
        web.put("/p", Page { ranges: false, length, ..Page::of(picture.bytes.clone()) });
        let bed = picture.bed("imgflong", &web.url("/p"));
        let _gone = Gone(&bed, "imgflong");
        bed.expect(0, &["apply", "--yes"]).unwrap();
        picture.is_there();
    }
}

#[test]
fn a_length_that_is_too_short_gives_another_digest() {
    let short = |picture: &Picture| Page {
        length: Length::Lie(3 * MIB as u64),
        ranges: false,
        ..Page::of(picture.bytes.clone())
    };
    let lab = lab();
    let (picture, web) = (Picture::of(&lab, 4), Web::on("127.0.0.1").unwrap());
    web.put("/p", short(&picture));
    let bed = picture.bed("imgfshort", &web.url("/p"));
    let said = bed.expect(1, &["apply", "--yes"]).unwrap();
    says(&said, &["3 MiB long, hashes to", &picture.sha256, "came less than all of it"]);
    assert_eq!(cached(bed.path()), [""; 0]);
    let web = Web::on("10.77.0.1").unwrap();
    web.put("/p", short(&picture));
    let bed = picture.bed("imgfshort", &web.url("/p"));
    says(&bed.expect(1, &["apply", "--yes"]).unwrap(), &["its checksum is", &picture.sha256]);
    assert_eq!(pool_files(&lab, "rack1", &picture.sha256[..32]), [""; 0]);
}

#[test]
fn a_length_that_is_not_told_is_fine_as_long_as_all_comes() {
    let lab = lab();
    for place in PLACES {
        let (picture, web) = (Picture::of(&lab, 4), Web::on(place).unwrap());
        let page = Page { length: Length::Absent, ..Page::of(picture.bytes.clone()) };
        web.put("/p", Page { cuts: vec![MIB], ranges: false, ..page.clone() });
        let bed = picture.bed("imgfnolen", &web.url("/p"));
        says(&bed.expect(1, &["apply", "--yes"]).unwrap(), &["checksum", &picture.sha256]);
        assert_eq!(pool_files(&lab, "rack1", &picture.sha256[..32]), [""; 0]);
        web.put("/p", page);
        let _gone = Gone(&bed, "imgfnolen");
        bed.expect(0, &["apply", "--yes"]).unwrap();
        picture.is_there();
    }
}

#[test]
fn another_file_is_refused_with_both_digests() {
    let lab = lab();
    for (place, words) in [("10.77.0.1", "its checksum is"), ("127.0.0.1", "hashes to")] {
        let (picture, other) = (Picture::of(&lab, 4), Picture::of(&lab, 4));
        let web = Web::on(place).unwrap();
        web.put("/p", Page::of(other.bytes.clone()));
        let bed = picture.bed("imgfother", &web.url("/p"));
        let said = bed.expect(1, &["apply", "--yes"]).unwrap();
        says(&said, &["image blank", words, &picture.sha256, &other.sha256, "hint: "]);
        assert_eq!(web.asked().len(), 1, "one whole try tells");
        assert_eq!(pool_files(&lab, "rack1", &picture.sha256[..32]), [""; 0]);
        assert_eq!(cached(bed.path()), [""; 0]);
    }
}

#[test]
fn redirects_lead_to_the_web_only_and_not_for_ever() {
    let away = |_: &Picture| Page::redirect("file:///etc/passwd");
    refused("imgffile", away, &["leads to file:///etc/passwd", "only http and https"]);
    let round = |_: &Picture| Page::redirect("/p");
    refused("imgfround", round, &["from one address to the next", "a login or a cookie"]);
    let lab = lab();
    let (picture, web) = (Picture::of(&lab, 4), Web::on("10.77.0.1").unwrap());
    web.put("/p", Page::redirect("/q"));
    web.put("/q", Page::of(picture.bytes.clone()));
    let bed = picture.bed("imgfredir", &web.url("/p"));
    let _gone = Gone(&bed, "imgfredir");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    picture.is_there();
}

#[test]
fn wget_goes_on_and_follows_as_curl_does() {
    let lab = lab();
    let (_bin, path) = programs_without(&lab.rack1(), &["curl", "openssl"]);
    let sshd = Sshd::on(&lab, &lab.rack1(), &format!("SetEnv PATH={path}")).unwrap();
    let (picture, web) = (Picture::of(&lab, 4), Web::on("10.77.0.1").unwrap());
    web.put("/p", Page { cuts: vec![MIB, MIB, MIB], ..Page::of(picture.bytes.clone()) });
    let bed = by(picture.bed("imgfwget", &web.url("/p")), &lab, &sshd.config("rack1").unwrap());
    let _gone = Gone(&bed, "imgfwget");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    picture.is_there();
    assert_eq!(web.sent(), picture.bytes.len(), "each byte once: {:?}", web.asked());
    assert_eq!(cached(bed.path()), [""; 0]);
    let (other, nowhere) = (Picture::of(&lab, 4), Web::on("10.77.0.1").unwrap());
    nowhere.put("/p", Page::redirect("file:///etc/passwd"));
    let text = bed.read("fleet.hcl").unwrap();
    let text =
        text.replace(&picture.sha256, &other.sha256).replace(&web.url("/p"), &nowhere.url("/p"));
    let odd = other.bed("imgfwget2", "picture.qcow2");
    let text = text.replace(&id("imgfwget"), &id("imgfwget2"));
    odd.write("fleet.hcl", &text.replace("imgfwget", "imgfwget2")).unwrap();
    let odd = by(odd, &lab, &sshd.config("rack1").unwrap());
    says(&odd.expect(1, &["apply", "--yes"]).unwrap(), &["leads to file:///etc/passwd"]);
    assert_eq!(pool_files(&lab, "rack1", &other.sha256[..32]), [""; 0]);
}

#[test]
fn an_answer_that_is_no_file_is_named() {
    let gone = |_: &Picture| Page::status("404 Not Found");
    refused("imgf404", gone, &["404 Not Found", "is the address right?"]);
    let down = |_: &Picture| Page::status("500 Internal Server Error");
    refused("imgf500", down, &["500 Internal Server Error", "try again later"]);
}

#[test]
fn a_full_disk_of_a_host_is_an_error_and_gets_its_room_back() {
    let lab = lab();
    let sshd = Sshd::with_pool_of(&lab, &lab.rack1(), "3m").unwrap();
    let picture = Picture::of(&lab, 8);
    let web = Web::on("10.77.0.1").unwrap();
    web.put("/p", Page::of(picture.bytes.clone()));
    // It says no length, so that the host learns it the hard way.
    web.put("/q", Page { length: Length::Absent, ..Page::of(picture.bytes.clone()) });
    for source in ["picture.qcow2", &web.url("/p"), &web.url("/q")] {
        let bed = by(picture.bed("imgffull", source), &lab, &sshd.config("rack1").unwrap());
        let said = bed.freehold(&["apply", "--yes"]);
        bed.decide().unwrap();
        let said = said.output().unwrap();
        assert_eq!(said.status, 3, "{said}");
        says(&said, &["image blank", "the pool's file system", "hint: make room"]);
        let left =
            format!("find /proc/{}/root/var/lib/libvirt/freehold -name '.staging-*'", sshd.id());
        let left = acceptance::lab::command::Run::new("sh").args(["-c", &left]).ok().unwrap();
        assert_eq!(left.text(), "", "{source}");
    }
}

#[test]
fn a_full_disk_here_is_an_error_and_gets_its_room_back() {
    let lab = lab();
    let picture = Picture::of(&lab, 8);
    let web = Web::on("127.0.0.1").unwrap();
    web.put("/p", Page::of(picture.bytes.clone()));
    let bed = picture.bed("imgfcache", &web.url("/p"));
    bed.decide().unwrap();
    let (cache, script) = (bed.path().join(".freehold/cache"), bed.path().join("small"));
    fs::create_dir(&cache).unwrap();
    let left = bed.path().join("left");
    let own = format!(
        "#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs -o size=3m none {0}; \"$0\" \"$@\"; code=$?; \
         ls -A {0} >{1}; exit $code' {2} \"$@\"\n",
        cache.display(),
        left.display(),
        acceptance::bed::binary().display()
    );
    fs::write(&script, own).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let path = bed.path().to_owned();
    let tight = Bed::at(&lab, Place::Folder(path)).with_binary(script);
    let said = tight.freehold(&["apply", "--yes"]).output().unwrap();
    assert_eq!(said.status, 1, "{said}");
    says(&said, &["cannot write", "No space left on device", "make room on this machine"]);
    assert_eq!(fs::read_to_string(left).unwrap(), "", "nothing is left of it");
}
