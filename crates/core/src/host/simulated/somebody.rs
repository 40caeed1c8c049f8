//! What others do to a simulated host with `virsh`, named as its verbs; `true` is its exit code 0.
//!
//! libvirt protects nothing of ours from them: these obey its rules and none of freehold's.

use uuid::Uuid;

use super::{World, WorldDomain};
use crate::model::{DomainSpec, DomainState, Size, VolumeView};

impl World {
    /// `virsh define`, from scratch: of a domain that is there it drops our mark, what was added by
    /// hand and the chains of overlays; its machine goes on.
    pub fn somebody_defines(&mut self, spec: &DomainSpec) -> bool {
        if self.holder(&spec.name, spec.uuid).is_some()
            || self.domains.get(&spec.uuid).is_some_and(|there| there.spec.name != spec.name)
        {
            return false;
        }
        let new = WorldDomain { marked: false, ..WorldDomain::of(spec) };
        let domain = self.domains.entry(spec.uuid).or_insert_with(|| new.clone());
        domain.spec = new.spec;
        (domain.marked, domain.persistent) = (false, true);
        domain.extra.clear();
        domain.overlays.clear();
        true
    }

    /// `virsh attach-device --config`, `virsh metadata`: something that is none of our business.
    pub fn somebody_adds(&mut self, uuid: Uuid, extra: &str) -> bool {
        self.change_domain(uuid, |domain| {
            domain.extra.push_str(extra);
            true
        })
    }

    /// `virsh metadata --remove`: our mark is gone.
    pub fn somebody_drops_mark(&mut self, uuid: Uuid) -> bool {
        self.change_domain(uuid, |domain| std::mem::replace(&mut domain.marked, false))
    }

    /// `virsh start`.
    pub fn somebody_starts(&mut self, uuid: Uuid) -> bool {
        let off = self.domains.get(&uuid).is_some_and(|domain| !domain.is_active());
        off && self.start(uuid).is_ok()
    }

    /// `virsh destroy`: a transient domain is gone.
    pub fn somebody_destroys(&mut self, uuid: Uuid) -> bool {
        let runs = self.domains.get(&uuid).is_some_and(WorldDomain::is_active);
        self.stop(uuid);
        runs
    }

    /// `virsh suspend`.
    pub fn somebody_suspends(&mut self, uuid: Uuid) -> bool {
        self.change_domain(uuid, |domain| {
            domain.state = if domain.is_active() { DomainState::Paused } else { domain.state };
            domain.is_active()
        })
    }

    /// `virsh undefine`: of a running domain a machine stays that vanishes when it goes off, or its
    /// host does. Refused with a saved run, snapshots, UEFI variables.
    pub fn somebody_undefines(&mut self, uuid: Uuid) -> bool {
        let Some(domain) = self.domains.get(&uuid).filter(|domain| domain.persistent) else {
            return false;
        };
        let nvram = domain.spec.nvram.as_ref();
        if domain.saved
            || domain.snapshots && !domain.is_active()
            || nvram.is_some_and(|name| self.volumes.contains_key(name))
        {
            return false;
        }
        self.change_domain(uuid, |domain| {
            (domain.persistent, domain.autostart) = (false, false);
            true
        });
        if self.domains.get(&uuid).is_some_and(|domain| !domain.is_active()) {
            self.domains.remove(&uuid);
        }
        true
    }

    /// `virsh managedsave`: the next start goes on with what ran.
    pub fn somebody_saves(&mut self, uuid: Uuid) -> bool {
        self.change_domain(uuid, |domain| {
            if !domain.is_active() || !domain.persistent {
                return false;
            }
            domain.saved_run = domain.runs.take();
            (domain.saved, domain.state) = (true, DomainState::Off);
            true
        })
    }

    /// `virsh domrename`.
    pub fn somebody_renames(&mut self, uuid: Uuid, name: &str) -> bool {
        let free = self.domains.values().all(|domain| domain.spec.name != name);
        self.change_domain(uuid, |domain| {
            let may = free && !domain.is_active() && !domain.saved;
            if may {
                name.clone_into(&mut domain.spec.name);
            }
            may
        })
    }

    /// `virsh snapshot-create-as --disk-only`: an overlay on a volume, `<stem>.s1`, in its place.
    pub fn external_snapshot(&mut self, uuid: Uuid, volume: &str) -> bool {
        let path = self.path(volume);
        let stem = volume.rsplit_once('.').map_or(volume, |(stem, _)| stem);
        let name = format!("{stem}.s1");
        let overlay = self.path(&name);
        let Some(below) = self.volumes.get(volume) else { return false };
        let top =
            VolumeView { capacity: below.capacity, backing: Some(path), used: Size::from_mib(1) };
        let taken = self.volumes.contains_key(&name);
        let made = self.change_domain(uuid, |domain| {
            let has = domain.spec.disks.iter().any(|disk| disk.volume == volume);
            if !has || taken || domain.overlays.contains_key(volume) {
                return false;
            }
            domain.overlays.insert(volume.to_owned(), overlay);
            domain.snapshots = true;
            true
        });
        if made {
            self.volumes.insert(name, top);
        }
        made
    }

    /// `virsh snapshot-delete --metadata`: libvirt forgets it, the overlay stays.
    pub fn somebody_forgets_snapshots(&mut self, uuid: Uuid) -> bool {
        self.change_domain(uuid, |domain| std::mem::replace(&mut domain.snapshots, false))
    }

    /// `virsh vol-delete`, or `rm`: of a disk in use, too.
    pub fn somebody_deletes_volume(&mut self, name: &str) -> bool {
        self.contents.remove(name);
        self.volumes.remove(name).is_some()
    }

    /// The host reboots: transient domains are gone, what has autostart runs, nothing else does.
    pub fn reboot(&mut self) {
        self.land();
        let all: Vec<Uuid> = self.domains.keys().copied().collect();
        for uuid in &all {
            self.stop(*uuid);
        }
        self.pool = self.pool.map(|_| true);
        for (_, runs) in self.networks.values_mut() {
            *runs = true;
        }
        for uuid in all {
            if self.domains.get(&uuid).is_some_and(|domain| domain.autostart) {
                // One that cannot start stays off: libvirt only logs it.
                self.start(uuid).unwrap_or_default();
            }
        }
    }

    fn change_domain(&mut self, uuid: Uuid, change: impl FnOnce(&mut WorldDomain) -> bool) -> bool {
        self.domains.get_mut(&uuid).is_some_and(change)
    }
}
