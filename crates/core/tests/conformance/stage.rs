//! Acts one after the other, and what each changed.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use freehold_core::{
    host::{Certainty, Host, HostError},
    model::{Digest, Ours, VolumeSpec},
};
use uuid::Uuid;

use super::{
    somebody::{Deed, Somebody},
    transcript::scene,
};

/// A host, the others who have it in hand too, and what was written down so far.
pub(crate) struct Stage {
    pub(crate) host: Arc<dyn Host>,
    somebody: Box<dyn Somebody>,
    written: String,
    scene: Vec<String>,
    /// How often each definition was seen to be another one.
    definitions: BTreeMap<Uuid, (Digest, u32)>,
}

impl Stage {
    pub(crate) fn new(host: Arc<dyn Host>, somebody: Box<dyn Somebody>) -> Self {
        let (written, scene) = (String::new(), Vec::new());
        Self { host, somebody, written, scene, definitions: BTreeMap::new() }
    }

    pub(crate) fn title(&mut self, title: &str) {
        writeln!(self.written, "\n# {title}").unwrap();
    }

    /// Writes down what an act of ours came to, and what one sees then.
    pub(crate) async fn ours<T>(&mut self, act: &str, result: Result<T, HostError>) -> Option<T> {
        let (word, value) = match result {
            Ok(value) => ("ok".to_owned(), Some(value)),
            Err(error) => {
                println!("{act}: {error}: {}", error.source);
                let lost = if error.certainty == Certainty::Unknown { ", unknown" } else { "" };
                (format!("{:?}{lost}", error.kind), None)
            }
        };
        self.look(act, &word).await;
        value
    }

    /// Writes down what somebody else did.
    pub(crate) async fn theirs(&mut self, deed: &Deed<'_>) {
        let word = if self.somebody.does(deed) { "done" } else { "refused" };
        self.look(&format!("somebody {deed}"), word).await;
    }

    /// Makes a volume without writing it down.
    pub(crate) async fn with_volume(&mut self, spec: &VolumeSpec) {
        self.host.create_volume(spec).await.unwrap();
    }

    /// Returns how a domain of ours is found, defined as it is this moment.
    pub(crate) async fn as_seen(&self, ours: Ours) -> Ours {
        let view = self.host.observe(&[]).await.unwrap();
        let domain = view.domains.iter().find(|domain| domain.uuid == ours.uuid).unwrap();
        ours.seen_as(&domain.fingerprint)
    }

    async fn look(&mut self, act: &str, word: &str) {
        let view = self.host.observe(&[]).await.unwrap();
        for domain in &view.domains {
            let seen = self.definitions.entry(domain.uuid).or_default();
            if seen.0 != domain.fingerprint {
                *seen = (domain.fingerprint.clone(), seen.1 + 1);
            }
        }
        self.definitions.retain(|uuid, _| view.domains.iter().any(|domain| domain.uuid == *uuid));
        let scene = scene(&*self.host, &view, &self.definitions).await;
        writeln!(self.written, "{act}: {word}").unwrap();
        for line in self.scene.iter().filter(|line| !scene.contains(line)) {
            writeln!(self.written, "  - {line}").unwrap();
        }
        for line in scene.iter().filter(|line| !self.scene.contains(line)) {
            writeln!(self.written, "  + {line}").unwrap();
        }
        self.scene = scene;
    }

    pub(crate) fn finish(self) -> String {
        assert!(self.scene.is_empty(), "something is left: {:#?}", self.scene);
        self.written
    }
}
