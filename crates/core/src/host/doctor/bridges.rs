//! The bridges that guests are attached to, and how they get there.

use super::{
    Check, Patient, Step, Wanted,
    session::{Facts, Packages},
};
use crate::{
    host::{
        command::{Command, quote},
        listing,
    },
    model::DaemonMode,
};

/// How a guest of a user's own libvirt gets to a bridge: by QEMU's helper, which is root's.
const BRIDGE_HELPER: &str = r#"
    for h in /usr/lib/qemu/qemu-bridge-helper /usr/libexec/qemu-bridge-helper; do
      if [ -e "$h" ]; then echo "helper $h"; if [ -u "$h" ] || getcap "$h" 2>/dev/null | grep -q cap_net_admin; then echo setuid; fi;
      break; fi;
    done;
    if [ -w /dev/net/tun ]; then echo tun; fi;
    f=/etc/qemu/bridge.conf;
    if [ -r "$f" ]; then cat "$f"; elif [ -e "$f" ]; then echo shut; fi
"#;

impl Patient {
    /// Looks for the bridges that VMs of this host are to be attached to.
    pub(super) async fn bridges(&self, facts: &Facts, wanted: &Wanted) -> Option<Check> {
        if wanted.bridges.is_empty() {
            return None;
        }
        let names: Vec<String> = wanted.bridges.iter().cloned().collect();
        let asked = match listing::bridges_command(&names) {
            Ok(command) => self.run(&command).await,
            Err(trouble) => Err(trouble),
        };
        let there = match asked {
            Ok(text) => listing::bridges_of(text.as_bytes()),
            Err(trouble) => return Some(Check::of(Step::Bridges, &trouble, "ls /sys/class/net")),
        };
        let missing: Vec<&String> = names.iter().filter(|name| !there.contains(name)).collect();
        if missing.is_empty() {
            return Some(match self.mode {
                DaemonMode::System => Check::good(Step::Bridges, names.join(", ")),
                DaemonMode::Session => self.helped_to_bridges(facts, &names).await,
            });
        }
        let said: Vec<_> = missing.iter().map(|name| format!("{name} is not there")).collect();
        let mut check = Check::bad(Step::Bridges, said.join(", "));
        for name in missing {
            let name = quote(name);
            check = check.fix(format!("ip link add {name} type bridge && ip link set {name} up"));
        }
        Some(check.fix(
            "then, at its console, move the NIC and its address to it, in netplan, \
             /etc/network/interfaces or NetworkManager",
        ))
    }

    async fn helped_to_bridges(&self, facts: &Facts, names: &[String]) -> Check {
        let said = match Command::new(BRIDGE_HELPER, []) {
            Ok(command) => self.run(&command).await,
            Err(trouble) => Err(trouble),
        };
        match said {
            Ok(said) => helped(facts, names, &said),
            Err(trouble) => Check::of(Step::Bridges, &trouble, "cat /etc/qemu/bridge.conf"),
        }
    }
}

fn helped(facts: &Facts, names: &[String], said: &str) -> Check {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = said.lines().map(words).collect();
    let has = |line: &[&str]| lines.iter().any(|words| words == line);
    let Some(helper) = lines.iter().find(|words| words.first().is_some_and(|it| it == "helper"))
    else {
        let said = "QEMU's bridge helper is not there: guests of a user's own libvirt need it";
        let install = facts.install("qemu-system-common", "qemu-common");
        return Check::bad(Step::Bridges, said).fix(install);
    };
    let helper = helper[1..].join(" ");
    if !has(&["setuid"]) {
        let said = format!("{helper} is not root's by setuid: {} gets to no bridge", facts.user);
        let fix = match facts.packages {
            Some(Packages::Apt) => {
                format!("dpkg-statoverride --update --add root root 4755 {helper}")
            }
            _ => format!("chmod u+s {helper}"),
        };
        return Check::bad(Step::Bridges, said).fix(fix);
    }
    // It has given up root's other rights by then.
    if !has(&["tun"]) {
        let said = format!("{} may not open /dev/net/tun", facts.user);
        return Check::bad(Step::Bridges, said)
            .fix("chmod 666 /dev/net/tun, and a udev rule for it");
    }
    let rule = |word: &str, name: &str| has(&[word, "all"]) || has(&[word, name]);
    let is_shut = |name: &&String| rule("deny", name) || !rule("allow", name);
    let shut: Vec<&String> = names.iter().filter(is_shut).collect();
    let all = names.join(", ");
    if shut.is_empty() {
        return Check::good(Step::Bridges, format!("{all}, by {helper}"));
    }
    let includes = lines.iter().any(|words| words.first().is_some_and(|it| it == "include"));
    if has(&["shut"]) || includes {
        let said = format!(
            "{all}, if /etc/qemu/bridge.conf allows it, which {} may not read to its end",
            facts.user
        );
        return Check::note(Step::Bridges, said).fix("as root: cat /etc/qemu/bridge.conf");
    }
    let said = format!("/etc/qemu/bridge.conf does not allow {}", shut[0]);
    let mut check = Check::bad(Step::Bridges, said);
    for name in shut {
        check = check.fix(format!("echo allow {} >> /etc/qemu/bridge.conf", quote(name)));
    }
    check
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn a_users_own_libvirt_needs_a_helper_for_bridges() {
        let facts = Facts::of("user admin\n");
        let names = ["br0".to_owned(), "br1".to_owned()];
        let helper = "helper /usr/lib/qemu/qemu-bridge-helper\ntun\n";
        let cases = [
            (String::new(), Verdict::Bad, "is not there"),
            (format!("{helper}allow all\n"), Verdict::Bad, "not root's by setuid: admin"),
            (format!("{helper}setuid\n").replace("tun\n", ""), Verdict::Bad, "admin may not open"),
            (format!("{helper}setuid\n"), Verdict::Bad, "does not allow br0"),
            (format!("{helper}setuid\nallow br0\n# allow br1\n"), Verdict::Bad, "not allow br1"),
            (format!("{helper}setuid\nshut\n"), Verdict::Note, "admin may not read"),
            (format!("{helper}setuid\nallow all\ndeny br1\n"), Verdict::Bad, "not allow br1"),
            (format!("{helper}setuid\ninclude /etc/x\n"), Verdict::Note, "to its end"),
            (format!("{helper}setuid\n allow  br0\nallow br1\n"), Verdict::Good, "br0, br1, by"),
            (format!("{helper}setuid\nallow all\n"), Verdict::Good, "qemu-bridge-helper"),
        ];
        for (said, want, words) in cases {
            let check = helped(&facts, &names, &said);
            assert_eq!(check.verdict, want, "{check:?}");
            assert!(check.said.contains(words), "{check:?}");
            assert_eq!(check.fix.is_empty(), want == Verdict::Good, "{check:?}");
        }
    }
}
