//! Files that are cut short, flipped, edited, old or another's: an error that names the file and
//! what mends it, or the very same value; and nothing is written over.

use std::{fs, path::Path, process::Command};

use futures::FutureExt as _;

use super::{
    Fact, Journal, LocalStore, LockFile, Outcome, Session, Snapshot, StateError, VmRecord,
    decisions::tests::two_vms,
};
use crate::model::FleetId;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/state/samples");

fn fleet() -> FleetId {
    FleetId::from_bytes([7; 16])
}

fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}

fn store() -> (tempfile::TempDir, LocalStore) {
    let folder = folder();
    let store = LocalStore::of(folder.path(), fleet());
    (folder, store)
}

pub(super) fn vm_fact(number: usize) -> Fact {
    let (vm, decision) = two_vms().vms.into_iter().nth(number).unwrap();
    let record = VmRecord {
        uuid: decision.uuid,
        host: decision.host.clone(),
        incarnation: 1,
        disks: Vec::new(),
        seed: "seed".into(),
        made: false,
        unready: false,
        protect: false,
        applied: None,
        restoring: None,
    };
    Fact::Vm { vm, record, decision }
}

/// A run that made two VMs and removed the first, and did not end.
async fn killed_run(mut session: Session) -> Session {
    let journal: Journal = session.begin().await.unwrap();
    let gone = Fact::VmGone { vm: "web-0".parse().unwrap(), kept: None };
    journal.intent(0, "define", &[vm_fact(0)], &[]).await.unwrap();
    journal.intent(1, "define", &[vm_fact(1)], &[]).await.unwrap();
    journal.intent(2, "remove", &[], &[gone]).await.unwrap();
    journal.outcome(2, Outcome::Done);
    journal.intent(3, "look", &[], &[]).await.unwrap();
    session
}

/// A store after three runs.
fn used_store() -> (tempfile::TempDir, LocalStore) {
    let (folder, store) = store();
    let mut session = store.lock("test").unwrap();
    for number in [0, 1, 0] {
        let mut snapshot = session.snapshot.clone();
        snapshot.decisions.identity = Some("SHA256:x".into());
        snapshot.fold(&vm_fact(number));
        session.save(snapshot).now_or_never().unwrap().unwrap();
    }
    (folder, store)
}

/// Every way to flip one bit.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    })
}

/// Says whether an error names the file and something to do about it.
fn is_clear(error: &StateError, file: &str) -> bool {
    let words = ["mv ", "cp ", "git checkout", "use the freehold", "put the", "`"];
    let hint = error.hint().unwrap_or_default();
    error.to_string().contains(file) && words.iter().any(|word| hint.contains(word))
}

/// Puts each of these in the place of a file: it is refused clearly and left alone, or says the
/// same. Returns how many are refused.
fn refused_or_same<T: PartialEq + std::fmt::Debug>(
    path: &Path,
    texts: impl Iterator<Item = Vec<u8>>,
    read: impl Fn() -> Result<T, StateError>,
) -> usize {
    let good = read().unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut refused = 0;
    for text in texts {
        fs::write(path, &text).unwrap();
        match read() {
            Ok(value) => assert_eq!(value, good, "{}", String::from_utf8_lossy(&text)),
            Err(error) => {
                refused += 1;
                assert!(is_clear(&error, &name), "{error}; {:?}", error.hint());
                assert_eq!(fs::read(path).unwrap(), text, "it is not touched");
            }
        }
    }
    refused
}

#[test]
fn a_state_cut_anywhere_or_with_any_bit_flipped_is_refused() {
    let (_folder, store) = used_store();
    let path = store.path("state.json");
    let good = fs::read(&path).unwrap();
    let cuts = (0..good.len()).map(|end| good[..end].to_vec());
    // Only the newline at its end says nothing.
    assert_eq!(refused_or_same(&path, cuts, || store.read()), good.len() - 1);
    fs::write(&path, &good).unwrap();
    assert!(refused_or_same(&path, flips(&good), || store.read()) > 7 * good.len());
}

#[test]
fn the_hint_for_a_damaged_state_mends_it_when_pasted() {
    for damage in [&b""[..], b"{", b"\xff\xfe"] {
        let (folder, store) = used_store();
        let good = store.read().unwrap();
        let path = store.path("state.json");
        fs::write(&path, damage).unwrap();
        let error = store.lock("test").unwrap_err();
        let hint = error.hint().unwrap();
        let command = hint.split_once(": ").unwrap().1;
        assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{hint}");
        assert_eq!(store.lock("test").unwrap().snapshot, good);
        assert_eq!(fs::read(path.with_extension("json.damaged")).unwrap(), damage);
        drop(folder);
    }
}

