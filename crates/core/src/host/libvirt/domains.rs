//! What is done with domains.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain};
use virt_sys as sys;

use super::{
    CallError, Libvirt,
    domain_shape::{fingerprint, has_tpm_state},
    domain_xml::domain_xml,
    found,
    inspect::{Offer, offer},
    raw_domain::state_of,
    xml,
};
use crate::{
    host::trouble::Trouble,
    model::{DomainSpec, DomainState, Ours},
};

/// All of a definition. A define with what is read without `SECURE` takes away passwords of consoles.
pub(super) const WHOLE: sys::virDomainXMLFlags =
    sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE;

impl Libvirt {
    /// Defines a domain. One that is there and bears the same mark is the one an earlier call made.
    pub(crate) async fn define_domain(&self, spec: &DomainSpec, pool: &str) -> Result<(), Trouble> {
        let definition = domain_xml(spec, pool)?;
        let (uuid, mark, autostart) = (spec.uuid, spec.mark.clone(), spec.autostart);
        self.change(move |connect| {
            let domain = match lookup(connect, uuid)? {
                None => connect.define_domain_xml(&definition)?,
                Some(domain) => {
                    let there = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?;
                    if xml::mark_in(&there)?.as_ref() != Some(&mark) {
                        let name = domain.name()?;
                        let why = format!("domain {name} is there already with UUID {uuid}");
                        return Err(Trouble::conflict(why).into());
                    }
                    lasting(connect, domain)?
                }
            };
            if autostart || domain.autostart()? {
                domain.set_autostart(autostart)?;
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn set_autostart(
        &self,
        domain: &Ours,
        autostart: bool,
    ) -> Result<(), Trouble> {
        let wanted = domain.clone();
        self.change(move |connect| Ok(there(connect, &wanted)?.set_autostart(autostart)?)).await
    }

    pub(crate) async fn start_domain(&self, domain: &Ours) -> Result<(), Trouble> {
        let wanted = domain.clone();
        self.change(move |connect| {
            let domain = there(connect, &wanted)?;
            if !domain.is_active()? {
                domain.create()?;
            }
            Ok(())
        })
        .await
    }

    /// Returns what a domain does; `None` when it is not there.
    pub(crate) async fn domain_state(&self, domain: &Ours) -> Result<Option<DomainState>, Trouble> {
        let wanted = domain.clone();
        self.read(move |connect| {
            let found = ours(connect, &wanted)?;
            found.map(|domain| state_of(&domain)).transpose()
        })
        .await
    }

    /// Asks the guest to shut down, waits, and says whether it is off.
    pub(crate) async fn shut_down_domain(
        &self,
        domain: &Ours,
        wait: Duration,
    ) -> Result<bool, Trouble> {
        self.pressed(&mut domain.clone(), wait).await
    }

    /// Asks the guest to shut down and turns it off past the deadline.
    pub(crate) async fn stop_domain(
        &self,
        domain: &Ours,
        deadline: Duration,
    ) -> Result<(), Trouble> {
        let mut wanted = domain.clone();
        if !deadline.is_zero() && self.pressed(&mut wanted, deadline).await? {
            return Ok(());
        }
        self.change(move |connect| match ours(connect, &wanted)? {
            Some(domain) if domain.is_active()? => Ok(domain.destroy()?),
            _ => Ok(()),
        })
        .await
    }

    /// Presses the power button now and then until the domain is off, or the time is over. It was
    /// found as the plan saw it from the first press on.
    async fn pressed(&self, wanted: &mut Ours, wait: Duration) -> Result<bool, Trouble> {
        // A guest that is still starting misses the first button press.
        const PRESS_AGAIN: Duration = Duration::from_secs(5);
        let end = Instant::now() + wait;
        let mut next_press = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let press = Instant::now() >= next_press;
            if press {
                next_press = Instant::now() + PRESS_AGAIN;
            }
            let look = wanted.clone();
            if self.change(move |connect| is_off(connect, &look, press)).await? {
                return Ok(true);
            }
            wanted.seen = None;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Returns what a domain is defined as, with the passwords of its consoles: without them a domain
    /// defined from it would ask for none. `None` when it is not there.
    pub(crate) async fn domain_xml(&self, uuid: Uuid) -> Result<Option<String>, Trouble> {
        self.read(move |connect| {
            let domain = lookup(connect, uuid)?;
            Ok(domain.map(|domain| domain.xml_desc(WHOLE)).transpose()?)
        })
        .await
    }

    /// Undefines a domain that is off; whatever holds the user's data stays.
    pub(crate) async fn undefine_domain(&self, domain: &Ours) -> Result<(), Trouble> {
        let wanted = domain.clone();
        self.change(move |connect| {
            let Some(domain) = ours(connect, &wanted)? else { return Ok(()) };
            let name = domain.name()?;
            if domain.is_active()? {
                return Err(Trouble::conflict(format!("domain {name} runs")).into());
            }
            if domain.has_managed_save(0)? {
                let why = format!("domain {name} is saved to disk: its memory would be lost");
                let hint = format!("start it, or let go of that: virsh managedsave-remove {name}");
                return Err(Trouble::conflict(why).hint(hint).into());
            }
            let snapshots = domain.num_snapshots(0)?;
            if snapshots > 0 {
                let why = format!("domain {name} has {snapshots} snapshots");
                let hint = format!("virsh snapshot-list {name}; virsh snapshot-delete {name} …");
                return Err(Trouble::conflict(why).hint(hint).into());
            }
            undefine(&domain)
        })
        .await
    }

    /// Returns what guests are offered.
    pub(crate) async fn offer(&self) -> Result<Offer, Trouble> {
        self.read(|connect| offer(&connect.capabilities()?)).await
    }
}

pub(super) fn lookup(connect: &Connect, uuid: Uuid) -> Result<Option<Domain>, CallError> {
    // The crate's own lookup by UUID depends on the version of `uuid` it was built with.
    found(connect.lookup_domain_by_uuid_string(&uuid.to_string()), sys::VIR_ERR_NO_DOMAIN)
}

/// Finds a domain and what it is defined as, and refuses one that does not bear its mark: what a
/// plan has seen may be another's by now.
pub(super) fn proved(
    connect: &Connect,
    wanted: &Ours,
) -> Result<Option<(Domain, String)>, CallError> {
    let Some(domain) = lookup(connect, wanted.uuid)? else { return Ok(None) };
    let definition = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?;
    if wanted.is_proved_by(xml::mark_in(&definition)?.as_ref()) {
        return Ok(Some((domain, definition)));
    }
    Err(another(&domain, wanted)?.into())
}

pub(super) fn another(domain: &Domain, wanted: &Ours) -> Result<Trouble, CallError> {
    let (name, uuid) = (domain.name()?, wanted.uuid);
    let why = format!("domain {name} with UUID {uuid} does not bear the mark of {wanted}");
    Ok(Trouble::conflict(why))
}

/// Refuses a definition that is another than the plan saw.
pub(super) fn refuse_changed(
    wanted: &Ours,
    domain: &Domain,
    definition: &str,
) -> Result<(), CallError> {
    if wanted.seen.as_ref().is_none_or(|seen| *seen == fingerprint(definition)) {
        return Ok(());
    }
    let why = format!("domain {} is not defined as the plan saw it", domain.name()?);
    Err(Trouble::conflict(why).hint("somebody changed it meanwhile: plan again").into())
}

/// Finds a domain that bears its mark and is defined as the plan saw it.
fn ours(connect: &Connect, wanted: &Ours) -> Result<Option<Domain>, CallError> {
    let Some((domain, definition)) = proved(connect, wanted)? else { return Ok(None) };
    refuse_changed(wanted, &domain, &definition)?;
    Ok(Some(domain))
}

pub(super) fn there(connect: &Connect, wanted: &Ours) -> Result<Domain, CallError> {
    ours(connect, wanted)?.ok_or_else(|| absent(wanted.uuid).into())
}

pub(super) fn absent(uuid: Uuid) -> Trouble {
    Trouble::failed(format!("libvirt has no domain with UUID {uuid}"))
}

/// Keeps what firmware and TPM remember. libvirt < 8.9 has no word for the latter, and takes away
/// the state of every TPM that is defined.
fn undefine(domain: &Domain) -> Result<(), CallError> {
    let keep = sys::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM;
    match domain.undefine_flags(keep | sys::VIR_DOMAIN_UNDEFINE_KEEP_TPM) {
        Err(error) if error.message().contains("unsupported flags") => {
            if has_tpm_state(&domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?)? {
                let name = domain.name()?;
                let why = format!("this libvirt would delete what the TPM of {name} holds");
                let hint = format!(
                    "use libvirt 8.9 or later there; or let go of the TPM, whose state then stays \
                     on the host: virsh edit {name}, without <tpm>"
                );
                return Err(Trouble::conflict(why).hint(hint).into());
            }
            Ok(domain.undefine_flags(keep)?)
        }
        undefined => Ok(undefined?),
    }
}

/// Defines again what somebody undefined while it ran: as what it runs as.
fn lasting(connect: &Connect, domain: Domain) -> Result<Domain, CallError> {
    if domain.is_persistent()? {
        return Ok(domain);
    }
    Ok(connect.define_domain_xml(&domain.xml_desc(WHOLE)?)?)
}

fn is_off(connect: &Connect, wanted: &Ours, press: bool) -> Result<bool, CallError> {
    let Some(domain) = ours(connect, wanted)? else { return Ok(true) };
    if !domain.is_active()? {
        return Ok(true);
    }
    if press && let Err(error) = domain.shutdown() {
        // It may have gone off this very moment; otherwise the deadline settles it.
        tracing::debug!(domain = %wanted, %error, "shutdown");
    }
    Ok(false)
}
