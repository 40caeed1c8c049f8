//! A simulated host whose changing calls count for the whole fleet.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use freehold_core::{
    host::{
        Certainty, Console, ConsoleNews, ConsolePlace, Fetched, Host, HostError, HostErrorKind,
        Progress, Stream,
        simulated::{Fault, SimulatedHost},
    },
    model::{
        DomainSpec, DomainState, FleetId, HostCard, HostName, HostView, ImageForm, ImageSpec,
        KeptDomain, Mark, NetworkSpec, Ours, Size, VolumeSpec,
    },
};
use uuid::Uuid;

use super::{Fate, Trick};

/// A host that fails when its fleet's fate says so.
#[derive(Debug)]
pub(super) struct TrickyHost {
    inner: SimulatedHost,
    fate: Arc<Fate>,
}

impl TrickyHost {
    pub(super) fn new(inner: SimulatedHost, fate: Arc<Fate>) -> Self {
        Self { inner, fate }
    }

    /// Prepares what goes wrong with the next call; an error is one that never arrives.
    async fn before(&self) -> Result<Option<Trick>, HostError> {
        let trick = self.fate.before().await;
        // Nothing is awaited between here and the call, so it is the next one.
        match trick {
            Some(Trick::Fail) => self.inner.fault(0, Fault::Fail),
            Some(Trick::LostReply) => self.inner.fault(0, Fault::LostReply),
            Some(Trick::Gone) => self.inner.fault(0, Fault::Unreachable),
            Some(Trick::LostThenGone) => self.inner.fault(0, Fault::LostThenUnreachable),
            Some(Trick::Partition) => {
                self.inner.fault(0, Fault::Unreachable);
                let back = self.inner.clone();
                self.fate.comes_back(Box::new(move || back.set_down(false)));
            }
            Some(Trick::Reboot) => {
                self.inner.world().reboot();
                return Err(self.lost("the host starts anew"));
            }
            Some(Trick::LostRequest) => {
                return Err(self.lost("the connection is lost"));
            }
            Some(Trick::DiskFull) => self.inner.world().full = true,
            Some(Trick::LateEffect) => self.inner.fault(0, Fault::LateEffect),
            _ => {}
        }
        Ok(trick)
    }

    fn lost(&self, why: &str) -> HostError {
        HostError {
            host: self.inner.name().clone(),
            act: "do it".to_owned(),
            certainty: Certainty::Unknown,
            hint: None,
            kind: HostErrorKind::Unreachable,
            source: why.into(),
        }
    }
}

macro_rules! changing {
    ($self:ident, $act:literal, $call:expr) => {{
        match $self.before().await {
            Err(error) => Err(error),
            Ok(trick) => {
                if $self.fate.is_late() {
                    // What was on its way arrives first: it is not this call's doing.
                    drop($self.inner.observe(&[]).await);
                }
                let seen = $self.fate.witness().map(|witness| witness.look($self.name(), $act));
                let result = $call.await;
                if let Some((witness, seen)) = $self.fate.witness().zip(seen) {
                    witness.judge(&seen);
                }
                $self.fate.after(trick).await;
                result
            }
        }
    }};
}

#[async_trait]
impl Host for TrickyHost {
    fn name(&self) -> &HostName {
        self.inner.name()
    }

    async fn clock(&self) -> Result<i64, HostError> {
        self.inner.clock().await
    }

    async fn observe(&self, bridges: &[String]) -> Result<HostView, HostError> {
        self.inner.observe(bridges).await
    }

    async fn create_pool(&self) -> Result<(), HostError> {
        changing!(self, "create pool", self.inner.create_pool())
    }

    async fn write_card(&self, fleet: FleetId, card: &HostCard) -> Result<(), HostError> {
        changing!(self, "write card", self.inner.write_card(fleet, card))
    }

    async fn refresh_pool(&self) -> Result<(), HostError> {
        changing!(self, "refresh pool", self.inner.refresh_pool())
    }

    async fn define_network(&self, spec: &NetworkSpec) -> Result<(), HostError> {
        changing!(self, "define network", self.inner.define_network(spec))
    }

    async fn remove_network(&self, network: &Ours) -> Result<(), HostError> {
        changing!(self, "remove network", self.inner.remove_network(network))
    }

    async fn store_image(
        &self,
        spec: &ImageSpec,
        source: &Path,
        progress: &Progress,
    ) -> Result<(), HostError> {
        changing!(self, "store image", self.inner.store_image(spec, source, progress))
    }

