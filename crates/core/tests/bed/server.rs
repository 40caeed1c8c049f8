//! A name server in memory, with marks, refusals and down times.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use freehold_core::{
    model::{DomainName, Edit, EditKey, Inventory, RecordKind, VmName},
    plugins::{Hosts, Plugin, PluginError, PluginErrorKind, Proposal, Published},
};

use super::{Fate, Trick};

/// A server of A records in one zone.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    fate: Arc<Fate>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default, Clone)]
struct Inner {
    records: BTreeMap<DomainName, Record>,
    down: bool,
    mute: bool,
    refuses: bool,
}

/// What stands at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) values: Vec<String>,
    /// Whose it is; nothing for somebody else's.
    pub(crate) vm: Option<VmName>,
}

impl Server {
    pub(crate) fn new(name: &str, fate: Arc<Fate>) -> Self {
        Self { name: name.to_owned(), fate, inner: Arc::default() }
    }

    /// Returns another server that holds the same.
    pub(super) fn copy(&self, fate: Arc<Fate>) -> Self {
        let inner = Arc::new(Mutex::new(self.inner().clone()));
        Self { name: self.name.clone(), fate, inner }
    }

    /// Returns the way to the same server for another run of the tool.
    pub(super) fn shared(&self, fate: Arc<Fate>) -> Self {
        Self { name: self.name.clone(), fate, inner: Arc::clone(&self.inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.inner().down = down;
    }

    /// Answers questions and takes nothing.
    pub(crate) fn set_mute(&self, mute: bool) {
        self.inner().mute = mute;
    }

    pub(crate) fn set_refuses(&self, refuses: bool) {
        self.inner().refuses = refuses;
    }

    /// Puts somebody else's record there.
    pub(crate) fn put_foreign(&self, name: &str, value: &str) {
        let record = Record { values: vec![value.to_owned()], vm: None };
        self.inner().records.insert(name.parse().unwrap(), record);
    }

    /// Takes away whatever stands at a name.
    pub(crate) fn remove(&self, name: &str) {
        self.inner().records.remove(&name.parse().unwrap());
    }

    /// Puts a record of ours there; the VM is named by its first label.
    pub(crate) fn put_ours(&self, key: &EditKey, values: &[String]) {
        let EditKey::Rrset { name, .. } = key else { return };
        let text = name.to_string();
        let vm = text.split('.').next().and_then(|label| label.parse().ok());
        self.inner().records.insert(name.clone(), Record { values: values.to_vec(), vm });
    }

    pub(crate) fn records(&self) -> BTreeMap<String, Record> {
        let inner = self.inner();
        inner.records.iter().map(|(name, record)| (name.to_string(), record.clone())).collect()
    }

    fn key(name: &DomainName) -> EditKey {
        let zone = "example.org".parse().unwrap();
        EditKey::Rrset { zone, name: name.clone(), kind: RecordKind::A, ttl: 60 }
    }

    fn error(&self, act: &str, kind: PluginErrorKind, why: &str) -> PluginError {
        let (plugin, act, source) = (self.name.clone(), act.to_owned(), why.into());
        PluginError { plugin, act, kind, hint: None, source }
    }

    fn answers(&self, act: &str) -> Result<(), PluginError> {
        let inner = self.inner();
        if inner.down {
            Err(self.error(act, PluginErrorKind::Unreachable, "it does not answer"))
        } else if inner.refuses {
            Err(self.error(act, PluginErrorKind::Refused, "it wants another key"))
        } else {
            Ok(())
        }
    }

    fn foreign(&self, name: &DomainName) -> PluginError {
        let act = format!("write {name}");
        self.error(&act, PluginErrorKind::Foreign, "it is there and is not ours")
    }

    fn edit(&self, vm: &VmName, name: &DomainName, old: &[String], new: &[String]) -> Edit {
        Edit {
            plugin: self.name.clone(),
            vm: Some(vm.clone()),
            key: Self::key(name),
            old: old.to_vec(),
            new: new.to_vec(),
        }
    }

    /// Writes, with whatever goes wrong.
    fn spoiled(&self, trick: Option<Trick>, edits: &[Edit]) -> Result<(), PluginError> {
        let lost = || self.error("publish", PluginErrorKind::Unreachable, "the reply is lost");
        match trick {
            Some(Trick::Fail | Trick::DiskFull) => {
                Err(self.error("publish", PluginErrorKind::Refused, "told to fail"))
            }
            Some(Trick::LostRequest | Trick::Reboot) => Err(lost()),
            Some(Trick::Gone) => {
                self.set_down(true);
                self.answers("publish")
            }
            Some(Trick::Partition) => {
                self.set_down(true);
                let inner = Arc::clone(&self.inner);
                self.fate.comes_back(Box::new(move || inner.lock().unwrap().down = false));
                self.answers("publish")
            }
            Some(Trick::LostReply | Trick::LateEffect) => {
                self.write(edits).and_then(|()| Err(lost()))
            }
            Some(Trick::LostThenGone) => {
                let result = self.write(edits);
                self.set_down(true);
                result.and_then(|()| Err(lost()))
            }
            _ => self.write(edits),
        }
    }

    fn write(&self, edits: &[Edit]) -> Result<(), PluginError> {
        self.answers("publish")?;
        let mut inner = self.inner();
        if inner.mute {
            return Err(self.error("publish", PluginErrorKind::Unreachable, "it hangs up"));
        }
        let mut result = Ok(());
        for edit in edits {
            let EditKey::Rrset { name, .. } = &edit.key else { continue };
            match inner.records.get(name) {
                Some(Record { vm: None, .. }) => result = Err(self.foreign(name)),
                _ if edit.new.is_empty() => drop(inner.records.remove(name)),
                _ => {
                    let record = Record { values: edit.new.clone(), vm: edit.vm.clone() };
                    inner.records.insert(name.clone(), record);
                }
            }
        }
        result
    }
}

#[async_trait]
impl Plugin for Server {
    fn name(&self) -> &str {
        &self.name
    }

    async fn propose(
        &self,
        inventory: &Inventory,
        published: &Published,
        _: &Hosts,
    ) -> Result<Proposal, PluginError> {
        self.answers("read")?;
        let mut proposal = Proposal::default();
        let wanted: BTreeMap<DomainName, (&VmName, Vec<String>)> = inventory
            .vms
            .values()
            .filter(|vm| !vm.addresses.is_empty())
            .map(|vm| {
                let values = vm.addresses.iter().map(ToString::to_string).collect();
                (format!("{}.example.org", vm.name).parse().unwrap(), (&vm.name, values))
            })
            .collect();
        let inner = self.inner();
        for (name, record) in &inner.records {
            let Some(vm) = record.vm.as_ref().filter(|_| !wanted.contains_key(name)) else {
                continue;
            };
            let known = published.get(&(self.name.clone(), Self::key(name)));
            match known.filter(|known| record.values.iter().all(|value| known.contains(value))) {
                Some(_) => proposal.edits.push(self.edit(vm, name, &record.values, &[])),
                None => proposal.refused.push(self.error(
                    &format!("remove {name}"),
                    PluginErrorKind::Foreign,
                    "it was changed by hand",
                )),
            }
        }
        for (name, (vm, values)) in wanted {
            match inner.records.get(&name) {
                Some(Record { vm: None, .. }) => proposal.refused.push(self.foreign(&name)),
                Some(record) if record.values == values => {
                    proposal.present.push((Self::key(&name), values));
                }
                Some(record) => proposal.edits.push(self.edit(vm, &name, &record.values, &values)),
                None => proposal.edits.push(self.edit(vm, &name, &[], &values)),
            }
        }
        Ok(proposal)
    }

    async fn ours(&self, _: &Hosts) -> Result<Vec<(EditKey, Vec<String>)>, PluginError> {
        self.answers("read")?;
        let inner = self.inner();
        let ours = inner.records.iter().filter(|(_, record)| record.vm.is_some());
        Ok(ours.map(|(name, record)| (Self::key(name), record.values.clone())).collect())
    }

    async fn publish(&self, edits: &[Edit], _: &Hosts) -> Result<(), PluginError> {
        let trick = self.fate.before().await;
        let seen = self.fate.witness().map(|witness| witness.look_at_records(self.records()));
        let result = self.spoiled(trick, edits);
        if let Some((witness, seen)) = self.fate.witness().zip(seen) {
            witness.judge_records(&seen, &self.records());
        }
        self.fate.after(trick).await;
        result
    }

    async fn verify(&self, edits: &[Edit], _: &Hosts) -> Result<bool, PluginError> {
        let inner = self.inner();
        for edit in edits {
            let EditKey::Rrset { name, .. } = &edit.key else { continue };
            let values = inner.records.get(name).map(|record| record.values.clone());
            if values.unwrap_or_default() != edit.new {
                let why = format!("{name} is not shown");
                return Err(self.error("verify", PluginErrorKind::NotShown, &why));
            }
        }
        Ok(true)
    }
}
