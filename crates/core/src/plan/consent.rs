//! What the user agreed to.

use std::{collections::BTreeSet, str::FromStr};

use super::{Action, Change, Held, Object, Plan, Reason, Withheld, Work};
use crate::model::{Impact, VmName};

/// What the user agreed to, beyond creating and what nobody notices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consent {
    /// `--allow CLASS[=NAME,…]`, each.
    pub allowances: Vec<Allowance>,
    /// `--deletes N`.
    pub deletes: Option<usize>,
    /// Everything shown, answered at the terminal.
    pub all: bool,
    /// `--unprotect NAME`, each: VMs that may lose their protection, and disks that were kept.
    pub unprotect: BTreeSet<VmName>,
}

/// One `--allow CLASS[=NAME,…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// The class.
    pub impact: Impact,
    /// The VMs it is given for; `None` is all.
    pub vms: Option<BTreeSet<VmName>>,
}

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (class, names) = match text.split_once('=') {
            Some((class, names)) => (class, Some(names)),
            None => (text, None),
        };
        let parse = |names: &str| -> Result<BTreeSet<VmName>, String> {
            let names = names.split(',').map(str::parse);
            names
                .collect::<Result<_, _>>()
                .map_err(|error: crate::model::NameError| error.to_string())
        };
        let impact = class.parse()?;
        if impact == Impact::Live {
            return Err("live needs no consent".to_owned());
        }
        Ok(Self { impact, vms: names.map(parse).transpose()? })
    }
}

impl Consent {
    /// Says what lacks for a change to be made.
    fn lacks(&self, change: &Change) -> Option<Withheld> {
        let lets_go = |why: &Reason| matches!(why, Reason::Unprotect | Reason::Unkeep(_));
        if let Some(vm) = change.vm()
            && change.reasons.iter().any(lets_go)
            && !self.unprotect.contains(vm)
        {
            return Some(Withheld::Unprotect(vm.clone()));
        }
        (!self.covers(change)).then_some(Withheld::Consent(change.impact))
    }

    fn covers(&self, change: &Change) -> bool {
        if change.impact == Impact::Live || self.all || change.reasons.contains(&Reason::Asked) {
            return true;
        }
        self.allowances.iter().any(|allowance| {
            allowance.impact == change.impact
                && match (&allowance.vms, &change.object) {
                    (None, _) => true,
                    (Some(vms), Object::Vm(vm) | Object::Copy(vm)) => vms.contains(vm),
                    (Some(_), _) => false,
                }
        })
    }
}

impl Plan {
    /// Returns what the consent lets through; the rest is held back, with the edits about it.
    #[must_use]
    pub fn permitted(mut self, consent: &Consent) -> Self {
        self.hold(|change| consent.lacks(change));
        let wanted = self.vanishing();
        let allowed = consent.deletes.unwrap_or_else(|| self.budget());
        if wanted > allowed {
            self.hold(|change| {
                is_vanishing(change).then_some(Withheld::Budget { wanted, allowed })
            });
        }
        self.hold_networks_in_use();
        self.hold_mass_removals(consent);
        self
    }

    fn hold_networks_in_use(&mut self) {
        let staying: BTreeSet<_> = self.held.iter().map(|held| held.object.clone()).collect();
        self.hold(|change| match &change.work {
            Work::NetworkGone { users, .. } => {
                let mut users = users.iter().cloned().map(Object::Vm);
                users.find(|user| staying.contains(user)).map(Withheld::Needs)
            }
            _ => None,
        });
    }

    /// Returns how many VMs and networks vanish without being asked for by name.
    pub fn vanishing(&self) -> usize {
        self.changes.iter().filter(|change| is_vanishing(change)).count()
    }

    /// Returns how many may vanish without `--deletes`: max(1, 10 %) of the VMs and networks seen.
    pub fn budget(&self) -> usize {
        // What consent holds back by now was seen as well.
        let held = self.held.iter().filter(|held| held.why.is_consent());
        let objects = self.changes.iter().map(|change| &change.object);
        let objects = objects.chain(held.map(|held| &held.object));
        let vms = self.unchanged + objects.filter(|object| is_vm_or_network(object)).count();
        (vms / 10).max(1)
    }

    pub(super) fn hold(&mut self, why: impl Fn(&Change) -> Option<Withheld>) {
        let (mut away, mut stays) = (BTreeSet::new(), BTreeSet::new());
        let held = &mut self.held;
        self.changes.retain(|change| match why(change) {
            None => true,
            Some(why) => {
                away.extend(change.vm().cloned());
                if let Some(work) = change.making() {
                    away.extend(work.renamed.clone());
                    // What it is as it is now may be published; what it would be may not.
                    let published = work.seen.is_some() && !work.seed && work.renamed.is_none();
                    stays.extend(change.vm().filter(|_| published).cloned());
                }
                let (host, object) = (Some(change.host.clone()), change.object.clone());
                held.push(Held { host, object, why });
                false
            }
        });
        self.edits.retain(|edit| match &edit.vm {
            Some(vm) if stays.contains(vm) => !edit.new.is_empty(),
            Some(vm) => !away.contains(vm),
            None => true,
        });
    }
}

fn is_vanishing(change: &Change) -> bool {
    let gone = change.action == Action::Remove && change.reasons.contains(&Reason::NotDeclared);
    gone && is_vm_or_network(&change.object)
}

fn is_vm_or_network(object: &Object) -> bool {
    matches!(object, Object::Vm(_) | Object::Network(_))
}
