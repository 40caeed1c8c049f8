//! A `NoCloud` seed made by hand, for tests of the lab that must not lean on freehold's own.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::lab::command::Run;

/// What a seed tells the guest.
#[derive(Debug, Clone)]
pub struct Seed<'a> {
    /// The guest's host name.
    pub name: &'a str,
    /// The interface the address belongs to.
    pub mac: &'a str,
    /// Address with prefix length, such as `10.77.0.50/24`; none asks for DHCP.
    pub address: Option<&'a str>,
    /// Where the rest of the world is.
    pub gateway: &'a str,
    /// One line of `authorized_keys`.
    pub public_key: &'a str,
    /// The guest's own ed25519 key in OpenSSH's form; none lets it make one.
    pub host_key: Option<&'a str>,
}

impl Seed<'_> {
    /// Writes the seed as a small FAT image labelled `CIDATA`.
    pub fn write(&self, image: &Path) -> Result<()> {
        let scratch = tempfile::tempdir().context("creating a scratch folder")?;
        fs::write(image, vec![0; 1 << 20])
            .with_context(|| format!("writing {}", image.display()))?;
        Run::new("mformat")
            .arg("-i")
            .arg(image)
            .args(["-v", "CIDATA", "-T", "2048", "-h", "2", "-s", "16", "::"])
            .ok()?;
        for (name, content) in self.files() {
            let path = scratch.path().join(name);
            fs::write(&path, content)?;
            Run::new("mcopy").arg("-i").arg(image).arg(&path).arg("::").ok()?;
        }
        Ok(())
    }

    fn files(&self) -> [(&'static str, String); 4] {
        [
            ("meta-data", self.meta_data()),
            ("user-data", "#cloud-config\n".to_owned()),
            ("vendor-data", self.vendor_data()),
            ("network-config", self.network_config()),
        ]
    }

    fn meta_data(&self) -> String {
        let Self { name, public_key, .. } = self;
        format!("instance-id: {name}-1\nlocal-hostname: {name}\npublic-keys:\n  - {public_key}\n")
    }

    fn vendor_data(&self) -> String {
        let Some(key) = self.host_key else { return "#cloud-config\n".to_owned() };
        let block = key.trim_end().replace('\n', "\n    ");
        format!("#cloud-config\nssh_keys:\n  ed25519_private: |\n    {block}\n")
    }

    fn network_config(&self) -> String {
        let Self { mac, gateway, .. } = self;
        let head =
            format!("version: 2\nethernets:\n  lan:\n    match:\n      macaddress: \"{mac}\"\n");
        match self.address {
            None => format!("{head}    dhcp4: true\n"),
            Some(address) => format!(
                "{head}    addresses:\n      - {address}\n    routes:\n      - to: default\n        via: {gateway}\n"
            ),
        }
    }
}
