//! How images come to hosts, and what happens when they do not come as they should.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::time::Duration;

use acceptance::{
    bed::eventually,
    relay::Relay,
    web::{Page, Web},
};
use common::{
    lab,
    picture::{MIB, POOL, Picture, cached, through},
    small::{Gone, pool_files, says, volume_prefix},
};

#[test]
fn a_host_goes_on_with_what_it_has_fetched() {
    let lab = lab();
    let picture = Picture::of(&lab, 8);
    let web = Web::on("10.77.0.1").unwrap();
    let page = Page::of(picture.bytes.clone());
    web.put("/p", Page { cuts: vec![3 * MIB, MIB], ..page.clone() });
    let bed = picture.bed("imgfcut", &web.url("/p"));
    let _gone = Gone(&bed, "imgfcut");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    picture.is_there();
    let from: Vec<_> = web.asked().iter().map(|asked| asked.from).collect();
    assert_eq!(from, [None, Some(3 * MIB), Some(4 * MIB)]);
    assert_eq!(web.sent(), picture.bytes.len(), "each byte once, none of them through us");
    assert_eq!(cached(bed.path()), [""; 0]);
    // Fleets of tests that run at once have disks there, too.
    let digits = &picture.sha256[..32];
    let find = format!("$(grep -la {digits} {POOL}/{}*.root.*)", volume_prefix("imgfcut"));
    let info = format!("qemu-img info {find}");
    says(&lab.ssh("rack1", &info).unwrap(), &["compat: 1.1", digits]);
}

#[test]
fn progress_is_told_with_rate_and_time_left() {
    let lab = lab();
    let picture = Picture::of(&lab, 14);
    let web = Web::on("10.77.0.1").unwrap();
    web.put("/p", Page { pace: Some(2 * MIB), ..Page::of(picture.bytes.clone()) });
    let bed = picture.bed("imgfpace", &web.url("/p"));
    let _gone = Gone(&bed, "imgfpace");
    let said = bed.expect(0, &["apply", "--yes"]).unwrap();
    let line = said.stderr.lines().find(|line| line.contains(" left")).unwrap_or_default();
    let has = |words: &[&str]| words.iter().all(|word| line.contains(word));
    assert!(
        has(&["rack1: bring image blank  ", " % ", " MiB of 14.", "MiB/s, ", " s left"]),
        "{said}"
    );
}

#[test]
fn a_later_run_goes_on_with_what_a_host_has_fetched() {
    let lab = lab();
    let picture = Picture::of(&lab, 8);
    let web = Web::on("10.77.0.1").unwrap();
    let page = Page::of(picture.bytes.clone());
    // From the second on nothing comes any more, whoever asks.
    web.put("/p", Page { cuts: vec![5 * MIB, 0, 0, 0, 0, 0, 0, 0], ..page.clone() });
    let bed = picture.bed("imgflater", &web.url("/p"));
    let _gone = Gone(&bed, "imgflater");
    let said = bed.expect(1, &["apply", "--yes"]).unwrap();
    says(
        &said,
        &["image blank", "cannot fetch it by itself", "the connection ended after 0 bytes"],
    );
    assert_eq!(picture.staged(), 5 * MIB as u64);
    web.put("/p", page);
    let before = web.sent();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    picture.is_there();
    assert_eq!(web.asked().last().unwrap().from, Some(5 * MIB));
    assert_eq!(web.sent() - before, picture.bytes.len() - 5 * MIB);
}

#[test]
fn a_fetch_that_its_run_left_is_taken_over() {
    let lab = lab();
    let picture = Picture::of(&lab, 8);
    let web = Web::on("10.77.0.1").unwrap();
    web.put("/p", Page { pace: Some(MIB), ..Page::of(picture.bytes.clone()) });
    let bed = picture.bed("imgfleft", &web.url("/p"));
    let _gone = Gone(&bed, "imgfleft");
    bed.decide().unwrap();
    let apply = || bed.freehold(&["apply", "--yes"]);
    let begun = || Ok(picture.staged() > 0);
    assert!(apply().killed_when("a part came", begun).unwrap(), "it was at work");
    assert!(picture.staged() < picture.bytes.len() as u64, "the host is at it");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    picture.is_there();
    assert_eq!(web.asked().len(), 1, "the host's one fetch went on: {:?}", web.asked());
}

