//! The tiny guest: a disk image that boots by BIOS and by UEFI within seconds under plain emulation.
//!
//! Made of the distribution's own kernel, busybox and OpenSSH. It obeys a `NoCloud` seed as cloud-init
//! would, answers SSH and a metrics page, and goes off at the power button. It knows nothing of the lab.

mod archive;
mod boot_disk;
mod image;
mod initramfs;
mod kernel;
mod seed;

pub use image::{cached_image, default_cache};
pub use seed::Seed;

/// The memory to give a guest, in MiB: GRUB needs this much under UEFI, while by BIOS 128 will do.
pub const MEMORY_MIB: u32 = 256;
