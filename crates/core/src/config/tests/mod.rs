//! What the language takes and what it refuses.

mod bad;
mod good;
mod random;
mod secrets;
mod state;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use super::{Inputs, Problems, load};
use crate::model::Fleet;

/// A public key made for these tests.
const KEY: &str = "ssh-ed25519 \
     AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ alice";

/// What most tests begin with: one of everything that others refer to.
const BASE: &str = r#"
fleet "home" {
  id = "0123456789abcdef0123456789abcdef"
}
host "rack1" {
  ssh = "root@rack1.example.org"
}
host "rack2" {
  connection = "local"
}
network "lan" {
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  gateway   = "10.77.0.1"
  addresses = "10.77.0.100-10.77.0.199"
}
network "bare" {
  kind   = "bridge"
  bridge = "br1"
}
image "debian" {
  source = "debian.qcow2"
  sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
}
dns "main" {
  kind    = "powerdns"
  url     = "http://10.77.0.1:8081"
  api_key = env("PDNS_API_KEY")
}
zone "home" {
  name   = "home.example.org"
  server = dns.main
}
"#;

/// A fleet's directory.
struct Bed {
    directory: tempfile::TempDir,
    variables: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

impl Bed {
    /// Makes a directory with the files that `BASE` needs, and no fleet.
    fn new() -> Self {
        let environment = [("PDNS_API_KEY", "poison-of-the-environment")];
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let bed = Self {
            directory: tempfile::tempdir().unwrap(),
            variables: BTreeMap::new(),
            environment: environment.into_iter().map(pair).collect(),
        };
        bed.file("debian.qcow2", "an image").file("alice.pub", KEY)
    }

    /// Makes a directory with `BASE` and more in `fleet.hcl`.
    fn with(more: &str) -> Self {
        Self::new().file("fleet.hcl", &format!("{BASE}{more}"))
    }

    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.path().join(name), text).unwrap();
        self
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn load(&self) -> Result<Fleet, Problems> {
        let environment = self.environment.clone();
        let environment = Arc::new(move |name: &str| environment.get(name).cloned());
        load(self.path(), &Inputs { variables: self.variables.clone(), environment })
    }

    #[track_caller]
    fn fleet(&self) -> Fleet {
        self.load().unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[track_caller]
    fn problems(&self) -> Problems {
        self.load().expect_err("the fleet has a mistake")
    }
}

/// Returns a VM with a root disk and these lines.
fn vm(lines: &str) -> String {
    format!(
        "vm \"web\" {{\n  host   = host.rack1\n  image  = image.debian\n  memory = \"1GiB\"\n  \
         disk \"root\" {{ size = \"20GiB\" }}\n{lines}\n}}\n"
    )
}
