//! From the outbox to the broker: publish, wait for the confirms, remove what was confirmed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Name, Outbox, Result, RuntimeExt as _, Transport, sabotage};

use crate::committer::Committer;
use crate::dispatch::Control;

/// Messages published at once.
const BATCH_MAX: usize = 512;
/// How long claimed messages are nobody else's.
const LEASE: Duration = Duration::from_secs(30);
/// The pause after a failure.
const RETRY: Duration = Duration::from_millis(100);
/// How long to rest when the outbox is empty and nothing was committed here: what another process
/// left behind, or what was not confirmed, is found by then.
const IDLE: Duration = Duration::from_secs(1);

/// Empties the outbox of these services.
pub(crate) struct Relay {
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) services: Vec<Name>,
    pub(crate) runtime: SharedRuntime,
    pub(crate) committer: Arc<Committer>,
    pub(crate) control: watch::Receiver<Control>,
}

impl Relay {
    pub(crate) async fn run(self) {
        loop {
            let committed = self.committer.committed();
            match self.round().await {
                Ok(0) if *self.control.borrow() == Control::Draining => return,
                Ok(0) => drop(self.runtime.timeout(IDLE, committed).await),
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!("the relay will try again: {why}");
                    self.runtime.sleep(RETRY + self.runtime.jitter(RETRY)).await;
                }
            }
        }
    }

    /// One batch; how many were confirmed.
    async fn round(&self) -> Result<usize> {
        let messages = self
            .outbox
            .claim(&self.services, self.runtime.now(), LEASE, BATCH_MAX)
            .await?;
        if messages.is_empty() {
            return Ok(0);
        }
        let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
        if sabotage::lacks(sabotage::CONFIRMS) {
            self.outbox.confirmed(ids.clone()).await?;
        }
        let answers = self.transport.publish(messages).await;
        let mut confirmed = Vec::with_capacity(ids.len());
        for (id, answer) in ids.into_iter().zip(answers) {
            match answer {
                Ok(()) => confirmed.push(id),
                Err(why) => tracing::warn!(message = %id, "stays in the outbox: {why}"),
            }
        }
        let count = confirmed.len();
        self.outbox.confirmed(confirmed).await?;
        Ok(count)
    }
}
