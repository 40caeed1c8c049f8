//! What must be so after every fault, whatever it was: apply again, the plan is empty, `verify` finds
//! nothing, nothing is there twice or missing, and what is not ours is as it was.

use std::{collections::BTreeSet, fs, thread};

use acceptance::{
    bed::Bed,
    lab::{Lab, RACKS, command::Run},
};
use serde_json::Value;

use super::{
    canary::Canaries,
    picture::POOL,
    small::{says, volume_prefix},
};

/// What outsiders must see of a fleet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Want {
    /// Its domains: `rack1 web`, sorted.
    pub(crate) domains: &'static [&'static str],
    /// The names in its zone, less the zone: `web`, sorted.
    pub(crate) records: &'static [&'static str],
    /// What is scraped, sorted.
    pub(crate) targets: &'static [&'static str],
    /// Disks that are kept, whether a VM has them or not.
    pub(crate) kept: &'static [&'static str],
}

/// What was found that must not be, counted over all looks of a suite.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) looks: usize,
    orphans: usize,
    lost: usize,
    foreign: usize,
}

impl Tally {
    /// Adds what one look found, which must be nothing.
    fn add(&mut self, after: &str, found: &Found) {
        self.looks += 1;
        self.orphans += found.orphans.len();
        self.lost += found.lost.len();
        self.foreign += found.foreign.len();
        assert!(found.nothing(), "after {after}: {found:#?}");
    }

    /// Says it in one line.
    pub(crate) fn words(&self) -> String {
        let Self { looks, orphans, lost, foreign } = self;
        format!(
            "{looks} times converged: {orphans} orphans found, {lost} lost objects, \
             {foreign} foreign changes"
        )
    }
}

#[derive(Debug, Default)]
struct Found {
    /// There, and nobody's.
    orphans: Vec<String>,
    /// Not there, or not as it should be.
    lost: Vec<String>,
    /// Not ours, and not as it was.
    foreign: Vec<String>,
}

impl Found {
    fn and(mut self, other: Self) -> Self {
        self.orphans.extend(other.orphans);
        self.lost.extend(other.lost);
        self.foreign.extend(other.foreign);
        self
    }

    fn nothing(&self) -> bool {
        self.orphans.is_empty() && self.lost.is_empty() && self.foreign.is_empty()
    }
}

/// A fleet under test, and what must be so of it.
pub(crate) struct Oracle<'a> {
    pub(crate) bed: &'a Bed,
    /// The fleet's name, which its domains, networks, zone and target file begin with.
    pub(crate) name: &'static str,
    pub(crate) canaries: &'a Canaries,
    pub(crate) tally: Tally,
}

/// Everything that may be consented to by class.
pub(crate) const AGAIN: [&str; 6] =
    ["apply", "--yes", "--allow", "restart", "--allow", "data-loss"];

impl<'a> Oracle<'a> {
    pub(crate) fn new(bed: &'a Bed, name: &'static str, canaries: &'a Canaries) -> Self {
        fs::copy(bed.lab().known_hosts(), bed.path().join("known_hosts")).unwrap();
        Self { bed, name, canaries, tally: Tally::default() }
    }

    /// Applies again: then all must be as wanted.
    pub(crate) fn applies(&mut self, after: &str, want: &Want) {
        self.ends(after, &AGAIN);
        let plan = self.bed.freehold(&["plan"]).output().unwrap();
        assert_eq!(plan.status, 0, "after {after}: {plan}");
        says(&plan, &["nothing to do:"]);
        self.looks(after, want);
    }

