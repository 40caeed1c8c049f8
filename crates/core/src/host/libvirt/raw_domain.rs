//! Domains as libvirt tells them: all of them, in as few calls as there are.

use std::{collections::BTreeSet, sync::Arc};

use futures::FutureExt as _;
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain};
use virt_sys as sys;

use super::{
    CallError, Libvirt, Unanswered,
    domain_shape::{
        Under, files_of, fingerprint_in, layered_disks, shape_in, shape_of, told_disks,
    },
    has_code,
    lines::CALLS,
    xml::{compact, parsed},
};
use crate::{
    host::trouble::Trouble,
    model::{DomainState, DomainView},
};

/// A domain as libvirt tells it.
#[derive(Debug)]
pub(crate) struct RawDomain {
    name: String,
    uuid: Uuid,
    state: DomainState,
    persistent: bool,
    autostart: bool,
    saved: bool,
    snapshots: bool,
    /// Its inactive XML and, while it runs, the live one; both compact.
    defined: String,
    live: Option<String>,
}

impl RawDomain {
    pub(crate) fn view(&self, under: Under<'_>) -> Result<DomainView, Trouble> {
        let document = parsed(&self.defined)?;
        let (defined, mark) = shape_in(&document, under)?;
        let live = self.live.as_deref().map(|xml| shape_of(xml, under)).transpose()?;
        Ok(DomainView {
            name: self.name.clone(),
            uuid: self.uuid,
            state: self.state,
            persistent: self.persistent,
            autostart: self.autostart,
            mark,
            defined,
            live: live.map(|(shape, _)| shape),
            fingerprint: fingerprint_in(&document),
            saved: self.saved,
            snapshots: self.snapshots,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns every file that its definition or its running machine names; our pool is `pool`.
    pub(crate) fn files(&self, pool: &str) -> Result<BTreeSet<String>, Trouble> {
        let mut files = files_of(&self.defined, pool)?;
        if let Some(live) = &self.live {
            files.extend(files_of(live, pool)?);
        }
        Ok(files)
    }

    /// Returns the disks that may stand on a file which libvirt does not tell.
    pub(crate) fn layered_disks(&self) -> Result<BTreeSet<String>, Trouble> {
        let mut disks = layered_disks(&self.defined)?;
        if let Some(live) = &self.live {
            let told = told_disks(live)?;
            disks.retain(|disk| !told.contains(disk));
        }
        Ok(disks)
    }
}

/// Lists by which libvirt tells what each domain does, in a few calls for all of them.
struct Lists {
    running: BTreeSet<Uuid>,
    autostart: BTreeSet<Uuid>,
    rest: Rest,
}

/// What is asked only where a domain is not plain.
#[derive(Default)]
struct Rest {
    transient: BTreeSet<Uuid>,
    saved: BTreeSet<Uuid>,
    snapshots: BTreeSet<Uuid>,
    checkpoints: BTreeSet<Uuid>,
}

/// Persistent, without a saved state, a snapshot or a checkpoint: hardly a domain is not.
const PLAIN: sys::virConnectListAllDomainsFlags = sys::VIR_CONNECT_LIST_DOMAINS_PERSISTENT
    | sys::VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE
    | sys::VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT
    | sys::VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT;

impl Lists {
    fn state(&self, uuid: Uuid, domain: &Domain) -> Result<DomainState, CallError> {
        // The number that only running, paused and the like have came with the list.
        let is_active = domain.id().is_some();
        match (self.running.contains(&uuid), is_active) {
            (true, _) => Ok(DomainState::Running),
            (false, true) => state_of(domain),
            (false, false) => Ok(DomainState::Off),
        }
    }

    fn describe(&self, domain: &Domain) -> Result<RawDomain, CallError> {
        let uuid = domain.uuid()?;
        let state = self.state(uuid, domain)?;
        let live = match state {
            DomainState::Off | DomainState::Crashed => None,
            DomainState::Running | DomainState::Paused => Some(compact(&domain.xml_desc(0)?)),
        };
        Ok(RawDomain {
            name: domain.name()?,
            uuid,
            state,
            persistent: !self.rest.transient.contains(&uuid),
            autostart: self.autostart.contains(&uuid),
            saved: self.rest.saved.contains(&uuid),
            snapshots: self.rest.snapshots.contains(&uuid) || self.rest.checkpoints.contains(&uuid),
            defined: compact(&domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?),
            live,
        })
    }
}

impl Libvirt {
    /// Returns the domains of a list.
    async fn listed(
        &self,
        flags: sys::virConnectListAllDomainsFlags,
    ) -> Result<BTreeSet<Uuid>, Trouble> {
        self.read(move |connect| {
            let domains = connect.list_all_domains(flags)?;
            Ok(domains.iter().map(Domain::uuid).collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Returns the lists that tell about these domains.
    async fn lists(&self, domains: &[Domain]) -> Result<Lists, Trouble> {
        let (running, autostart, plain) = tokio::try_join!(
            self.listed(sys::VIR_CONNECT_LIST_DOMAINS_RUNNING),
            self.listed(sys::VIR_CONNECT_LIST_DOMAINS_AUTOSTART),
            self.listed(PLAIN),
        )?;
        let is_plain = |domain: &Domain| domain.uuid().is_ok_and(|uuid| plain.contains(&uuid));
        let rest = if domains.iter().all(is_plain) {
            Rest::default()
        } else {
            let (transient, saved, snapshots, checkpoints) = tokio::try_join!(
                self.listed(sys::VIR_CONNECT_LIST_DOMAINS_TRANSIENT),
                self.listed(sys::VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE),
                self.listed(sys::VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT),
                self.listed(sys::VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT),
            )?;
            Rest { transient, saved, snapshots, checkpoints }
        };
        Ok(Lists { running, autostart, rest })
    }

    /// Reads all domains, ours and others'; one that vanishes meanwhile is left out.
    pub(crate) async fn domains(&self) -> Result<Vec<RawDomain>, Trouble> {
        self.until_answered(|| self.all_domains().boxed()).await
    }

    /// A domain is of the connection it was listed by, so that all of this goes over one.
    async fn all_domains(&self) -> Result<Vec<RawDomain>, Unanswered> {
        let line = self.lines.first();
        let open = self.opened(&line).await?;
        let over = || Some((Arc::clone(&line), Arc::clone(&open)));
        let list = |connect: &Connect| Ok(connect.list_all_domains(0)?);
        let mut domains: Vec<Domain> = self.call(over(), self.deadline, list).await?;
        // After them, so that whatever is among them is in its lists.
        let lists = Arc::new(Box::pin(self.lists(&domains)).await?);
        let share = domains.len().div_ceil(CALLS).max(16);
        let mut parts = Vec::new();
        while !domains.is_empty() {
            let part = domains.split_off(domains.len().saturating_sub(share));
            let lists = Arc::clone(&lists);
            parts.push(self.call(over(), self.deadline, move |_| {
                let mut raw = Vec::new();
                for domain in &part {
                    match lists.describe(domain) {
                        Err(CallError::Virt(error)) if has_code(&error, sys::VIR_ERR_NO_DOMAIN) => {
                        }
                        described => raw.push(described?),
                    }
                }
                Ok(raw)
            }));
        }
        let parts = futures::future::try_join_all(parts).await?;
        let mut raw: Vec<RawDomain> = parts.into_iter().flatten().collect();
        raw.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
        Ok(raw)
    }
}

pub(super) fn state_of(domain: &Domain) -> Result<DomainState, CallError> {
    Ok(match domain.state()?.0.to_raw() {
        sys::VIR_DOMAIN_SHUTOFF => DomainState::Off,
        sys::VIR_DOMAIN_CRASHED => DomainState::Crashed,
        sys::VIR_DOMAIN_PAUSED | sys::VIR_DOMAIN_PMSUSPENDED => DomainState::Paused,
        _ => DomainState::Running,
    })
}
