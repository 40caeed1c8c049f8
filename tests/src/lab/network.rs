//! The lab's network: a bridge on this machine and a cable from it to each rack.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::command::Run;
use super::rack::EVERY;

/// The bridge all racks and their guests are plugged into.
pub const BRIDGE: &str = "labbr";
/// This machine's address on it: `PowerDNS` and Prometheus live there.
pub const GATEWAY: &str = "10.77.0.1";
/// The prefix length of the lab's network.
pub const PREFIX: u8 = 24;

/// On machines that filter bridged frames (Docker turns this on) and drop what they forward, racks would
/// not reach each other without this rule.
const RULE: [&str; 9] =
    ["FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-m", "comment", "--comment", "freehold-lab"];

/// Returns the folder of the lab whose bridge is up, if it says so.
pub fn owner() -> Option<PathBuf> {
    let alias = fs::read_to_string(format!("/sys/class/net/{BRIDGE}/ifalias")).ok()?;
    alias.trim_end().strip_prefix("freehold-lab ").map(PathBuf::from)
}

/// Makes the bridge for the lab in `dir`.
pub fn create(dir: &Path) -> Result<()> {
    ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    ip(&["link", "set", BRIDGE, "alias", &format!("freehold-lab {}", dir.display())])?;
    ip(&["addr", "add", &format!("{GATEWAY}/{PREFIX}"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    if filters_bridged_frames() {
        iptables("-I")?;
    }
    Ok(())
}

/// Makes the network namespace of `rack` with its bridge `br0` plugged into the lab's.
pub fn connect(rack: &str, address: &str) -> Result<()> {
    let cable = cable(rack);
    ip(&["netns", "add", rack])?;
    ip(&["link", "add", &cable, "type", "veth", "peer", "name", "up0", "netns", rack])?;
    ip(&["link", "set", &cable, "master", BRIDGE, "up"])?;
    let inside = |args: &[&str]| ip(&[&["-n", rack], args].concat());
    inside(&["link", "set", "lo", "up"])?;
    inside(&["link", "add", "br0", "type", "bridge"])?;
    inside(&["link", "set", "up0", "master", "br0", "up"])?;
    inside(&["link", "set", "br0", "up"])?;
    inside(&["addr", "add", &format!("{address}/{PREFIX}"), "dev", "br0"])?;
    inside(&["route", "add", "default", "via", GATEWAY])
}

/// Takes away the network namespace of `rack`, and with it whatever was made in it.
pub fn disconnect(rack: &str) -> Result<()> {
    ip(&["netns", "del", rack])?;
    remove_link(&cable(rack))
}

/// Pulls the cable of `rack`, or puts it back.
pub fn set_cable(rack: &str, state: Cable) -> Result<()> {
    let state = match state {
        Cable::Plugged => "up",
        Cable::Pulled => "down",
    };
    ip(&["link", "set", &cable(rack), state])
}

/// Whether a rack hangs on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cable {
    /// Frames pass.
    Plugged,
    /// They do not.
    Pulled,
}

/// Removes bridge, cables, namespaces and rule, whichever of them exist.
pub fn remove() -> Result<()> {
    for rack in EVERY {
        if namespace(rack.name).exists() {
            ip(&["netns", "del", rack.name])?;
        }
        remove_link(&cable(rack.name))?;
    }
    remove_link(BRIDGE)?;
    while iptables("-D").is_ok() {}
    Ok(())
}

/// Returns what of the network is still there, in words.
pub fn leftovers() -> Vec<String> {
    let links = EVERY.iter().map(|rack| cable(rack.name)).chain([BRIDGE.to_owned()]);
    let links = links.filter(|link| link_exists(link)).map(|link| format!("link {link}"));
    let spaces = EVERY.iter().filter(|rack| namespace(rack.name).exists());
    let spaces = spaces.map(|rack| format!("network namespace {}", rack.name));
    let rule = iptables("-C").is_ok().then(|| "rule in FORWARD".to_owned());
    links.chain(spaces).chain(rule).collect()
}

fn namespace(rack: &str) -> PathBuf {
    Path::new("/run/netns").join(rack)
}

pub(super) fn cable(rack: &str) -> String {
    format!("lv-{rack}")
}

fn link_exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

/// A cable vanishes with the namespace of its other end, but not at once.
fn remove_link(link: &str) -> Result<()> {
    if !link_exists(link) {
        return Ok(());
    }
    let deleted = ip(&["link", "del", link]);
    if deleted.is_err() && link_exists(link) {
        return deleted;
    }
    Ok(())
}

fn filters_bridged_frames() -> bool {
    let setting = fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables");
    setting.is_ok_and(|value| value.trim() == "1")
}

fn iptables(verb: &str) -> Result<()> {
    Run::new("iptables").args(["-w", "5", verb]).args(RULE).args(["-j", "ACCEPT"]).ok().map(drop)
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Run::new("ip").args(args).output()?;
    if !output.success() {
        bail!("ip {}: {}", args.join(" "), output.stderr.trim());
    }
    Ok(())
}
