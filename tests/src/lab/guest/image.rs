//! The finished image, built once and kept under the digest of all that went into it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::boot_disk::write_boot_disk;
use super::initramfs::{SCRIPTS, borrowed_files, initramfs};
use super::kernel::KernelPackage;
use crate::lab::command::Run;

/// How the image is built, which is part of what goes into it.
const RECIPE: [&str; 5] = [
    include_str!("archive.rs"),
    include_str!("boot_disk.rs"),
    include_str!("image.rs"),
    include_str!("initramfs.rs"),
    include_str!("kernel.rs"),
];

/// Returns the folder that images are kept in: `target/lab-cache` of this repository.
pub fn default_cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab-cache")
}

/// Returns the path of the guest image (qcow2) in `cache`, building it if it is not there.
pub fn cached_image(cache: &Path) -> Result<PathBuf> {
    fs::create_dir_all(cache).with_context(|| format!("creating {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).context("opening the image cache's lock")?;
    lock.lock().context("waiting for another build of the guest image")?;
    clear_scratch(cache)?;
    // A newer kernel of the distribution is no reason to build again: asking apt takes seconds.
    let image = cache.join(format!("guest-{}.qcow2", digest()?));
    if !image.exists() {
        build(cache, &image).context("building the guest image")?;
    }
    image.canonicalize().with_context(|| format!("finding {}", image.display()))
}

/// What a killed build left; the lock says that no other is at it.
fn clear_scratch(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path()).context("removing an unfinished build")?;
        }
    }
    Ok(())
}

fn digest() -> Result<String> {
    let mut hash = Sha256::new();
    for source in RECIPE {
        hash.update(source);
    }
    for (_, _, content) in SCRIPTS {
        hash.update(content.as_bytes());
    }
    for content in borrowed_files()? {
        hash.update(&content);
    }
    let mut text = String::new();
    for byte in hash.finalize().iter().take(6) {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

fn build(cache: &Path, image: &Path) -> Result<()> {
    let scratch = tempfile::tempdir_in(cache).context("creating a scratch folder")?;
    let kernel = KernelPackage::current()?.unpack(scratch.path())?;
    let archive = scratch.path().join("initrd");
    fs::write(&archive, initramfs(&kernel)?)?;
    // A third of the bytes for the boot loader to read, which costs more than unpacking them.
    Run::new("zstd").args(["-q", "-12"]).arg(&archive).ok()?;
    let initrd = archive.with_extension("zst");
    let raw = scratch.path().join("disk.raw");
    write_boot_disk(&raw, scratch.path(), &kernel.image, &initrd)?;
    let finished = scratch.path().join("disk.qcow2");
    Run::new("qemu-img").args(["convert", "-O", "qcow2"]).arg(&raw).arg(&finished).ok()?;
    fs::rename(&finished, image).with_context(|| format!("writing {}", image.display()))
}
