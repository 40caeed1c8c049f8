//! Room on the disk that a run sets aside before it does anything, to be able to tell what it did.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

use crate::state::StateError;

/// Enough for the state of a thousand VMs that are new, its copy, and a journal that grew.
const LEAST: u64 = 4 << 20;

/// A file that holds nothing but its place.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Names the file; touches nothing.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Takes room for a state that is so large now: it may double, and is written twice.
    pub(super) fn fill(&self, state: usize) -> Result<(), StateError> {
        let bytes = LEAST.max(4 * state as u64);
        self.try_fill(bytes).map_err(|source| {
            self.give_back();
            StateError::NoRoom { path: self.path.clone(), bytes, source }
        })
    }

    /// Gives the room back to who needs it now.
    pub(super) fn give_back(&self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("cannot remove {}: {error}", self.path.display()),
        }
    }

    fn try_fill(&self, bytes: u64) -> io::Result<()> {
        let mut options = OpenOptions::new();
        // A killed run's may be there.
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            // As on ZFS and some FUSE: what is written is there too.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(&mut file, bytes),
            Err(error) => Err(error.into()),
        }
    }
}

fn write_zeros(file: &mut File, bytes: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), bytes), file)?;
    file.flush()?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Command};

    use super::{super::at_once, *};
    use crate::{
        model::FleetId,
        state::{Decisions, LocalStore, LockFile, damage_tests::vm_fact},
    };

    fn fleet() -> FleetId {
        FleetId::from_bytes([7; 16])
    }

    #[test]
    fn takes_room_and_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::at(folder.path().join("reserve"));
        for (state, bytes) in [(0, LEAST), (2 << 20, 8 << 20)] {
            reserve.fill(state).unwrap();
            assert_eq!(fs::metadata(&reserve.path).unwrap().len(), bytes);
        }
        reserve.give_back();
        reserve.give_back();
        assert!(!reserve.path.exists());
        let mut file = File::create(folder.path().join("zeros")).unwrap();
        write_zeros(&mut file, 1 << 16).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1 << 16);
    }

    /// Runs a test on a disk of this size.
    fn on_a_small_disk(size: &str, test: fn(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "freehold-test"]).arg(folder.path());
        if !mount.output().is_ok_and(|output| output.status.success()) {
            let words = "not tested: mounting a small disk needs root";
            return writeln!(io::stderr(), "{words}").unwrap();
        }
        let ended = std::panic::catch_unwind(|| test(folder.path()));
        // A child of another test may still hold what it was forked with.
        assert!(Command::new("umount").arg("-l").arg(folder.path()).status().unwrap().success());
        ended.unwrap();
    }

    /// Leaves not a byte.
    fn fill_up(disk: &Path) {
        let mut file =
            OpenOptions::new().create(true).append(true).open(disk.join("full")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    #[test]
    fn a_full_disk_is_refused_before_anything_is_done() {
        on_a_small_disk("2m", |disk| {
            let store = LocalStore::of(disk, fleet());
            let mut session = store.lock("test").unwrap();
            let error = at_once(session.begin()).unwrap_err();
            assert!(matches!(error, StateError::NoRoom { .. }), "{error}");
            assert!(error.hint().unwrap().contains("nothing was done"), "{error}");
            assert!(!store.path("journal.jsonl").exists() && !store.path("reserve").exists());
            drop(session);
            let state = fs::read(store.path("state.json")).unwrap();
            fill_up(disk);
            let lock = LockFile::of(disk, fleet());
            assert!(matches!(store.lock("test").unwrap_err(), StateError::Write { .. }));
            assert!(matches!(
                lock.write(&Decisions::default()).unwrap_err(),
                StateError::Write { .. }
            ));
            assert_eq!(fs::read(store.path("state.json")).unwrap(), state);
            assert_eq!(store.read().unwrap().serial, 0);
        });
    }

    #[test]
    fn a_run_that_began_can_tell_what_it_did_on_a_disk_that_is_full_since() {
        on_a_small_disk("16m", |disk| {
            let store = LocalStore::of(disk, fleet());
            let mut session = store.lock("test").unwrap();
            let journal = at_once(session.begin()).unwrap();
            fill_up(disk);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut snapshot = session.snapshot.clone();
            for step in 0..100 {
                runtime.block_on(journal.intent(step, "define", &[vm_fact(0)], &[])).unwrap();
            }
            snapshot.fold(&vm_fact(0));
            at_once(session.save(snapshot)).unwrap();
            assert_eq!(store.read().unwrap(), session.snapshot);
            assert_eq!(session.snapshot.vms.len(), 1);
        });
    }
}
