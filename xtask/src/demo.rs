//! `cargo xtask demo`: the main job, shown from end to end on real parts, each step checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use acceptance::bed::{Bed, Place, binary, eventually};
use acceptance::lab::guest::{cached_image, default_cache};
use acceptance::lab::{Lab, RACKS, Zones};
use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::setup::{Needs, setup};
use crate::{cargo, lab, root, screen};

/// Options of the demo.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Leave lab and fleet up at the end and say how to play with them
    #[arg(long)]
    keep: bool,
}

/// Where the fleet of the demo is laid out.
const FLEET: &str = "/var/tmp/freehold-demo";

/// Sets up, builds, brings the lab up and shows one whole life of a small fleet.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup(Needs::Lab)?;
    cargo::run("the program", &["build", "--locked", "-p", "freehold-cli"], &[])?;
    // Not as root, so that `target` stays the user's own.
    cached_image(&default_cache())?;
    if !root::is_root() {
        let keep: &[&str] = if arguments.keep { &["--keep"] } else { &[] };
        return root::again(&[&["demo"], keep].concat());
    }
    let started = Instant::now();
    let dir = Lab::default_dir();
    let was_up = Lab::attach(&dir).is_ok();
    lab::up(&dir, Zones::None, RACKS.len())?;
    let shown = Lab::attach(&dir).and_then(|lab| show(&lab));
    let ended = if arguments.keep && shown.is_ok() {
        say_how_to_play();
        Ok(())
    } else {
        clear(was_up, &dir)
    };
    shown?;
    ended?;
    screen::say(format_args!("the demo took {:.0} s", started.elapsed().as_secs_f64()));
    Ok(())
}

fn clear(was_up: bool, dir: &Path) -> Result<()> {
    if was_up {
        // Its guests would stay in a lab that was there before us.
        let demo = Demo::at(&Lab::attach(dir)?)?;
        demo.freehold("take the fleet away again", &["destroy", "--yes"])?;
    } else {
        lab::down(dir)?;
    }
    fs::remove_dir_all(FLEET).with_context(|| format!("removing {FLEET}"))
}

fn show(lab: &Lab) -> Result<()> {
    if Path::new(FLEET).exists() {
        fs::remove_dir_all(FLEET).with_context(|| format!("removing {FLEET}"))?;
    }
    let demo = Demo::begin(lab)?;
    demo.freehold("begin: the identity secret, out of git", &["init"])?;
    demo.freehold("check the text; no host is asked", &["check"])?;
    demo.freehold("what works on the hosts", &["doctor"])?;
    demo.freehold("what would be done", &["plan"])?;
    demo.freehold("decide hosts, addresses, keys: freehold.lock", &["plan", "--lock"])?;
    demo.freehold("do it: 3 VMs on 2 hosts, names and targets", &["apply", "--yes"])?;
    demo.freehold("what is there", &["status"])?;
    demo.names()?;
    demo.targets(&["db", "web-0", "web-1"])?;
    demo.freehold(
        "log in; the host key was known before the first boot",
        &["ssh", "web-0", "--", "echo \"I am $(hostname)\""],
    )?;
    let plan = demo.freehold("after apply, plan is empty", &["plan"])?;
    ensure!(plan.contains("nothing to do: 3 unchanged"), "the plan is not empty");
    demo.one_less()
}

/// The fleet of `examples/quickstart` in the lab.
struct Demo {
    bed: Bed,
    lab: Lab,
}

impl Demo {
    fn begin(lab: &Lab) -> Result<Self> {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
        fs::create_dir_all(FLEET).with_context(|| format!("making {FLEET}"))?;
        fs::copy(example.join("fleet.hcl"), Path::new(FLEET).join("fleet.hcl"))
            .context("copying examples/quickstart")?;
        fs::write(Path::new(FLEET).join("env.sh"), environment(lab)?).context("writing env.sh")?;
        Self::at(lab)
    }

    fn at(lab: &Lab) -> Result<Self> {
        let bed = Bed::at(lab, Place::Folder(PathBuf::from(FLEET)))
            .with_env("FREEHOLD_VAR_image", lab.image())
            .with_env("FREEHOLD_VAR_image_sha256", lab.image_sha256()?)
            .with_env("FREEHOLD_VAR_ssh_key", lab.user_key().with_extension("pub"))
            .with_env("FREEHOLD_VAR_targets", lab.prometheus().targets_dir().join("demo.json"));
        Ok(Self { bed, lab: lab.clone() })
    }