#[test]
fn a_server_without_parts_and_a_file_that_changed_are_fetched_anew() {
    let lab = lab();
    let picture = Picture::of(&lab, 8);
    let web = Web::on("10.77.0.1").unwrap();
    let page = Page { ranges: false, cuts: vec![3 * MIB], ..Page::of(picture.bytes.clone()) };
    web.put("/whole", page);
    let bed = picture.bed("imgfwhole", &web.url("/whole"));
    let gone = Gone(&bed, "imgfwhole");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    picture.is_there();
    let from: Vec<_> = web.asked().iter().map(|asked| asked.from).collect();
    assert_eq!(from, [None, Some(3 * MIB), None]);
    drop(gone);

    // Three MiB of another file, then the rest of this one.
    let picture = Picture::of(&lab, 8);
    let mut other = picture.bytes.clone();
    other[MIB..2 * MIB].fill(7);
    web.put("/new", Page { cuts: vec![3 * MIB, 0, 0, 0, 0], ..Page::of(other) });
    let bed = picture.bed("imgfnew", &web.url("/new"));
    let _gone = Gone(&bed, "imgfnew");
    bed.expect(1, &["apply", "--yes"]).unwrap();
    web.put("/new", Page::of(picture.bytes.clone()));
    bed.expect(0, &["apply", "--yes"]).unwrap();
    picture.is_there();
    let from: Vec<_> = web.asked().iter().rev().take(2).map(|asked| asked.from).collect();
    assert_eq!(from, [None, Some(3 * MIB)], "the rest, then all of it once");
}

#[test]
fn what_a_host_has_is_not_sent_again() {
    let lab = lab();
    let picture = Picture::of(&lab, 48);
    let size = picture.bytes.len() as u64;
    let relay = Relay::to("10.77.0.11:22").unwrap();
    // The connection is lost once: the same run goes on.
    let bed = through(picture.bed("imgfwire", "picture.qcow2"), &lab, &relay);
    let gone = Gone(&bed, "imgfwire");
    bed.decide().unwrap();
    relay.cut_after(24 * MIB as u64);
    // libvirt was asked over the same connection: what is left to do is for the next run.
    let said = bed.freehold(&["apply", "--yes"]).output().unwrap();
    assert!(matches!(said.status, 0 | 3), "{said}");
    says(&said, &["bring image blank: done"]);
    picture.is_there();
    // What was under way on the wire is lost.
    assert!(relay.sent() < size + 9 * MIB as u64, "{} of {size}", relay.sent());
    drop(gone);

    // The run is killed: the next one goes on.
    let picture = Picture::of(&lab, 48);
    let bed = through(picture.bed("imgfkill", "picture.qcow2"), &lab, &relay);
    let _gone = Gone(&bed, "imgfkill");
    bed.decide().unwrap();
    relay.pace(Some(8 * MIB as u64));
    let apply = || bed.freehold(&["apply", "--yes"]);
    let begun = || Ok(picture.staged() > 18 * MIB as u64);
    assert!(apply().killed_when("a part came", begun).unwrap(), "it was at work");
    relay.pace(None);
    let staged = picture.staged();
    assert!(staged < size, "{staged}");
    // What a lost machine leaves at the end is anything.
    let torn = format!("head -c 70000 /dev/zero >> {POOL}/.staging-*{}*", &picture.sha256[..32]);
    assert!(lab.ssh("rack1", &torn).unwrap().success());
    let before = relay.sent();
    bed.expect(0, &["apply", "--yes"]).unwrap();
    picture.is_there();
    let again = relay.sent() - before;
    // Of 16 MiB with one digest nothing is kept when their end is torn.
    assert!(again < size - staged + 19 * MIB as u64, "{again} of {size}, {staged} were there");
}