#[test]
fn an_older_state_than_the_last_copy_is_refused() {
    let (_folder, store) = used_store();
    let path = store.path("state.json");
    fs::copy(store.path("history/state-00000002.json"), &path).unwrap();
    let error = store.lock("test").unwrap_err();
    assert!(matches!(error, StateError::Older { have: 2, serial: 3, .. }), "{error}");
    assert!(is_clear(&error, "state.json"), "{error}");
    // The newest copy is damaged too: then the one before it is the best there is.
    fs::write(store.path("history/state-00000003.json"), "{").unwrap();
    assert_eq!(store.read().unwrap().serial, 2);
}

#[tokio::test]
async fn an_older_state_than_the_journal_is_refused() {
    let (_folder, store) = used_store();
    let old = fs::read(store.path("history/state-00000001.json")).unwrap();
    killed_run(store.lock("test").unwrap()).await;
    fs::remove_dir_all(store.path("history")).unwrap();
    fs::write(store.path("state.json"), old).unwrap();
    let error = store.lock("test").unwrap_err();
    assert!(matches!(error, StateError::Older { have: 1, serial: 3, .. }), "{error}");
}

#[tokio::test]
async fn a_lost_state_is_not_begun_anew() {
    let (_folder, store) = used_store();
    killed_run(store.lock("test").unwrap()).await;
    fs::remove_file(store.path("state.json")).unwrap();
    let error = store.lock("test").unwrap_err();
    assert!(error.hint().unwrap().contains("state-00000003.json"), "{error}");
    fs::remove_dir_all(store.path("history")).unwrap();
    let error = store.lock("test").unwrap_err();
    assert!(error.to_string().contains("journal.jsonl is there"), "{error}");
    assert!(!store.path("state.json").exists());
}

#[test]
fn a_state_written_behind_the_lock_is_kept_aside() {
    let (folder, store) = used_store();
    let mut session = store.lock("test").unwrap();
    fs::write(store.path("state.json"), "scribble").unwrap();
    session.save(session.snapshot.clone()).now_or_never().unwrap().unwrap();
    assert_eq!(store.read().unwrap(), session.snapshot);
    assert_eq!(kept_aside(&folder, "state.json.damaged-"), ["scribble"]);
}

/// What stands in the files of the store whose names begin so.
fn kept_aside(folder: &tempfile::TempDir, begin: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.path().join(".freehold")).unwrap().map(Result::unwrap);
    let entries = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(begin));
    entries.map(|entry| fs::read_to_string(entry.path()).unwrap()).collect()
}

/// A store whose last run was killed.
async fn killed_store() -> (tempfile::TempDir, LocalStore) {
    let (folder, store) = store();
    killed_run(store.lock("test").unwrap()).await;
    (folder, store)
}

#[tokio::test]
async fn a_journal_with_any_bit_flipped_is_refused() {
    let (_folder, store) = killed_store().await;
    let path = store.path("journal.jsonl");
    let good = fs::read(&path).unwrap();
    assert_eq!(refused_or_same(&path, flips(&good), || store.read()), good.len() * 8);
}

