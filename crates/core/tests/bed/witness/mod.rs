//! Looks at the world around every changing call, and says at once what must not have happened.

mod deed;
mod known;
mod look;
mod proof;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use freehold_core::{
    host::simulated::SimulatedHost,
    model::{FleetId, HostName},
    state::{LocalStore, Snapshot},
};

use super::server::Record;
use look::{Look, Strangers};

/// Sees every changing call of a fleet.
pub(crate) struct Witness {
    fleet: FleetId,
    store: LocalStore,
    hosts: BTreeMap<HostName, SimulatedHost>,
    strangers: Mutex<BTreeMap<HostName, Strangers>>,
    /// The highest serials seen: the state's, and each card's.
    serials: Mutex<(u64, BTreeMap<HostName, u64>)>,
    /// Somebody lost the state: what is there need not be known any more.
    lost: AtomicBool,
    judged: AtomicUsize,
    deeds: AtomicUsize,
    /// What was read last, and how many intents the journal had.
    read: Mutex<Option<(usize, Arc<Snapshot>)>>,
    /// Whether the run was asked to destroy what is in the trash.
    empties: AtomicBool,
    /// How long the journal was when the last call was made; nothing is no call in this run.
    acted: AtomicU64,
}

/// What was there before a call.
pub(super) struct Seen {
    host: HostName,
    act: &'static str,
    before: Look,
    /// Whether the run was asked to destroy what is in the trash.
    empties: bool,
    /// What state and journal on the disk say is ours.
    claims: Arc<Snapshot>,
}

/// What the server held before a call.
pub(super) struct SeenRecords {
    before: BTreeMap<String, Record>,
    claims: Arc<Snapshot>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

impl Witness {
    pub(super) fn new(
        fleet: FleetId,
        store: LocalStore,
        hosts: BTreeMap<HostName, SimulatedHost>,
    ) -> Self {
        Self {
            fleet,
            store,
            hosts,
            strangers: Mutex::default(),
            serials: Mutex::default(),
            lost: AtomicBool::new(false),
            judged: AtomicUsize::new(0),
            deeds: AtomicUsize::new(0),
            read: Mutex::default(),
            empties: AtomicBool::new(false),
            acted: AtomicU64::new(0),
        }
    }

    /// Returns how many calls were looked at, and how many changes they made.
    pub(crate) fn judged(&self) -> (usize, usize) {
        (self.judged.load(Ordering::Relaxed), self.deeds.load(Ordering::Relaxed))
    }

    pub(crate) fn state_is_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
        *self.serials.lock().unwrap() = Default::default();
    }

    /// A run begins, which may empty the trash: no call was made in it yet.
    pub(super) fn run_begins(&self, empties: bool) {
        self.empties.store(empties, Ordering::Relaxed);
        self.acted.store(0, Ordering::Relaxed);
        *self.read.lock().unwrap() = None;
    }

    /// Returns how long the journal was when the run's last call was made.
    pub(super) fn acted(&self) -> usize {
        usize::try_from(self.acted.load(Ordering::Relaxed)).unwrap()
    }

    /// Whatever is on a host and does not bear our mark or name is somebody else's from now on.
    pub(crate) fn remember(&self, host: &HostName) {
        let strangers = Strangers::of(&self.hosts[host].world(), self.fleet);
        self.strangers.lock().unwrap().insert(host.clone(), strangers);
    }

    /// Says whether a volume was there before freehold came.
    pub(super) fn is_strangers(&self, host: &HostName, volume: &str) -> bool {
        let strangers = self.strangers.lock().unwrap();
        strangers.get(host).is_some_and(|known| known.volumes.contains_key(volume))
    }

    /// Returns all hosts as they are, in words; what lies where in memory does not count.
    pub(super) fn shown(&self) -> String {
        let looks = self.hosts.values().map(|host| {
            let mut look = Look::at(&host.world());
            look.contents.values_mut().for_each(|place| *place = 0);
            format!("{look:?}\n")
        });
        looks.collect()
    }

