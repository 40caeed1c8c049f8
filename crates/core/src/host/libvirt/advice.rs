//! What to look at on a host when one of its libvirt daemons does not do what it should.

use crate::model::DaemonMode;

/// It answers nothing.
pub(crate) fn frozen(mode: DaemonMode) -> &'static str {
    match mode {
        DaemonMode::System => "is libvirtd frozen? try `systemctl restart libvirtd` on the host",
        DaemonMode::Session => {
            "is it frozen? log in there: `pgrep -u $USER -a libvirtd`; ending it ends no guest"
        }
    }
}

/// It went away.
pub(crate) fn ended(mode: DaemonMode) -> &'static str {
    match mode {
        DaemonMode::System => "did libvirtd end there? see `journalctl -u libvirtd` on the host",
        DaemonMode::Session => {
            "did it end there? log in, and see: virsh -c qemu:///session version"
        }
    }
}

/// It does not let us in, or does not run.
pub(crate) fn status(mode: DaemonMode) -> &'static str {
    match mode {
        DaemonMode::System => "systemctl status libvirtd",
        DaemonMode::Session => "virsh -c qemu:///session version",
    }
}

/// A guest of ours ended, and QEMU said why.
pub(crate) fn log_of_doctors_guest(mode: DaemonMode) -> &'static str {
    match mode {
        DaemonMode::System => "tail /var/log/libvirt/qemu/freehold-doctor.log",
        DaemonMode::Session => "tail ~/.cache/libvirt/qemu/log/freehold-doctor.log",
    }
}
