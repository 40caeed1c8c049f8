//! Into a VM: its shell, its serial console, what it said, and its power button.
//!
//! Addresses from 10.77.0.230 to 10.77.0.239 and 10.91.15.0/24 belong to this file.

#![allow(clippy::unwrap_used, reason = "a test fails where its world is not as it must be")]

mod common;

use std::{fs, path::Path, time::Duration};

use acceptance::{
    bed::{Bed, binary, eventually},
    lab::{Lab, command::Run},
    terminal::Terminal,
};
use common::{
    CleanUp, lab,
    small::{RACK1, RACK2, fleet, says, turn_off},
    virsh, vm,
};
use rustix::process::Signal;

/// A fleet of booted guests; networks are told by their blocks.
fn guests(lab: &Lab, name: &str, networks: &str, vms: &str) -> Bed {
    let image = lab.image().display();
    let digest = lab.image_sha256().unwrap();
    let image =
        format!("image \"guest\" {{\n  source = \"{image}\"\n  sha256 = \"{digest}\"\n}}\n");
    Bed::new(lab, &fleet(name, &[RACK1, RACK2, networks, &image, vms].concat())).unwrap()
}

fn lan(last: u8) -> String {
    format!(
        "network \"lan\" {{\n  kind = \"bridge\"\n  bridge = \"br0\"\n  subnet = \"10.77.0.0/24\"\n  \
         addresses = \"10.77.0.{last}-10.77.0.{last}\"\n}}\n"
    )
}

/// Runs a command in a guest.
fn inside(bed: &Bed, name: &str, command: &str) -> String {
    let run = bed.freehold(&["ssh", name, "--", command]).limit(Duration::from_secs(30));
    run.ok().unwrap().text().to_owned()
}

#[test]
fn a_vm_behind_its_host_is_logged_in_to_through_it() {
    let lab = lab();
    let network = "network \"vmfnat\" {\n  kind = \"nat\"\n  subnet = \"10.91.15.0/24\"\n  \
                   addresses = \"10.91.15.10-10.91.15.19\"\n}\n";
    let block = vm(&lab, "vmfnat", "host.rack2", "").replace("nic \"lan\"", "nic \"vmfnat\"");
    let bed = guests(&lab, "vmfnat", network, &block);
    let _clean = CleanUp(&bed);
    says(&bed.expect(1, &["ssh", "vmfnat"]).unwrap(), &["vm vmfnat was not made yet", "hint: "]);
    says(
        &bed.expect(1, &["ssh", "vmfnta"]).unwrap(),
        &["no vm is named", "did you mean `vmfnat`?"],
    );
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert_eq!(inside(&bed, "vmfnat", "hostname"), "vmfnat");
    // A pipe goes in and out, the status is the command's.
    let said = bed.freehold(&["ssh", "vmfnat", "--", "wc -c; exit 7"]).input(vec![b'x'; 100_000]);
    let said = said.output().unwrap();
    assert_eq!((said.status, said.text()), (7, "100000"), "{said}");

    // The hop proves its key by the repository's file, whatever the user's says.
    let known = fs::read_to_string(lab.known_hosts()).unwrap();
    let key =
        known.lines().find(|line| line.starts_with("rack1")).unwrap().split_once(' ').unwrap().1;
    bed.write("known_hosts", &format!("10.77.0.12 {key}\n")).unwrap();
    let said = bed.expect(1, &["ssh", "vmfnat", "--", "true"]).unwrap();
    says(&said, &["rack2", "its host key is not the one in", "known_hosts:1"]);
    let key =
        known.lines().find(|line| line.starts_with("rack2")).unwrap().split_once(' ').unwrap().1;
    bed.write("known_hosts", &format!("10.77.0.12 {key}\n")).unwrap();
    assert_eq!(inside(&bed, "vmfnat", "hostname"), "vmfnat");

    turn_off(&lab, "vmfnat");
    let said = bed.expect(3, &["ssh", "vmfnat"]).unwrap();
    says(&said, &["vmfnat is off", "hint: freehold start vmfnat"]);
}

/// Takes an address off a rack again.
struct Lent<'a>(&'a Lab);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        drop(self.0.ssh("rack1", "ip addr del 10.91.16.1/24 dev br0"));
    }
}

#[test]
fn a_bridged_vm_that_does_not_answer_here_is_reached_through_its_host() {
    let lab = lab();
    // A LAN that rack1 is in, and this machine is not.
    let network = "network \"far\" {\n  kind = \"bridge\"\n  bridge = \"br0\"\n  \
                   subnet = \"10.91.16.0/24\"\n  addresses = \"10.91.16.10-10.91.16.19\"\n}\n";
    let block = vm(&lab, "vmffar", "host.rack1", "").replace("nic \"lan\"", "nic \"far\"");
    let bed = guests(&lab, "vmffar", network, &block);
    assert!(lab.ssh("rack1", "ip addr add 10.91.16.1/24 dev br0").unwrap().success());
    let _lent = Lent(&lab);
    let _clean = CleanUp(&bed);
    bed.expect(0, &["apply", "--yes"]).unwrap();
    assert_eq!(inside(&bed, "vmffar", "hostname"), "vmffar");
    assert_eq!(inside(&bed, "root@vmffar", "id -un"), "root");
    // Nothing there listens any more.
    let deaf = "kill $(ps | awk '/[s]shd.*listener/ { print $1 }')";
    drop(bed.freehold(&["ssh", "vmffar", "--", deaf]).limit(Duration::from_secs(20)).output());
    let said = bed.expect(3, &["ssh", "vmffar", "--", "true"]).unwrap();
    says(&said, &["vmffar does not answer", "rack1", "freehold logs vmffar"]);
}

