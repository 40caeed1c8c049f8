//! One script of conversations with a host, and one transcript of what comes of it.
//!
//! The simulated host must follow it always; a real one where the environment names one:
//! `FREEHOLD_LAB_SSH_CONFIG` an `ssh_config`, `FREEHOLD_LAB_HOST` a host in it. Neither can drift from
//! the other then. `CONFORMANCE_UPDATE=1` writes the transcript anew, from a real host only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![allow(clippy::print_stdout, reason = "shown when a test fails: why a host refused")]

mod cast;
mod script;
mod somebody;
mod stage;
mod transcript;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use freehold_core::{
    host::{ConnectOptions, connect, simulated::SimulatedHost},
    model::{Accel, Connection, DaemonMode, Host as HostBlock},
};

use somebody::{Simulated, Virsh};
use stage::Stage;

#[tokio::test]
async fn the_simulated_host_follows_the_script() {
    let host = SimulatedHost::new("rack1".parse().unwrap(), &["br0"]);
    let somebody = Simulated::on(host.clone());
    let written = script::play(Stage::new(Arc::new(host), Box::new(somebody))).await;
    transcript::compare(&written, "the simulated host");
}

#[tokio::test]
async fn a_real_host_follows_the_script() {
    let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(config), Some(name)) =
        (named("FREEHOLD_LAB_SSH_CONFIG").map(PathBuf::from), named("FREEHOLD_LAB_HOST"))
    else {
        return;
    };
    let block = HostBlock {
        name: name.parse().unwrap(),
        connection: Connection::Ssh(name.parse().unwrap()),
        libvirt: DaemonMode::System,
        pool: None,
        accel: Accel::Tcg,
        labels: BTreeMap::new(),
    };
    let options = ConnectOptions { ssh_config: Some(config.clone()), ..ConnectOptions::default() };
    let host = connect(&block, &options).await.unwrap();
    let virsh = Virsh::on(&config, &name, block.pool_path());
    virsh.clears_up();
    let stage = Stage::new(host, Box::new(virsh.clone()));
    let played = tokio::spawn(script::play(stage)).await;
    virsh.clears_up();
    let written = played.unwrap();
    if std::env::var_os("CONFORMANCE_UPDATE").is_some() {
        transcript::update(&written);
    }
    transcript::compare(&written, &name);
}
