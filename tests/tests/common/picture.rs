//! Images that only one test has, and what becomes of them.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use acceptance::{
    bed::Bed,
    lab::{Lab, RACKS, Rack, command::Run, sha256},
    relay::Relay,
};
use tempfile::TempDir;

use super::small::{RACK1, fleet, image, pool_files};

pub(crate) const POOL: &str = "/var/lib/libvirt/freehold";
pub(crate) const MIB: usize = 1 << 20;

/// An image that no other test has.
pub(crate) struct Picture {
    /// The file, as it is published.
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha256: String,
    lab: Lab,
}

impl Picture {
    /// A file with this content.
    pub(crate) fn with(lab: &Lab, bytes: Vec<u8>) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        Self { bytes, sha256: sha256(file.path()).unwrap(), lab: lab.clone() }
    }

    /// Makes one of so many MiB of random content.
    pub(crate) fn of(lab: &Lab, mib: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (raw, made) = (folder.path().join("raw"), folder.path().join("made"));
        fs::write(&raw, random(mib * MIB)).unwrap();
        let convert = ["convert", "-f", "raw", "-O", "qcow2"];
        Run::new("qemu-img").args(convert).arg(&raw).arg(&made).ok().unwrap();
        Self::with(lab, fs::read(&made).unwrap())
    }

    /// A fleet whose one VM on rack1 begins as it.
    pub(crate) fn bed(&self, name: &str, source: &str) -> Bed {
        let vm = format!(
            "vm \"{name}\" {{\n  host = host.rack1\n  image = image.blank\n  memory = \"16MiB\"\n  \
             wait = \"none\"\n  running = false\n  disk \"root\" {{\n    size = \"1GiB\"\n  }}\n}}\n"
        );
        let bed = Bed::new(&self.lab, &fleet(name, "")).unwrap();
        fs::write(bed.path().join("picture.qcow2"), &self.bytes).unwrap();
        let text = fleet(name, &(self.block(source, "") + RACK1 + &vm));
        bed.write("fleet.hcl", &text).unwrap();
        bed
    }

    /// Its block; `more` goes into it.
    pub(crate) fn block(&self, source: &str, more: &str) -> String {
        image(source, &self.sha256).replace("}\n", &format!("{more}\n}}\n"))
    }

    /// What lies of it in rack1's pool: its name and what it hashes to.
    pub(crate) fn there(&self) -> Vec<String> {
        let files = pool_files(&self.lab, "rack1", &self.sha256[..32]);
        let hash = |name: &String| {
            let said = self.lab.ssh("rack1", &format!("sha256sum {POOL}/{name}")).unwrap();
            let right = said.stdout.starts_with(&self.sha256);
            format!("{name} {}", if right { "right" } else { "wrong" })
        };
        files.iter().map(hash).collect()
    }

    pub(crate) fn is_there(&self) {
        let name = format!("image.sha256-{}.qcow2 right", &self.sha256[..32]);
        assert_eq!(self.there(), [name]);
    }

    /// How much of it lies in rack1's pool on its way.
    pub(crate) fn staged(&self) -> u64 {
        let command = format!("stat -c %s {POOL}/.staging-*{}* || echo 0", &self.sha256[..32]);
        self.lab.ssh("rack1", &command).unwrap().text().parse().unwrap()
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        for rack in RACKS {
            let command = format!("rm -f {POOL}/*{0}* {POOL}/.*{0}*", &self.sha256[..32]);
            drop(self.lab.ssh(rack.name, &command));
        }
    }
}

/// Leads rack1 through a relay.
pub(crate) fn through(bed: Bed, lab: &Lab, relay: &Relay) -> Bed {
    by(bed, lab, &relay.config("rack1"))
}

pub(crate) fn cached(folder: &Path) -> Vec<String> {
    let list = Run::new("ls").arg("-1A").arg(folder.join(".freehold/cache")).output().unwrap();
    list.text().lines().map(str::to_owned).collect()
}

/// Random bytes.
pub(crate) fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

/// A folder of a rack with its programs less these, and what a `PATH` must be to find them there.
pub(crate) fn programs_without(rack: &Rack, missing: &[&str]) -> (TempDir, String) {
    let folder = tempfile::Builder::new().prefix("bin-").tempdir_in(rack.dir()).unwrap();
    for entry in fs::read_dir("/usr/bin").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !missing.contains(&name.as_str()) {
            let to = Path::new("/usr/bin").join(&name);
            std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        }
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let seen = format!("/run/rack/{}", folder.path().file_name().unwrap().to_str().unwrap());
    (folder, seen)
}

/// A bed that reaches rack1 by these lines of `ssh_config`.
pub(crate) fn by(bed: Bed, lab: &Lab, lines: &str) -> Bed {
    let usual = fs::read_to_string(lab.ssh_config()).unwrap();
    bed.write("ssh_config", &format!("{lines}\n{usual}")).unwrap();
    let path = bed.path().join("ssh_config");
    bed.with_env("FREEHOLD_SSH_CONFIG", path)
}