    async fn unpacks(&self, form: ImageForm) -> Result<bool, HostError> {
        self.inner.unpacks(form).await
    }

    async fn fetch_image(
        &self,
        spec: &ImageSpec,
        url: &str,
        progress: &Progress,
    ) -> Result<Fetched, HostError> {
        changing!(self, "fetch image", self.inner.fetch_image(spec, url, progress))
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), HostError> {
        changing!(self, "create volume", self.inner.create_volume(spec))
    }

    async fn write_volume(&self, name: &str, content: &[u8]) -> Result<(), HostError> {
        changing!(self, "write volume", self.inner.write_volume(name, content))
    }

    async fn rename_volume(&self, from: &str, to: &str) -> Result<(), HostError> {
        changing!(self, "rename volume", self.inner.rename_volume(from, to))
    }

    async fn remove_volume(&self, name: &str) -> Result<(), HostError> {
        changing!(self, "remove volume", self.inner.remove_volume(name))
    }

    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), HostError> {
        changing!(self, "define domain", self.inner.define_domain(spec))
    }

    async fn set_autostart(&self, domain: &Ours, autostart: bool) -> Result<(), HostError> {
        changing!(self, "set autostart", self.inner.set_autostart(domain, autostart))
    }

    async fn start_domain(&self, domain: &Ours) -> Result<(), HostError> {
        changing!(self, "start domain", self.inner.start_domain(domain))
    }

    async fn domain_state(&self, domain: &Ours) -> Result<Option<DomainState>, HostError> {
        self.inner.domain_state(domain).await
    }

    async fn shut_down_domain(&self, domain: &Ours, wait: Duration) -> Result<bool, HostError> {
        changing!(self, "shut down domain", self.inner.shut_down_domain(domain, wait))
    }

    async fn stop_domain(&self, domain: &Ours, deadline: Duration) -> Result<(), HostError> {
        changing!(self, "stop domain", self.inner.stop_domain(domain, deadline))
    }

    async fn domain_xml(&self, uuid: Uuid) -> Result<Option<String>, HostError> {
        self.inner.domain_xml(uuid).await
    }

    async fn undefine_domain(&self, domain: &Ours) -> Result<(), HostError> {
        changing!(self, "undefine domain", self.inner.undefine_domain(domain))
    }

    async fn update_domain(&self, domain: &Ours, spec: &DomainSpec) -> Result<(), HostError> {
        changing!(self, "update domain", self.inner.update_domain(domain, spec))
    }

    async fn mark_domain(&self, uuid: Uuid, name: &str, mark: &Mark) -> Result<(), HostError> {
        changing!(self, "mark domain", self.inner.mark_domain(uuid, name, mark))
    }

    async fn rename_domain(&self, domain: &Ours, spec: &DomainSpec) -> Result<(), HostError> {
        changing!(self, "rename domain", self.inner.rename_domain(domain, spec))
    }

    async fn grow_volume(&self, domain: &Ours, volume: &str, size: Size) -> Result<(), HostError> {
        changing!(self, "grow volume", self.inner.grow_volume(domain, volume, size))
    }

    async fn restore_domain(&self, domain: &Ours, xml: &str) -> Result<(), HostError> {
        changing!(self, "restore domain", self.inner.restore_domain(domain, xml))
    }

    fn kept_domain(&self, xml: &str) -> Result<KeptDomain, HostError> {
        self.inner.kept_domain(xml)
    }

    async fn open_console(&self, domain: &Ours, force: bool) -> Result<Console, HostError> {
        self.inner.open_console(domain, force).await
    }

    async fn console_tail(&self, uuid: Uuid, lines: usize) -> Result<String, HostError> {
        self.inner.console_tail(uuid, lines).await
    }

    async fn console_since(
        &self,
        uuid: Uuid,
        since: Option<ConsolePlace>,
    ) -> Result<ConsoleNews, HostError> {
        self.inner.console_since(uuid, since).await
    }

    async fn dial(&self, address: Ipv4Addr, port: u16) -> Result<Box<dyn Stream>, HostError> {
        self.inner.dial(address, port).await
    }

    async fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.inner.read_file(path).await
    }

    async fn write_file(&self, path: &str, content: &[u8]) -> Result<(), HostError> {
        changing!(self, "write file", self.inner.write_file(path, content))
    }
}
