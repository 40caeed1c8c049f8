//! What may stand in the way when a connection to libvirt is opened.

use virt::{connect::Connect, error::Error};
use virt_sys as sys;

use super::{advice, has_code};
use crate::{
    host::{HostErrorKind, trouble::Trouble},
    model::DaemonMode,
};

/// What freehold asks of libvirt (firmware chosen by libvirt, 5.2; whole backing chains in XML) is there, and
/// no distribution that is still maintained has an older one.
const OLDEST: u32 = 6_000_000;

/// Opens a connection to one that is new enough. Blocks, also when it fails: closing waits for an answer.
pub(super) fn open(uri: &str, mode: DaemonMode) -> Result<Connect, Trouble> {
    let unopened = |error: Error| unopened(&error, mode);
    let connect = Connect::open(Some(uri)).map_err(unopened)?;
    refuse_old(connect.lib_version().map_err(unopened)?)?;
    Ok(connect)
}

/// Returns a version as people write it; libvirt counts 9.0.0 as 9,000,000.
pub(crate) fn version_text(number: u32) -> String {
    let (major, minor, release) = (number / 1_000_000, number / 1_000 % 1_000, number % 1_000);
    format!("libvirt {major}.{minor}.{release}")
}

/// Where its socket is open to all, polkit decides.
fn unopened(error: &Error, mode: DaemonMode) -> Trouble {
    let text = error.message().to_owned();
    if mode == DaemonMode::Session {
        return Trouble::unreachable(text)
            .hint(format!("log in there, and see: {}", advice::status(mode)));
    }
    if is_denied(error) {
        return Trouble::new(HostErrorKind::Login, text)
            .hint("put the login's user into group libvirt there: usermod -aG libvirt USER");
    }
    Trouble::unreachable(text).hint(
        "see `systemctl status libvirtd virtqemud` on the host, and whether sshd has \
         AllowStreamLocalForwarding yes",
    )
}

pub(super) fn is_denied(error: &Error) -> bool {
    let denied = [
        sys::VIR_ERR_ACCESS_DENIED,
        sys::VIR_ERR_AUTH_FAILED,
        sys::VIR_ERR_AUTH_UNAVAILABLE,
        sys::VIR_ERR_AUTH_CANCELLED,
    ];
    denied.iter().any(|code| has_code(error, *code))
}

fn refuse_old(version: u32) -> Result<(), Trouble> {
    if version >= OLDEST {
        return Ok(());
    }
    let (have, want) = (version_text(version), version_text(OLDEST));
    Err(Trouble::failed(format!("the host has {have}; freehold needs {want} or newer"))
        .hint("install a newer release of its system, or libvirt from its backports"))
}
