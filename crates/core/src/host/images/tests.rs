use super::{
    scripts::{NO_ROOM, PEEK, SEND},
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
