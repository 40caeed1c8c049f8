//! The simulated host's side of the conversation.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use super::{Answer, SimulatedHost, changes::xml_of};
use crate::{
    host::{
        Console, ConsoleNews, ConsolePlace, Fetched, Host, HostError, Progress, Stream,
        real::strange_card, trouble::Trouble,
    },
    model::{
        DomainSpec, DomainState, FleetId, Host as HostBlock, HostCard, HostName, HostView,
        ImageForm, ImageSpec, KeptDomain, Mark, NetworkSpec, Ours, Size, VolumeSpec,
    },
};

#[async_trait]
impl Host for SimulatedHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn observe(&self, bridges: &[String]) -> Result<HostView, HostError> {
        self.ask("observe it", |world| Ok(world.view(bridges)))
    }

    async fn clock(&self) -> Result<i64, HostError> {
        self.ask("ask for its time", |world| Ok(world.clock))
    }

    async fn create_pool(&self) -> Result<(), HostError> {
        self.act("create pool".to_owned(), |world| {
            if world.pool_path.is_empty() {
                HostBlock::DEFAULT_POOL.clone_into(&mut world.pool_path);
            }
            world.pool = Some(true);
            Ok(())
        })
    }

    async fn write_card(&self, fleet: FleetId, card: &HostCard) -> Result<(), HostError> {
        let card = card.clone();
        self.act("write card".to_owned(), move |world| {
            world.roomy_pool()?;
            let there = world.card.clone();
            world.card = Some(card.merged_into(there, fleet).ok_or_else(strange_card)?);
            Ok(())
        })
    }

    async fn refresh_pool(&self) -> Result<(), HostError> {
        self.act("refresh the pool".to_owned(), |world| world.started_pool())
    }

    async fn define_network(&self, spec: &NetworkSpec) -> Result<(), HostError> {
        let spec = spec.clone();
        self.act(format!("define network {}", spec.name), move |world| {
            let mut others = world.networks.values().filter(|(other, _)| {
                (other.name == spec.name) != (other.uuid == spec.uuid)
                    || (other.uuid == spec.uuid && other.mark != spec.mark)
            });
            if let Some((other, _)) = others.next() {
                let why =
                    format!("network '{}' already exists with uuid {}", other.name, other.uuid);
                return Err(Trouble::conflict(why));
            }
            world.networks.insert(spec.uuid, (spec, true));
            Ok(())
        })
    }

    async fn remove_network(&self, network: &Ours) -> Result<(), HostError> {
        let network = network.clone();
        self.act(format!("remove network {network}"), move |world| world.remove_network(&network))
    }

    async fn store_image(
        &self,
        spec: &ImageSpec,
        source: &Path,
        progress: &Progress,
    ) -> Result<(), HostError> {
        progress(1, Some(1));
        tracing::debug!(source = %source.display(), "stored");
        let spec = spec.clone();
        self.act(format!("store image {}", spec.name), move |world| world.store_image(&spec))
    }

    async fn unpacks(&self, form: ImageForm) -> Result<bool, HostError> {
        tracing::debug!(?form, "unpacked there");
        Ok(true)
    }

    async fn fetch_image(
        &self,
        spec: &ImageSpec,
        url: &str,
        progress: &Progress,
    ) -> Result<Fetched, HostError> {
        progress(1, Some(1));
        let (spec, url) = (spec.clone(), url.to_owned());
        self.act(format!("fetch image {}", spec.name), move |world| {
            world.started_pool()?;
            let Some(checksum) = world.sources.get(&url) else {
                return Ok(Fetched::Not("there is no way there".to_owned()));
            };
            if *checksum != spec.checksum {
                let why =
                    format!("its checksum is {}, not {}", checksum.hex(), spec.checksum.hex());
                return Err(Trouble::input(why));
            }
            world.store_image(&spec).map(|()| Fetched::Here)
        })
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), HostError> {
        let spec = spec.clone();
        self.act(format!("create volume {}", spec.name), move |world| world.create_volume(&spec))
    }

    async fn write_volume(&self, name: &str, content: &[u8]) -> Result<(), HostError> {
        let (name, content) = (name.to_owned(), content.to_vec());
        self.act(format!("write volume {name}"), move |world| {
            world.put_file(&name, Size::from_bytes(content.len() as u64))?;
            world.contents.insert(name, content);
            Ok(())
        })
    }

    async fn rename_volume(&self, from: &str, to: &str) -> Result<(), HostError> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.act(format!("rename volume {from} to {to}"), move |world| {
            world.rename_volume(&from, &to)
        })
    }

    async fn remove_volume(&self, name: &str) -> Result<(), HostError> {
        let name = name.to_owned();
        self.act(format!("remove volume {name}"), move |world| {
            world.unused(&name)?;
            world.volumes.remove(&name);
            world.contents.remove(&name);
            Ok(())
        })
    }

    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), HostError> {
        let spec = spec.clone();
        self.act(format!("define domain {}", spec.name), move |world| world.define_domain(&spec))
    }

    async fn set_autostart(&self, domain: &Ours, autostart: bool) -> Result<(), HostError> {
        let domain = domain.clone();
        self.act(format!("set autostart of domain {domain}"), move |world| {
            let domain = world.domain(&domain)?;
            if !domain.persistent {
                return Err(Trouble::failed("cannot set autostart for transient domain"));
            }
            domain.autostart = autostart;
            Ok(())
        })
    }

    async fn start_domain(&self, domain: &Ours) -> Result<(), HostError> {
        let domain = domain.clone();
        self.act(format!("start domain {domain}"), move |world| world.start_domain(&domain))
    }

    async fn domain_state(&self, domain: &Ours) -> Result<Option<DomainState>, HostError> {
        self.ask(&format!("look at domain {domain}"), |world| {
            match world.domains.get(&domain.uuid) {
                Some(found) if domain.is_proved_by(found.marked.then_some(&found.spec.mark)) => {
                    Ok(Some(found.state))
                }
                Some(_) => Err(Trouble::conflict(format!("it does not bear the mark of {domain}"))),
                None => Ok(None),
            }
        })
    }

    async fn shut_down_domain(&self, domain: &Ours, _wait: Duration) -> Result<bool, HostError> {
        // Guests of this world obey at once.
        self.stop_domain(domain, Duration::ZERO).await.map(|()| true)
    }

    async fn stop_domain(&self, domain: &Ours, _deadline: Duration) -> Result<(), HostError> {
        let domain = domain.clone();
        self.act(format!("stop domain {domain}"), move |world| {
            if world.domains.contains_key(&domain.uuid) {
                world.domain(&domain)?;
                world.stop(domain.uuid);
            }
            Ok(())
        })
    }

    async fn domain_xml(&self, uuid: Uuid) -> Result<Option<String>, HostError> {
        self.ask("read a definition", |world| Ok(world.domains.get(&uuid).map(xml_of)))
    }

    async fn undefine_domain(&self, domain: &Ours) -> Result<(), HostError> {
        let domain = domain.clone();
        self.act(format!("undefine domain {domain}"), move |world| world.undefine_domain(&domain))
    }

    async fn update_domain(&self, domain: &Ours, spec: &DomainSpec) -> Result<(), HostError> {
        let (domain, spec) = (domain.clone(), spec.clone());
        self.act(format!("update domain {domain}"), move |world| {
            world.update_domain(&domain, &spec)
        })
    }

    async fn mark_domain(&self, uuid: Uuid, name: &str, mark: &Mark) -> Result<(), HostError> {
        let (name, mark) = (name.to_owned(), mark.clone());
        self.act(format!("mark domain {name}"), move |world| world.mark_domain(uuid, &name, &mark))
    }

    async fn rename_domain(&self, domain: &Ours, spec: &DomainSpec) -> Result<(), HostError> {
        let (domain, spec) = (domain.clone(), spec.clone());
        self.act(format!("rename domain {domain} to {}", spec.name), move |world| {
            world.rename_domain(&domain, &spec)
        })
    }

    async fn grow_volume(&self, domain: &Ours, volume: &str, size: Size) -> Result<(), HostError> {
        let (domain, volume) = (domain.clone(), volume.to_owned());
        self.act(format!("grow volume {volume}"), move |world| {
            world.grow_volume(&domain, &volume, size)
        })
    }

    async fn restore_domain(&self, domain: &Ours, xml: &str) -> Result<(), HostError> {
        let (domain, xml) = (domain.clone(), xml.to_owned());
        self.act(format!("restore domain {domain}"), move |world| {
            world.restore_domain(&domain, &xml)
        })
    }

    fn kept_domain(&self, xml: &str) -> Result<KeptDomain, HostError> {
        self.ask("read a definition that was kept", |world| world.kept_domain(xml))
    }

    async fn open_console(&self, domain: &Ours, _force: bool) -> Result<Console, HostError> {
        let state = self.domain_state(domain).await?;
        self.ask(&format!("open the console of {domain}"), |_| {
            if state != Some(DomainState::Running) {
                return Err(Trouble::conflict(format!("domain {domain} is off")));
            }
            let bytes = tokio::io::join(tokio::io::empty(), tokio::io::sink());
            Ok(Console { bytes: Box::new(bytes), end: Box::pin(std::future::ready(None)) })
        })
    }

    async fn console_tail(&self, uuid: Uuid, _lines: usize) -> Result<String, HostError> {
        self.ask("read the console", |world| {
            let known = world.domains.contains_key(&uuid);
            Ok(if known { "simulated console".to_owned() } else { String::new() })
        })
    }

    async fn console_since(
        &self,
        uuid: Uuid,
        since: Option<ConsolePlace>,
    ) -> Result<ConsoleNews, HostError> {
        let said = match since {
            None => self.console_tail(uuid, 1).await?,
            Some(_) => self.ask("read the console", |_| Ok(String::new()))?,
        };
        Ok(ConsoleNews { bytes: said.into_bytes(), place: ConsolePlace::default() })
    }

    async fn dial(&self, address: Ipv4Addr, port: u16) -> Result<Box<dyn Stream>, HostError> {
        self.ask(&format!("connect to {address}:{port} from there"), |world| {
            let runs = world.domains.values().any(|domain| domain.state == DomainState::Running);
            match world.answers.get(&(address, port)).filter(|_| runs) {
                Some(Answer::Says(banner)) => {
                    let said = std::io::Cursor::new(banner.clone());
                    Ok(Box::new(tokio::io::join(said, tokio::io::sink())) as Box<dyn Stream>)
                }
                Some(Answer::Refused) | None => Err(Trouble::unreachable("nothing answers there")),
            }
        })
    }

    async fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.ask(&format!("read {path}"), |world| Ok(world.file(path).cloned()))
    }

    async fn write_file(&self, path: &str, content: &[u8]) -> Result<(), HostError> {
        let (path, content) = (path.to_owned(), content.to_vec());
        self.act(format!("write {path}"), move |world| {
            world.files.insert(path, content);
            Ok(())
        })
    }
}
