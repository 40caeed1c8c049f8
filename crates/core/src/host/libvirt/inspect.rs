//! What a host's libvirt is able to do, and the guest that shows it.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use roxmltree::Node;
use uuid::Uuid;
use virt::connect::Connect;
use virt_sys as sys;

use super::{
    CallError, Libvirt,
    domains::lookup,
    found, has_code,
    xml::{self, tag},
};
use crate::{host::trouble::Trouble, model::Size};

/// What a libvirt says of itself and of its host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Capabilities {
    /// As libvirt counts: 9.0.0 is 9,000,000.
    pub(crate) version: u32,
    /// Whether it runs x86-64 guests, and whether by KVM.
    pub(crate) x86: bool,
    pub(crate) kvm: bool,
    /// What confines guests: `apparmor`, `selinux`.
    pub(crate) confined_by: Vec<String>,
    /// The user and group that QEMU runs as.
    pub(crate) qemu: Option<(u32, u32)>,
}

/// What a host offers its guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offer {
    /// KVM, for x86-64.
    pub(crate) kvm: bool,
    /// All the memory there is; nothing where libvirt does not say.
    pub(crate) memory: Size,
}

/// What became of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TinyGuest {
    /// Its firmware ran to its end, in this time without what it waits for.
    Ended(Duration),
    /// It was gone sooner than its firmware may end it: QEMU has died.
    Died,
    /// It did not get there.
    Stuck,
    /// Somebody else's was there all the time.
    Taken,
}

/// How long the firmware waits before it resets the machine: one that is gone sooner did not do that.
const WAIT: Duration = Duration::from_millis(500);

impl Libvirt {
    /// Reads what it is able to do.
    pub(crate) async fn inspect(&self) -> Result<Capabilities, Trouble> {
        self.read(|connect| {
            let version = connect.lib_version()?;
            Ok(Capabilities { version, ..capabilities(&connect.capabilities()?)? })
        })
        .await
    }

    /// Returns what guests of a kind (`kvm`, `qemu`) may start with: `bios`, `efi`.
    pub(crate) async fn firmware(&self, kind: &'static str) -> Result<Vec<String>, Trouble> {
        self.read(move |connect| {
            let text =
                connect.domain_capabilities(None, Some("x86_64"), Some("q35"), Some(kind), 0)?;
            Ok(firmware(&text)?)
        })
        .await
    }

    /// Starts a guest without disks and waits for its end: `SeaBIOS` finds nothing to start from and
    /// resets the machine, upon which libvirt ends it. It is transient and bound to our connection;
    /// nothing is left but QEMU's log.
    pub(crate) async fn tiny_guest(
        &self,
        kind: &'static str,
        limit: Duration,
    ) -> Result<TinyGuest, Trouble> {
        let uuid = Uuid::new_v4();
        let definition = tiny_domain(kind, uuid).xml()?;
        self.change(move |connect| {
            if !start_alone(connect, &definition, limit)? {
                return Ok(TinyGuest::Taken);
            }
            let begun = Instant::now();
            while begun.elapsed() < limit {
                if lookup(connect, uuid)?.is_none() {
                    let ended = begun.elapsed().checked_sub(WAIT).map(TinyGuest::Ended);
                    return Ok(ended.unwrap_or(TinyGuest::Died));
                }
                sleep(Duration::from_millis(50));
            }
            if let Some(domain) = lookup(connect, uuid)? {
                domain.destroy()?;
            }
            Ok(TinyGuest::Stuck)
        })
        .await
    }
}

/// The name that this guest has, for as long as it is there; one name, so that QEMU has one log of it.
const NAME: &str = "freehold-doctor";