    /// Destroys again: then nothing must be left, but what is kept and the trash.
    pub(crate) fn destroys(&mut self, after: &str, kept: &'static [&'static str]) {
        self.ends(after, &["destroy", "--yes"]);
        self.looks(after, &Want { kept, ..Want::default() });
    }

    fn ends(&self, after: &str, arguments: &[&str]) {
        let again = self.bed.freehold(arguments).output().unwrap();
        assert_eq!(again.status, 0, "after {after}: {again}");
    }

    /// Looks, from freehold and from outside.
    pub(crate) fn looks(&mut self, after: &str, want: &Want) {
        let (this, changed) = (&*self, || self.canaries.changed());
        let found = thread::scope(|scope| {
            let looks = [
                scope.spawn(|| this.verified()),
                scope.spawn(|| this.on_hosts(want)),
                scope.spawn(|| this.outside(want)),
                scope.spawn(|| Found { foreign: changed(), ..Found::default() }),
            ];
            let looks = looks.map(|look| look.join().unwrap());
            looks.into_iter().fold(Found::default(), Found::and)
        });
        self.tally.add(after, &found);
    }

    fn verified(&self) -> Found {
        let mut found = Found::default();
        let said = self.bed.freehold(&["verify", "--json"]).output().unwrap();
        let findings: Value = serde_json::from_str(said.text()).unwrap_or_default();
        let Some(findings) = findings["findings"].as_array() else {
            found.lost.push(format!("verify: {said}"));
            return found;
        };
        for finding in findings {
            let orphan = finding["code"].as_str().is_some_and(|code| code.starts_with("orphan-"));
            if orphan { &mut found.orphans } else { &mut found.lost }.push(finding.to_string());
        }
        found
    }

    fn on_hosts(&self, want: &Want) -> Found {
        let (mut found, lab, name) = (Found::default(), self.bed.lab(), self.name);
        let prefix = volume_prefix(name);
        let look = format!(
            "v='virsh -q -c qemu:///system'\n\
             for d in $($v list --all --name | grep '^{name}'); do echo \"domain $d\"\n\
             $v domblklist $d | awk '{{ sub(\".*/\", \"\", $2); print \"disk \" $2 }}'; done\n\
             ls -1A {POOL} | grep '^{prefix}' | sed 's/^/file /'\n\
             $v net-list --all --name | grep '^{name}' | sed 's/^/network /'; :"
        );
        let said = thread::scope(|scope| {
            let look = &look;
            let looks = RACKS.map(|rack| scope.spawn(move || script(lab, rack.name, look)));
            looks.map(|look| look.join().unwrap())
        });
        let mut domains = BTreeSet::new();
        for (rack, said) in RACKS.iter().zip(&said) {
            let of = |kind: &str| -> BTreeSet<String> {
                let line = |line: &str| Some(line.strip_prefix(kind)?.trim().to_owned());
                said.lines().filter_map(line).collect()
            };
            let (disks, files) = (of("disk "), of("file "));
            let kept = |file: &String| want.kept.iter().any(|kept| file.contains(kept));
            let orphans = files.difference(&disks).filter(|file| !kept(file));
            found.orphans.extend(orphans.map(|file| format!("{}: {file}", rack.name)));
            let lost = disks.difference(&files).map(|disk| format!("{}: {disk}", rack.name));
            found.lost.extend(lost);
            domains.extend(of("domain ").iter().map(|domain| format!("{} {domain}", rack.name)));
            if want.domains.is_empty() {
                found.orphans.extend(of("network "));
            }
        }
        compare(&mut found, &domains, want.domains);
        for kept in want.kept {
            if !said.iter().any(|said| said.contains(kept)) {
                found.lost.push(format!("the kept disk {kept}"));
            }
        }
        found
    }

    fn outside(&self, want: &Want) -> Found {
        let (mut found, lab, name) = (Found::default(), self.bed.lab(), self.name);
        let path = format!("/api/v1/servers/localhost/zones/{name}.example.org.");
        let zone = lab.powerdns_api("GET", &path, None).unwrap();
        let suffix = format!(".{name}.example.org.");
        let record =
            |rrset: &Value| Some(rrset["name"].as_str()?.strip_suffix(&suffix)?.to_owned());
        let records = zone["rrsets"].as_array().unwrap().iter().filter_map(record);
        compare(&mut found, &records.filter(|name| name != "canary").collect(), want.records);
        let file = lab.rack1().targets().join(format!("{name}.json"));
        let groups: Value = fs::read_to_string(file)
            .map(|text| serde_json::from_str(&text).unwrap())
            .unwrap_or_default();
        let targets = groups.as_array().into_iter().flatten();
        let targets = targets.filter_map(|group| Some(group["targets"][0].as_str()?.to_owned()));
        compare(&mut found, &targets.collect(), want.targets);
        found
    }
}

fn compare(found: &mut Found, is: &BTreeSet<String>, want: &[&str]) {
    let want: BTreeSet<String> = want.iter().map(ToString::to_string).collect();
    found.orphans.extend(is.difference(&want).cloned());
    found.lost.extend(want.difference(is).cloned());
}

/// Runs a script on a rack; it must succeed.
pub(crate) fn script(lab: &Lab, rack: &str, script: &str) -> String {
    let config = lab.ssh_config();
    let run = Run::new("ssh").arg("-F").arg(config).args(["-o", "BatchMode=yes", rack, "--", "sh"]);
    run.input(script).ok().unwrap().stdout
}
