//! Small fleets: an empty image, so that guests halt in their BIOS; no names and no targets.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    thread,
    time::Duration,
};

use acceptance::{
    bed::Bed,
    lab::{
        Lab, RACKS,
        command::{Output, Run},
        sha256,
    },
};

use super::all_domains;

pub(crate) const RACK1: &str = "host \"rack1\" {\n  ssh = \"rack1\"\n  accel = \"tcg\"\n}\n";
pub(crate) const RACK2: &str = "host \"rack2\" {\n  ssh = \"rack2\"\n  accel = \"tcg\"\n}\n";

/// A fleet's text: its name, an id made of the name, and these blocks.
pub(crate) fn fleet(name: &str, blocks: &str) -> String {
    format!("fleet \"{name}\" {{\n  id = \"{}\"\n}}\n{blocks}", id(name))
}

/// The id of the fleet of this name.
pub(crate) fn id(name: &str) -> String {
    name.bytes().cycle().take(16).fold(String::new(), |mut id, byte| {
        write!(id, "{byte:02x}").unwrap();
        id
    })
}

/// What the names of a fleet's volumes begin with; the first four letters of its name decide.
pub(crate) fn volume_prefix(name: &str) -> String {
    format!("{}.", &id(name)[..8])
}

/// An image block.
pub(crate) fn image(source: &str, sha256: &str) -> String {
    format!("image \"blank\" {{\n  source = \"{source}\"\n  sha256 = \"{sha256}\"\n}}\n")
}

/// A VM that nobody waits for.
pub(crate) fn idle(name: &str, host: &str, more: &str) -> String {
    format!(
        "vm \"{name}\" {{\n  host = {host}\n  image = image.blank\n  memory = \"16MiB\"\n  \
         wait = \"none\"\n  disk \"root\" {{\n    size = \"16MiB\"\n  }}\n  {more}\n}}\n"
    )
}

/// Makes `blank.qcow2` in a folder: nothing in it, so large. Returns its digest.
pub(crate) fn blank(folder: &Path, size: &str) -> String {
    let path = folder.join("blank.qcow2");
    Run::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&path).arg(size).ok().unwrap();
    sha256(&path).unwrap()
}

/// Lays out a fleet whose image is `blank.qcow2` beside it.
pub(crate) fn bed(lab: &Lab, name: &str, blocks: &str) -> Bed {
    let bed = Bed::new(lab, &fleet(name, "")).unwrap();
    let sha256 = blank(bed.path(), "8M");
    let text = fleet(name, &(image("blank.qcow2", &sha256) + blocks));
    bed.write("fleet.hcl", &text).unwrap();
    bed
}

/// Everything in the pool of a rack that has `word` in its name, hidden files too.
pub(crate) fn pool_files(lab: &Lab, rack: &str, word: &str) -> Vec<String> {
    let output = lab.ssh(rack, "ls -1A /var/lib/libvirt/freehold").unwrap();
    output.text().lines().filter(|name| name.contains(word)).map(str::to_owned).collect()
}

/// Nothing of a fleet is on any rack, but in the trash.
pub(crate) fn nothing_was_made(lab: &Lab, name: &str) {
    assert_eq!(all_domains(lab, name), [""; 0]);
    for rack in RACKS {
        let mut files = pool_files(lab, rack.name, &volume_prefix(name));
        files.retain(|name| !name.starts_with("trash."));
        assert_eq!(files, [""; 0], "{}", rack.name);
    }
}

/// All of these stand in what was said, wherever its lines are broken.
pub(crate) fn says(output: &Output, words: &[&str]) {
    let said = format!("{}\n{}", output.stdout, output.stderr);
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(flat(&said).contains(&flat(word)), "{word:?} is not in:\n{said}");
    }
}

/// Takes away what a test made. These guests have no ear for ACPI, so they are turned off first.
pub(crate) struct Gone<'a>(pub(crate) &'a Bed, pub(crate) &'a str);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        turn_off(self.0.lab(), self.1);
        let ended = self.0.freehold(&["destroy", "--yes"]).output();
        let gone = ended.as_ref().is_ok_and(Output::success);
        assert!(gone || thread::panicking(), "destroy: {ended:?}");
    }
}

/// Turns off all domains that begin so.
pub(crate) fn turn_off(lab: &Lab, prefix: &str) {
    for rack in RACKS {
        let list = format!("virsh -c qemu:///system list --name | grep '^{prefix}'");
        let command = format!("for d in $({list}); do virsh -c qemu:///system destroy $d; done");
        drop(lab.ssh(rack.name, &command));
    }
}

/// Serves one answer, whatever is asked, until the test ends.
pub(crate) fn serve(address: &str, answer: Vec<u8>, pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let place = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let answer = answer.clone();
            thread::spawn(move || {
                let mut asked = Vec::new();
                let mut piece = [0; 1024];
                while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut piece) {
                        Ok(0) | Err(_) => return,
                        Ok(read) => asked.extend_from_slice(&piece[..read]),
                    }
                }
                thread::sleep(pause);
                drop(stream.write_all(&answer));
            });
        }
    });
    place
}

/// An HTTP answer.
pub(crate) fn http(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
