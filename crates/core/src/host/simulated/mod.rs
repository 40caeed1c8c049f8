//! A host in memory, with libvirt's refusals and with faults on demand.

mod acts;
mod changes;
mod kept;
mod somebody;
mod volumes;
mod world;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{HostError, HostErrorKind, trouble::Trouble};
use crate::model::{HostName, Size};

use world::Late;
pub use world::{World, WorldDomain};

/// What goes wrong with a changing call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, and nothing happened.
    Fail,
    /// It happened, but its reply is lost.
    LostReply,
    /// It never arrives, and nothing does from there on.
    Unreachable,
    /// It happened, its reply is lost, and nothing arrives from there on.
    LostThenUnreachable,
    /// Its reply is lost, and it happens late: the next look does not show it yet. It has happened
    /// after that look, and before the next changing call.
    LateEffect,
}

/// What a guest's port answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Answer {
    /// Nobody listens.
    #[default]
    Refused,
    /// It says this and hangs up.
    Says(Vec<u8>),
}

/// A simulated host. Clones are further connections to the same world.
#[derive(Clone)]
pub struct SimulatedHost {
    name: HostName,
    world: Arc<Mutex<World>>,
}

impl fmt::Debug for SimulatedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedHost").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SimulatedHost {
    /// Makes an empty host that offers KVM and has these bridges.
    pub fn new(name: HostName, bridges: &[&str]) -> Self {
        let world = World {
            kvm: true,
            bridges: bridges.iter().map(|name| (*name).to_owned()).collect(),
            free: Size::from_bytes(1 << 40),
            ..World::default()
        };
        Self { name, world: Arc::new(Mutex::new(world)) }
    }

    /// Returns the world, to look at it or to change it behind everybody's back.
    pub fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked while it looked has not spoiled the world.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what goes wrong with the `nth` changing call from now, counted from 0.
    pub fn fault(&self, nth: usize, fault: Fault) {
        let mut world = self.world();
        let at = world.changes + nth;
        world.faults.insert(at, fault);
    }

    /// Lets `changes` more changing calls through; from there on the host is unreachable.
    pub fn kill_after(&self, changes: usize) {
        self.fault(changes, Fault::Unreachable);
    }

    /// Makes the host reachable again and forgets all faults.
    pub fn heal(&self) {
        let mut world = self.world();
        world.down = false;
        world.faults.clear();
    }

    /// Makes the host unreachable, or reachable again.
    pub fn set_down(&self, down: bool) {
        self.world().down = down;
    }

    /// Returns the changing calls that arrived, in order: `define domain web-0`.
    pub fn calls(&self) -> Vec<String> {
        self.world().calls.clone()
    }

    /// Looks; a host that is down shows nothing.
    fn ask<T>(
        &self,
        act: &str,
        look: impl FnOnce(&World) -> Result<T, Trouble>,
    ) -> Result<T, HostError> {
        let mut world = self.world();
        let result = if world.down { Err(gone()) } else { look(&world) };
        world.land();
        result.map_err(|trouble| trouble.on(&self.name, act))
    }

    /// Changes, with whatever fault is due.
    fn act<T>(
        &self,
        act: String,
        change: impl FnOnce(&mut World) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, HostError> {
        let result = arrives(&mut self.world(), &act, change);
        result.map_err(|trouble| trouble.on(&self.name, act))
    }
}

fn arrives<T>(
    world: &mut World,
    act: &str,
    change: impl FnOnce(&mut World) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    world.land();
    if world.down {
        return Err(gone());
    }
    let at = world.changes;
    world.changes += 1;
    let fault = world.faults.remove(&at);
    match fault {
        Some(Fault::Fail) => return Err(Trouble::failed("told to fail")),
        Some(Fault::Unreachable) => {
            world.down = true;
            return Err(gone());
        }
        None | Some(Fault::LostReply | Fault::LostThenUnreachable | Fault::LateEffect) => {}
    }
    world.calls.push(act.to_owned());
    let lost = Err(Trouble::unreachable("the reply is lost").unknown());
    match fault {
        None => change(world),
        Some(Fault::LateEffect) => {
            // Nobody is there any more to hear that it was refused.
            world.late.push(Late(Box::new(move |world| drop(change(world)))));
            lost
        }
        Some(fault) => {
            drop(change(world));
            world.down = fault == Fault::LostThenUnreachable;
            lost
        }
    }
}

fn gone() -> Trouble {
    Trouble::new(HostErrorKind::Unreachable, "the host does not answer")
}

type Faults = BTreeMap<usize, Fault>;

#[cfg(test)]
mod tests;
