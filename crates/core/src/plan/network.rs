//! What must be done about the networks of a host.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Action, Goal, Object, Reason, Withheld, Work, draft::HostDraft, network_spec, proof};
use crate::model::{
    DomainShape, DomainView, Impact, Network, NetworkKind, NetworkName, NetworkSpec, NicSource,
    VmName,
};

impl HostDraft<'_> {
    /// Compares the networks that VMs here need; returns those that VMs cannot be attached to.
    pub(super) fn compare_networks(&mut self) -> BTreeSet<NetworkName> {
        let vms = self.placed.declared(&self.host.name).iter();
        let here = vms.filter(|vm| self.world.has_vm(&vm.name));
        let used: BTreeSet<_> =
            here.flat_map(|vm| vm.nics.iter().map(|nic| &nic.network)).collect();
        let mut held = BTreeSet::new();
        for name in used {
            let network = &self.world.fleet.networks[name];
            if let Err(why) = self.compare_network(network) {
                // A network that is there as it was still carries its VMs.
                if !matches!(why, Withheld::NotYet { .. }) {
                    held.insert(name.clone());
                }
                self.hold(Object::Network(name.clone()), why);
            }
        }
        held
    }

    fn compare_network(&mut self, network: &Network) -> Result<(), Withheld> {
        if let NetworkKind::Bridge(bridge) = &network.kind {
            let there = self.view.bridges.contains(bridge);
            return if there { Ok(()) } else { Err(Withheld::NoBridge(bridge.clone())) };
        }
        let Some(spec) = network_spec(self.world, &self.host.name, network) else { return Ok(()) };
        let networks = self.view.networks.iter();
        let mut taken = networks.filter(|view| view.name == spec.name || view.uuid == spec.uuid);
        let object = Object::Network(network.name.clone());
        let Some(found) = taken.next() else {
            let work = Work::Network(spec);
            self.change(object, Action::Create, Impact::Live, Reason::New, work);
            return Ok(());
        };
        let known = self.world.snapshot.networks.get(&self.host.name);
        let known = known.and_then(|known| known.get(&network.name)).copied();
        proof::network(self.world, network.name.as_str(), known, found)?;
        if found.mark.as_ref().map(|mark| &mark.digest) != Some(&spec.mark.digest) {
            return Err(network_change(&spec));
        }
        if !found.active || !found.autostart {
            let missing = vec!["started with its host".to_owned()];
            let (why, work) = (Reason::Unfinished(missing), Work::Network(spec));
            self.change(object, Action::Update, Impact::Live, why, work);
        }
        Ok(())
    }

    pub(super) fn remove_networks(&mut self) {
        let world = self.world;
        if world.scope.vms.is_some() {
            return;
        }
        let known = world.snapshot.networks.get(&self.host.name).into_iter().flatten();
        for (name, uuid) in known {
            let reason = match world.goal {
                Goal::Destroy(None) => Reason::Asked,
                Goal::Converge if !self.is_declared_nat(name) => Reason::NotDeclared,
                _ => continue,
            };
            let object = Object::Network(name.clone());
            match self.network_removal(name, *uuid) {
                Err(why) => self.hold(object, why),
                Ok(work) => {
                    self.change(object, Action::Remove, Impact::Disconnect, reason, work);
                }
            }
        }
    }

    /// Returns how a network of the state is removed, or why that must not be done.
    fn network_removal(&self, name: &NetworkName, uuid: Uuid) -> Result<Work, Withheld> {
        let found = self.view.networks.iter().find(|view| view.uuid == uuid);
        if let Some(found) = found {
            proof::network(self.world, name.as_str(), Some(uuid), found)?;
        }
        let mut users = Vec::new();
        for domain in self.domains_on(name) {
            let Some(vm) = self.removed_vm(domain.uuid) else {
                let words = format!("domain {} is attached to it", domain.name);
                return Err(Withheld::Foreign(words));
            };
            users.push(vm);
        }
        Ok(Work::NetworkGone { uuid, users })
    }

    fn is_declared_nat(&self, name: &NetworkName) -> bool {
        let network = self.world.fleet.networks.get(name);
        network.is_some_and(|network| network.kind == NetworkKind::Nat)
    }

    /// Returns the domains that are attached to a network.
    fn domains_on(&self, network: &NetworkName) -> impl Iterator<Item = &DomainView> {
        let source = NicSource::Network(network.to_string());
        let attached = move |shape: &DomainShape| shape.nics.iter().any(|nic| nic.source == source);
        self.view.domains.iter().filter(move |domain| {
            attached(&domain.defined) || domain.live.as_ref().is_some_and(&attached)
        })
    }

    /// Returns the VM that goes with a domain in this draft.
    fn removed_vm(&self, uuid: Uuid) -> Option<VmName> {
        self.changes().iter().find_map(|change| match &change.work {
            Work::VmGone(removal) if removal.uuid == uuid => Some(removal.vm.clone()),
            _ => None,
        })
    }
}

fn network_change(spec: &NetworkSpec) -> Withheld {
    Withheld::NotYet {
        field: "subnet, gateway, dns or addresses".into(),
        impact: Impact::Disconnect,
        from: "as it was made".into(),
        to: format!("{} by {}", spec.subnet, spec.gateway),
    }
}
