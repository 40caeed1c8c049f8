//! A domain as libvirt is told to define it.

use super::xml::{NICS, Tag, mark, tag};
use crate::{
    host::trouble::Trouble,
    model::{Accel, DiskSpec, DomainSpec, Firmware, NicSource, NicSpec},
};

/// Returns the file that keeps a domain's serial console.
///
/// It lies in the pool, since there the SSH user can make it before libvirt's log daemon (root)
/// does; the leading dot keeps it out of what counts as a volume of ours.
pub(crate) fn console_file(uuid: uuid::Uuid, pool: &str) -> String {
    format!("{pool}/.console-{uuid}.log")
}

/// Returns the XML of a domain whose volumes lie in the directory `pool`.
pub(super) fn domain_xml(spec: &DomainSpec, pool: &str) -> Result<String, Trouble> {
    tag("domain")
        .with("type", domain_type(spec))
        .child(tag("name").text(&spec.name))
        .child(tag("uuid").text(spec.uuid))
        .child(tag("metadata").child(domain_mark(spec)))
        .child(tag("memory").with("unit", "KiB").text(spec.memory.kib()))
        .child(tag("vcpu").text(spec.cpus))
        .child(os(spec, pool))
        .child(tag("features").child(tag("acpi")).child(tag("apic")))
        .child(tag("cpu").with("mode", cpu_mode(spec)))
        .child(tag("clock").with("offset", "utc"))
        .child(devices(spec, pool))
        .xml()
}

/// Returns our mark on a domain. It names the interfaces that we gave it, so that one added by hand
/// is told from one that the fleet no longer has.
pub(super) fn domain_mark(spec: &DomainSpec) -> Tag {
    let macs: Vec<_> = spec.nics.iter().map(|nic| nic.mac.to_string()).collect();
    mark(&spec.mark).with(NICS, macs.join(" "))
}

pub(super) fn domain_type(spec: &DomainSpec) -> &'static str {
    if spec.accel == Accel::Tcg { "qemu" } else { "kvm" }
}

pub(super) fn cpu_mode(spec: &DomainSpec) -> &'static str {
    if spec.accel == Accel::Tcg { "maximum" } else { "host-passthrough" }
}

fn os(spec: &DomainSpec, pool: &str) -> Tag {
    let nvram = spec.nvram.iter().map(|name| tag("nvram").text(format!("{pool}/{name}")));
    let kind = tag("type").with("arch", "x86_64").with("machine", "q35").text("hvm");
    let disk = tag("boot").with("dev", "hd");
    match spec.firmware {
        Firmware::Bios => tag("os").child(kind).child(disk),
        // libvirt picks the loader and the template; an unsigned loader must start. Variables lie in
        // our pool: libvirt's own directory is shut to everybody but root and QEMU.
        Firmware::Uefi => tag("os")
            .with("firmware", "efi")
            .child(kind)
            .child(
                tag("firmware").children(
                    ["enrolled-keys", "secure-boot"]
                        .map(|feature| tag("feature").with("enabled", "no").with("name", feature)),
                ),
            )
            .children(nvram)
            .child(disk),
    }
}

fn devices(spec: &DomainSpec, pool: &str) -> Tag {
    let disks = spec.disks.iter().enumerate();
    let log = console_file(spec.uuid, pool);
    let console = |name: &str| {
        tag(name)
            .with("type", "pty")
            .child(tag("log").with("file", &log).with("append", "on"))
            .child(tag("target").with("port", 0))
    };
    tag("devices")
        .children(disks.map(|(index, spec)| disk(spec, index, pool)))
        .children(spec.seed.iter().map(|seed| cdrom(seed, 0, pool)))
        .children(spec.seed.iter().map(|_| scsi_controller()))
        .children(spec.nics.iter().map(interface))
        .child(console("serial"))
        .child(
            tag("channel")
                .with("type", "unix")
                .child(tag("target").with("type", "virtio").with("name", "org.qemu.guest_agent.0")),
        )
        .child(
            tag("rng")
                .with("model", "virtio")
                .child(tag("backend").with("model", "random").text("/dev/urandom")),
        )
}

/// The chain is spelled out and ends: QEMU must never follow what a header says.
pub(super) fn disk(spec: &DiskSpec, index: usize, pool: &str) -> Tag {
    let source = |volume: &str| tag("source").with("file", format!("{pool}/{volume}"));
    let end = tag("backingStore");
    let chain = match &spec.backing {
        None => end,
        Some(backing) => tag("backingStore")
            .with("type", "file")
            .child(tag("format").with("type", "qcow2"))
            .child(source(backing))
            .child(end),
    };
    tag("disk")
        .with("type", "file")
        .with("device", "disk")
        .child(tag("driver").with("name", "qemu").with("type", "qcow2").with("discard", "unmap"))
        .child(source(&spec.volume))
        .child(chain)
        .child(tag("target").with("dev", target_name("vd", index)).with("bus", "virtio"))
}

/// On virtio-scsi: the kernel of Debian's cloud images knows no AHCI, so it sees no SATA drive.
pub(super) fn cdrom(seed: &str, index: usize, pool: &str) -> Tag {
    tag("disk")
        .with("type", "file")
        .with("device", "cdrom")
        .child(tag("driver").with("name", "qemu").with("type", "raw"))
        .child(tag("source").with("file", format!("{pool}/{seed}")))
        .child(tag("backingStore"))
        .child(tag("target").with("dev", target_name("sd", index)).with("bus", "scsi"))
        .child(tag("readonly"))
}

pub(super) fn scsi_controller() -> Tag {
    tag("controller").with("type", "scsi").with("index", 0).with("model", "virtio-scsi")
}

pub(super) fn interface(nic: &NicSpec) -> Tag {
    let (kind, attribute, source) = match &nic.source {
        NicSource::Bridge(bridge) => ("bridge", "bridge", bridge),
        NicSource::Network(network) => ("network", "network", network),
    };
    tag("interface")
        .with("type", kind)
        .child(tag("mac").with("address", nic.mac))
        .child(tag("source").with(attribute, source))
        .child(tag("model").with("type", "virtio"))
}

/// `vda` … `vdz`, `vdaa`, …
fn target_name(prefix: &str, index: usize) -> String {
    let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap_or(0));
    match index.checked_sub(26) {
        None => format!("{prefix}{}", letter(index)),
        Some(rest) => format!("{prefix}{}{}", letter(rest / 26), letter(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_targets_as_linux_does() {
        assert_eq!([0, 25, 26, 52].map(|n| target_name("vd", n)), ["vda", "vdz", "vdaa", "vdba"]);
    }
}
