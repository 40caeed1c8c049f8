//! The fidelity table's machinery: what a row says is laid out, and both `ssh` and freehold are sent there.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use acceptance::{
    bed::{Bed, binary},
    lab::{
        Lab,
        command::{Output, Run},
    },
    sshd::Sshd,
    workshop::{Agent, Workshop},
};

use super::small::{bed, idle, says};

/// Where a row ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// Both log in.
    In,
    /// Neither does; the words stand in freehold's error.
    Out(&'static str),
    /// `ssh` logs in and we do not, on purpose; the words stand in the error.
    Stricter(&'static str),
}

/// A row: files and environment, by name. `W/` is the workshop's folder, `S/` the sshd's, `PORT` its port,
/// `HOSTKEY` its key, `CONFIG` the `ssh_config`, `AGENT` the agent's socket, `<name>` the public key of that
/// name.
pub(crate) struct Row {
    name: &'static str,
    /// Lines for the host.
    ssh: &'static str,
    /// Lines before all others.
    top: &'static str,
    sshd: &'static str,
    known: &'static str,
    hashed: bool,
    /// Keys that open the account.
    opens: &'static [&'static str],
    /// Keys the agent holds.
    held: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// The authority that signs the host's key, and how.
    certified: Option<(&'static str, &'static [&'static str])>,
}

pub(crate) const fn row(name: &'static str, ssh: &'static str) -> Row {
    Row {
        name,
        ssh,
        top: "",
        sshd: "",
        known: "[127.0.0.1]:PORT HOSTKEY",
        hashed: false,
        opens: &["key"],
        held: &[],
        environment: &[],
        certified: None,
    }
}

impl Row {
    pub(crate) fn top(self, top: &'static str) -> Self {
        Self { top, ..self }
    }

    pub(crate) fn sshd(self, sshd: &'static str) -> Self {
        Self { sshd, ..self }
    }

    pub(crate) fn known(self, known: &'static str) -> Self {
        Self { known, ..self }
    }

    pub(crate) fn hashed(self) -> Self {
        Self { hashed: true, ..self }
    }

    pub(crate) fn opens(self, opens: &'static [&'static str]) -> Self {
        Self { opens, ..self }
    }

    pub(crate) fn held(self, held: &'static [&'static str]) -> Self {
        Self { held, ..self }
    }

    pub(crate) fn with(self, environment: &'static [(&'static str, &'static str)]) -> Self {
        Self { environment, ..self }
    }

    pub(crate) fn certified(self, by: &'static str, how: &'static [&'static str]) -> Self {
        Self { certified: Some((by, how)), ..self }
    }
}

/// A row's world.
struct Laid {
    sshd: Sshd,
    file: PathBuf,
    environment: Vec<(&'static str, String)>,
    _agent: Option<Agent>,
}

/// How a row was fared with.
struct Tried {
    ours: Output,
    theirs: Output,
    /// What sshd logged of each.
    logs: [String; 2],
    config: String,
}

/// Where rows are tried.
pub(crate) struct Table {
    lab: Lab,
    pub(crate) workshop: Workshop,
    pub(crate) bed: Bed,
}

impl Table {
    /// A table with a fleet whose one host is `t`.
    pub(crate) fn new(lab: &Lab, name: &'static str) -> Self {
        let host = "host \"t\" {\n  ssh = \"t\"\n  accel = \"tcg\"\n}\n";
        let bed = bed(lab, name, &(host.to_owned() + &idle(name, "host.t", "")));
        let workshop = Workshop::new().unwrap();
        for name in ["key", "other", "third", "fourth"] {
            workshop.key(name, "ed25519", "").unwrap();
        }
        // Without a terminal, whoever runs the tests.
        Self { lab: lab.clone(), workshop, bed: bed.with_binary("/usr/bin/setsid".into()) }
    }

    /// Sends both there; they must fare as the row says.
    pub(crate) fn is(&self, row: &Row, verdict: Verdict) {
        let Tried { ours, theirs, logs, config } = self.tried(row);
        let log = logs.concat();
        let report = format!("{}\n{config}\nfreehold: {ours}\nssh: {theirs}\n{log}", row.name);
        let we_are_in = ours.stderr.contains("cannot connect to its libvirt");
        let we_are_out = ours.stderr.contains("t: cannot connect to t");
        assert!(we_are_in != we_are_out, "{report}");
        let (want, words) = match verdict {
            Verdict::In => ((true, true), ""),
            Verdict::Out(words) => ((false, false), words),
            Verdict::Stricter(words) => ((false, true), words),
        };
        assert_eq!((we_are_in, theirs.success()), want, "{report}");
        says(&ours, &[words]);
        assert!(!ours.stderr.contains("hunter2") && !ours.stderr.contains("panicked"), "{report}");
    }

    /// Returns what sshd logs of freehold, and of `ssh`.
    pub(crate) fn logs(&self, row: &Row) -> (String, String) {
        let [ours, theirs] = self.tried(row).logs;
        (ours, theirs)
    }

    fn tried(&self, row: &Row) -> Tried {
        let laid = self.laid_out(row);
        // Ours first: `ssh` may add to the known keys.
        let ours = self.freehold(&laid.file, &laid.environment);
        let log = laid.sshd.log();
        let theirs = ssh(&laid.file, &laid.environment);
        let logs = [log.clone(), laid.sshd.log()[log.len()..].to_owned()];
        Tried { ours, theirs, logs, config: fs::read_to_string(&laid.file).unwrap() }
    }

    /// Runs freehold at a terminal and types this when it is asked; returns what stood on the screen, and how
    /// the terminal was left.
    pub(crate) fn typed(&self, row: &Row, keys: &str) -> (String, String) {
        let laid = self.laid_out(row);
        let line = format!("{} plan; code=$?; echo; echo ended $code; stty -a", binary().display());
        // A run that hangs ends with its terminal.
        let mut command = Command::new("timeout");
        command.args(["--foreground", "60", "script", "-qec", &line, "/dev/null"]);
        command.current_dir(self.bed.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.bed.path()).env("SHELL", "/bin/sh").env("TERM", "xterm");
        command.env("FREEHOLD_SSH_CONFIG", &laid.file).envs(laid.environment);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = pipes.spawn().unwrap();
        let (mut input, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
        let mut answers = keys.split_inclusive(['\n', '\x03']);
        let mut asked = 0;
        while let Ok(read @ 1..) = screen.read(&mut piece) {
            shown.extend_from_slice(&piece[..read]);
            let text = String::from_utf8_lossy(&shown);
            let questions = text.matches("Enter passphrase").count();
            while asked < questions {
                asked += 1;
                input.write_all(answers.next().unwrap_or("\n").as_bytes()).unwrap();
            }
        }
        child.wait().unwrap();
        let shown = String::from_utf8_lossy(&shown).into_owned();
        let (before, after) = shown.split_once("ended ").unwrap_or_else(|| panic!("{shown}"));
        (before.to_owned(), after.to_owned())
    }

    fn laid_out(&self, row: &Row) -> Laid {
        let sshd = self.sshd(row);
        let agent = (!row.held.is_empty()).then(|| self.workshop.agent(row.held).unwrap());
        let socket = agent.as_ref().map(|agent| agent.socket.display().to_string());
        let file = sshd.folder().join("ssh_config");
        let marks = [
            ("HOSTKEY", sshd.key().unwrap()),
            ("PORT", sshd.port().to_string()),
            ("CONFIG", file.display().to_string()),
            ("AGENT", socket.clone().unwrap_or_else(|| "none".to_owned())),
        ];
        let fill = |text: &str| self.filled(text, sshd.folder(), &marks);
        let known = sshd.folder().join("known");
        fs::write(&known, fill(row.known) + "\n").unwrap();
        if row.hashed {
            Run::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&known).ok().unwrap();
        }
        let config = format!(
            "{}\nHost t j\n HostName 127.0.0.1\n Port {}\n User root\n GlobalKnownHostsFile /dev/null\n \
             UserKnownHostsFile {}\n {}\n",
            fill(row.top),
            sshd.port(),
            known.display(),
            fill(row.ssh)
        );
        fs::write(&file, &config).unwrap();
        let mut environment: Vec<(&'static str, String)> =
            row.environment.iter().map(|(name, value)| (*name, fill(value))).collect();
        environment.extend(socket.iter().map(|socket| ("SSH_AUTH_SOCK", socket.clone())));
        Laid { sshd, file, environment, _agent: agent }
    }

    fn sshd(&self, row: &Row) -> Sshd {
        let started = Sshd::prepared(&self.lab, |folder| {
            let keys: Vec<String> = row
                .opens
                .iter()
                .map(|name| self.workshop.public(name))
                .collect::<Result<_, _>>()?;
            fs::write(folder.join("authorized"), keys.join("\n") + "\n")?;
            let mut lines = self.filled(row.sshd, folder, &[]);
            if let Some((authority, how)) = row.certified {
                self.workshop.sign(authority, &folder.join("host.pub"), how)?;
                lines += &format!("\nHostCertificate {}/host-cert.pub", folder.display());
            }
            Ok(lines)
        });
        started.unwrap_or_else(|error| panic!("{}: {error:#}", row.name))
    }

    /// Puts in what stands for something, in one pass: what comes in may look like a mark itself.
    fn filled(&self, text: &str, sshd: &Path, marks: &[(&str, String)]) -> String {
        let folders = [
            ("W/", self.workshop.at("").display().to_string()),
            ("S/", format!("{}/", sshd.display())),
        ];
        let (mut filled, mut rest) = (String::new(), text);
        while let Some(next) = rest.chars().next() {
            let mark = folders.iter().chain(marks).find(|(mark, _)| rest.starts_with(mark));
            if let Some((mark, meaning)) = mark {
                filled += meaning;
                rest = &rest[mark.len()..];
            } else if let Some(named) = rest.strip_prefix('<') {
                let (name, after) = named.split_once('>').unwrap();
                filled += &self.workshop.public(name).unwrap();
                rest = after;
            } else {
                filled.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        filled
    }

    fn freehold(&self, config: &Path, environment: &[(&str, String)]) -> Output {
        let binary = binary();
        let run = self.bed.freehold(&["-w", binary.to_str().unwrap(), "-v", "plan"]);
        let run = run.env("FREEHOLD_SSH_CONFIG", config);
        let run = environment.iter().fold(run, |run, (name, value)| run.env(name, value));
        run.output().unwrap()
    }
}

fn ssh(config: &Path, environment: &[(&str, String)]) -> Output {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let run =
        Run::new("setsid").cleared().env("PATH", path).arg("-w").args(["ssh", "-F"]).arg(config);
    let run = environment.iter().fold(run, |run, (name, value)| run.env(name, value));
    run.args(["t", "true"]).output().unwrap()
}
