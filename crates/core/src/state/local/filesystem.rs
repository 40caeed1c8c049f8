//! Where a store may lie: not where another machine may hold the same files.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use rustix::fs::statfs;

use crate::state::StateError;

/// File systems that several machines mount at once, by their magic (`statfs(2)`, `linux/magic.h`
/// and their own sources). flock is local to the machine on most of them, or can be.
const SHARED: [(u32, &str); 19] = [
    (0x0000_6969, "NFS"),
    (0xff53_4d42, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0x0000_517b, "SMB"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0000_564c, "NCP"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0xaad7_aaea, "PanFS"),
    (0x2003_0528, "OrangeFS"),
    (0x786f_4256, "a folder shared by VirtualBox"),
    (0xbacb_acbc, "a folder shared by VMware"),
];

/// FUSE says nothing about where the files are; the mount's type does.
const FUSE: u32 = 0x6573_5546;

/// Types of FUSE mounts whose files are this machine's. Any other may be a network's, as sshfs,
/// glusterfs and virtiofs are, so it is refused.
const LOCAL_FUSE: [&str; 10] = [
    "fuseblk",
    "fuse.bindfs",
    "fuse.cryfs",
    "fuse.encfs",
    "fuse.fuse-overlayfs",
    "fuse.gocryptfs",
    "fuse.mergerfs",
    "fuse.ntfs-3g",
    "fuse.unionfs",
    "fuse.unionfs-fuse",
];

/// Refuses a directory on a network file system, where flock is not to be believed.
pub(super) fn refuse_network_file_system(directory: &Path) -> Result<(), StateError> {
    let read = |source: io::Error| StateError::Read { path: directory.to_owned(), source };
    let magic = statfs(directory).map_err(|error| read(error.into()))?.f_type;
    // The type of the field differs between machines; the magic has 32 bits on all of them.
    let magic = u32::try_from(magic & 0xffff_ffff).unwrap_or_default();
    match network_kind(magic, || mount_type(directory)) {
        None => Ok(()),
        Some(kind) => Err(StateError::NetworkFileSystem { path: directory.to_owned(), kind }),
    }
}

/// Names the network file system of this magic; `mount_type` is asked where that does not say.
fn network_kind(magic: u32, mount_type: impl FnOnce() -> Option<String>) -> Option<String> {
    if magic == FUSE {
        let kind = mount_type().unwrap_or_else(|| "fuse".to_owned());
        return (!LOCAL_FUSE.contains(&kind.as_str())).then_some(kind);
    }
    let known = SHARED.iter().find(|(known, _)| *known == magic);
    known.map(|(_, kind)| (*kind).to_owned())
}

fn mount_type(directory: &Path) -> Option<String> {
    let device = fs::metadata(directory).ok()?.dev();
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    type_of_mount(&fs::read_to_string("/proc/self/mountinfo").ok()?, &device)
}

/// Finds the type of a device's mount in the text of `mountinfo` (proc(5)).
fn type_of_mount(mounts: &str, device: &str) -> Option<String> {
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(device))?;
    line.split_once(" - ")?.1.split(' ').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(magic: u32, mount: &str) -> Option<String> {
        network_kind(magic, || Some(mount.to_owned()))
    }

    #[test]
    fn what_other_machines_mount_is_refused() {
        for (magic, name) in SHARED {
            assert_eq!(kind(magic, "unasked").as_deref(), Some(name));
        }
        // ext4, XFS, btrfs, tmpfs, ZFS, overlayfs, F2FS, bcachefs.
        for magic in [
            0xef53,
            0x5846_5342,
            0x9123_683e,
            0x0102_1994,
            0x2fc1_2fc1,
            0x794c_7630,
            0xf2f5_2010,
            0xca45_1a4e,
        ] {
            assert_eq!(kind(magic, "unasked"), None, "{magic:x}");
        }
    }

    #[test]
    fn of_fuse_only_what_is_known_to_be_local_passes() {
        for mount in LOCAL_FUSE {
            assert_eq!(kind(FUSE, mount), None);
        }
        for mount in ["fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "virtiofs", "fuse.unheard-of"] {
            assert_eq!(kind(FUSE, mount).as_deref(), Some(mount));
        }
        assert_eq!(network_kind(FUSE, || None).as_deref(), Some("fuse"), "nobody could say");
    }

    #[test]
    fn reads_the_type_of_a_mount() {
        let mounts = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                      99 22 0:52 / /mnt rw,nosuid - fuse.sshfs root@nas:/ rw,user_id=0\n";
        assert_eq!(type_of_mount(mounts, "0:52").as_deref(), Some("fuse.sshfs"));
        assert_eq!(type_of_mount(mounts, "254:0").as_deref(), Some("ext4"));
        assert_eq!(type_of_mount(mounts, "0:5"), None);
    }

    #[test]
    fn a_local_disk_passes() {
        let folder = tempfile::tempdir().unwrap();
        refuse_network_file_system(folder.path()).unwrap();
    }
}
