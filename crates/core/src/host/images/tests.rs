use super::{
    scripts::{FETCH, NO_ROOM, NOT_WRITTEN, PEEK, SEND, UNPACK},
    *,
};

use crate::model::Checksum;

fn spec() -> ImageSpec {
    ImageSpec {
        name: "tiny".parse().unwrap(),
        volume: "image.tiny.qcow2".to_owned(),
        checksum: Checksum::sha256(&"0".repeat(64)).unwrap(),
        form: ImageForm::default(),
        most: Size::default(),
    }
}

fn images(pool: &Path) -> Images {
    let (pool, soon) = (pool.to_str().unwrap(), Duration::from_secs(10));
    Images::of(Arc::new(Transport::Local), pool, soon, soon)
}

fn silent() -> Progress {
    Arc::new(|_, _| {})
}

async fn run<const N: usize>(
    images: &Images,
    what: (&'static str, [&str; N]),
    stdin: &[u8],
) -> Option<Output> {
    let how = (Stdin::Bytes(stdin), images.deadline);
    images.alone(&spec(), what, how, &silent()).await.unwrap()
}

#[tokio::test]
async fn what_came_stays_for_the_next_run_and_the_rest_is_added() {
    let pool = tempfile::tempdir().unwrap();
    let images = images(pool.path());
    let cut = run(&images, (SEND, ["6", "0"]), b"abcd").await.unwrap();
    assert_eq!(cut.complaint(), "the file did not arrive completely");
    let peek = run(&images, (PEEK, []), b"").await.unwrap();
    let said = String::from_utf8(peek.stdout).unwrap();
    assert_eq!(said, format!("4\n{}\n", hex_of(&sha2::Sha256::digest(b"abcd"))));
    let whole = run(&images, (SEND, ["6", "3"]), b"DEF").await.unwrap();
    assert_eq!(whole.code, 0, "{whole:?}");
    assert_eq!(std::fs::read(pool.path().join(staging(&spec()))).unwrap(), b"abcDEF");
    let huge = run(&images, (SEND, ["999999999999999", "0"]), b"").await.unwrap();
    assert_eq!(huge.code, NO_ROOM);
    assert_eq!(std::fs::read_dir(pool.path()).unwrap().count(), 0, "nothing was there to keep");
    std::fs::write(pool.path().join("image.tiny.qcow2"), "there").unwrap();
    assert!(run(&images, (SEND, ["6", "0"]), b"abcdef").await.is_none());
    assert_eq!(std::fs::read_dir(pool.path()).unwrap().count(), 1, "and no staging file");
}

#[tokio::test]
async fn one_waits_for_the_other() {
    let pool = tempfile::tempdir().unwrap();
    let images = images(pool.path());
    let held = pool.path().join(staging(&spec()));
    let file = std::fs::File::create(&held).unwrap();
    file.lock().unwrap();
    let waits = run(&images, (SEND, ["3", "0"]), b"abc");
    let done = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // The other is through.
        std::fs::rename(&held, pool.path().join("image.tiny.qcow2")).unwrap();
        drop(file);
    };
    let (output, ()) = tokio::join!(waits, done);
    assert!(output.is_none(), "it is there by then: {output:?}");
}

/// A script for whose files the system has no more than 64 KiB each.
fn bounded(script: &str) -> &'static str {
    format!("trap '' 25; ulimit -f 128; {script}").leak()
}

#[tokio::test]
async fn what_cannot_be_written_whole_gets_no_name() {
    let pool = tempfile::tempdir().unwrap();
    let images = images(pool.path());
    let held = pool.path().join(staging(&spec()));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &vec![1; 1 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    std::fs::write(&held, &packed).unwrap();
    let want = hex_of(&sha2::Sha256::digest(&packed));
    let words = ["sha256", &want, "gzip", "qcow2", "99999999", "512"];
    let cut = run(&images, (bounded(UNPACK), words), b"").await.unwrap();
    assert_eq!(cut.code, NOT_WRITTEN, "{cut:?}");
    assert!(cut.complaint().contains("File too large"), "{cut:?}");
    assert_eq!(std::fs::read_dir(pool.path()).unwrap().count(), 1, "nothing of it is left");
    let whole = run(&images, (UNPACK, words), b"").await.unwrap();
    assert_eq!((whole.code, whole.stdout.len()), (0, 512));
    std::fs::write(&held, "").unwrap();
    assert_eq!(run(&images, (UNPACK, words), b"").await.unwrap().code, NOTHING);
}

#[tokio::test]
async fn a_file_of_unknown_length_takes_no_more_than_it_may() {
    let pool = tempfile::tempdir().unwrap();
    let images = images(pool.path());
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/\n", server.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = server.accept().unwrap().0;
        drop(stream.read(&mut [0; 4096]));
        drop(stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n"));
        drop(stream.write_all(&vec![1; 1 << 20]));
    });
    let large = run(&images, (FETCH, ["", "", "128"]), url.as_bytes()).await.unwrap();
    assert_eq!(large.code, NO_ROOM, "{large:?}");
    assert_eq!(std::fs::read_dir(pool.path()).unwrap().count(), 0, "guests need the room");
}

#[tokio::test]
async fn where_nothing_can_be_locked_nothing_is_begun() {
    let (pool, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let images = images(pool.path());
    for name in ["rm", "cat", "stat", "truncate"] {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(name), programs.path().join(name))
            .unwrap();
    }
    let send: &str = format!("PATH={}; {SEND}", programs.path().display()).leak();
    let how = (Stdin::Bytes(b"abc"), images.deadline);
    let refused = images.alone(&spec(), (send, ["3", "0"]), how, &silent()).await.unwrap_err();
    let why = refused.source.to_string();
    assert!(why.contains("`flock` cannot lock") && why.contains("not found"), "{why}");
    assert!(refused.hint.unwrap().contains("util-linux"));
    assert_eq!(std::fs::read_dir(pool.path()).unwrap().count(), 0);
}
