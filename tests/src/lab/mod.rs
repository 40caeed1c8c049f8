//! The lab: two namespaced libvirt hosts (or more, when asked), a name server, a Prometheus and a guest
//! image on one machine.
//!
//! It stands in one folder and leaves nothing behind. It shows the world to those who test; it must not
//! know freehold. One lab fits on a machine, since names and addresses are fixed.

mod access;
pub mod command;
mod fault;
pub mod guest;
mod life;
pub mod network;
pub mod powerdns;
mod process;
pub mod prometheus;
pub mod rack;

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use command::Output;
pub use command::sha256;
pub use fault::Fault;
pub use life::{Outcome, Zones};
pub use powerdns::PowerDns;
pub use prometheus::Prometheus;
pub use rack::{RACKS, Rack};

/// Where the lab stands unless `FREEHOLD_LAB` names another folder.
pub const DEFAULT_DIR: &str = "/var/tmp/freehold-lab";

/// A lab that is up.
#[derive(Debug, Clone)]
pub struct Lab {
    dir: PathBuf,
    image: PathBuf,
    racks: &'static [rack::Spec],
}

impl Lab {
    /// Returns the folder the environment asks for.
    pub fn default_dir() -> PathBuf {
        std::env::var_os("FREEHOLD_LAB").map_or_else(|| PathBuf::from(DEFAULT_DIR), PathBuf::from)
    }

    /// Returns its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the guest image, a qcow2 file that is never to be written.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Returns the SHA-256 of the guest image.
    pub fn image_sha256(&self) -> Result<String> {
        sha256(&self.image)
    }

    /// Returns its SSH client configuration, for `ssh -F`.
    pub fn ssh_config(&self) -> PathBuf {
        self.dir.join("ssh/config")
    }

    /// Returns its file of known host keys.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("ssh/known_hosts")
    }

    /// Returns the private key that opens the racks (its public half ends in `.pub`).
    pub fn user_key(&self) -> PathBuf {
        access::user_key(&self.dir)
    }

    /// Returns what is fixed about each of its racks.
    pub fn racks(&self) -> &'static [rack::Spec] {
        self.racks
    }

    /// Returns the first rack: root, everything easy.
    pub fn rack1(&self) -> Rack {
        Rack::new(&self.dir, RACKS[0])
    }

    /// Returns the second rack: what users have.
    pub fn rack2(&self) -> Rack {
        Rack::new(&self.dir, RACKS[1])
    }

    /// Returns the name server.
    pub fn powerdns(&self) -> PowerDns {
        PowerDns::new(&self.dir)
    }

    /// Returns the Prometheus.
    pub fn prometheus(&self) -> Prometheus {
        Prometheus::new(&self.dir)
    }

    /// Runs a command line on a rack over SSH.
    pub fn ssh(&self, rack: &str, command: &str) -> Result<Output> {
        rack::ssh(&self.dir, rack, command).output()
    }

    /// Asks the name server; returns the data of each answer, sorted.
    pub fn dig(&self, name: &str, kind: &str) -> Result<Vec<String>> {
        powerdns::dig(name, kind)
    }

    /// Calls the name server's API.
    pub fn powerdns_api(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        self.powerdns().api(method, path, body)
    }

    /// Makes a Native zone on the name server.
    pub fn create_zone(&self, name: &str) -> Result<()> {
        self.powerdns().create_zone(name)
    }

    /// Returns what Prometheus scrapes.
    pub fn prometheus_targets(&self) -> Result<Value> {
        self.prometheus().targets()
    }
}
