//! What is ours and the state does not know.

use super::{Drift, Subject, host::Look, owner::Belongs};
use crate::model::DomainView;

impl Look<'_> {
    /// Returns domains, networks and volumes of ours that the state does not know.
    pub(super) fn orphans(self) -> Vec<(Subject, Drift)> {
        let mut all = Vec::new();
        for domain in &self.view.domains {
            if matches!(self.domain_owner(domain), Belongs::Orphan) {
                all.extend(self.orphan_domain(domain));
            }
        }
        let known = self.snapshot.networks.get(self.host);
        for network in &self.view.networks {
            let ours = network.mark.as_ref().is_some_and(|m| m.fleet == self.snapshot.fleet);
            if ours && !known.is_some_and(|known| known.values().any(|uuid| *uuid == network.uuid))
            {
                let drift = Drift::OrphanNetwork { uuid: network.uuid };
                all.push((Subject::Network(network.name.clone()), drift));
            }
        }
        let known = self.known_volumes();
        for (name, view) in self.pool().into_iter().flat_map(|pool| &pool.volumes) {
            if matches!(self.volume_owner(name, &known), Belongs::Orphan) {
                let (size, used, listed) = (view.capacity, view.used, self.is_listed(name));
                let drift = Drift::OrphanVolume { size, used, listed };
                all.push((Subject::Volume(name.clone()), drift));
            }
        }
        all
    }

    fn orphan_domain(self, domain: &DomainView) -> Option<(Subject, Drift)> {
        let mark = domain.mark.as_ref()?;
        let mut records = self.snapshot.vms.values();
        let record = records.find(|record| record.uuid == domain.uuid);
        let drift = Drift::OrphanDomain {
            uuid: domain.uuid,
            vm: mark.name.clone(),
            incarnation: mark.incarnation,
            lives_on: record.map(|record| record.host.clone()),
        };
        Some((Subject::Domain(domain.name.clone()), drift))
    }
}
