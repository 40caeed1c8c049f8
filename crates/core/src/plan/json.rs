//! The plan for programs: a stable form of its own (`docs/reference/plan.md`).

use serde::Serialize;

use super::{Action, Change, Held, Object, Plan};
use crate::model::{Edit, Impact};

/// What `plan --json` writes. Fields may be added in a format; none changes its meaning or goes.
#[derive(Debug, Clone, Serialize)]
pub struct PlanJson {
    format: u32,
    fleet: String,
    lineage: String,
    serial: u64,
    changes: Vec<ChangeJson>,
    edits: Vec<EditJson>,
    held: Vec<HeldJson>,
    counts: CountsJson,
}

#[derive(Debug, Clone, Serialize)]
struct ChangeJson {
    host: String,
    object: ObjectJson,
    action: Action,
    impact: Impact,
    reasons: Vec<ReasonJson>,
}

#[derive(Debug, Clone, Serialize)]
struct ObjectJson {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct ReasonJson {
    code: &'static str,
    text: String,
}

#[derive(Debug, Clone, Serialize)]
struct EditJson {
    plugin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vm: Option<String>,
    text: String,
    old: Vec<String>,
    new: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct HeldJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    object: ObjectJson,
    code: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    needs_consent: bool,
}

#[derive(Debug, Clone, Serialize)]
struct CountsJson {
    create: usize,
    update: usize,
    replace: usize,
    remove: usize,
    adopt: usize,
    publish: usize,
    held: usize,
    unchanged: usize,
    vanishing: usize,
    budget: usize,
}

impl From<&Plan> for PlanJson {
    fn from(plan: &Plan) -> Self {
        let count = |action| plan.changes.iter().filter(|one| one.action == action).count();
        Self {
            format: 1,
            fleet: plan.fleet.to_string(),
            lineage: plan.lineage.to_string(),
            serial: plan.serial,
            changes: plan.changes.iter().map(ChangeJson::from).collect(),
            edits: plan.edits.iter().map(EditJson::from).collect(),
            held: plan.held.iter().map(HeldJson::from).collect(),
            counts: CountsJson {
                create: count(Action::Create),
                update: count(Action::Update),
                replace: count(Action::Replace),
                remove: count(Action::Remove),
                adopt: count(Action::Adopt),
                publish: plan.edits.len(),
                held: plan.held.len(),
                unchanged: plan.unchanged,
                vanishing: plan.vanishing(),
                budget: plan.budget(),
            },
        }
    }
}

impl From<&Change> for ChangeJson {
    fn from(change: &Change) -> Self {
        let reason =
            |reason: &super::Reason| ReasonJson { code: reason.code(), text: reason.to_string() };
        Self {
            host: change.host.to_string(),
            object: ObjectJson::from(&change.object),
            action: change.action,
            impact: change.impact,
            reasons: change.reasons.iter().map(reason).collect(),
        }
    }
}

impl From<&Object> for ObjectJson {
    fn from(object: &Object) -> Self {
        let (kind, name) = match object {
            Object::Host(name) => ("host", Some(name.to_string())),
            Object::Pool => ("pool", None),
            Object::Network(name) => ("network", Some(name.to_string())),
            Object::Image(name) => ("image", Some(name.to_string())),
            Object::Stored(file) => ("file", Some(file.clone())),
            Object::Vm(name) => ("vm", Some(name.to_string())),
            Object::Copy(name) => ("old-copy", Some(name.to_string())),
            Object::Trash(id) => ("trash", Some(id.clone())),
            Object::Outside(plugin) => ("plugin", Some(plugin.clone())),
        };
        Self { kind, name }
    }
}

impl From<&Edit> for EditJson {
    fn from(edit: &Edit) -> Self {
        Self {
            plugin: edit.plugin.clone(),
            vm: edit.vm.as_ref().map(ToString::to_string),
            text: edit.to_string(),
            old: edit.old.clone(),
            new: edit.new.clone(),
        }
    }
}

impl From<&Held> for HeldJson {
    fn from(held: &Held) -> Self {
        Self {
            host: held.host.as_ref().map(ToString::to_string),
            object: ObjectJson::from(&held.object),
            code: held.why.code(),
            text: held.why.causes().join(": "),
            hint: held.why.hint(),
            needs_consent: held.why.is_consent(),
        }
    }
}
