//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use freehold_core::{
    config,
    model::{HostName, SshTarget, VmName},
    plan::Allowance,
};

/// Infrastructure as code for people who own their machines.
#[derive(Debug, Parser)]
#[command(name = "freehold", version, max_term_width = 80)]
#[command(after_help = "\
Exit codes: 0 done; 1 your input, a changed host key or damaged state; 2 usage;
3 done in part; 4 locked, or a saved plan that is stale; 5 changes pending or
held back for consent; 70 a bug in freehold; 130 interrupted.")]
pub(crate) struct Args {
    /// Directory of the fleet
    #[arg(long, short = 'C', global = true, value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Value of a variable; may be given several times
    #[arg(long = "var", global = true, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
    /// File to read instead of ~/.ssh/config
    #[arg(long, global = true, value_name = "FILE", env = "FREEHOLD_SSH_CONFIG")]
    pub(crate) ssh_config: Option<PathBuf>,
    /// How long to wait for another run to end
    #[arg(long, global = true, value_name = "TIME", value_parser = config::time)]
    pub(crate) lock_timeout: Option<Duration>,
    /// Say more on stderr; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begin a fleet: its id, its identity secret, a first file
    Init(Init),
    /// Check the fleet's files; asks no host
    Check,
    /// Show what apply would do; changes nothing
    Plan(PlanArgs),
    /// Make hosts, DNS and targets as declared
    Apply(Apply),
    /// Tend freehold.lock; asks no host
    #[command(subcommand)]
    Lock(Lock),
    /// Move the state between this folder and the store that the text names
    #[command(subcommand)]
    State(crate::state::StateCommand),
    /// Take the lock of a shared state away from a run that does not end
    Unlock(crate::state::Unlock),
    /// Take VMs away; disks go to the trash
    Destroy(Destroy),
    /// Make VMs again: their disks go to the trash, kept ones stay
    Replace(Replace),
    /// Take VMs that are there into the state, or give them back their mark
    Adopt(Adopt),
    /// Stop managing VMs; they stay as they are
    Forget(Forget),
    /// Show every VM, its host, address and state
    Status(Status),
    /// Show in what hosts differ from what was last made of them; changes nothing
    Drift(Drift),
    /// Show what is not as the state, the text and the laws say; changes nothing
    Verify(Verify),
    /// Make a lost state again from freehold.lock, hosts and servers; changes none of them
    Recover(Recover),
    /// Make what was on a dead host again: on a machine that has its name, or on another host
    Rebuild(Rebuild),
    /// Examine hosts step by step, and say what mends what is wrong; changes nothing
    Doctor(Doctor),
    /// Make a machine a host: its key, its pool, its block
    #[command(subcommand)]
    Host(HostCommand),
    /// Show images on hosts, bring them ahead of time, remove what nobody needs
    Image(crate::image::Image),
    /// Show what was removed, bring it back, or destroy it
    Trash(crate::trash::Trash),
    /// Log in to a VM; its host key is known
    Ssh(Ssh),
    /// Start VMs that are off
    Start(StartArgs),
    /// Ask VMs to shut down; with --force turn them off
    Stop(Power),
    /// Shut VMs down and start them again
    Restart(Power),
    /// Sit at a VM's serial console; Ctrl-] leaves it
    Console(Console),
    /// Show what a VM's serial console said, whether the VM runs or not
    Logs(Logs),
}

/// `init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// Name of the fleet [default: the directory's name]
    pub(crate) name: Option<String>,
}

/// `lock`.
#[derive(Debug, Subcommand)]
pub(crate) enum Lock {
    /// Forget removed VMs that are no longer declared and left no disk
    Prune(Prune),
}

/// `lock prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Prune {
    /// Show which; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) part: Part,
    #[command(flatten)]
    pub(crate) consent: ConsentArgs,
    /// Refuse to decide anything that freehold.lock does not hold; implied without a terminal
    #[arg(long)]
    pub(crate) locked: bool,
    /// Write the plan and what happens to stdout as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) part: Part,
    /// Save the plan to this file, for `freehold apply FILE`
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write it to stdout as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Exit 5 when there is anything to do
    #[arg(long)]
    pub(crate) check: bool,
    /// Decide hosts, addresses, UUIDs and keys and write freehold.lock; asks no host
    #[arg(long, conflicts_with_all = ["out", "json", "check", "names", "hosts"])]
    pub(crate) lock: bool,
}

impl Part {
    /// Returns the file of a saved plan, where one is named instead of VMs: it has a dot or a slash,
    /// which no VM has.
    pub(crate) fn plan_file(&self) -> Option<String> {
        match self.names.as_slice() {
            [name] if name.contains(['.', '/']) => Some(name.clone()),
            _ => None,
        }
    }
}

/// The part of the fleet a command is about.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Part {
    /// VMs it is about, or blocks of them [default: all]; `apply` takes the file of a saved plan too
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Only what is on this host; may be given several times
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<HostName>,
}

/// What is agreed to.
#[derive(Debug, clap::Args)]
pub(crate) struct ConsentArgs {
    /// Do it without asking: creating, and what nobody notices
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Consent to a class past `live`: disconnect, restart, rebuild or data-loss
    #[arg(long = "allow", value_name = "CLASS[=VM,…]")]
    pub(crate) allow: Vec<Allowance>,
    /// How many VMs and networks may vanish because they are no longer declared
    #[arg(long, value_name = "N")]
    pub(crate) deletes: Option<usize>,
    /// Let go of the protection of these VMs, or of disks that were to be kept
    #[arg(long, value_name = "VM,…", value_delimiter = ',')]
    pub(crate) unprotect: Vec<String>,
}