#[tokio::test]
async fn a_journal_that_was_edited_is_refused() {
    let (_folder, store) = killed_store().await;
    let path = store.path("journal.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = good.lines().collect();
    let without = |gone: usize| {
        let left = lines.iter().enumerate().filter(|(index, _)| *index != gone);
        left.map(|(_, line)| format!("{line}\n")).collect::<String>().into_bytes()
    };
    let swapped = [&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat().join("\n") + "\n";
    let twice = good.replace(lines[2], &format!("{0}\n{0}", lines[2]));
    let edited = (0..lines.len() - 1).map(without).chain([swapped.into(), twice.into()]);
    assert_eq!(refused_or_same(&path, edited, || store.read()), lines.len() + 1);
}

#[tokio::test]
async fn a_journal_cut_anywhere_tells_of_its_whole_lines() {
    let (_folder, store) = killed_store().await;
    let path = store.path("journal.jsonl");
    let good = fs::read(&path).unwrap();
    let ends: Vec<_> = (0..good.len()).filter(|at| good[*at] == b'\n').collect();
    let mut told: Vec<Snapshot> = Vec::new();
    for end in &ends {
        fs::write(&path, &good[..=*end]).unwrap();
        told.push(store.read().unwrap());
    }
    for cut in 0..good.len() {
        for tail in [&b""[..], &[0; 512]] {
            fs::write(&path, [&good[..cut], tail].concat()).unwrap();
            let read = store.read();
            if cut <= ends[0] {
                let error = read.unwrap_err();
                assert!(is_clear(&error, "journal.jsonl"), "{error}");
                continue;
            }
            // A line is whole without its newline too.
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(read.unwrap(), told[whole - 1], "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_damaged_journal_blocks_only_who_needs_it_and_is_never_lost() {
    let (folder, store) = killed_store().await;
    let path = store.path("journal.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let damaged = good.replacen("define", "devine", 1);
    fs::write(&path, &damaged).unwrap();
    let error = store.lock("test").unwrap_err();
    assert!(is_clear(&error, "journal.jsonl"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged);

    fs::write(&path, &good).unwrap();
    drop(store.lock("test").unwrap());
    fs::write(&path, &damaged).unwrap();
    let mut session = store.lock("test").unwrap();
    assert!(!session.recovered, "its run is in the state already");
    drop(session.begin().await.unwrap());
    assert_eq!(kept_aside(&folder, "journal.jsonl.damaged-"), [damaged]);
}

#[tokio::test]
async fn the_journal_of_another_history_is_refused() {
    let (_folder, store) = killed_store().await;
    let (_other_folder, other) = used_store();
    fs::copy(store.path("journal.jsonl"), other.path("journal.jsonl")).unwrap();
    let error = other.lock("test").unwrap_err();
    assert!(matches!(error, StateError::OtherHistory { .. }), "{error}");
    assert!(is_clear(&error, "journal.jsonl"), "{error}");
}

#[tokio::test]
async fn a_run_that_is_not_in_the_state_is_not_written_over() {
    let (_folder, store) = store();
    let mut session = killed_run(store.lock("test").unwrap()).await;
    let before = fs::read(store.path("journal.jsonl")).unwrap();
    let error = session.begin().await.unwrap_err();
    assert!(error.to_string().contains("which is not in the state"), "{error}");
    assert_eq!(fs::read(store.path("journal.jsonl")).unwrap(), before);
}

#[test]
fn a_lock_cut_anywhere_is_refused() {
    let folder = folder();
    let lock = LockFile::of(folder.path(), fleet());
    lock.write(&two_vms()).unwrap();
    let path = folder.path().join("freehold.lock");
    let good = fs::read(&path).unwrap();
    let cuts = (0..good.len()).map(|end| good[..end].to_vec());
    assert_eq!(refused_or_same(&path, cuts, || lock.read()), good.len() - 1);
}

#[test]
fn newer_files_and_anothers_are_refused() {
    let (folder, store) = used_store();
    let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
    let newer = |error: StateError, file: &str| {
        assert!(matches!(error, StateError::Newer { have: 9, .. }), "{error}");
        assert!(is_clear(&error, file), "{error}");
    };
    let lock = LockFile::of(folder.path(), fleet());
    write("freehold.lock", "format = 9\nmore = 1\n");
    newer(lock.read().unwrap_err(), "freehold.lock");
    write(".freehold/journal.jsonl", "{\"entry\":\"start\",\"format\":9}\n");
    newer(store.read().unwrap_err(), "journal.jsonl");
    write(".freehold/state.json", "{\"format\":9,\"more\":1}");
    newer(store.read().unwrap_err(), "state.json");

    let (folder, _) = used_store();
    let stranger = LocalStore::of(folder.path(), FleetId::from_bytes([8; 16]));
    let error = stranger.lock("test").unwrap_err();
    assert!(matches!(error, StateError::OtherFleet { .. }), "{error}");
}

#[test]
fn files_of_the_first_formats_still_read() {
    let (folder, store) = store();
    fs::create_dir(store.path("")).unwrap();
    for file in ["state.json", "journal.jsonl"] {
        let sample = Path::new(SAMPLES).join(format!("1-{file}"));
        fs::copy(sample, store.path(file)).unwrap();
    }
    let mut session = store.lock("test").unwrap();
    assert!(session.recovered);
    assert_eq!((session.snapshot.serial, session.snapshot.vms.len()), (4, 1));
    assert_eq!(session.snapshot.decisions.vms.len(), 2);
    session.begin().now_or_never().unwrap().unwrap();

    let lock = LockFile::of(folder.path(), fleet());
    fs::copy(Path::new(SAMPLES).join("1-freehold.lock"), folder.path().join("freehold.lock"))
        .unwrap();
    assert_eq!(lock.read().unwrap(), two_vms());
    lock.write(&two_vms()).unwrap();
    assert_eq!(lock.read().unwrap(), two_vms());
}