#[test]
fn this_machine_goes_on_with_what_it_has_downloaded() {
    let lab = lab();
    let picture = Picture::of(&lab, 8);
    // Where no rack gets.
    let web = Web::on("127.0.0.1").unwrap();
    let etag = Some("\"one\"".to_owned());
    let page = Page { etag: etag.clone(), ..Page::of(picture.bytes.clone()) };
    web.put("/p", Page { cuts: vec![2 * MIB, MIB, 0], ..page.clone() });
    let bed = picture.bed("imgfhere", &web.url("/p"));
    let _gone = Gone(&bed, "imgfhere");
    let said = bed.expect(1, &["apply", "--yes"]).unwrap();
    says(
        &said,
        &["image blank", "the connection ended after 3 MiB of 8.", "goes on where it ended"],
    );
    bed.expect(0, &["apply", "--yes"]).unwrap();
    picture.is_there();
    let asked: Vec<_> = web.asked().into_iter().map(|asked| (asked.from, asked.version)).collect();
    let (two, three) = (Some(2 * MIB), Some(3 * MIB));
    assert_eq!(asked, [(None, None), (two, etag.clone()), (three, etag.clone()), (three, etag)]);
    assert_eq!(web.sent(), picture.bytes.len(), "each byte once");
    assert_eq!(cached(bed.path()), [format!("image.sha256-{}.qcow2", &picture.sha256[..32])]);
}

#[test]
fn a_file_that_changed_meanwhile_is_downloaded_anew() {
    let lab = lab();
    let web = Web::on("127.0.0.1").unwrap();
    for (name, etags) in [("imgftag", ["\"old\"", "\"new\""]), ("imgfnotag", ["", ""])] {
        let picture = Picture::of(&lab, 8);
        let mut old = picture.bytes.clone();
        old[MIB..2 * MIB].fill(7);
        let [old_tag, tag] = etags.map(|tag| (!tag.is_empty()).then(|| tag.to_owned()));
        web.put("/p", Page { cuts: vec![3 * MIB, 0], etag: old_tag, ..Page::of(old) });
        let bed = picture.bed(name, &web.url("/p"));
        let _gone = Gone(&bed, name);
        bed.expect(1, &["apply", "--yes"]).unwrap();
        web.put("/p", Page { etag: tag, ..Page::of(picture.bytes.clone()) });
        let before = web.asked().len();
        bed.expect(0, &["apply", "--yes"]).unwrap();
        picture.is_there();
        let from: Vec<_> = web.asked()[before..].iter().map(|asked| asked.from).collect();
        let want =
            if etags[0].is_empty() { vec![Some(3 * MIB), None] } else { vec![Some(3 * MIB)] };
        assert_eq!(from, want, "{name}");
    }
}

#[test]
fn what_was_left_long_ago_is_swept_away_unless_somebody_works_on_it() {
    let lab = lab();
    let picture = Picture::of(&lab, 1);
    let at = |name: &str| format!("{POOL}/.staging-imgf-{name}");
    let (old, young, held) = (at("old"), at("young"), at("held"));
    let make = format!(
        "touch {young}; touch -d '8 days ago' {old} {held}; \
         (flock -n 9; sleep 30) 9<{held} >/dev/null 2>&1 &"
    );
    assert!(lab.ssh("rack1", &make).unwrap().success());
    let bed = picture.bed("imgfswept", "picture.qcow2");
    let _gone = Gone(&bed, "imgfswept");
    bed.expect(0, &["apply", "--yes"]).unwrap();
    let left = pool_files(&lab, "rack1", ".staging-imgf-");
    lab.ssh("rack1", &format!("rm -f {young} {held}")).unwrap();
    assert_eq!(left, [".staging-imgf-held", ".staging-imgf-young"]);
    eventually("the image", Duration::from_secs(1), || Ok(!picture.there().is_empty())).unwrap();
}