/// Whether a run asks for its number, and what it writes.
#[derive(Debug, clap::Args)]
pub(crate) struct Manner {
    /// Do it without asking for the number
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Write the plan and what happens to stdout as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `destroy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Destroy {
    /// VMs to take away [default: all of them, and the networks]
    pub(crate) vms: Vec<VmName>,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// `replace`.
#[derive(Debug, clap::Args)]
pub(crate) struct Replace {
    /// VMs to make again
    #[arg(required = true, value_name = "VM")]
    pub(crate) vms: Vec<VmName>,
    #[command(flatten)]
    pub(crate) manner: Manner,
}

/// `adopt`.
#[derive(Debug, clap::Args)]
pub(crate) struct Adopt {
    /// VMs that are there under their name and UUID
    #[arg(required = true, value_name = "VM")]
    pub(crate) vms: Vec<VmName>,
    /// Give back marks that were lost; the state must know the VM
    #[arg(long)]
    pub(crate) mark: bool,
    /// Do it without asking for the number
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `recover`.
#[derive(Debug, clap::Args)]
pub(crate) struct Recover {
    /// Do without a host that does not answer: what is on it is left out
    #[arg(long, value_name = "HOST")]
    pub(crate) without: Vec<HostName>,
    /// Show what the state would be; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `rebuild`.
#[derive(Debug, clap::Args)]
pub(crate) struct Rebuild {
    /// The host that is gone
    pub(crate) host: HostName,
    /// The host that takes its VMs; left out, its block names another machine by now
    #[arg(long = "as", value_name = "NEW")]
    pub(crate) new: Option<HostName>,
    /// Show what would be done; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do it without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Consent to begin with empty disks where kept ones are lost: data-loss
    #[arg(long, value_name = "CLASS[=VM,…]")]
    pub(crate) allow: Vec<Allowance>,
}

impl Rebuild {
    /// Returns the consent that it gives.
    pub(crate) fn consent(&self) -> ConsentArgs {
        let (yes, allow) = (self.yes, self.allow.clone());
        ConsentArgs { yes, allow, deletes: None, unprotect: Vec::new() }
    }
}

/// `forget`.
#[derive(Debug, clap::Args)]
pub(crate) struct Forget {
    /// VMs to stop managing, or whose kept disks to give up
    #[arg(required = true, value_name = "VM")]
    pub(crate) vms: Vec<VmName>,
    /// Do it without asking for the number
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Whatever else is on the hosts, too: drift, orphans, what is unmanaged
    #[arg(long)]
    pub(crate) all: bool,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `drift`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 nothing differs; 5 something does; 3 a host could not be read.
What an apply would do about it, `freehold plan` shows.")]
pub(crate) struct Drift {
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Drift, and besides: what disks stand on, names, clocks, host keys, records and targets.
Exit codes: 0 all is as it should be; 5 something is not; 3 a host or server could not be read.")]
pub(crate) struct Verify {
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `host`.
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Vouch for a machine's key, make its pool, and declare it
    Add(HostAdd),
}

/// `host add`.
#[derive(Debug, clap::Args)]
pub(crate) struct HostAdd {
    /// Where it is, user and port included, or its name in ~/.ssh/config
    #[arg(value_name = "[USER@]ADDRESS[:PORT]")]
    pub(crate) target: SshTarget,
    /// Name in the fleet [default: the first part of the address]
    #[arg(long)]
    pub(crate) name: Option<HostName>,
    /// Directory of its pool [default: /var/lib/libvirt/freehold]
    #[arg(long, value_name = "DIR", value_parser = freehold_core::config::absolute_path)]
    pub(crate) pool: Option<String>,
    /// Use the libvirt of that login alone, in session mode
    #[arg(long, requires = "pool")]
    pub(crate) session: bool,
    /// What its host key must be, instead of asking
    #[arg(long, value_name = "SHA256:…")]
    pub(crate) fingerprint: Option<String>,
}

/// `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A guest without disks is started on each host for a moment, to see that it runs.
Exit codes: 0 nothing is wrong; 3 something is.")]
pub(crate) struct Doctor {
    /// Hosts to examine [default: all]
    #[arg(value_name = "HOST")]
    pub(crate) hosts: Vec<HostName>,
    /// Write one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ssh`.
#[derive(Debug, clap::Args)]
pub(crate) struct Ssh {
    /// VM, or USER@VM
    pub(crate) vm: String,
    /// Command to run there
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

/// `start`.
#[derive(Debug, clap::Args)]
pub(crate) struct StartArgs {
    /// VMs, or blocks of them
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Wait until they are ready, as apply does
    #[arg(long)]
    wait: bool,
    /// Write what happens to stdout as JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl StartArgs {
    pub(crate) fn power(&self) -> Power {
        Power { names: self.names.clone(), wait: self.wait, force: false, json: self.json }
    }
}

/// `stop` and `restart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Power {
    /// VMs, or blocks of them
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Wait until they are off, or after a restart until they are ready; never turns one off
    #[arg(long)]
    pub(crate) wait: bool,
    /// Turn them off at once, as if the plug were pulled: what the guest has not written is lost
    #[arg(long)]
    pub(crate) force: bool,
    /// Write what happens to stdout as JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// VM
    #[arg(value_name = "VM")]
    pub(crate) vm: String,
    /// How many of the last lines
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = 100)]
    pub(crate) lines: usize,
    /// Go on with what it says from now on, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// `console`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ctrl-] leaves the console; the guest does not see it. With input that is no
terminal every byte goes to the guest, and it ends once the input has ended and
the console was silent for a second.")]
pub(crate) struct Console {
    /// VM
    #[arg(value_name = "VM")]
    pub(crate) vm: String,
    /// Put out whoever is connected to it
    #[arg(long)]
    pub(crate) force: bool,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
