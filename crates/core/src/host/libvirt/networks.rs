//! What is done with networks.

use std::collections::BTreeSet;

use uuid::Uuid;
use virt::{connect::Connect, domain::Domain, network::Network};
use virt_sys as sys;

use super::{
    CallError, Libvirt,
    domain_shape::is_attached_to,
    found, has_code,
    network_xml::{network_shape, network_xml},
    xml::mark_in,
};
use crate::{
    host::trouble::Trouble,
    model::{NetworkSpec, NetworkView, Ours},
};

impl Libvirt {
    /// Reads all networks, ours and others'.
    pub(crate) async fn networks(&self) -> Result<Vec<NetworkView>, Trouble> {
        self.read(|connect| {
            let with = |flags| -> Result<BTreeSet<Uuid>, CallError> {
                let networks = connect.list_all_networks(flags)?;
                Ok(networks.iter().map(Network::uuid).collect::<Result<_, _>>()?)
            };
            let active = with(sys::VIR_CONNECT_LIST_NETWORKS_ACTIVE)?;
            let autostart = with(sys::VIR_CONNECT_LIST_NETWORKS_AUTOSTART)?;
            let mut views = Vec::new();
            for network in connect.list_all_networks(0)? {
                let uuid = network.uuid()?;
                let xml = network.xml_desc(sys::VIR_NETWORK_XML_INACTIVE);
                let Some(xml) = found(xml, sys::VIR_ERR_NO_NETWORK)? else { continue };
                let (defined, mark) = network_shape(&xml)?;
                views.push(NetworkView {
                    name: network.name()?,
                    uuid,
                    active: active.contains(&uuid),
                    autostart: autostart.contains(&uuid),
                    mark,
                    defined,
                });
            }
            views.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(views)
        })
        .await
    }

    /// Defines and starts a network. One with the same mark is only started.
    pub(crate) async fn define_network(&self, spec: &NetworkSpec) -> Result<(), Trouble> {
        let definition = network_xml(spec)?;
        let (uuid, mark) = (spec.uuid, spec.mark.clone());
        self.change(move |connect| {
            let network = match lookup(connect, uuid)? {
                None => connect.define_network_xml(&definition)?,
                Some(network) => {
                    let there = network.xml_desc(sys::VIR_NETWORK_XML_INACTIVE)?;
                    if mark_in(&there)?.as_ref() != Some(&mark) {
                        let name = network.name()?;
                        let why = format!("network {name} is there already with UUID {uuid}");
                        return Err(Trouble::conflict(why).into());
                    }
                    network
                }
            };
            network.set_autostart(true)?;
            if !network.is_active()? {
                network.create()?;
            }
            Ok(())
        })
        .await
    }

    /// Stops and undefines a network that bears its mark and that no domain is attached to.
    pub(crate) async fn remove_network(&self, network: &Ours) -> Result<(), Trouble> {
        let wanted = network.clone();
        self.change(move |connect| {
            let Some(network) = lookup(connect, wanted.uuid)? else { return Ok(()) };
            let name = network.name()?;
            let mark = mark_in(&network.xml_desc(sys::VIR_NETWORK_XML_INACTIVE)?)?;
            if !wanted.is_proved_by(mark.as_ref()) {
                let uuid = wanted.uuid;
                let why = format!("network {name} with UUID {uuid} does not bear its mark");
                return Err(Trouble::conflict(why).into());
            }
            if let Some(user) = user_of(connect, &name)? {
                return Err(Trouble::conflict(format!("domain {user} is attached to it")).into());
            }
            if network.is_active()? {
                network.destroy()?;
            }
            Ok(network.undefine()?)
        })
        .await
    }
}

fn lookup(connect: &Connect, uuid: Uuid) -> Result<Option<Network>, CallError> {
    found(connect.lookup_network_by_uuid_string(&uuid.to_string()), sys::VIR_ERR_NO_NETWORK)
}

/// Returns a domain, anybody's, that is defined on a network or runs on it.
fn user_of(connect: &Connect, network: &str) -> Result<Option<String>, CallError> {
    for domain in connect.list_all_domains(0)? {
        match is_user(&domain, network) {
            Err(CallError::Virt(gone)) if has_code(&gone, sys::VIR_ERR_NO_DOMAIN) => {}
            Ok(false) => {}
            Ok(true) => return Ok(Some(domain.name()?)),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_user(domain: &Domain, network: &str) -> Result<bool, CallError> {
    // Of one that is off both are the same.
    for flags in [sys::VIR_DOMAIN_XML_INACTIVE, 0] {
        if is_attached_to(&domain.xml_desc(flags)?, network)? {
            return Ok(true);
        }
    }
    Ok(false)
}