    /// Runs freehold, shows what it says, and fails unless it ends well; returns its data.
    fn freehold(&self, title: &str, arguments: &[&str]) -> Result<String> {
        screen::say(format_args!("\n── {title}\n$ freehold {}", arguments.join(" ")));
        let output = self.bed.freehold(arguments).output()?;
        screen::say(output.stdout.trim_end());
        if !output.stderr.trim().is_empty() {
            screen::say(output.stderr.trim_end());
        }
        ensure!(output.success(), "freehold {} ended with {}", arguments.join(" "), output.status);
        Ok(output.stdout)
    }

    fn dig(&self, name: &str, kind: &str, want: &[&str]) -> Result<()> {
        screen::say(format_args!("$ dig +short @10.77.0.1 {name} {kind}"));
        let have = self.lab.dig(name, kind)?;
        screen::say(if have.is_empty() { "(no answer)".to_owned() } else { have.join("\n") });
        ensure!(have == want, "{name} {kind} is {have:?}, want {want:?}");
        Ok(())
    }

    fn names(&self) -> Result<()> {
        screen::say("\n── the name server answers");
        self.dig("web-0.home.example.org", "A", &["10.77.0.101"])?;
        self.dig("101.0.77.10.in-addr.arpa", "PTR", &["web-0.home.example.org."])
    }

    fn targets(&self, want: &[&str]) -> Result<()> {
        screen::say("\n── Prometheus scrapes them\n$ curl http://10.77.0.1:9090/api/v1/targets");
        let ask = || {
            let have = up_targets(&self.lab)?;
            ensure!(have == want, "up are {have:?}, want {want:?}");
            Ok(true)
        };
        eventually("targets of Prometheus", Duration::from_secs(40), ask)?;
        screen::say(format_args!("up: {}", want.join(", ")));
        Ok(())
    }

    fn one_less(&self) -> Result<()> {
        screen::say("\n── one VM less: web_count = 1");
        self.bed.edit("default = 2", "default = 1")?;
        let held = self.bed.freehold(&["apply", "--yes"]).output()?;
        ensure!(held.status == 5, "a removal without consent should be held back: {held}");
        screen::say("$ freehold apply --yes\nheld back: removing a VM needs --allow data-loss");
        let consent = ["apply", "--yes", "--allow", "data-loss=web-1"];
        self.freehold("with consent its name and target go first, then the VM", &consent)?;
        self.dig("web-1.home.example.org", "A", &[])?;
        self.dig("102.0.77.10.in-addr.arpa", "PTR", &[])?;
        self.targets(&["db", "web-0"])
    }
}

fn up_targets(lab: &Lab) -> Result<Vec<String>> {
    let data = lab.prometheus_targets()?;
    let active = data["activeTargets"].as_array().cloned().unwrap_or_default();
    let mut up: Vec<String> = active
        .iter()
        .filter(|target| target["health"] == "up")
        .filter_map(|target| target["labels"]["vm"].as_str().map(str::to_owned))
        .collect();
    up.sort();
    Ok(up)
}

/// What a shell needs to run freehold in the demo's fleet.
fn environment(lab: &Lab) -> Result<String> {
    let variables = [
        ("FREEHOLD_SSH_CONFIG", lab.ssh_config().display().to_string()),
        ("PDNS_API_KEY", lab.powerdns().api_key()?),
        ("FREEHOLD_VAR_image", lab.image().display().to_string()),
        ("FREEHOLD_VAR_image_sha256", lab.image_sha256()?),
        ("FREEHOLD_VAR_ssh_key", lab.user_key().with_extension("pub").display().to_string()),
        (
            "FREEHOLD_VAR_targets",
            lab.prometheus().targets_dir().join("demo.json").display().to_string(),
        ),
    ];
    Ok(variables.map(|(name, value)| format!("export {name}='{value}'\n")).concat())
}

fn say_how_to_play() {
    let program = fs::canonicalize(binary()).unwrap_or_else(|_| binary());
    screen::say(format_args!(
        "\nThe lab stays up. As root:\n  cd {FLEET} && . ./env.sh\n  alias freehold={}\n  \
         freehold status\n  freehold ssh web-0\n  dig @10.77.0.1 web-0.home.example.org\n  \
         $EDITOR fleet.hcl && freehold apply\nand at last: cargo xtask lab down",
        program.display()
    ));
}
