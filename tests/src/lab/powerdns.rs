//! A real `PowerDNS` with its API, on the lab's network.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::command::Run;
use super::network::{GATEWAY, PREFIX};
use super::process::Part;

/// Where the API listens.
pub const API: &str = "http://10.77.0.1:8081";
/// The zones that `up` makes unless told otherwise.
pub const ZONES: [&str; 2] = ["home.example.org", "0.77.10.in-addr.arpa"];

const SCHEMAS: [&str; 2] = [
    "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql",
    "/usr/share/doc/pdns-backend-sqlite3/schema.sqlite3.sql",
];

/// The lab's name server.
#[derive(Debug, Clone)]
pub struct PowerDns {
    lab: PathBuf,
    part: Part,
}

impl PowerDns {
    /// Names the name server of the lab in `lab`.
    pub fn new(lab: &Path) -> Self {
        Self { lab: lab.to_owned(), part: Part::new(lab, "powerdns") }
    }

    /// Makes its database, its configuration and its API key.
    pub(super) fn lay_out(&self) -> Result<()> {
        let dir = self.dir();
        fs::create_dir_all(dir.join("socket")).context("creating powerdns")?;
        let key =
            fs::read_to_string("/proc/sys/kernel/random/uuid").context("making an API key")?;
        let key_file = dir.join("api-key");
        fs::write(&key_file, key.trim()).context("writing the API key")?;
        let config = dir.join("pdns.conf");
        fs::write(&config, self.config(key.trim())).context("writing pdns.conf")?;
        for secret in [&key_file, &config] {
            fs::set_permissions(secret, Permissions::from_mode(0o600))?;
        }
        let schema = SCHEMAS.into_iter().find(|path| Path::new(path).exists());
        let schema = schema.context("the schema of pdns-backend-sqlite3 is missing")?;
        Run::new("sqlite3").arg(dir.join("zones.sqlite3")).input(fs::read(schema)?).ok()?;
        Ok(())
    }

    fn config(&self, key: &str) -> String {
        let dir = self.dir();
        let dir = dir.display();
        // All caches are off: what the API took is what the next query must see.
        format!(
            "launch=gsqlite3\ngsqlite3-database={dir}/zones.sqlite3\ngsqlite3-dnssec=yes\nlocal-address={GATEWAY}\nlocal-port=53\n\
             socket-dir={dir}/socket\nwrite-pid=no\nguardian=no\ndaemon=no\ndisable-syslog=yes\nlog-timestamp=yes\nloglevel=4\n\
             webserver=yes\nwebserver-address={GATEWAY}\nwebserver-port=8081\nwebserver-allow-from=127.0.0.0/8,{GATEWAY}/{PREFIX}\napi=yes\napi-key={key}\n\
             cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\nzone-cache-refresh-interval=0\n\
             default-soa-content=ns1.home.example.org hostmaster.@ 0 10800 3600 604800 60\n\
             dnsupdate=yes\nallow-dnsupdate-from={GATEWAY}/{PREFIX}\nallow-axfr-ips=127.0.0.0/8,{GATEWAY}/{PREFIX}\n"
        )
    }

    /// Starts it.
    pub fn start(&self) -> Result<()> {
        let config = format!("--config-dir={}", self.dir().display());
        self.part.start(["pdns_server", &config])
    }

    /// Kills it.
    pub fn stop(&self) -> Result<()> {
        self.part.kill()
    }

    /// Waits until its API and its DNS answer.
    pub fn wait(&self) -> Result<()> {
        self.part.wait_until(Duration::from_secs(20), || self.answers())
    }

    /// Asks both.
    pub fn answers(&self) -> Result<bool> {
        self.api("GET", "/api/v1/servers/localhost", None)?;
        dig("ready.invalid", "A").map(|_| true)
    }

    /// Returns the key of the API.
    pub fn api_key(&self) -> Result<String> {
        let path = self.dir().join("api-key");
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Calls the API; an answer of 400 and above is an error that shows what the server said.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut call =
            Run::new("curl").args(["-s", "-S", "-m", "10", "-X", method, "-w", "\n%{http_code}"]);
        call = call.args(["-H", "Accept: application/json", "-H", "@-"]);
        if let Some(body) = body {
            call = call.args(["-H", "Content-Type: application/json", "--data", &body.to_string()]);
        }
        let url = format!("{API}{path}");
        // By standard input, so that no list of processes shows the key.
        let answer = call.arg(&url).input(format!("X-API-Key: {}\n", self.api_key()?)).ok()?.stdout;
        let (text, status) = answer.rsplit_once('\n').context("curl gave no status")?;
        if !status.starts_with('2') {
            bail!("{method} {url} answered {status}: {text}");
        }
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(text)
            .with_context(|| format!("{method} {url} answered no JSON: {text}"))
    }

    /// Makes the Native zone `name` (without the final dot), served by `ns1.home.example.org`.
    pub fn create_zone(&self, name: &str) -> Result<()> {
        let zone = json!({ "name": format!("{name}."), "kind": "Native", "nameservers": ["ns1.home.example.org."] });
        self.api("POST", "/api/v1/servers/localhost/zones", Some(&zone)).map(drop)
    }

    /// Removes the zone `name`.
    pub fn delete_zone(&self, name: &str) -> Result<()> {
        self.api("DELETE", &format!("/api/v1/servers/localhost/zones/{name}."), None).map(drop)
    }

    fn dir(&self) -> PathBuf {
        self.lab.join("powerdns")
    }
}

/// Asks the lab's name server; returns the data of each answer, sorted.
pub fn dig(name: &str, kind: &str) -> Result<Vec<String>> {
    let server = format!("@{GATEWAY}");
    let asked =
        Run::new("dig").args([&server, name, kind, "+short", "+time=2", "+tries=2"]).ok()?;
    let mut answers = asked.stdout.lines().map(str::to_owned).collect::<Vec<_>>();
    answers.sort();
    Ok(answers)
}
