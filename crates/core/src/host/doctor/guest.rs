//! Whether a guest runs: that `/dev/kvm` is there proves nothing.

use std::time::Duration;

use super::{Check, Patient, Step, reach::advised};
use crate::{
    host::{
        libvirt::{Capabilities, TinyGuest},
        trouble::Trouble,
    },
    model::Accel,
};

/// By KVM this guest takes some tenths of a second; longer is looked into.
const PROMPT: Duration = Duration::from_secs(1);
const KVM_LIMIT: Duration = Duration::from_secs(10);
const TCG_LIMIT: Duration = Duration::from_secs(30);

const TCG: &str = "accel = \"tcg\" in the host's block: QEMU's own emulation";
const ENABLE: &str = "turn on VT-x or AMD-V in its BIOS, then: modprobe kvm_intel, or kvm_amd";

impl Patient {
    /// Starts a guest with what the host is to use.
    pub(super) async fn guest(&self, found: &Capabilities) -> Check {
        match self.accel {
            Accel::Tcg => self.emulated("emulated, as accel = \"tcg\" says").await,
            Accel::Auto if !found.kvm => {
                let check = self.emulated("no KVM: emulated, which is slow").await;
                let said = check.said;
                if check.verdict == super::Verdict::Bad {
                    return Check::bad(Step::Guest, said);
                }
                Check::note(Step::Guest, said).fix(ENABLE)
            }
            Accel::Kvm if !found.kvm => {
                let said = "libvirt offers no KVM, which accel = \"kvm\" asks for";
                Check::bad(Step::Guest, said).fix(ENABLE).fix(TCG)
            }
            Accel::Auto | Accel::Kvm => self.by_kvm().await,
        }
    }

    async fn emulated(&self, how: &str) -> Check {
        match self.libvirt.tiny_guest("qemu", TCG_LIMIT).await {
            Ok(TinyGuest::Ended(took)) => {
                Check::good(Step::Guest, format!("{how}; one ran, {}", seconds(took)))
            }
            Ok(TinyGuest::Stuck) => stuck("QEMU's emulation", TCG_LIMIT),
            Err(trouble) => failed(&trouble),
        }
    }

    /// A processor that only pretends, as in some nested machines, runs guests slower than QEMU
    /// emulates them, and ends in the middle of a kernel.
    async fn by_kvm(&self) -> Check {
        let ended = match self.libvirt.tiny_guest("kvm", KVM_LIMIT).await {
            Ok(TinyGuest::Ended(took)) if took <= PROMPT => {
                return Check::good(Step::Guest, format!("one ran by KVM, {}", seconds(took)));
            }
            Ok(TinyGuest::Ended(took)) => took,
            Ok(TinyGuest::Stuck) => return stuck("KVM", KVM_LIMIT).fix(TCG),
            Err(trouble) => return failed(&trouble).fix(TCG),
        };
        let by_kvm = seconds(ended);
        match self.libvirt.tiny_guest("qemu", TCG_LIMIT).await {
            Ok(TinyGuest::Ended(emulated)) if emulated < ended / 2 => {
                let emulated = seconds(emulated);
                let said = format!(
                    "KVM is slower than emulation ({by_kvm}, {emulated}): it is no hardware's, and \
                     kernels may not start"
                );
                Check::bad(Step::Guest, said).fix(TCG)
            }
            _ => Check::good(Step::Guest, format!("one ran by KVM, {by_kvm}")),
        }
    }
}

fn stuck(what: &str, limit: Duration) -> Check {
    let said = format!("a guest by {what} did nothing for {}", seconds(limit));
    Check::bad(Step::Guest, said).fix("journalctl -k | grep -i kvm")
}

fn failed(trouble: &Trouble) -> Check {
    let said = format!("no guest starts: {}", trouble.source);
    advised(Check::bad(Step::Guest, said), trouble)
        .fix("tail /var/log/libvirt/qemu/freehold-doctor.log")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
