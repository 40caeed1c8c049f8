//! The fleet that is measured: many VMs that are made and not started.

use std::path::Path;
use std::time::{Duration, Instant};

use acceptance::bed::Bed;
use acceptance::lab::command::Output;
use acceptance::lab::{Lab, RACKS};
use anyhow::{Context, Result, ensure};

/// A fleet of so many VMs on both racks.
pub(super) struct Subject {
    bed: Bed,
    vms: usize,
}

/// What one apply took.
pub(super) struct Applied {
    pub(super) seconds: f64,
    /// How much of it waited for the journal's disk.
    pub(super) journal: f64,
}

impl Subject {
    pub(super) fn new(lab: &Lab, vms: usize) -> Result<Self> {
        let text = fleet(lab.image(), &lab.image_sha256()?, vms);
        let release = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/freehold");
        let bed = Bed::new(lab, &text)?.with_binary(release);
        let decided = bed.decide()?;
        ensure!(decided.success(), "plan --lock: {decided}");
        Ok(Self { bed, vms })
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
        let want = format!("nothing to do: {} unchanged", self.vms);
        ensure!(output.stdout.contains(&want), "the plan is not empty: {output}");
        Ok(seconds)
    }

    /// Takes everything away, the trash too: nothing in it is anybody's.
    pub(super) fn remove(&self, lab: &Lab) -> Result<()> {
        self.timed(&["destroy", "--yes"])?;
        for rack in RACKS {
            let emptied = lab.ssh(rack.name, "rm -f /var/lib/libvirt/freehold/trash.*")?;
            ensure!(emptied.success(), "{emptied}");
        }
        Ok(())
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

fn fleet(image: &Path, digest: &str, vms: usize) -> String {
    let image = image.display();
    format!(
        r#"
fleet "bench" {{
  id = "62656e636862656e636862656e636862"
}}
host "rack1" {{
  ssh   = "rack1"
  accel = "tcg"
}}
host "rack2" {{
  ssh   = "rack2"
  accel = "tcg"
}}
network "wide" {{
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
  host    = [host.rack1, host.rack2]
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
