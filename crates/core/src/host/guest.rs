//! A VM as a machine that holds files, reached over SSH with the host key we gave it.

use std::{fmt, net::Ipv4Addr, sync::Arc};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{
    ConnectOptions, Files, Host, HostError,
    files::{self, Durable, Readers},
    ssh::{Known, Ssh, SshOptions, Surroundings},
    transport::Transport,
    trouble::Trouble,
};
use crate::model::{HostName, SshTarget, VmName};

/// How a guest is reached; everything in it was decided.
#[derive(Clone)]
pub struct GuestTarget {
    /// The VM.
    pub vm: VmName,
    /// Its address.
    pub address: Ipv4Addr,
    /// The login; the SSH configuration's where left out.
    pub user: Option<String>,
    /// The host key it must show, `ssh-ed25519 AAAA…`.
    pub host_key: String,
    /// Its host, to reach it through where it is not reached from here.
    pub through: Option<Arc<dyn Host>>,
}

impl fmt::Debug for GuestTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestTarget({} at {})", self.vm, self.address)
    }
}

/// A guest's files; it is connected to when it is first used.
#[derive(Debug)]
pub struct Guest {
    name: HostName,
    target: GuestTarget,
    options: ConnectOptions,
    transport: OnceCell<Transport>,
}

impl Guest {
    /// Names a guest; touches nothing.
    pub fn new(target: GuestTarget, options: ConnectOptions) -> Self {
        let name = target.vm.as_str().parse().expect("VMs and hosts have the same kind of name");
        Self { name, target, options, transport: OnceCell::new() }
    }

    async fn transport(&self) -> Result<&Transport, HostError> {
        let connect = async {
            let target = SshTarget {
                user: self.target.user.clone(),
                host: self.target.address.to_string(),
                port: None,
            };
            let options = SshOptions {
                config: self.options.ssh_config.clone(),
                known: Known::Only(self.target.host_key.clone()),
                repo: self.options.repo_known_hosts.clone(),
                through: self.target.through.clone(),
                deadline: self.options.deadlines.connect,
                passphrases: self.options.passphrases.clone(),
                around: Surroundings::of_process(),
            };
            let act = || format!("connect to {}", self.target.address);
            let ssh = Ssh::connect(&target, options).await;
            ssh.map(|ssh| Transport::Ssh(Box::new(ssh))).map_err(|trouble| self.on(trouble, act()))
        };
        self.transport.get_or_try_init(|| connect).await
    }

    fn on(&self, trouble: Trouble, act: String) -> HostError {
        let usual = || {
            format!(
                "`freehold logs {0}` shows what it says, `freehold ssh {0}` goes there",
                self.name
            )
        };
        let hint = trouble.hint.clone().unwrap_or_else(usual);
        trouble.hint(hint).on(&self.name, act)
    }
}

#[async_trait]
impl Files for Guest {
    async fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        let transport = self.transport().await?;
        let read = files::read(transport, path, self.options.deadlines.call).await;
        read.map_err(|trouble| self.on(trouble, format!("read {path}")))
    }

    async fn write_file(&self, path: &str, content: &[u8]) -> Result<(), HostError> {
        let transport = self.transport().await?;
        let how = (Readers::All, Durable::ContentAndName);
        let written = files::write(transport, path, content, how, self.options.deadlines.call);
        written.await.map_err(|trouble| self.on(trouble, format!("write {path}")))
    }
}
