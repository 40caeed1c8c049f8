//! A cpio archive ("newc"), the form the kernel wants its initramfs in.

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const CONSOLE: u32 = 0o020_600;

/// An archive under construction; parents are added before their children.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds a regular file at an absolute `path`.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parents(path);
        self.entry(path, FILE | mode, content, (0, 0));
    }

    /// Adds an empty directory at an absolute `path`.
    pub(super) fn directory(&mut self, path: &str) {
        self.parents(&format!("{path}/"));
    }

    /// Closes the archive and returns its bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.parents("/dev/console");
        self.entry("/dev/console", CONSOLE, &[], (5, 1));
        self.entry("/TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/').skip(1) {
            let parent = path.get(..at).unwrap_or_default();
            if self.directories.insert(parent.to_owned()) {
                self.entry(parent, DIRECTORY, &[], (0, 0));
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8], device: (u32, u32)) {
        self.entries += 1;
        let name = path.trim_start_matches('/');
        let size = u32::try_from(content.len()).expect("no file of the guest reaches 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("paths are short");
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_files_and_once() {
        let mut archive = Archive::default();
        archive.file("/a/b/c", 0o644, b"one");
        archive.file("/a/b/d", 0o644, b"two");
        let text = String::from_utf8_lossy(&archive.finish()).into_owned();
        assert!(text.find("a/b\0") < text.find("a/b/c\0"));
        assert_eq!(text.matches("a/b\0").count(), 1);
        assert!(text.contains("TRAILER!!!"));
    }
}
