//! Publishing in batches: edits that become due while a server is busy go out together.

use std::sync::{Arc, Mutex};

use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::{
    model::Edit,
    plugins::{Hosts, Plugin, PluginErrorKind},
};

use super::{Failure, Interrupt};

/// How edits were published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Published {
    /// The server answers them.
    Verified,
    /// They were accepted; nobody could be asked.
    NotVerified,
}

type Answer = Result<Published, Failure>;

/// The way to one plugin.
#[derive(Debug)]
pub(super) struct Batcher {
    plugin: Arc<dyn Plugin>,
    waiting: Mutex<Vec<(Vec<Edit>, oneshot::Sender<Answer>)>>,
    gate: AsyncMutex<()>,
    interrupt: Interrupt,
}

impl Batcher {
    pub(super) fn new(plugin: Arc<dyn Plugin>, interrupt: Interrupt) -> Self {
        Self { plugin, waiting: Mutex::default(), gate: AsyncMutex::default(), interrupt }
    }

    /// Publishes edits, with others that wait, and asks the server back.
    pub(super) async fn publish(&self, edits: Vec<Edit>, hosts: &Hosts) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().expect("no holder panics").push((edits, sender));
        let gate = self.gate.lock().await;
        let batch = std::mem::take(&mut *self.waiting.lock().expect("no holder panics"));
        if batch.is_empty() {
            drop(gate);
        } else {
            let all: Vec<Edit> = batch.iter().flat_map(|(edits, _)| edits.clone()).collect();
            let written = self.write(&all, hosts).await;
            drop(gate);
            self.answer(batch, written, hosts).await;
        }
        answer.await.expect("whoever takes a batch answers it")
    }

    async fn write(&self, edits: &[Edit], hosts: &Hosts) -> Result<(), (PluginErrorKind, Failure)> {
        let published = self.plugin.publish(edits, hosts).await;
        published.map_err(|error| (error.kind, self.failure("publish", &error)))
    }

    async fn answer(
        &self,
        batch: Vec<(Vec<Edit>, oneshot::Sender<Answer>)>,
        written: Result<(), (PluginErrorKind, Failure)>,
        hosts: &Hosts,
    ) {
        // One bad edit fails the whole batch where the server is atomic: then each goes alone.
        let alone = batch.len() > 1
            && matches!(&written, Err((kind, _)) if *kind != PluginErrorKind::Unreachable);
        if alone {
            for (edits, sender) in batch {
                let gate = self.gate.lock().await;
                let written = self.write(&edits, hosts).await;
                drop(gate);
                let answer = match written {
                    Ok(()) => self.verify(&edits, hosts).await,
                    Err((_, failure)) => Err(failure),
                };
                drop(sender.send(answer));
            }
            return;
        }
        let answer = match written {
            Ok(()) => {
                let all: Vec<Edit> = batch.iter().flat_map(|(edits, _)| edits.clone()).collect();
                self.verify(&all, hosts).await
            }
            Err((_, failure)) => Err(failure),
        };
        for (_, sender) in batch {
            drop(sender.send(answer.clone()));
        }
    }

    async fn verify(&self, edits: &[Edit], hosts: &Hosts) -> Answer {
        let mut interrupt = self.interrupt.clone();
        let verified = tokio::select! {
            verified = self.plugin.verify(edits, hosts) => verified,
            // What was written is written; whoever wants to end does not wait for it to be seen.
            Ok(_) = interrupt.wait_for(|stop| *stop) => Ok(false),
        };
        match verified {
            Ok(true) => Ok(Published::Verified),
            Ok(false) => Ok(Published::NotVerified),
            Err(error) => Err(self.failure("verify", &error)),
        }
    }

    fn failure(&self, act: &str, error: &crate::plugins::PluginError) -> Failure {
        Failure::of_plugin(format!("{act} {}", self.plugin.name()), error)
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::sync::watch;

    use super::*;
    use crate::{
        model::{EditKey, Inventory},
        plugins::{PluginError, Proposal, Published as Known},
    };

    /// A server that takes everything and never shows it.
    #[derive(Debug)]
    struct Slow(watch::Sender<bool>);

    #[async_trait]
    impl Plugin for Slow {
        fn name(&self) -> &'static str {
            "dns slow"
        }

        async fn propose(
            &self,
            _: &Inventory,
            _: &Known,
            _: &Hosts,
        ) -> Result<Proposal, PluginError> {
            Ok(Proposal::default())
        }

        async fn ours(&self, _: &Hosts) -> Result<Vec<(EditKey, Vec<String>)>, PluginError> {
            Ok(Vec::new())
        }

        async fn publish(&self, _: &[Edit], _: &Hosts) -> Result<(), PluginError> {
            Ok(())
        }

        async fn verify(&self, _: &[Edit], _: &Hosts) -> Result<bool, PluginError> {
            self.0.send_replace(true);
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn whoever_ends_a_run_does_not_wait_for_a_server_to_show_what_it_took() {
        let (sender, interrupt) = watch::channel(false);
        let batcher = Batcher::new(Arc::new(Slow(sender)), interrupt);
        let answer = batcher.publish(Vec::new(), &Hosts::new()).await;
        assert_eq!(answer.ok(), Some(Published::NotVerified));
    }
}
