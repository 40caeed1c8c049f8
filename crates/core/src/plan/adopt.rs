//! Taking a VM that is there into the state, and giving it its mark back.

use super::{
    Action, Change, Object, Reason, VmWork, Withheld, Work,
    make::missing_work,
    proof,
    vm::{Look, Verdict},
};
use crate::{
    model::{DomainView, Impact, Mark},
    state::Applied,
};

/// Says how a VM is adopted. It needs what is left of the proof: its UUID and name always; then the
/// state, where its mark was lost (`mark` asks for that), or its mark, where the state was.
pub(super) fn adoption(look: &Look<'_>, mark: bool) -> Verdict {
    match adopted(look, mark) {
        Ok(Some(change)) => Verdict::Change(Box::new(change)),
        Ok(None) => Verdict::Same,
        Err(why) => Verdict::Held(why),
    }
}

fn adopted(look: &Look<'_>, mark: bool) -> Result<Option<Change>, Withheld> {
    let name = look.vm.name.as_str();
    proof::domain_name(look.world, look.view, name, look.decision.uuid)?;
    let absent = || {
        let uuid = look.decision.uuid;
        Withheld::Foreign(format!("there is no domain {name} with UUID {uuid} to adopt"))
    };
    let found = look.found.filter(|found| found.name == name).ok_or_else(absent)?;
    let known = look.record.is_some_and(|record| record.uuid == found.uuid);
    match proof::domain(look.world, &[&look.vm.name], look.record, found) {
        Ok(()) => Ok(None),
        Err(Withheld::MarkLost { .. }) if mark && known => {
            Ok(Some(change(look, found, Reason::MarkLost)))
        }
        Err(Withheld::MarkLost { .. }) if mark => Err(Withheld::Foreign(format!(
            "domain {name} bears no mark and the state does not know it: nothing proves it ours"
        ))),
        Err(Withheld::NotInState(_)) => Ok(Some(change(look, found, Reason::NotInState))),
        Err(why) => Err(why),
    }
}

/// What the state promises stands in the new mark, whatever the text says by now: it is lifted by
/// name, in a plan of its own.
fn renew_promises(mark: &mut Mark, look: &Look<'_>) {
    let Some(record) = look.record else { return };
    mark.protect |= record.protect;
    let kept = record.disks.iter().filter(|disk| disk.keep).map(|disk| disk.name.clone());
    mark.keep.extend(kept);
    mark.keep.sort();
    mark.keep.dedup();
}

fn change(look: &Look<'_>, found: &DomainView, why: Reason) -> Change {
    let spec = look.spec().clone();
    let runs = look.runs();
    let mut work = VmWork {
        volumes: Vec::new(),
        seed: false,
        update: false,
        remark: why == Reason::MarkLost,
        autostart: None,
        stop: false,
        start: false,
        wait: None,
        ..missing_work(look, spec)
    };
    // It is taken as it is; the next plan tells in what it is not as it is wanted.
    work.applied =
        Applied { shape: found.defined.clone(), autostart: found.autostart, running: runs };
    match &found.mark {
        Some(mark) => work.spec.mark = mark.clone(),
        None => renew_promises(&mut work.spec.mark, look),
    }
    Change {
        host: look.decision.host.clone(),
        object: Object::Vm(look.vm.name.clone()),
        action: Action::Adopt,
        impact: Impact::Live,
        reasons: vec![why],
        work: Work::VmAdopted(Box::new(work)),
    }
}
