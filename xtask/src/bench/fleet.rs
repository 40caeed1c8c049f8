//! The fleet that is measured: many VMs that are made and not started.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use acceptance::bed::{Bed, Place};
use acceptance::lab::Lab;
use acceptance::lab::command::Output;
use acceptance::lab::rack::Spec;
use anyhow::{Context, Result, ensure};

/// Runs the program and writes down what the kernel says was its largest resident set, in KiB.
const PEAK: &str = include_str!("peak.py");

/// A fleet of so many VMs on these racks.
pub(super) struct Subject {
    bed: Bed,
    racks: &'static [Spec],
    vms: usize,
}

/// What one apply took.
pub(super) struct Applied {
    pub(super) seconds: f64,
    /// How much of it waited for the journal's disk.
    pub(super) journal: f64,
}

impl Subject {
    pub(super) fn new(lab: &Lab, racks: &'static [Spec], vms: usize) -> Result<Self> {
        let text = fleet(racks, lab.image(), &lab.image_sha256()?, vms);
        let folder = tempfile::tempdir().context("making a folder for the fleet")?;
        let bed = Bed::at(lab, Place::Temporary(folder)).with_binary(release());
        bed.write("fleet.hcl", &text)?;
        // `verify` is content with hosts that a clone knows.
        fs::copy(lab.known_hosts(), bed.path().join("known_hosts")).context("known_hosts")?;
        bed.expect(0, &["init"])?;
        bed.expect(0, &["plan", "--lock"])?;
        Ok(Self { bed, racks, vms })
    }

    pub(super) fn apply(&self) -> Result<Applied> {
        let (output, seconds) = self.timed(&["-v", "apply", "--yes"])?;
        let line = output.stderr.lines().find(|line| line.contains("waiting for the journal"));
        let line = line.context("apply does not say how long the journal took")?;
        let journal = line.split(", ").nth(1).and_then(|part| part.split_whitespace().next());
        let journal = journal.context("no journal time")?.parse().context("no journal time")?;
        Ok(Applied { seconds, journal })
    }

    pub(super) fn empty_plan(&self) -> Result<f64> {
        let (output, seconds) = self.timed(&["plan"])?;
        self.refuse_work(&output)?;
        Ok(seconds)
    }

    /// Times `verify` where everything is as it should be.
    pub(super) fn verify(&self) -> Result<f64> {
        let (output, seconds) = self.timed(&["verify"])?;
        let want = format!("all is as it should be: {} VMs", self.vms);
        ensure!(output.stdout.contains(&want), "{output}");
        Ok(seconds)
    }

    /// Returns the most memory that a plan with nothing to do ever held, in bytes.
    pub(super) fn memory_of_empty_plan(&self) -> Result<u64> {
        let place = tempfile::tempdir().context("making a folder for a script")?;
        let (script, peak) = (place.path().join("peak.py"), place.path().join("peak"));
        fs::write(&script, PEAK).context("writing peak.py")?;
        fs::set_permissions(&script, Permissions::from_mode(0o755)).context("peak.py")?;
        let bed = Bed::at(self.bed.lab(), Place::Folder(self.bed.path().to_owned()))
            .with_binary(script)
            .with_env("PEAK_OF", release())
            .with_env("PEAK_TO", &peak);
        self.refuse_work(&bed.freehold(&["plan"]).output()?)?;
        let kib: u64 = fs::read_to_string(&peak).context("reading the peak")?.parse()?;
        Ok(kib * 1024)
    }

    fn refuse_work(&self, output: &Output) -> Result<()> {
        let want = format!("nothing to do: {} unchanged", self.vms);
        ensure!(output.stdout.contains(&want), "the plan is not empty: {output}");
        Ok(())
    }

    /// Takes everything away, the trash too: nothing in it is anybody's.
    pub(super) fn remove(&self, lab: &Lab) -> Result<()> {
        self.timed(&["destroy", "--yes"])?;
        for rack in self.racks {
            let emptied = lab.ssh(rack.name, "rm -f /var/lib/libvirt/freehold/trash.*")?;
            ensure!(emptied.success(), "{emptied}");
        }
        Ok(())
    }

    /// Makes again what was on a rack.
    pub(super) fn rebuild(&self, rack: &str) -> Result<f64> {
        Ok(self.timed(&["rebuild", rack, "--yes"])?.1)
    }

    /// Loses the state: the fleet is as it was before its first apply, but for the lock.
    pub(super) fn lose_state(&self) -> Result<()> {
        let store = self.bed.path().join(".freehold");
        for name in ["state.json", "journal.jsonl"] {
            let path = store.join(name);
            if path.exists() {
                fs::remove_file(&path).with_context(|| format!("removing {name}"))?;
            }
        }
        let history = store.join("history");
        if history.exists() { fs::remove_dir_all(history).context("history") } else { Ok(()) }
    }

    fn timed(&self, arguments: &[&str]) -> Result<(Output, f64)> {
        let run = self.bed.freehold(arguments).limit(Duration::from_mins(10));
        let begun = Instant::now();
        let output = run.output()?;
        let seconds = begun.elapsed().as_secs_f64();
        ensure!(output.success(), "freehold {}: {output}", arguments.join(" "));
        Ok((output, seconds))
    }
}

pub(super) fn release() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/freehold")
}

fn fleet(racks: &[Spec], image: &Path, digest: &str, vms: usize) -> String {
    let image = image.display();
    let block = |rack: &Spec| {
        format!("host \"{0}\" {{\n  ssh   = \"{0}\"\n  accel = \"tcg\"\n}}\n", rack.name)
    };
    let hosts: String = racks.iter().map(block).collect();
    let names: Vec<_> = racks.iter().map(|rack| format!("host.{}", rack.name)).collect();
    let names = names.join(", ");
    format!(
        r#"
fleet "bench" {{
  id = "62656e636862656e636862656e636862"
}}
{hosts}network "wide" {{
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.79.0.0/16"
  addresses = "10.79.1.0-10.79.200.255"
}}
image "guest" {{
  source = "{image}"
  sha256 = "{digest}"
}}
vm "bench" {{
  count   = {vms}
  host    = [{names}]
  image   = image.guest
  memory  = "64MiB"
  running = false
  disk "root" {{
    size = "1GiB"
  }}
  nic "wide" {{}}
}}
"#
    )
}
