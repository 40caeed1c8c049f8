//! Faults of a rack's network, as long as the value lives.

use anyhow::Result;

use super::{command::Run, network::cable};

/// The fault; it passes with the value.
#[derive(Debug)]
pub struct Fault {
    undo: Vec<String>,
}

impl Fault {
    fn by(act: &[String], undo: Vec<String>) -> Result<Self> {
        run(act)?;
        Ok(Self { undo })
    }

    /// Nothing that is sent to this rack's sshd arrives, and nobody is told.
    pub(super) fn drops(rack: &str) -> Result<Self> {
        let rule = |verb: &str| {
            words(&format!(
                "ip netns exec {rack} iptables -w 5 {verb} INPUT -p tcp --dport 22 -j DROP"
            ))
        };
        Self::by(&rule("-I"), rule("-D"))
    }

    /// What is sent to this rack arrives at this rate: `2mbit`.
    pub(super) fn thins(rack: &str, rate: &str) -> Result<Self> {
        let (cable, shape) = (cable(rack), format!("tbf rate {rate} burst 16kb latency 300ms"));
        Self::by(
            &words(&format!("tc qdisc add dev {cable} root {shape}")),
            words(&format!("tc qdisc del dev {cable} root")),
        )
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        drop(run(&self.undo));
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn run(words: &[String]) -> Result<()> {
    Run::new(&words[0]).args(&words[1..]).ok().map(drop)
}
