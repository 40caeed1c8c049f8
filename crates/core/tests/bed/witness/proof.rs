//! Whether what a call changed was provably ours to change.

use std::collections::BTreeMap;

use freehold_core::{
    host::simulated::WorldDomain,
    model::{
        DomainState, EditKey, FleetId, NetworkSpec, NicSource, nvram_name, seed_volume_name,
        volume_prefix,
    },
    state::{DiskRecord, Snapshot, VmDecision, VmRecord},
};

use super::{Seen, deed::Deed, look::Look};
use crate::bed::server::Record;

/// Tries the changes that one call made.
pub(super) struct Court<'a> {
    pub(super) fleet: FleetId,
    pub(super) seen: &'a Seen,
    pub(super) after: &'a Look,
}

type Verdict = Result<(), String>;

fn must(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

impl Court<'_> {
    pub(super) fn try_deed(&self, deed: &Deed<'_>) -> Verdict {
        match deed {
            Deed::DomainMade(domain) => self.proven(domain),
            Deed::DomainGone(domain) => self.undefined(domain),
            Deed::DomainChanged(before, after) => self.domain_changed(before, after),
            Deed::VolumeMade(name) => self.volume_made(name),
            Deed::VolumeGone(name) => self.volume_gone(name),
            Deed::VolumeRenamed(from, to) => self.volume_renamed(from, to),
            Deed::VolumeRewritten(name) => {
                must(self.is_seed(name) || self.is_last_xml(name), || {
                    format!("volume {name} was written anew")
                })
            }
            Deed::VolumeChanged(name, before, after) => {
                let grew = after.capacity > before.capacity && after.backing == before.backing;
                must(grew && self.disk(name).is_some(), || format!("volume {name} changed"))
            }
            Deed::NetworkMade(network) | Deed::NetworkChanged(network) => {
                self.proven_network(network)
            }
            Deed::NetworkGone(network) => self.network_gone(network),
            Deed::CardWritten => self.card_written(),
            Deed::FileWritten(path) => Err(format!("{path} was written")),
        }
    }

    /// The state or the journal knows it, under that UUID, on this host; and it bears our mark.
    fn proven(&self, domain: &WorldDomain) -> Verdict {
        let name = &domain.spec.name;
        let ours = domain.marked && domain.spec.mark.fleet == self.fleet;
        must(ours, || format!("domain {name} does not bear our mark"))?;
        self.claimed(domain)
    }

    /// By its UUID, which stays when it gets another name; or it is an old copy of a VM that lives on
    /// another host.
    fn claimed(&self, domain: &WorldDomain) -> Verdict {
        let mut elsewhere = self.elsewhere();
        let is_old = |vm: &VmDecision| {
            vm.uuid == domain.spec.uuid && vm.incarnation > domain.spec.mark.incarnation
        };
        if elsewhere.any(is_old) {
            return Ok(());
        }
        must(self.records().any(|(_, record)| record.uuid == domain.spec.uuid), || {
            format!("the state knows no domain {} on this host", domain.spec.name)
        })
    }

    fn undefined(&self, domain: &WorldDomain) -> Verdict {
        self.proven(domain)?;
        let name = &domain.spec.name;
        if !domain.persistent {
            // Somebody undefined it before; it vanishes when it goes off.
            return Ok(());
        }
        let off = matches!(domain.state, DomainState::Off | DomainState::Crashed);
        must(off && !domain.saved, || format!("domain {name} was not off when it was undefined"))?;
        let xml = format!(".{}.xml", domain.spec.uuid);
        let mut kept = self.after.volumes.keys().filter(|volume| volume.starts_with("trash."));
        must(kept.any(|volume| volume.ends_with(&xml)), || format!("{name} left no XML"))
    }

    fn domain_changed(&self, before: &WorldDomain, after: &WorldDomain) -> Verdict {
        must(before.extra == after.extra, || {
            format!("what was added by hand to {} is gone", before.spec.name)
        })?;
        if before.marked {
            return self.proven(before);
        }
        // A mark is put back where the state and the name agree.
        must(after.marked && before.spec.name == after.spec.name, || {
            format!("domain {} without our mark changed", before.spec.name)
        })?;
        self.proven(after)
    }

    /// VMs of the state on this host.
    fn records(&self) -> impl Iterator<Item = (&str, &VmRecord)> {
        let here = |(_, record): &(_, &VmRecord)| record.host == self.seen.host;
        self.seen.claims.vms.iter().filter(here).map(|(vm, record)| (vm.as_str(), record))
    }

    /// VMs whose place is on other hosts.
    fn elsewhere(&self) -> impl Iterator<Item = &VmDecision> {
        self.seen.claims.decisions.vms.values().filter(|vm| vm.host != self.seen.host)
    }

    /// Says whether it is what an earlier incarnation of a VM has left, which lives on another host.
    fn is_left(&self, volume: &str) -> bool {
        let mut old = self.elsewhere().filter(|record| record.incarnation > 1);
        old.any(|record| volume.starts_with(&volume_prefix(self.fleet, record.uuid)))
    }

    fn disk(&self, volume: &str) -> Option<&DiskRecord> {
        let mut disks = self.records().flat_map(|(_, record)| &record.disks);
        disks.find(|disk| disk.volume == volume)
    }

    /// Says whether it is the seed of a VM of ours, or was that of an incarnation before.
    fn is_seed(&self, volume: &str) -> bool {
        let here = self.records().map(|(_, record)| (record.uuid, record.incarnation));
        let mut all = here.chain(self.elsewhere().map(|vm| (vm.uuid, vm.incarnation)));
        let seed = |vm, n| seed_volume_name(self.fleet, vm, n) == volume;
        all.any(|(vm, incarnation)| (1..=incarnation).any(|n| seed(vm, n)))
    }

    fn is_nvram(&self, volume: &str) -> bool {
        self.records().any(|(_, record)| nvram_name(self.fleet, record.uuid) == volume)
    }

    /// Says whether it is the last definition of a VM of ours, in the trash.
    fn is_last_xml(&self, volume: &str) -> bool {
        let of = |vm| volume.ends_with(&format!(".{vm}.xml"));
        let here = self.records().map(|(_, record)| record.uuid);
        volume.starts_with("trash.") && here.chain(self.elsewhere().map(|vm| vm.uuid)).any(of)
    }

    fn is_kept(&self, volume: &str) -> bool {
        let mut kept = self.seen.claims.kept.iter();
        kept.any(|kept| kept.host == self.seen.host && kept.volume == volume)
    }

    fn listed(&self, volume: &str) -> Verdict {
        let listed = self.seen.before.index(self.fleet).iter().any(|name| name == volume);
        must(listed, || format!("volume {volume} is not in the card's index"))
    }

    fn unused(&self, volume: &str) -> Verdict {
        match self.seen.before.user_of(volume) {
            None => Ok(()),
            Some(user) => Err(format!("volume {volume} was in use by {user}")),
        }
    }

    fn volume_made(&self, name: &str) -> Verdict {
        self.listed(name)?;
        let ours = name.starts_with("image.")
            || self.disk(name).is_some()
            || self.is_seed(name)
            || self.is_nvram(name)
            || self.is_last_xml(name);
        must(ours, || format!("the state knows nothing of volume {name}"))
    }

    fn volume_gone(&self, name: &str) -> Verdict {
        // The XML of a VM that is back has done its duty; the rest of the trash goes by name only.
        let asked = name.starts_with("trash.") && (self.seen.empties || self.is_last_xml(name));
        must(self.is_seed(name) || asked, || {
            format!("volume {name} is no seed of ours and was removed")
        })?;
        self.listed(name)?;
        self.unused(name)
    }

    fn volume_renamed(&self, from: &str, to: &str) -> Verdict {
        self.listed(from)?;
        self.listed(to)?;
        self.unused(from)?;
        if from.starts_with("trash.") {
            let known = self.disk(to).is_some() || self.is_nvram(to) || self.is_kept(to);
            return must(from.ends_with(&format!(".{to}")) && known, || {
                format!("{from} became {to}")
            });
        }
        must(to.starts_with("trash."), || format!("{from} became {to}"))?;
        must(!self.is_kept(from), || format!("{from} is kept and went to the trash"))?;
        let goes = self.disk(from).is_some_and(|disk| !disk.keep)
            || self.is_nvram(from)
            || self.is_left(from);
        must(goes, || format!("{from} is not known or is to be kept, and went to the trash"))
    }

    fn proven_network(&self, network: &NetworkSpec) -> Verdict {
        let known = self.seen.claims.networks.get(&self.seen.host).into_iter().flatten();
        let mut known = known.filter(|(name, _)| name.as_str() == network.name);
        let ours = network.mark.fleet == self.fleet && network.mark.name == network.name;
        must(ours && known.any(|(_, uuid)| *uuid == network.uuid), || {
            format!("network {} is not proven to be ours", network.name)
        })
    }

    fn network_gone(&self, network: &NetworkSpec) -> Verdict {
        self.proven_network(network)?;
        let source = NicSource::Network(network.name.clone());
        let mut domains = self.seen.before.domains.values();
        let user = domains.find(|it| it.spec.nics.iter().any(|nic| nic.source == source));
        must(user.is_none(), || format!("network {} was in use", network.name))
    }

    fn card_written(&self) -> Verdict {
        let Some(after) = &self.after.card else { return Err("the card is gone".to_owned()) };
        let (claims, before) = (&self.seen.claims, self.seen.before.card.as_ref());
        // Where the card knows of later runs the state is a new one, and knows it once it is written.
        let fleet = self.fleet.to_string();
        let run = before.and_then(|card| card.fleets.get(&fleet).copied());
        let later = run.is_some_and(|run| run >= claims.serial);
        let known = claims.hosts.get(&self.seen.host);
        must(known == Some(&after.host) || known.is_none() && later, || {
            "the state knows the host by another id".to_owned()
        })?;
        must(before.is_none_or(|before| before.host == after.host), || {
            "the host got another id".to_owned()
        })
    }

    /// State and journal know every object of ours, and the card lists every file.
    pub(super) fn all_is_known(&self) -> Verdict {
        for domain in self.after.domains.values() {
            if domain.marked && domain.spec.mark.fleet == self.fleet {
                self.claimed(domain)?;
            }
        }
        for (network, _) in self.after.networks.values() {
            if network.mark.fleet == self.fleet {
                self.proven_network(network)?;
            }
        }
        let ours = format!("{}.", self.fleet.short());
        let index = self.after.index(self.fleet);
        for name in self.after.volumes.keys().filter(|name| name.contains(&ours)) {
            must(index.contains(name), || format!("the card's index forgot {name}"))?;
            let known = name.starts_with("trash.")
                || self.disk(name).is_some()
                || self.is_seed(name)
                || self.is_nvram(name)
                || self.is_left(name)
                || self.is_kept(name);
            must(known, || format!("state and journal forgot volume {name}"))?;
        }
        Ok(())
    }
}

/// Says how many records changed, or which one was not ours to change.
pub(super) fn records_changed(
    before: &BTreeMap<String, Record>,
    after: &BTreeMap<String, Record>,
    claims: &Snapshot,
) -> Result<usize, String> {
    let claimed = |name: &str, values: &[String]| {
        claims.published.iter().any(|((_, key), known)| {
            matches!(key, EditKey::Rrset { name: place, .. } if place.to_string() == name)
                && values.iter().all(|value| known.contains(value))
        })
    };
    let mut changed = 0;
    for (name, record) in before {
        if after.get(name) == Some(record) {
            continue;
        }
        changed += 1;
        must(record.vm.is_some(), || format!("{name}, which is not ours, changed"))?;
        must(claimed(name, &record.values), || format!("{name} changed and was not in the state"))?;
    }
    for (name, record) in after {
        changed += usize::from(!before.contains_key(name));
        let known = record.vm.is_none() || claimed(name, &record.values);
        must(known, || format!("state and journal do not know {name}"))?;
    }
    Ok(changed)
}
