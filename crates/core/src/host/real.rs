//! The real host: libvirt through a tunnel, files by commands.

use std::{fmt, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;

use super::{
    Console, ConsoleNews, ConsolePlace, Fetched, Host, HostError, Progress, Stream, clock,
    command::Command,
    connect::Deadlines,
    files::{self, Durable, Readers},
    images::Images,
    libvirt::{Libvirt, OpenConsole, Owner, console_file, kept_domain},
    ssh::Stdin,
    taken,
    transport::Transport,
    trouble::Trouble,
    uses::{Loss, Uses},
};
use crate::model::{
    self, DaemonMode, DomainSpec, DomainState, FleetId, HostCard, HostName, HostView, ImageForm,
    ImageSpec, KeptDomain, Mark, NetworkSpec, Ours, Size, VolumeSpec,
};

/// A host with sshd and libvirt, or this machine.
pub(super) struct RealHost {
    pub(super) name: HostName,
    pub(super) pool: String,
    pub(super) mode: DaemonMode,
    pub(super) transport: Arc<Transport>,
    pub(super) libvirt: Libvirt,
    pub(super) deadlines: Deadlines,
    images: Images,
    owner: OnceCell<Owner>,
    /// The last look at who uses which file.
    pub(super) uses: Mutex<Option<Arc<Uses>>>,
}

const PUBLIC: (Readers, Durable) = (Readers::All, Durable::ContentAndName);
/// A seed can be written again: what counts is that no half of one gets its name.
const SEED: (Readers, Durable) = (Readers::Owner, Durable::Content);

impl fmt::Debug for RealHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealHost")
            .field("name", &self.name)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// What an act comes to, in the words of the error.
fn act<T>(
    host: &RealHost,
    what: impl FnOnce() -> String,
    result: Result<T, Trouble>,
) -> Result<T, HostError> {
    result.map_err(|trouble| trouble.on(&host.name, what()))
}

impl RealHost {
    pub(super) fn new(host: &model::Host, transport: Transport, deadlines: Deadlines) -> Self {
        let (name, mode) = (host.name.clone(), host.libvirt);
        let pool = host.pool_path().trim_end_matches('/').to_owned();
        let transport = Arc::new(transport);
        let libvirt = Libvirt::over(Arc::clone(&transport), mode, deadlines.call, deadlines.long);
        let images = Images::of(Arc::clone(&transport), &pool, deadlines.call, deadlines.long);
        let (owner, uses) = (OnceCell::new(), Mutex::new(None));
        Self { name, pool, mode, transport, libvirt, deadlines, images, owner, uses }
    }

    /// Returns the path of a file in our pool; a name never leads out of it.
    fn in_pool(&self, name: &str) -> Result<String, Trouble> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0', '\n']) {
            return Err(Trouble::input(format!("{name:?} is no name of a volume")));
        }
        Ok(format!("{}/{name}", self.pool))
    }

    async fn owner(&self) -> Result<Owner, Trouble> {
        let ask = || async {
            let command = Command::new("id -u && id -g", [])?;
            let output = self.run(&command, Stdin::Nothing).await?;
            let text = String::from_utf8_lossy(&output);
            let mut ids = text.lines().map(str::parse);
            match (ids.next(), ids.next()) {
                (Some(Ok(uid)), Some(Ok(gid))) => Ok(Owner { uid, gid }),
                _ => Err(Trouble::failed(format!("`id` said {text:?}"))),
            }
        };
        self.owner.get_or_try_init(ask).await.copied()
    }

    async fn run(&self, command: &Command, stdin: Stdin<'_>) -> Result<Vec<u8>, Trouble> {
        self.transport.run(command, stdin, self.deadlines.call).await?.good()
    }

    async fn put(
        &self,
        path: &str,
        content: &[u8],
        form: (Readers, Durable),
    ) -> Result<(), Trouble> {
        files::write(&self.transport, path, content, form, self.deadlines.call).await
    }

    /// Refuses a directory that holds others' files: making a pool of it gives it another owner and
    /// mode.
    async fn refuse_taken(&self) -> Result<(), Trouble> {
        let pool = self.libvirt.pool().await?;
        if pool.is_some_and(|pool| pool.active || pool.finished) {
            return Ok(());
        }
        taken::refuse(&self.transport, &self.pool, self.mode, self.deadlines.call).await
    }

    async fn move_volume(&self, from: &str, to: &str) -> Result<(), Trouble> {
        let (from, to) = (self.in_pool(from)?, self.in_pool(to)?);
        self.refuse_if_used(&from, Loss::Mended).await?;
        files::rename(&self.transport, &from, &to, self.deadlines.call).await
    }

    async fn drop_volume(&self, name: &str) -> Result<(), Trouble> {
        let path = self.in_pool(name)?;
        // A seed can be made again. So can an image, but not what somebody's disk on it lacks meanwhile.
        let is_final = name.starts_with("trash.") || name.starts_with("image.");
        let loss = if is_final { Loss::Final } else { Loss::Mended };
        self.refuse_if_used(&path, loss).await?;
        files::remove(&self.transport, &path, self.deadlines.call).await
    }

    /// The console's file is made here, so that the SSH user may read what root's log daemon
    /// writes; without it the console is read through libvirt.
    async fn start(&self, domain: &Ours) -> Result<(), Trouble> {
        let log = console_file(domain.uuid, &self.pool);
        let touch = Command::new(r#"[ -e "$1" ] || : > "$1""#, [log.as_str()])?;
        if let Err(error) = self.run(&touch, Stdin::Nothing).await {
            tracing::debug!(log, error = %error.source, "no console file");
        }
        self.libvirt.start_domain(domain).await
    }

    async fn undefine(&self, domain: &Ours) -> Result<(), Trouble> {
        self.libvirt.undefine_domain(domain).await?;
        let log = console_file(domain.uuid, &self.pool);
        if let Err(error) = files::remove(&self.transport, &log, self.deadlines.call).await {
            tracing::debug!(log, error = %error.source, "the console file stays");
        }
        Ok(())
    }
}

