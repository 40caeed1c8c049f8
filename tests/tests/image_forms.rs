//! Images that are published packed, or raw: what a guest sees is the same, whoever unpacks them.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{fs, path::Path};

use acceptance::{
    bed::Bed,
    lab::{Lab, command::Run},
    sshd::Sshd,
    web::{Page, Web},
};
use common::{
    lab,
    picture::{MIB, POOL, Picture, by, cached, programs_without, random},
    small::{Gone, pool_files, says},
};

/// A disk of 32 MiB: a little content, a hole, a tail that fills no cluster.
fn disk() -> Vec<u8> {
    let mut bytes = random(MIB);
    bytes.resize(32 * MIB, 0);
    bytes.extend(random(1536));
    bytes
}

/// The file as it is published: raw or qcow2, packed by this program.
fn published(folder: &Path, disk: &[u8], format: &str, tool: Option<&str>) -> Vec<u8> {
    let (raw, file) = (folder.join("disk"), folder.join("file"));
    fs::write(&raw, disk).unwrap();
    let convert = Run::new("qemu-img").args(["convert", "-f", "raw", "-O", format]);
    convert.arg(&raw).arg(&file).ok().unwrap();
    let Some(tool) = tool else { return fs::read(&file).unwrap() };
    let packed = folder.join("packed");
    let line = format!("{tool} -c < {} > {}", file.display(), packed.display());
    Run::new("sh").args(["-c", &line]).ok().unwrap();
    fs::read(&packed).unwrap()
}

/// What a guest would see of the only image of this digest in rack1's pool, and that it is qcow2 with holes.
fn seen(lab: &Lab, picture: &Picture, infix: &str) -> Vec<u8> {
    let name = format!("image.sha256-{}.{infix}qcow2", &picture.sha256[..32]);
    assert_eq!(pool_files(lab, "rack1", &picture.sha256[..32]), [name.as_str()]);
    let path = format!("{POOL}/{name}");
    let info = lab.ssh("rack1", &format!("qemu-img info {path}; du -m {path}")).unwrap();
    assert!(info.stdout.contains("file format: qcow2"), "{info}");
    assert!(info.stdout.contains("compat: 1.1") && !info.stdout.contains("backing"), "{info}");
    let mib: u64 = info.text().lines().last().unwrap().split('\t').next().unwrap().parse().unwrap();
    assert!(mib < 4, "the hole is a hole: {info}");
    let check = lab.ssh("rack1", &format!("qemu-img check {path}")).unwrap();
    assert!(check.success(), "{check}");
    // Two tests may look at once.
    let raw = format!("/tmp/imgf-{}", &picture.sha256[..32]);
    let digest = format!("qemu-img convert -O raw {path} {raw} && sha256sum < {raw}; rm -f {raw}");
    let said = lab.ssh("rack1", &digest).unwrap();
    said.text().split_whitespace().next().unwrap().as_bytes().to_vec()
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    let said = Run::new("sha256sum").input(bytes).ok().unwrap();
    said.text().split_whitespace().next().unwrap().as_bytes().to_vec()
}

/// Endings, tools, and what the name in the pool says.
const FORMS: [(&str, &str, Option<&str>, &str); 6] = [
    (".raw", "raw", None, "raw."),
    (".raw.xz", "raw", Some("xz"), "xz.raw."),
    (".raw.zst", "raw", Some("zstd"), "zstd.raw."),
    (".qcow2.gz", "qcow2", Some("gzip"), "gzip."),
    (".qcow2.xz", "qcow2", Some("xz"), "xz."),
    (".raw.bz2", "raw", Some("bzip2"), "bzip2.raw."),
];

#[test]
fn a_host_with_tools_unpacks_what_it_fetched_by_itself() {
    let (lab, web) = (lab(), Web::on("10.77.0.1").unwrap());
    for (ending, format, tool, infix) in FORMS {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk();
        let picture = Picture::with(&lab, published(folder.path(), &disk, format, tool));
        let path = format!("/image{ending}");
        web.put(&path, Page::of(picture.bytes.clone()));
        let bed = picture.bed("imgfform", &web.url(&path));
        let _gone = Gone(&bed, "imgfform");
        bed.expect(0, &["apply", "--yes"]).unwrap();
        assert_eq!(seen(&lab, &picture, infix), digest(&disk), "{ending}");
        assert_eq!(cached(bed.path()), [""; 0], "nothing of it came here");
        says(&bed.expect(0, &["plan"]).unwrap(), &["nothing to do: 1 unchanged"]);
    }
}

