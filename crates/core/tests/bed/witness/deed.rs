//! What one call changed on a host.

use std::collections::BTreeSet;

use freehold_core::{
    host::simulated::WorldDomain,
    model::{NetworkSpec, VolumeView},
};

use super::look::{Look, same};

/// One change.
pub(super) enum Deed<'a> {
    DomainMade(&'a WorldDomain),
    DomainGone(&'a WorldDomain),
    DomainChanged(&'a WorldDomain, &'a WorldDomain),
    VolumeMade(&'a str),
    VolumeGone(&'a str),
    VolumeRenamed(&'a str, &'a str),
    VolumeRewritten(&'a str),
    VolumeChanged(&'a str, &'a VolumeView, &'a VolumeView),
    NetworkMade(&'a NetworkSpec),
    NetworkGone(&'a NetworkSpec),
    NetworkChanged(&'a NetworkSpec),
    CardWritten,
    FileWritten(&'a str),
}

impl Look {
    /// Returns what is other in a later look.
    pub(super) fn deeds<'a>(&'a self, after: &'a Self) -> Vec<Deed<'a>> {
        let mut deeds = Vec::new();
        self.domain_deeds(after, &mut deeds);
        self.volume_deeds(after, &mut deeds);
        for (uuid, (network, active)) in &self.networks {
            match after.networks.get(uuid) {
                None => deeds.push(Deed::NetworkGone(network)),
                Some((now, runs)) if now != network || runs != active => {
                    deeds.push(Deed::NetworkChanged(network));
                }
                Some(_) => {}
            }
        }
        let new = after.networks.iter().filter(|(uuid, _)| !self.networks.contains_key(uuid));
        deeds.extend(new.map(|(_, (network, _))| Deed::NetworkMade(network)));
        if self.card != after.card {
            deeds.push(Deed::CardWritten);
        }
        let paths: BTreeSet<_> = self.files.keys().chain(after.files.keys()).collect();
        let written =
            paths.into_iter().filter(|path| self.files.get(*path) != after.files.get(*path));
        deeds.extend(written.map(|path| Deed::FileWritten(path)));
        deeds
    }

    fn domain_deeds<'a>(&'a self, after: &'a Self, deeds: &mut Vec<Deed<'a>>) {
        for (uuid, domain) in &self.domains {
            match after.domains.get(uuid) {
                None => deeds.push(Deed::DomainGone(domain)),
                Some(now) if !same(domain, now) => deeds.push(Deed::DomainChanged(domain, now)),
                Some(_) => {}
            }
        }
        let new = after.domains.iter().filter(|(uuid, _)| !self.domains.contains_key(uuid));
        deeds.extend(new.map(|(_, domain)| Deed::DomainMade(domain)));
    }

    fn volume_deeds<'a>(&'a self, after: &'a Self, deeds: &mut Vec<Deed<'a>>) {
        let gone = |name: &&String| !after.volumes.contains_key(*name);
        let new = |name: &&String| !self.volumes.contains_key(*name);
        let gone: Vec<_> = self.volumes.keys().filter(gone).collect();
        let new: Vec<_> = after.volumes.keys().filter(new).collect();
        match (gone.as_slice(), new.as_slice()) {
            ([from], [to]) if self.volumes[*from] == after.volumes[*to] => {
                deeds.push(Deed::VolumeRenamed(from, to));
            }
            _ => {
                deeds.extend(gone.into_iter().map(|name| Deed::VolumeGone(name)));
                deeds.extend(new.into_iter().map(|name| Deed::VolumeMade(name)));
            }
        }
        for (name, volume) in &self.volumes {
            let Some(now) = after.volumes.get(name) else { continue };
            if self.contents.get(name) != after.contents.get(name) {
                deeds.push(Deed::VolumeRewritten(name));
            } else if now != volume {
                deeds.push(Deed::VolumeChanged(name, volume, now));
            }
        }
    }
}