pub(super) fn strange_card() -> Trouble {
    let hint = "somebody else made it a host of freehold meanwhile: plan again";
    Trouble::conflict("its card bears another host's id than the one that was seen").hint(hint)
}

#[async_trait]
impl Host for RealHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn observe(&self, bridges: &[String]) -> Result<HostView, HostError> {
        act(self, || "observe it".to_owned(), Box::pin(self.look(bridges)).await)
    }

    async fn clock(&self) -> Result<i64, HostError> {
        let asked = clock::ahead(&self.transport, self.deadlines.call);
        act(self, || "ask for its time".to_owned(), asked.await)
    }

    async fn create_pool(&self) -> Result<(), HostError> {
        let made = async {
            self.refuse_taken().await?;
            self.libvirt.create_pool(&self.pool, self.owner().await?).await
        };
        act(self, || format!("create pool in {}", self.pool), made.await)
    }

    async fn write_card(&self, fleet: FleetId, card: &HostCard) -> Result<(), HostError> {
        let path = format!("{}/{}", self.pool, HostCard::FILE);
        let written =
            super::card::write(&self.transport, &path, fleet, card, self.deadlines.call).await;
        act(self, || format!("write {path}"), written)
    }

    async fn refresh_pool(&self) -> Result<(), HostError> {
        act(self, || "refresh the pool".to_owned(), self.libvirt.refresh_pool().await)
    }

    async fn define_network(&self, spec: &NetworkSpec) -> Result<(), HostError> {
        let defined = self.libvirt.define_network(spec).await;
        act(self, || format!("define network {}", spec.name), defined)
    }

    async fn remove_network(&self, network: &Ours) -> Result<(), HostError> {
        let removed = self.libvirt.remove_network(network).await;
        act(self, || format!("remove network {network}"), removed)
    }

    async fn store_image(
        &self,
        spec: &ImageSpec,
        source: &Path,
        progress: &Progress,
    ) -> Result<(), HostError> {
        let stored = self.images.store(spec, source, progress).await;
        act(self, || format!("store image {}", spec.name), stored)
    }

    async fn unpacks(&self, form: ImageForm) -> Result<bool, HostError> {
        let asked = self.images.unpacks(form).await;
        act(self, || "look for tools that unpack images".to_owned(), asked)
    }

    async fn fetch_image(
        &self,
        spec: &ImageSpec,
        url: &str,
        progress: &Progress,
    ) -> Result<Fetched, HostError> {
        let fetched = self.images.fetch(spec, url, progress).await;
        act(self, || format!("fetch image {}", spec.name), fetched)
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), HostError> {
        let created = async {
            self.in_pool(&spec.name)?;
            if let Some(image) = &spec.backing {
                self.images.refuse_larger(image, spec.size).await?;
            }
            self.libvirt.create_volume(spec, &self.pool, self.owner().await?).await
        };
        act(self, || format!("create volume {}", spec.name), created.await)
    }

    async fn write_volume(&self, name: &str, content: &[u8]) -> Result<(), HostError> {
        let written = async { self.put(&self.in_pool(name)?, content, SEED).await };
        act(self, || format!("write volume {name}"), written.await)
    }

    async fn rename_volume(&self, from: &str, to: &str) -> Result<(), HostError> {
        let moved = self.move_volume(from, to).await;
        act(self, || format!("rename volume {from} to {to}"), moved)
    }

    async fn remove_volume(&self, name: &str) -> Result<(), HostError> {
        act(self, || format!("remove volume {name}"), self.drop_volume(name).await)
    }

    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), HostError> {
        let defined = self.libvirt.define_domain(spec, &self.pool).await;
        act(self, || format!("define domain {}", spec.name), defined)
    }

    async fn set_autostart(&self, domain: &Ours, autostart: bool) -> Result<(), HostError> {
        let set = self.libvirt.set_autostart(domain, autostart).await;
        act(self, || format!("set autostart of domain {domain}"), set)
    }

    async fn start_domain(&self, domain: &Ours) -> Result<(), HostError> {
        act(self, || format!("start domain {domain}"), self.start(domain).await)
    }

    async fn domain_state(&self, domain: &Ours) -> Result<Option<DomainState>, HostError> {
        let state = self.libvirt.domain_state(domain).await;
        act(self, || format!("look at domain {domain}"), state)
    }

    async fn shut_down_domain(&self, domain: &Ours, wait: Duration) -> Result<bool, HostError> {
        let is_off = self.libvirt.shut_down_domain(domain, wait).await;
        act(self, || format!("shut down domain {domain}"), is_off)
    }

    async fn stop_domain(&self, domain: &Ours, deadline: Duration) -> Result<(), HostError> {
        let stopped = self.libvirt.stop_domain(domain, deadline).await;
        act(self, || format!("stop domain {domain}"), stopped)
    }

    async fn domain_xml(&self, uuid: Uuid) -> Result<Option<String>, HostError> {
        let xml = self.libvirt.domain_xml(uuid).await;
        act(self, || format!("read the definition of domain {uuid}"), xml)
    }

    async fn update_domain(&self, domain: &Ours, spec: &DomainSpec) -> Result<(), HostError> {
        let updated = self.libvirt.update_domain(domain, spec, &self.pool).await;
        act(self, || format!("change domain {domain}"), updated)
    }

    async fn mark_domain(&self, uuid: Uuid, name: &str, mark: &Mark) -> Result<(), HostError> {
        let marked = self.libvirt.mark_domain(uuid, name, mark).await;
        act(self, || format!("mark domain {name}"), marked)
    }

    async fn rename_domain(&self, domain: &Ours, spec: &DomainSpec) -> Result<(), HostError> {
        let renamed = self.libvirt.rename_domain(domain, spec).await;
        act(self, || format!("rename domain {domain} to {}", spec.name), renamed)
    }

    async fn grow_volume(&self, domain: &Ours, volume: &str, size: Size) -> Result<(), HostError> {
        let grown = async { self.libvirt.grow_volume(domain, &self.in_pool(volume)?, size).await };
        act(self, || format!("grow volume {volume}"), grown.await)
    }

    async fn restore_domain(&self, domain: &Ours, xml: &str) -> Result<(), HostError> {
        let restored = self.libvirt.restore_domain(domain, xml).await;
        act(self, || format!("restore domain {domain}"), restored)
    }

    fn kept_domain(&self, xml: &str) -> Result<KeptDomain, HostError> {
        act(self, || "read a definition that was kept".to_owned(), kept_domain(xml))
    }

    async fn undefine_domain(&self, domain: &Ours) -> Result<(), HostError> {
        act(self, || format!("undefine domain {domain}"), self.undefine(domain).await)
    }

    async fn open_console(&self, domain: &Ours, force: bool) -> Result<Console, HostError> {
        let (name, words) = (self.name.clone(), format!("open the console of {domain}"));
        let OpenConsole { bytes, end } =
            act(self, || words.clone(), self.libvirt.open_console(domain, force).await)?;
        let lost = end.map(move |end| {
            let why = end.unwrap_or_else(|_| Some("its thread ended".to_owned()))?;
            Some(Trouble::unreachable(why).on(&name, words.replace("open", "go on with")))
        });
        Ok(Console { bytes: Box::new(bytes), end: lost.boxed() })
    }

    async fn console_tail(&self, uuid: Uuid, lines: usize) -> Result<String, HostError> {
        act(self, || format!("read the console of {uuid}"), self.console(uuid, lines).await)
    }

    async fn console_since(
        &self,
        uuid: Uuid,
        since: Option<ConsolePlace>,
    ) -> Result<ConsoleNews, HostError> {
        act(self, || format!("read the console of {uuid}"), self.console_news(uuid, since).await)
    }

    async fn dial(&self, address: Ipv4Addr, port: u16) -> Result<Box<dyn Stream>, HostError> {
        let dialled = self.transport.dial(address, port, self.deadlines.call).await;
        act(self, || format!("connect to {address}:{port} from there"), dialled)
    }

    async fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        let read = files::read(&self.transport, path, self.deadlines.call).await;
        act(self, || format!("read {path}"), read)
    }

    async fn write_file(&self, path: &str, content: &[u8]) -> Result<(), HostError> {
        act(self, || format!("write {path}"), self.put(path, content, PUBLIC).await)
    }
}