#[test]
fn for_a_host_without_tools_it_is_unpacked_here() {
    let lab = lab();
    let missing = ["xz", "zstd", "gzip", "bzip2", "qemu-img"];
    let (_bin, path) = programs_without(&lab.rack1(), &missing);
    let sshd = Sshd::on(&lab, &lab.rack1(), &format!("SetEnv PATH={path}")).unwrap();
    for (ending, format, tool, infix) in FORMS {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk();
        let picture = Picture::with(&lab, published(folder.path(), &disk, format, tool));
        let file = format!("image{ending}");
        let bed = picture.bed("imgfbare", "picture.qcow2");
        fs::write(bed.path().join(&file), &picture.bytes).unwrap();
        bed.edit("picture.qcow2", &file).unwrap();
        let bed = by(bed, &lab, &sshd.config("rack1").unwrap());
        let _gone = Gone(&bed, "imgfbare");
        bed.expect(0, &["apply", "--yes"]).unwrap();
        assert_eq!(seen(&lab, &picture, infix), digest(&disk), "{ending}");
        let name = format!("image.sha256-{}.{infix}qcow2", &picture.sha256[..32]);
        assert_eq!(cached(bed.path()), [name]);
    }
}

/// A bed whose image is this file, under this name, with more in its block.
fn odd(lab: &Lab, name: &str, bytes: Vec<u8>, (file, more): (&str, &str)) -> (Picture, Bed) {
    let picture = Picture::with(lab, bytes);
    let bed = picture.bed(name, "picture.qcow2");
    fs::write(bed.path().join(file), &picture.bytes).unwrap();
    bed.edit("picture.qcow2\"", &format!("{file}\"\n{more}")).unwrap();
    bed.edit("1GiB", "64MiB").unwrap();
    (picture, bed)
}

/// A fleet's name, a file, its name and more of its block, and what is said of it.
type Case<'a> = (&'a str, Vec<u8>, (&'a str, &'a str), &'a [&'a str]);

/// What does not become an image, and with which words; on the host, and here for one without tools.
#[test]
fn what_cannot_be_unpacked_is_refused_and_leaves_nothing() {
    let lab = lab();
    let missing = ["xz", "zstd", "gzip", "bzip2", "qemu-img"];
    let (_bin, path) = programs_without(&lab.rack1(), &missing);
    let sshd = Sshd::on(&lab, &lab.rack1(), &format!("SetEnv PATH={path}")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bomb = published(folder.path(), &vec![0; 200 * MIB], "raw", Some("gzip"));
    let mut torn = published(folder.path(), &disk(), "raw", Some("xz"));
    torn.truncate(torn.len() / 2);
    let qcow2 = published(folder.path(), &disk(), "qcow2", None);
    let packed_page = {
        fs::write(folder.path().join("page"), "<html>no</html>").unwrap();
        let line = format!("gzip -c {}", folder.path().join("page").display());
        let file = folder.path().join("page.gz");
        Run::new("sh").args(["-c", &format!("{line} > {}", file.display())]).ok().unwrap();
        fs::read(file).unwrap()
    };
    let cases: [Case<'_>; 5] = [
        ("imgfbomb", bomb, ("a.raw.gz", ""), &["larger than 64 MiB", "hint: "]),
        ("imgftorn", torn, ("a.raw.xz", ""), &["it cannot be unpacked as xz", "hint: "]),
        (
            "imgfnraw",
            qcow2.clone(),
            ("a.raw", ""),
            &["no raw image but a qcow2", "leave `format` out"],
        ),
        ("imgfpack", qcow2, ("a", "compression = \"zstd\""), &["cannot be unpacked as zstd"]),
        ("imgfpage", packed_page, ("a.gz", ""), &["it is no qcow2 image but a web page"]),
    ];
    for (name, bytes, form, words) in cases {
        for tools in [true, false] {
            let (picture, bed) = odd(&lab, name, bytes.clone(), form);
            let bed = if tools { bed } else { by(bed, &lab, &sshd.config("rack1").unwrap()) };
            let said = bed.expect(1, &["apply", "--yes"]).unwrap();
            says(&said, words);
            assert_eq!(pool_files(&lab, "rack1", &picture.sha256[..32]), [""; 0], "{name}: {said}");
            let left = cached(bed.path());
            assert!(left.iter().all(|file| !file.starts_with('.')), "{name}: {left:?}");
        }
    }
}
