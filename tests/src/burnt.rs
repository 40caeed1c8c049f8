//! Takes away everything of freehold's on rack1, as if the machine were another one.

use anyhow::{Result, ensure};

use crate::lab::Lab;

/// Our pool on a rack.
pub const POOL: &str = "/var/lib/libvirt/freehold";

/// Rack1 as a machine that burns; its first pool, with what other tests have there, is put back in the
/// end.
#[derive(Debug)]
pub struct Burnt<'a> {
    lab: &'a Lab,
    /// How the names of the domains begin that go with it.
    domains: &'static str,
    /// How the names of the volumes begin that are left behind in the first pool.
    volumes: String,
}

impl<'a> Burnt<'a> {
    /// Sweeps away what a run that ended early may have left of this fleet, on both racks.
    pub fn to_be(lab: &'a Lab, domains: &'static str, volumes: String) -> Result<Self> {
        let burnt = Self { lab, domains, volumes };
        burnt.put_back()?;
        Ok(burnt)
    }

    /// Runs a script on rack1, as root.
    pub fn run(&self, script: &str) -> Result<()> {
        let said = self.lab.ssh("rack1", script)?;
        ensure!(said.success(), "{script}: {said}");
        Ok(())
    }

    /// Nothing of freehold's is left on it, but for networks and domains of others.
    pub fn burn(&self) -> Result<()> {
        let kept = match self.is_burnt()? {
            true => format!("rm -rf {POOL}"),
            false => format!("mv {POOL} {POOL}.burnt"),
        };
        self.run(&format!(
            "for vm in $(virsh list --all --name | grep '^{}'); do virsh destroy $vm; \
             virsh undefine $vm --nvram; done > /dev/null 2>&1; \
             virsh pool-destroy freehold && virsh pool-undefine freehold && {kept}",
            self.domains
        ))
    }

    fn is_burnt(&self) -> Result<bool> {
        Ok(self.lab.ssh("rack1", &format!("test -e {POOL}.burnt"))?.success())
    }

    fn put_back(&self) -> Result<()> {
        if self.is_burnt()? {
            self.run(&format!(
                "virsh pool-destroy freehold; virsh pool-undefine freehold; rm -rf {POOL} && \
                 mv {POOL}.burnt {POOL} && virsh pool-define-as freehold dir --target {POOL} && \
                 virsh pool-start freehold && virsh pool-autostart freehold"
            ))?;
        }
        for rack in ["rack1", "rack2"] {
            // Where there is no pool yet, there is nothing to sweep.
            let sweep = format!(
                "rm -f {POOL}/{0}* && virsh -c qemu:///system pool-refresh freehold || true",
                self.volumes
            );
            self.lab.ssh(rack, &sweep)?;
        }
        Ok(())
    }
}

impl Drop for Burnt<'_> {
    fn drop(&mut self) {
        let put_back = self.put_back();
        assert!(put_back.is_ok() || std::thread::panicking(), "{put_back:?}");
    }
}
