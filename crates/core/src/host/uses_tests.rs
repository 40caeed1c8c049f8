//! A host of files in a folder: nothing in it needs libvirt to be told.

use std::os::unix::fs::symlink;

use super::*;
use crate::{
    host::{connect::Deadlines, transport::Transport},
    model,
};

struct Folder {
    dir: tempfile::TempDir,
    host: RealHost,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pool", "srv"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let pool = dir.path().join("pool").to_str().unwrap().to_owned();
        let declared = model::Host {
            name: "rack1".parse().unwrap(),
            connection: model::Connection::Local,
            libvirt: model::DaemonMode::System,
            pool: Some(pool),
            accel: model::Accel::Tcg,
            labels: BTreeMap::new(),
        };
        let host = RealHost::new(&declared, Transport::Local, Deadlines::default());
        Self { dir, host }
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn overlay(&self, name: &str, on: &str) -> String {
        let mut image = vec![0; 700];
        image[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        image[8..16].copy_from_slice(&104_u64.to_be_bytes());
        image[16..20].copy_from_slice(&u32::try_from(on.len()).unwrap().to_be_bytes());
        image[104..104 + on.len()].copy_from_slice(on.as_bytes());
        std::fs::write(self.at(name), image).unwrap();
        self.at(name)
    }

    /// Says who uses `pool/root` where a domain names these files, and what nobody can tell.
    async fn user_of_root(&self, files: &[String]) -> (Option<String>, Option<String>) {
        let links = BTreeSet::from(["link".to_owned()]);
        let pool = Pool { path: &self.host.pool, links: &links };
        let mut trail = Trail::default();
        for file in files {
            trail.add(file.clone(), "domain clone", &pool);
        }
        let trail = self.host.followed(trail, &pool).await.unwrap();
        (trail.by.get(&self.at("pool/root")).cloned(), trail.dark)
    }
}

#[tokio::test]
async fn a_disk_outside_of_the_pool_is_followed_down_to_ours() {
    let folder = Folder::new();
    let used = (Some("domain clone".to_owned()), None);
    std::fs::write(folder.at("pool/root"), "").unwrap();
    let clone = folder.overlay("srv/clone", &folder.at("pool/root"));
    assert_eq!(folder.user_of_root(std::slice::from_ref(&clone)).await, used);
    let relative = folder.overlay("srv/relative", "../pool/root");
    assert_eq!(folder.user_of_root(&[relative]).await, used);
    let deep = folder.overlay("srv/deep", "json:{\"file.filename\":\"clone\"}");
    assert_eq!(folder.user_of_root(&[deep]).await, used);
    let free = folder.overlay("srv/free", &folder.at("pool/other"));
    let absent = folder.at("srv/absent");
    assert_eq!(folder.user_of_root(&[free, absent, "eth0".to_owned()]).await, (None, None));
}

#[tokio::test]
async fn another_way_to_a_file_is_the_same_file() {
    let folder = Folder::new();
    let used = (Some("domain clone".to_owned()), None);
    std::fs::write(folder.at("pool/root"), "").unwrap();
    symlink(folder.at("pool"), folder.at("srv/pool")).unwrap();
    symlink("root", folder.at("pool/link")).unwrap();
    assert_eq!(folder.user_of_root(&[folder.at("srv/pool/root")]).await, used);
    assert_eq!(folder.user_of_root(&[folder.at("pool/link")]).await, used);
    let clone = folder.overlay("srv/clone", "pool/root");
    assert_eq!(folder.user_of_root(&[clone]).await, used);
}

#[tokio::test]
async fn a_loop_ends_and_what_cannot_be_told_is_said() {
    let folder = Folder::new();
    folder.overlay("srv/a", "b");
    let looped = folder.overlay("srv/b", "a");
    assert_eq!(folder.user_of_root(&[looped]).await, (None, None));
    let mut image = std::fs::read(folder.at("srv/a")).unwrap();
    image[16..20].copy_from_slice(&5000_u32.to_be_bytes());
    std::fs::write(folder.at("srv/a"), image).unwrap();
    let dark = folder.user_of_root(&[folder.at("srv/a")]).await.1.unwrap();
    assert!(dark.ends_with("srv/a of domain clone"), "{dark}");
}
