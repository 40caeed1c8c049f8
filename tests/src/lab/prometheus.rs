//! A real Prometheus that reads the target files freehold writes: on this machine and on each rack.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::command::Run;
use super::process::Part;
use super::rack::Spec;

/// Where it listens.
pub const URL: &str = "http://10.77.0.1:9090";

/// The lab's Prometheus.
#[derive(Debug, Clone)]
pub struct Prometheus {
    lab: PathBuf,
    part: Part,
}

impl Prometheus {
    /// Names the Prometheus of the lab in `lab`.
    pub fn new(lab: &Path) -> Self {
        Self { lab: lab.to_owned(), part: Part::new(lab, "prometheus") }
    }

    /// Returns the folder of target files on this machine.
    pub fn targets_dir(&self) -> PathBuf {
        self.lab.join("prometheus/targets")
    }

    /// Makes its folders and its configuration.
    pub(super) fn lay_out(&self, racks: &[Spec]) -> Result<()> {
        fs::create_dir_all(self.targets_dir()).context("creating prometheus/targets")?;
        fs::write(self.config_file(), self.config(racks)).context("writing prometheus.yml")
    }

    fn config(&self, racks: &[Spec]) -> String {
        let mut config =
            "global:\n  scrape_interval: 2s\n  scrape_timeout: 2s\nscrape_configs:\n".to_owned();
        config.push_str(&job("lab", &self.targets_dir()));
        for rack in racks {
            config.push_str(&job(rack.name, &self.lab.join(rack.name).join("targets")));
        }
        config
    }

    /// Starts it.
    pub fn start(&self) -> Result<()> {
        let dir = self.lab.join("prometheus");
        self.part.start([
            "prometheus".to_owned(),
            format!("--config.file={}", self.config_file().display()),
            format!("--storage.tsdb.path={}/data", dir.display()),
            "--storage.tsdb.retention.time=6h".to_owned(),
            format!("--web.listen-address={}", URL.trim_start_matches("http://")),
        ])
    }

    /// Kills it.
    pub fn stop(&self) -> Result<()> {
        self.part.kill()
    }

    /// Waits until it says it is ready.
    pub fn wait(&self) -> Result<()> {
        self.part.wait_until(Duration::from_secs(30), || self.answers())
    }

    /// Asks whether it is ready.
    pub fn answers(&self) -> Result<bool> {
        get(&format!("{URL}/-/ready")).map(|_| true)
    }

    /// Returns the `data` of `/api/v1/targets`: what is scraped, and what was dropped.
    pub fn targets(&self) -> Result<Value> {
        data(&format!("{URL}/api/v1/targets"))
    }

    /// Returns the `data` of an instant query.
    pub fn query(&self, expression: &str) -> Result<Value> {
        let url = format!("{URL}/api/v1/query");
        let parameter = format!("query={expression}");
        let text = curl().args(["--get", "--data-urlencode", &parameter, &url]).ok()?.stdout;
        data_of(&text)
    }

    fn config_file(&self) -> PathBuf {
        self.lab.join("prometheus/prometheus.yml")
    }
}

/// The one meta label that becomes visible, so that a target can be told by its VM.
fn job(name: &str, targets: &Path) -> String {
    format!(
        "  - job_name: {name}\n    file_sd_configs:\n      - files: [\"{}/*.json\"]\n    relabel_configs:\n\
         \x20     - source_labels: [__meta_freehold_vm_name]\n        regex: (.+)\n        target_label: vm\n",
        targets.display()
    )
}

/// Fetches a page of the lab's network; anything but success is an error.
pub fn get(url: &str) -> Result<String> {
    Ok(curl().arg(url).ok()?.stdout)
}

fn curl() -> Run {
    Run::new("curl").args(["-s", "-S", "-f", "-m", "5"])
}

fn data(url: &str) -> Result<Value> {
    data_of(&get(url)?)
}

fn data_of(text: &str) -> Result<Value> {
    let mut answer: Value = serde_json::from_str(text).context("Prometheus answered no JSON")?;
    Ok(answer.get_mut("data").map(Value::take).unwrap_or_default())
}
