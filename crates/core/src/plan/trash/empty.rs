//! What must be done to destroy entries of the trash: the only thing that destroys data.

use std::collections::BTreeSet;

use super::{
    super::{Action, Object, Reason, Withheld, Work, draft::HostDraft, proof},
    TrashEmptying, TrashEntry, TrashKey, Unrestorable,
    restore::is_half_back,
    trash_on,
};
use crate::model::Impact;

impl HostDraft<'_> {
    /// Destroys the entries that the command names, where they lie here.
    pub(in crate::plan) fn empty(&mut self, keys: &BTreeSet<TrashKey>) {
        let entries = trash_on(self.world, &self.host.name, self.view);
        for entry in entries.into_iter().filter(|entry| keys.contains(&entry.key)) {
            let object = Object::Trash(entry.id());
            match self.emptying(entry) {
                Ok(work) => {
                    let work = Work::TrashEmptied(Box::new(work));
                    self.change(object, Action::Remove, Impact::DataLoss, Reason::Asked, work);
                }
                Err(why) => self.hold(object, why),
            }
        }
    }

    /// An entry goes as a whole: half of one could never come back.
    fn emptying(&self, entry: TrashEntry) -> Result<TrashEmptying, Withheld> {
        if let Some(key) = is_half_back(self.world, &self.host.name, &entry.key.vm) {
            let id = key.id(entry.vm.as_ref());
            return Err(Withheld::NotRestored(Unrestorable::Begun(id)));
        }
        for item in &entry.holds {
            proof::volume(self.world, self.view, &item.name, None)?;
        }
        let holds = format!("{}; {}", entry.words(), entry.used().rounded());
        let volumes = entry.holds.into_iter().map(|item| item.name).collect();
        Ok(TrashEmptying { key: entry.key, holds, volumes })
    }
}
