//! Whether a guest runs: that `/dev/kvm` is there proves nothing.

use std::time::Duration;

use super::{Check, Patient, Step, Verdict, session::Facts};
use crate::{
    host::{
        command::Command,
        libvirt::{Capabilities, TinyGuest, advice},
        trouble::Trouble,
    },
    model::{Accel, DaemonMode},
};

/// Emulated this guest takes a tenth of a second or two; by KVM longer than this is looked into.
const PROMPT: Duration = Duration::from_secs(1);
const KVM_LIMIT: Duration = Duration::from_secs(10);
const TCG_LIMIT: Duration = Duration::from_secs(30);

const TCG: &str = "accel = \"tcg\" in the host's block: QEMU's own emulation";
const ENABLE: &str = "turn on VT-x or AMD-V in its BIOS, then: modprobe kvm_intel, or kvm_amd";

impl Patient {
    /// Starts a guest with what the host is to use.
    pub(super) async fn guest(&self, facts: &Facts, found: &Capabilities) -> Check {
        match self.accel {
            _ if !found.x86 => {
                let said = "this host runs no x86-64 guests, and freehold makes no others";
                Check::bad(Step::Guest, said).fix("take another host")
            }
            Accel::Tcg => self.emulated("emulated, as accel = \"tcg\" says").await,
            Accel::Auto if !found.kvm => {
                let check = self.emulated("no KVM: emulated, which is slow").await;
                let verdict = check.verdict.max(Verdict::Note);
                Check { verdict, ..check }.fix(self.enable(facts).await)
            }
            Accel::Kvm if !found.kvm => {
                let said = "libvirt offers no KVM, which accel = \"kvm\" asks for";
                Check::bad(Step::Guest, said).fix(self.enable(facts).await).fix(TCG)
            }
            Accel::Auto | Accel::Kvm => self.by_kvm().await,
        }
    }

    /// Returns what gives us KVM. Guests of a user's own libvirt open it with that user's rights.
    async fn enable(&self, facts: &Facts) -> String {
        let shut = "if [ -e /dev/kvm ] && [ ! -w /dev/kvm ]; then echo shut; fi";
        let said = match Command::new(shut, []) {
            Ok(command) if self.mode == DaemonMode::Session => self.run(&command).await,
            _ => return ENABLE.to_owned(),
        };
        let user = &facts.user;
        match said.is_ok_and(|said| said.trim() == "shut") {
            true => format!("usermod -aG kvm {user}, then as {user}: pkill -u {user} libvirtd"),
            false => ENABLE.to_owned(),
        }
    }

    async fn emulated(&self, how: &str) -> Check {
        match self.libvirt.tiny_guest("qemu", TCG_LIMIT).await {
            Ok(TinyGuest::Ended(took)) => {
                Check::good(Step::Guest, format!("{how}; one ran, {}", seconds(took)))
            }
            Ok(other) => unended(other, "QEMU's emulation", TCG_LIMIT, self.mode),
            Err(trouble) => failed(&trouble, self.mode),
        }
    }

    async fn by_kvm(&self) -> Check {
        let mut times = Vec::new();
        // A busy host is given another chance.
        while times.len() < 2 {
            match self.libvirt.tiny_guest("kvm", KVM_LIMIT).await {
                Ok(TinyGuest::Ended(took)) => times.push(took),
                Ok(TinyGuest::Taken) => {
                    return unended(TinyGuest::Taken, "KVM", KVM_LIMIT, self.mode);
                }
                Ok(other) => return unended(other, "KVM", KVM_LIMIT, self.mode).fix(TCG),
                Err(trouble) => return failed(&trouble, self.mode).fix(TCG),
            }
            if times.iter().any(|took| *took <= PROMPT) {
                break;
            }
        }
        let took = times.into_iter().min().unwrap_or_default();
        if took <= PROMPT {
            return by_kvm(took, None);
        }
        match self.libvirt.tiny_guest("qemu", TCG_LIMIT).await {
            Ok(TinyGuest::Ended(emulated)) => by_kvm(took, Some(emulated)),
            _ => by_kvm(took, None),
        }
    }
}

/// Judges what a guest took by KVM, and emulated where that was tried. A processor that only pretends,
/// as in some nested machines, runs guests slower than QEMU emulates them, and ends in the middle of a
/// kernel.
fn by_kvm(took: Duration, emulated: Option<Duration>) -> Check {
    match emulated {
        Some(emulated) if emulated < took / 2 => {
            let said = format!(
                "KVM is slower than emulation ({}, {}): it is no hardware's, and kernels may not start",
                seconds(took),
                seconds(emulated)
            );
            Check::bad(Step::Guest, said).fix(TCG)
        }
        _ => Check::good(Step::Guest, format!("one ran by KVM, {}", seconds(took))),
    }
}

fn unended(guest: TinyGuest, what: &str, limit: Duration, mode: DaemonMode) -> Check {
    let kernel = "journalctl -k | grep -i -e kvm -e qemu";
    match guest {
        TinyGuest::Died => Check::bad(Step::Guest, format!("a guest by {what} died at once"))
            .fix(advice::log_of_doctors_guest(mode))
            .fix(kernel),
        TinyGuest::Taken => {
            let said = "not tried: another doctor's guest is there all the time";
            Check::note(Step::Guest, said)
                .fix(format!("virsh -c {} destroy freehold-doctor", mode.uri()))
        }
        TinyGuest::Ended(_) | TinyGuest::Stuck => {
            let said = format!("a guest by {what} did nothing for {}", seconds(limit));
            Check::bad(Step::Guest, said).fix(kernel)
        }
    }
}

fn failed(trouble: &Trouble, mode: DaemonMode) -> Check {
    let check = Check::of(Step::Guest, trouble, advice::log_of_doctors_guest(mode));
    Check { said: format!("no guest starts: {}", check.said), ..check }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_that_is_slower_than_emulation_is_none() {
        let of = |tenths: u64| Duration::from_millis(tenths * 100);
        assert_eq!(by_kvm(of(2), None).verdict, Verdict::Good);
        assert_eq!(by_kvm(of(15), Some(of(10))).verdict, Verdict::Good);
        let check = by_kvm(of(28), Some(of(1)));
        assert_eq!((check.verdict, check.fix.as_slice()), (Verdict::Bad, &[TCG.to_owned()][..]));
    }

    #[test]
    fn a_guest_that_did_not_end_by_itself_did_not_run() {
        let limit = Duration::from_secs(1);
        for (guest, verdict) in [
            (TinyGuest::Died, Verdict::Bad),
            (TinyGuest::Stuck, Verdict::Bad),
            (TinyGuest::Taken, Verdict::Note),
        ] {
            let check = unended(guest, "KVM", limit, DaemonMode::System);
            assert_eq!((check.verdict, check.fix.is_empty()), (verdict, false), "{check:?}");
        }
    }
}
