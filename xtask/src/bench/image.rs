//! Images: how fast they are sent, against `ssh` with the same cipher, in turns.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use acceptance::bed::{Bed, Place};
use acceptance::lab::command::Run;
use acceptance::lab::rack::Spec;
use acceptance::lab::{Lab, RACKS, sha256};
use acceptance::web::{Page, Web};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::fleet::release;
use super::{Row, median};
use crate::screen;

const MIB: u64 = 400;
const POOL: &str = "/var/lib/libvirt/freehold";

/// A fleet of one image and no VM.
struct Subject {
    bed: Bed,
    volume: String,
    bytes: u64,
}

impl Subject {
    fn new(lab: &Lab) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for the fleet")?;
        let (raw, image) = (folder.path().join("raw"), folder.path().join("image.qcow2"));
        let mut random = File::open("/dev/urandom")?.take(MIB << 20);
        std::io::copy(&mut random, &mut File::create(&raw)?)?;
        let convert = ["convert", "-f", "raw", "-O", "qcow2"];
        Run::new("qemu-img").args(convert).arg(&raw).arg(&image).ok()?;
        fs::remove_file(raw)?;
        let digest = sha256(&image)?;
        let bytes = fs::metadata(&image)?.len();
        let bed = Bed::at(lab, Place::Temporary(folder)).with_binary(release());
        bed.write("fleet.hcl", &text("image.qcow2", &digest))?;
        bed.expect(0, &["init"])?;
        Ok(Self { bed, volume: format!("image.sha256-{}.qcow2", &digest[..32]), bytes })
    }

    /// Sends it to these racks at once; returns the seconds from its first byte to its last.
    fn pull(&self, racks: &[Spec]) -> Result<f64> {
        for rack in RACKS {
            let gone = format!("rm -f {POOL}/{0} {POOL}/.staging-{0}", self.volume);
            self.bed.lab().ssh(rack.name, &gone)?;
        }
        let mut command = Command::new(release());
        command.args(["image", "pull", "--json"]).current_dir(self.bed.path());
        command.args(racks.iter().flat_map(|rack| ["--host", rack.name]));
        command.env("FREEHOLD_SSH_CONFIG", self.bed.lab().ssh_config()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting freehold")?;
        let out = BufReader::new(child.stdout.take().context("a pipe")?);
        let (mut first, mut last, mut whole) = (None, None, 0);
        for line in out.lines() {
            let event: Value = serde_json::from_str(&line?).context("an event")?;
            if event["event"] == "step-progress" {
                first.get_or_insert_with(Instant::now);
                if event["done"] == self.bytes {
                    (last, whole) = (Some(Instant::now()), whole + 1);
                }
            }
        }
        ensure!(child.wait()?.success() && whole == racks.len(), "it was not sent once to each");
        let (first, last) = (first.context("no progress")?, last.context("no end")?);
        Ok((last - first).as_secs_f64())
    }

    /// The same bytes by `ssh`; its login is not counted.
    fn cat(&self, lab: &Lab, rack: &Spec) -> Result<f64> {
        let script =
            format!("echo; cat > {POOL}/.bench && stat -c %s {POOL}/.bench; rm {POOL}/.bench");
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(lab.ssh_config()).args([
            "-c",
            "aes128-gcm@openssh.com",
            rack.name,
            &script,
        ]);
        ssh.stdin(File::open(self.bed.path().join("image.qcow2"))?).stdout(Stdio::piped());
        let mut child = ssh.spawn().context("starting ssh")?;
        let mut out = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        let begun = Instant::now();
        line.clear();
        out.read_line(&mut line)?;
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(child.wait()?.success() && line.trim() == self.bytes.to_string(), "ssh: {line}");
        Ok(seconds)
    }

    /// Has a rack fetch it from this machine's web server; returns how many bytes are in the cache here.
    fn fetched(&self, rack: &Spec) -> Result<f64> {
        let web = Web::on("10.77.0.1")?;
        web.put("/image.qcow2", Page::of(fs::read(self.bed.path().join("image.qcow2"))?));
        self.bed.edit("\"image.qcow2\"", &format!("\"{}\"", web.url("/image.qcow2")))?;
        self.bed.lab().ssh(rack.name, &format!("rm -f {POOL}/{}", self.volume))?;
        self.bed.expect(0, &["image", "pull", "--host", rack.name])?;
        ensure!(web.sent() as u64 == self.bytes, "the rack fetched {} bytes", web.sent());
        let cache = self.bed.path().join(".freehold/cache");
        let here = fs::read_dir(cache).map_or(0, |files| files.flatten().count());
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        Ok(here as f64)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        for rack in RACKS {
            drop(
                self.bed
                    .lab()
                    .ssh(rack.name, &format!("rm -f {POOL}/*{0} {POOL}/.*{0}", self.volume)),
            );
        }
    }
}

/// Measures sending to one and to two racks against `ssh` to one.
pub(super) fn measure(lab: &Lab, rounds: usize) -> Result<Vec<Row>> {
    let subject = Subject::new(lab)?;
    let (mut one, mut two, mut cat) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds.max(3) {
        screen::say(format_args!("image: round {}", round + 1));
        cat.push(subject.cat(lab, &RACKS[0])?);
        one.push(subject.pull(&RACKS[..1])?);
        two.push(subject.pull(&RACKS)?);
    }
    let (one, two, cat) = (median(one), median(two), median(cat));
    let row = |name: String, value, unit, bound| Row { name, value, unit, bound };
    Ok(vec![
        row(format!("image of {MIB} MiB to one host"), one, "s", None),
        row("the same by ssh 'cat > file' with AES-GCM".into(), cat, "s", None),
        row("image / ssh cat".into(), one / cat, "", Some(1.0 / 0.9)),
        row("image to two hosts at once".into(), two, "s", None),
        row(
            "files here of one fetched by its host".into(),
            subject.fetched(&RACKS[0])?,
            "",
            Some(0.0),
        ),
    ])
}

fn text(source: &str, digest: &str) -> String {
    let block = |rack: &Spec| {
        format!("host \"{0}\" {{\n  ssh   = \"{0}\"\n  accel = \"tcg\"\n}}\n", rack.name)
    };
    let hosts: String = RACKS.iter().map(block).collect();
    format!(
        "fleet \"benchimage\" {{\n  id = \"62656e636862696d62656e636862696d\"\n}}\n{hosts}\
         image \"large\" {{\n  source = \"{source}\"\n  sha256 = \"{digest}\"\n}}\n"
    )
}
