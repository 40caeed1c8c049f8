//! Whether libvirt answers, and what it offers.

use super::{Check, Patient, Step, Verdict, Wanted, session::Facts};
use crate::{
    host::{
        HostErrorKind,
        libvirt::{Capabilities, advice, version_text},
    },
    model::Accel,
};

impl Patient {
    pub(super) async fn daemon(
        &self,
        facts: &Facts,
        checks: &mut Vec<Check>,
    ) -> Option<Capabilities> {
        let asked = match self.libvirt.connect().await {
            Ok(()) => self.libvirt.inspect().await,
            Err(trouble) => Err(trouble),
        };
        match asked {
            Ok(found) => {
                let (version, uri) = (version_text(found.version), self.mode.uri());
                let mut said = format!("{version}, {uri} as {}", facts.user);
                if !found.confined_by.is_empty() {
                    said += &format!(", guests confined by {}", found.confined_by.join(" and "));
                }
                checks.push(Check::good(Step::Libvirt, said));
                Some(found)
            }
            Err(trouble) => {
                let mut check = Check::of(Step::Libvirt, &trouble, advice::status(self.mode));
                if trouble.kind == HostErrorKind::Login {
                    check = check.fix("log in anew afterwards: groups are given at login");
                }
                checks.push(check);
                None
            }
        }
    }

    /// Looks for the firmware of VMs that start by UEFI.
    pub(super) async fn firmware(
        &self,
        facts: &Facts,
        found: &Capabilities,
        wanted: &Wanted,
    ) -> Check {
        let kvm = found.kvm && self.accel != Accel::Tcg;
        let offered = match self.libvirt.firmware(if kvm { "kvm" } else { "qemu" }).await {
            Ok(offered) => offered,
            Err(trouble) => {
                return Check::of(Step::Firmware, &trouble, advice::status(self.mode));
            }
        };
        // SeaBIOS is a part of QEMU; libvirt lists what was installed besides.
        if offered.iter().any(|one| one == "efi") {
            return Check::good(Step::Firmware, "BIOS and UEFI");
        }
        let verdict = if wanted.uefi { Verdict::Bad } else { Verdict::Note };
        let said =
            format!("{} only: VMs with firmware = \"uefi\" cannot start", offered.join(", "));
        Check { verdict, ..Check::good(Step::Firmware, said) }
            .fix(facts.install("ovmf", "edk2-ovmf"))
    }
}
