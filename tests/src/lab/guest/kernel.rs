//! The guest's kernel: the distribution's own, unpacked from its package and not installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::lab::command::Run;

/// Debian's kernel for clouds, then Ubuntu's for virtual machines.
const META_PACKAGES: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-virtual"];

/// A kernel package chosen but not fetched.
#[derive(Debug, Clone)]
pub(super) struct KernelPackage {
    /// The image, and its modules where they are a package of their own.
    names: Vec<String>,
}

impl KernelPackage {
    /// Asks apt which kernel this distribution gives to virtual machines.
    pub(super) fn current() -> Result<Self> {
        for meta in META_PACKAGES {
            let Ok(depends) = Run::new("apt-cache").args(["depends", meta]).ok() else { continue };
            let Some(image) = depended(&depends.stdout, "linux-image-") else { continue };
            let inner = Run::new("apt-cache").args(["depends", &image]).ok()?;
            let modules = depended(&inner.stdout, "linux-modules-");
            let names = std::iter::once(image).chain(modules).collect();
            return Ok(Self { names });
        }
        Err(anyhow!(
            "apt knows no kernel package ({}); run apt-get update",
            META_PACKAGES.join(", ")
        ))
    }

    /// Fetches the packages and unpacks them below `dir`.
    pub(super) fn unpack(&self, dir: &Path) -> Result<Kernel> {
        let root = dir.join("kernel");
        Run::new("apt-get").arg("download").args(&self.names).within(dir).ok()?;
        for package in files_in(dir)? {
            if package.extension().is_some_and(|ending| ending == "deb") {
                Run::new("dpkg-deb").arg("-x").arg(&package).arg(&root).ok()?;
            }
        }
        Kernel::below(&root)
    }
}

fn depended(listing: &str, start: &str) -> Option<String> {
    let names = listing.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names
        .filter(|name| {
            name.strip_prefix(start)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
        .map(str::to_owned)
        .next()
}

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The bootable file.
    pub(super) image: PathBuf,
    modules: Vec<PathBuf>,
}

impl Kernel {
    fn below(root: &Path) -> Result<Self> {
        let image = files_in(&root.join("boot"))?
            .into_iter()
            .find(|path| file_name(path).starts_with("vmlinuz-"))
            .context("the kernel package holds no vmlinuz")?;
        let mut modules = Vec::new();
        for home in ["lib/modules", "usr/lib/modules"] {
            collect_modules(&root.join(home), &mut modules)?;
        }
        Ok(Self { image, modules })
    }

    /// Returns `wanted` and all they depend on, dependencies first, as name and content; what this
    /// kernel has built in (or lacks) is left out.
    pub(super) fn modules(
        &self,
        wanted: &[&str],
        seen: &mut BTreeSet<String>,
    ) -> Result<Vec<Module>> {
        let mut loaded = Vec::new();
        for name in wanted {
            self.add(name, seen, &mut loaded)?;
        }
        Ok(loaded)
    }

    fn add(&self, name: &str, seen: &mut BTreeSet<String>, loaded: &mut Vec<Module>) -> Result<()> {
        let name = name.replace('-', "_");
        let Some(path) = self.modules.iter().find(|path| module_name(path) == name) else {
            return Ok(());
        };
        if !seen.insert(name.clone()) {
            return Ok(());
        }
        let content = plain_module(path)?;
        for needed in dependencies(&content) {
            self.add(&needed, seen, loaded)?;
        }
        loaded.push(Module { name: format!("{name}.ko"), content });
        Ok(())
    }
}

/// A kernel module ready for `insmod`.
#[derive(Debug)]
pub(super) struct Module {
    /// File name.
    pub(super) name: String,
    /// Uncompressed content.
    pub(super) content: Vec<u8>,
}

fn collect_modules(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for path in files_in(dir)? {
        if path.is_dir() && !path.is_symlink() {
            collect_modules(&path, found)?;
        } else if file_name(&path).contains(".ko") {
            found.push(path);
        }
    }
    Ok(())
}

fn files_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let listing = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut paths = listing.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn module_name(path: &Path) -> String {
    let name = file_name(path);
    name.split(".ko").next().unwrap_or_default().replace('-', "_")
}

/// Debian 13 packs modules with xz, Ubuntu with zstd; busybox's insmod reads neither.
fn plain_module(path: &Path) -> Result<Vec<u8>> {
    let packer = match path.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("reading {}", path.display())),
    };
    let plain = path.with_extension("");
    Run::new(packer).args(["-d", "-k", "-q", "-f"]).arg(path).ok()?;
    fs::read(&plain).with_context(|| format!("reading {}", plain.display()))
}

/// The section `.modinfo` is a list of zero-terminated `key=value`.
fn dependencies(content: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = content.windows(key.len()).position(|window| window == key) else {
        return Vec::new();
    };
    let value = content.iter().skip(at + key.len()).take_while(|byte| **byte != 0);
    let value = String::from_utf8_lossy(&value.copied().collect::<Vec<_>>()).into_owned();
    value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_modules_dependencies() {
        let content = b"\x7fELF\0license=GPL\0depends=virtio,virtio_ring\0retpoline=Y\0";
        assert_eq!(dependencies(content), ["virtio", "virtio_ring"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
    }
}