    /// Looks right before a call; nothing may happen in between.
    pub(super) fn look(&self, host: &HostName, act: &'static str) -> Seen {
        let before = Look::at(&self.hosts[host].world());
        let empties = self.empties.load(Ordering::Relaxed);
        Seen { host: host.clone(), act, before, empties, claims: self.claims() }
    }

    /// What state and journal on the disk say: an intent is there before its call. Read again once
    /// there is a new one; what only ended since may still be claimed.
    fn claims(&self) -> Arc<Snapshot> {
        let journal = std::fs::read(self.store.path("journal.jsonl")).unwrap_or_default();
        self.acted.store(journal.len() as u64, Ordering::Relaxed);
        // A line that is being written does not count: it is not read either.
        let whole = journal.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
        let lines = String::from_utf8_lossy(&journal[..whole]);
        let intents = lines.matches("\"entry\":\"intent\"").count();
        let mut read = self.read.lock().unwrap();
        if let Some((known, claims)) = &*read
            && *known == intents
        {
            return Arc::clone(claims);
        }
        let claims = self.store.read().unwrap_or_else(|error| panic!("the state: {error}"));
        let mut serials = self.serials.lock().unwrap();
        assert!(claims.serial >= serials.0, "the state went back to {}", claims.serial);
        serials.0 = claims.serial;
        let claims = Arc::new(claims);
        *read = Some((intents, Arc::clone(&claims)));
        claims
    }

    /// Compares right after a call.
    pub(super) fn judge(&self, seen: &Seen) {
        let after = Look::at(&self.hosts[&seen.host].world());
        let deeds = seen.before.deeds(&after);
        self.judged.fetch_add(1, Ordering::Relaxed);
        self.deeds.fetch_add(deeds.len(), Ordering::Relaxed);
        let accuse = |why: String| -> ! {
            panic!("{} on {}: {why}\nclaims: {:?}", seen.act, seen.host, seen.claims)
        };
        let court = proof::Court { fleet: self.fleet, seen, after: &after };
        for deed in &deeds {
            if let Err(why) = court.try_deed(deed) {
                accuse(why);
            }
        }
        let strangers = self.strangers.lock().unwrap();
        let untouched = strangers.get(&seen.host).map_or(Ok(()), |known| known.are_in(&after));
        drop(strangers);
        let all = untouched
            .and_then(|()| match self.lost.load(Ordering::Relaxed) {
                true => Ok(()),
                false => court.all_is_known(),
            })
            .and_then(|()| self.one_owner())
            .and_then(|()| self.one_address(&seen.claims))
            .and_then(|()| self.serial_rises(seen, &after));
        if let Err(why) = all {
            accuse(why);
        }
    }

    /// Looks right before something is published.
    pub(super) fn look_at_records(&self, records: BTreeMap<String, Record>) -> SeenRecords {
        SeenRecords { before: records, claims: self.claims() }
    }

    /// Compares right after something was published.
    pub(super) fn judge_records(&self, seen: &SeenRecords, after: &BTreeMap<String, Record>) {
        self.judged.fetch_add(1, Ordering::Relaxed);
        let deeds = proof::records_changed(&seen.before, after, &seen.claims);
        let claims = &seen.claims.published;
        let deeds = deeds.unwrap_or_else(|why| panic!("publish: {why}\nclaims: {claims:?}"));
        self.deeds.fetch_add(deeds, Ordering::Relaxed);
    }

    fn serial_rises(&self, seen: &Seen, after: &Look) -> Result<(), String> {
        let fleet = self.fleet.to_string();
        let serial = after.card.as_ref().and_then(|card| card.fleets.get(&fleet).copied());
        let mut serials = self.serials.lock().unwrap();
        let highest = serials.1.entry(seen.host.clone()).or_default();
        match serial {
            // A state that begins anew does not know what was there.
            _ if !seen.claims.hosts.contains_key(&seen.host) => Ok(()),
            Some(serial) if serial < *highest => {
                Err(format!("the card's serial went from {highest} back to {serial}"))
            }
            Some(serial) => {
                *highest = serial;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
