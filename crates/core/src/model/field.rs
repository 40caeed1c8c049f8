//! What changing a field of a VM does: the one table the plan and the reference page read.

use super::Impact;

/// A field of a VM's block, or of a block within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its path below `vm`: `memory`, `disk.size`; a block's own name stands for coming and going.
    pub path: &'static str,
    /// What changing it on an existing VM does.
    pub impact: Impact,
    /// Whether this version can change it on an existing VM.
    pub changeable: bool,
}

impl Field {
    /// Every field of a VM, in the order of the reference page.
    pub const ALL: &[Self] = &[
        fixed("host", Impact::Rebuild),
        fixed("image", Impact::Rebuild),
        fixed("cpus", Impact::Restart),
        fixed("memory", Impact::Restart),
        fixed("firmware", Impact::Rebuild),
        live("autostart"),
        Self { path: "running", impact: Impact::Restart, changeable: true },
        live("wait"),
        live("wait_timeout"),
        // Lowering it takes `--unprotect NAME`.
        live("protect"),
        live("labels"),
        fixed("disk", Impact::DataLoss),
        fixed("disk.size", Impact::Live),
        // Raising only: `false` would let go of what was promised to stay.
        live("disk.keep"),
        fixed("nic", Impact::Restart),
        fixed("nic.address", Impact::Restart),
        fixed("nic.dhcp", Impact::Restart),
        live("nic.publish"),
        fixed("cloud_init", Impact::Rebuild),
        fixed("cloud_init.ssh_keys", Impact::Rebuild),
        fixed("cloud_init.user_data", Impact::Rebuild),
        fixed("cloud_init.user", Impact::Rebuild),
        live("dns"),
        live("dns.zone"),
        live("dns.ttl"),
        live("metrics"),
        live("metrics.port"),
        live("metrics.path"),
        live("ansible"),
        live("ansible.groups"),
    ];

    /// Returns the field of this path below `vm`.
    pub fn of(path: &str) -> Option<Self> {
        Self::ALL.iter().find(|field| field.path == path).copied()
    }
}

const fn live(path: &'static str) -> Field {
    Field { path, impact: Impact::Live, changeable: true }
}

const fn fixed(path: &'static str, impact: Impact) -> Field {
    Field { path, impact, changeable: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_a_change_does() {
        assert_eq!(Field::of("memory").map(|field| field.impact), Some(Impact::Restart));
        assert_eq!(Field::of("nic.publish").map(|field| field.changeable), Some(true));
        assert_eq!(Field::of("colour"), None);
    }
}