/// A terminal with the console of the VM open at it, and its settings before.
fn at_console(bed: &Bed, name: &str, more: &[&str]) -> (Terminal, String) {
    let mut terminal = Terminal::new().unwrap();
    let before = terminal.settings().unwrap();
    terminal.start(bed.freehold(&[&["console", name], more].concat())).unwrap();
    terminal.shows("Ctrl-] leaves it").unwrap();
    eventually("raw mode", Duration::from_secs(5), || Ok(terminal.settings()? != before)).unwrap();
    (terminal, before)
}

/// It ended with this status, said so, and left the terminal as it was.
fn gave_back(mut terminal: Terminal, before: &str, status: i32, words: &str) {
    let ended = terminal.ended().unwrap();
    assert_eq!(ended, status, "{}", terminal.shown());
    terminal.shows(words).unwrap();
    assert_eq!(terminal.settings().unwrap(), before, "after: {words}");
}

#[test]
fn a_console_is_sat_at_and_left_with_the_terminal_as_it_was() {
    let lab = lab();
    let bed = guests(&lab, "vmfcon", &lan(230), &vm(&lab, "vmfcon", "host.rack1", ""));
    let lines = fs::read_to_string(lab.ssh_config()).unwrap();
    let pid = bed.path().join("pid");
    // A way that can be cut: ours alone.
    let way = format!(
        "sh -c 'echo $$ > {}; exec ssh -F {} -W 10.77.0.11:22 rack2'",
        pid.display(),
        lab.ssh_config().display()
    );
    bed.write("ssh_config", &format!("Host rack1\n  ProxyCommand {way}\n{lines}")).unwrap();
    let path = bed.path().join("ssh_config");
    let bed = bed.with_env("FREEHOLD_SSH_CONFIG", &path);
    let _clean = CleanUp(&bed);
    bed.expect(0, &["apply", "--yes"]).unwrap();

    types_and_leaves(&bed);
    only_one_sits_there(&bed);
    for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::INT, 2)] {
        let (terminal, before) = at_console(&bed, "vmfcon", &[]);
        terminal.signal(signal).unwrap();
        gave_back(terminal, &before, 130, &format!("signal {number}"));
    }
    through_a_pipe(&bed, &path);

    let (terminal, before) = at_console(&bed, "vmfcon", &[]);
    let pid = fs::read_to_string(pid).unwrap();
    Run::new("kill").arg(pid.trim()).ok().unwrap();
    gave_back(terminal, &before, 3, "rack1: cannot go on with the console of vmfcon");

    let (terminal, before) = at_console(&bed, "vmfcon", &[]);
    virsh(&lab, "rack1", "destroy vmfcon");
    gave_back(terminal, &before, 0, "vmfcon is off");
    says(&bed.expect(3, &["console", "vmfcon"]).unwrap(), &["vmfcon is off", "freehold start"]);
}

fn types_and_leaves(bed: &Bed) {
    let (mut terminal, before) = at_console(bed, "vmfcon", &[]);
    let read = "head -n 1 /dev/ttyS0 > /tmp/typed 2> /dev/null < /dev/null &";
    inside(bed, "vmfcon", read);
    terminal.press("a word for you\r").unwrap();
    terminal.shows("a word for you").unwrap();
    eventually("what was typed is in the guest", Duration::from_secs(10), || {
        Ok(inside(bed, "vmfcon", "cat /tmp/typed") == "a word for you")
    })
    .unwrap();
    // What the guest says comes here, and Ctrl-C is the guest's.
    inside(bed, "vmfcon", "echo from the guest > /dev/ttyS0");
    terminal.shows("from the guest").unwrap();
    terminal.press("\u{3}last words\u{1d}").unwrap();
    gave_back(terminal, &before, 0, "from the guest");
}

/// What is piped in is echoed by the guest, however slow it is: the pipe stays open till then.
fn through_a_pipe(bed: &Bed, ssh_config: &Path) {
    let echoed = "for _ in $(seq 100); do grep -q 'through a pipe' said && exit; sleep 0.2; done";
    let console = format!("{} console vmfcon > said", binary().display());
    let script = format!("(echo through a pipe; {echoed}) | {console}");
    let run = Run::new("sh").args(["-c", &script]).env("FREEHOLD_SSH_CONFIG", ssh_config);
    let said = run.within(bed.path()).output().unwrap();
    assert_eq!(said.status, 0, "{said}");
    assert!(said.stderr.contains("console of vmfcon on rack1"), "{said}");
    let heard = bed.read("said").unwrap();
    assert!(heard.contains("through a pipe"), "{heard:?}: {said}");
}

fn only_one_sits_there(bed: &Bed) {
    let (first, before) = at_console(bed, "vmfcon", &[]);
    let said = bed.expect(3, &["console", "vmfcon"]).unwrap();
    says(&said, &["rack1: cannot open the console of vmfcon", "somebody else", "--force"]);
    let (mut second, usual) = at_console(bed, "vmfcon", &["--force"]);
    gave_back(first, &before, 3, "somebody else took the console of vmfcon");
    second.press("mine now\r").unwrap();
    second.shows("mine now").unwrap();
    second.press("\u{1d}").unwrap();
    gave_back(second, &usual, 0, "mine now");
}
