//! One running VM on one host: `status` against virsh, `ssh` against ssh.

use std::fs;
use std::time::Instant;

use acceptance::bed::{Bed, Place};
use acceptance::lab::Lab;
use acceptance::lab::command::Run;
use anyhow::{Context, Result};

use super::{Row, fleet::release, median, reference};

const ADDRESS: &str = "10.77.0.238";

/// Boots the VM, measures in turns, and takes it away.
pub(super) fn measure(lab: &Lab, rounds: usize) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir().context("making a folder for the fleet")?;
    let bed = Bed::at(lab, Place::Temporary(folder)).with_binary(release());
    bed.write("fleet.hcl", &text(lab)?)?;
    bed.expect(0, &["init"])?;
    bed.expect(0, &["apply", "--yes"])?;
    let measured = in_turns(lab, &bed, rounds * 5);
    bed.expect(0, &["destroy", "--yes"])?;
    let [list, status, plain, ours] = measured?.map(median);
    let row = |name: &str, value, unit, bound| Row { name: name.to_owned(), value, unit, bound };
    Ok(vec![
        row("cold status of one host", status, "s", None),
        row("cold status / cold virsh list", status / list, "", Some(1.2)),
        row("ssh to a VM", plain, "s", None),
        row("freehold ssh less ssh", ours - plain, "s", Some(0.1)),
    ])
}

/// What virsh, `status`, ssh and `freehold ssh` took.
fn in_turns(lab: &Lab, bed: &Bed, rounds: usize) -> Result<[Vec<f64>; 4]> {
    // Writes the file of known hosts that plain ssh is given.
    bed.expect(0, &["ssh", "benchone", "--", "true"])?;
    let known = bed.path().join(".freehold/known_hosts");
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
        times[0].push(reference::cold_list(lab)?);
        times[1].push(timed(bed.freehold(&["status"]))?);
        let ssh = Run::new("ssh").arg("-F").arg(lab.ssh_config()).arg("-o");
        let ssh = ssh.arg(format!("UserKnownHostsFile={}", known.display()));
        let ssh = ssh.args(["-o", "GlobalKnownHostsFile=/dev/null", "-o"]);
        let ssh = ssh.args(["StrictHostKeyChecking=yes", "-o", "HostKeyAlias=benchone.freehold"]);
        let ssh = ssh.args(["-o", "HostKeyAlgorithms=ssh-ed25519", "-l", "root", "--", ADDRESS]);
        times[2].push(timed(ssh.arg("true"))?);
        times[3].push(timed(bed.freehold(&["ssh", "benchone", "--", "true"]))?);
    }
    Ok(times)
}

fn timed(run: Run) -> Result<f64> {
    let begun = Instant::now();
    run.ok()?;
    Ok(begun.elapsed().as_secs_f64())
}

fn text(lab: &Lab) -> Result<String> {
    let (image, digest) = (lab.image().display(), lab.image_sha256()?);
    let key = fs::read_to_string(lab.user_key().with_extension("pub")).context("a public key")?;
    let key = key.trim();
    Ok(format!(
        r#"
fleet "benchone" {{
  id = "62656e63686f6e6562656e63686f6e65"
}}
host "rack1" {{
  ssh   = "rack1"
  accel = "tcg"
}}
network "lan" {{
  kind      = "bridge"
  bridge    = "br0"
  subnet    = "10.77.0.0/24"
  addresses = "{ADDRESS}-{ADDRESS}"
}}
image "guest" {{
  source = "{image}"
  sha256 = "{digest}"
}}
vm "benchone" {{
  host   = host.rack1
  image  = image.guest
  memory = "192MiB"
  disk "root" {{
    size = "1GiB"
  }}
  nic "lan" {{}}
  cloud_init {{
    user     = "root"
    ssh_keys = ["{key}"]
  }}
}}
"#
    ))
}