/// Starts it; where somebody else's is there, after that one. `false` where that one stays.
fn start_alone(connect: &Connect, definition: &str, limit: Duration) -> Result<bool, CallError> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        match connect.create_domain_xml(definition, sys::VIR_DOMAIN_START_AUTODESTROY) {
            Ok(_) => return Ok(true),
            Err(error) if is_taken(connect, &error)? => sleep(Duration::from_millis(100)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// The other one may be gone by the time we look.
fn is_taken(connect: &Connect, error: &virt::error::Error) -> Result<bool, CallError> {
    let there = found(connect.lookup_domain_by_name(NAME), sys::VIR_ERR_NO_DOMAIN)?.is_some();
    Ok(there || error.message().contains(NAME) && has_code(error, sys::VIR_ERR_OPERATION_FAILED))
}

fn tiny_domain(kind: &str, uuid: Uuid) -> xml::Tag {
    let machine = tag("type").with("arch", "x86_64").text("hvm");
    let none = |device: &str| tag(device).with("model", "none");
    tag("domain").with("type", kind).children([
        tag("name").text(NAME),
        tag("uuid").text(uuid),
        tag("memory").with("unit", "MiB").text(32),
        tag("vcpu").text(1),
        tag("os").child(machine).child(tag("bios").with("rebootTimeout", WAIT.as_millis())),
        tag("features").child(tag("acpi")),
        tag("on_reboot").text("destroy"),
        tag("devices").child(none("controller").with("type", "usb")).child(none("memballoon")),
    ])
}

fn capabilities(text: &str) -> Result<Capabilities, CallError> {
    let document = xml::parsed(text)?;
    let root = document.root_element();
    let (x86, kvm) = (x86_guests(root).next().is_some(), has_kvm(root));
    let mut found = Capabilities { x86, kvm, ..Capabilities::default() };
    let host = xml::child(root, "host");
    for model in host.iter().flat_map(|host| xml::children(*host, "secmodel")) {
        let text = |name| xml::child(model, name).and_then(|node| node.text());
        match text("model") {
            Some("dac") => found.qemu = text("baselabel").and_then(ids),
            Some("none") | None => {}
            Some(other) => found.confined_by.push(other.to_owned()),
        }
    }
    Ok(found)
}

/// Reads what libvirt's capabilities offer guests.
pub(super) fn offer(text: &str) -> Result<Offer, CallError> {
    let document = xml::parsed(text)?;
    let root = document.root_element();
    let topology = xml::child(root, "host").and_then(|host| xml::child(host, "topology"));
    let cells = topology.and_then(|topology| xml::child(topology, "cells"));
    let cells = cells.iter().flat_map(|cells| xml::children(*cells, "cell"));
    // Always in KiB (`virCapabilitiesHostNUMAFormat`).
    let kib =
        cells.filter_map(|cell| xml::child(cell, "memory")?.text()?.trim().parse::<u64>().ok());
    Ok(Offer { kvm: has_kvm(root), memory: Size::from_bytes(kib.sum::<u64>() << 10) })
}

/// Says whether libvirt offers KVM for x86-64 guests.
fn has_kvm(capabilities: Node<'_, '_>) -> bool {
    x86_guests(capabilities).any(|arch| {
        xml::children(arch, "domain").any(|domain| domain.attribute("type") == Some("kvm"))
    })
}

fn x86_guests<'a>(capabilities: Node<'a, 'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    let arches = xml::children(capabilities, "guest").filter_map(|guest| xml::child(guest, "arch"));
    arches.filter(|arch| arch.attribute("name") == Some("x86_64"))
}

/// Reads `+64055:+64055`.
fn ids(label: &str) -> Option<(u32, u32)> {
    let (user, group) = label.trim().split_once(':')?;
    let number = |text: &str| text.trim_start_matches('+').parse().ok();
    Some((number(user)?, number(group)?))
}

fn firmware(text: &str) -> Result<Vec<String>, Trouble> {
    let document = xml::parsed(text)?;
    let os = xml::child(document.root_element(), "os");
    let enums = os.iter().flat_map(|os| xml::children(*os, "enum"));
    let offered = enums.filter(|one| one.attribute("name") == Some("firmware"));
    let values = offered.flat_map(|one| xml::children(one, "value"));
    Ok(values.filter_map(|value| value.text()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_who_confines_guests_and_who_runs_them() {
        let text = "<capabilities><host>\
            <secmodel><model>apparmor</model><doi>0</doi></secmodel>\
            <secmodel><model>dac</model><baselabel type='kvm'>+64055:+108</baselabel></secmodel>\
            </host><guest><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch></guest>\
            </capabilities>";
        let found = capabilities(text).unwrap();
        assert_eq!(found.confined_by, ["apparmor"]);
        assert_eq!(found.qemu, Some((64055, 108)));
        assert!(found.kvm);
        let other = text.replace("x86_64", "aarch64").replace("apparmor", "none");
        let found = capabilities(&other).unwrap();
        assert_eq!((found.x86, found.kvm, found.confined_by.len()), (false, false, 0));
    }

    #[test]
    fn reads_what_guests_are_offered() {
        let text = "<capabilities><host><topology><cells num='2'>\
            <cell id='0'><memory unit='KiB'>1024</memory></cell>\
            <cell id='1'><memory unit='KiB'>2048</memory></cell></cells></topology></host>\
            <guest><arch name='x86_64'><domain type='kvm'/></arch></guest></capabilities>";
        assert_eq!(offer(text).unwrap(), Offer { kvm: true, memory: Size::from_mib(3) });
        assert_eq!(offer("<capabilities/>").unwrap(), Offer::default());
    }

    #[test]
    fn reads_what_guests_may_start_with() {
        let text = "<domainCapabilities><os><enum name='firmware'><value>bios</value>\
            <value>efi</value></enum><loader><enum name='type'><value>rom</value></enum></loader>\
            </os></domainCapabilities>";
        assert_eq!(firmware(text).unwrap(), ["bios", "efi"]);
        assert_eq!(firmware("<domainCapabilities/>").unwrap(), [""; 0]);
    }
}
