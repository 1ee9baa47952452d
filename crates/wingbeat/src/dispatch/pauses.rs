//! Subscriptions that an operator has paused.
//!
//! Each is a record in the store of its service, so that all replicas find it, and a process that
//! starts later does, too. The replica that writes the record applies it at once; the others read
//! the records once a second.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use wingbeat_core::unit::Write;
use wingbeat_core::{CorrelationId, Key, Name, Result, RuntimeExt as _, Timestamp};

use crate::encode;
use crate::partition::Shares;
use crate::replay::Gate;
use crate::runtime::Control;
use crate::unit::{self, Attempt, Meta, OwnTable, Scope, ServiceContext, remove};

/// The table of paused subscriptions; ids are the names of their queues.
pub(crate) const PAUSED: Name = Name::new("wb.paused");
/// The pause between two reads, before the random part that spreads the replicas.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Records read at once. No service has that many subscriptions.
const RECORDS_MAX: usize = 1_000;

/// The content of a record.
#[derive(Serialize, Deserialize)]
struct Paused {
    since: Timestamp,
}

/// Paused subscriptions, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<Paused>(PAUSED);

/// A subscription, or one of its partitions.
pub(crate) struct Controlled {
    pub(crate) queue: Name,
    /// The queue of the subscription.
    pub(crate) owner: Name,
    pub(crate) control: watch::Sender<Control>,
}

/// The subscriptions of one service in this process, and the records of those that are paused.
pub(crate) struct Pauses {
    service: Arc<ServiceContext>,
    subscriptions: Vec<Controlled>,
    gate: Gate,
    shares: Shares,
    /// Held from reading or writing the records until they are applied: a slow read must not undo
    /// what a later write has applied.
    turn: tokio::sync::Mutex<()>,
}

impl Pauses {
    pub(crate) fn new(
        service: Arc<ServiceContext>,
        subscriptions: Vec<Controlled>,
        gate: Gate,
        shares: Shares,
    ) -> Self {
        Self {
            service,
            subscriptions,
            gate,
            shares,
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Reads the records and applies them.
    pub(crate) async fn read(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let records = self.service.store.scan(PAUSED, None, RECORDS_MAX).await?;
        self.gate.read(&self.service).await?;
        self.shares.read(&self.service).await?;
        for one in &self.subscriptions {
            self.apply(one, records.iter().any(|(id, _)| id == one.owner.as_str()));
        }
        Ok(())
    }

    /// Pauses or resumes a subscription of this process, unless it drains.
    fn apply(&self, one: &Controlled, paused: bool) {
        let wanted = if paused || self.gate.holds(one.queue) {
            Control::Paused
        } else if self.shares.is_elsewhere(one.queue) {
            Control::Standby
        } else {
            Control::Running
        };
        one.control.send_if_modified(|now| {
            let changes = *now != Control::Draining && *now != wanted;
            if changes {
                *now = wanted;
            }
            changes
        });
    }

    /// Follows the records until the service drains.
    pub(crate) async fn follow(self: Arc<Self>, mut control: watch::Receiver<Control>) {
        let runtime = &self.service.runtime;
        loop {
            tokio::select! {
                biased;
                _ = control.changed() => return self.shares.leave(&self.service).await,
                () = runtime.sleep(READ_EVERY + runtime.jitter(READ_EVERY / 8)) => {}
            }
            if let Err(why) = self.read().await {
                tracing::debug!(service = %self.service.name, code = why.code(), "cannot read which subscriptions are paused: {why}");
            }
        }
    }

    /// Pauses or resumes a subscription in all processes. Returns once that is durable and applied
    /// here; `false` if the subscription does not run here.
    pub(crate) async fn set(&self, queue: Name, paused: bool) -> Result<bool> {
        let all = self.subscriptions.iter().filter(|it| it.owner == queue);
        let all: Vec<&Controlled> = all.collect();
        if all.is_empty() {
            return Ok(false);
        }
        let _turn = self.turn.lock().await;
        self.write(queue, paused).await?;
        all.into_iter().for_each(|one| self.apply(one, paused));
        Ok(true)
    }

    async fn write(&self, queue: Name, paused: bool) -> Result<()> {
        let key = &Key::new(PAUSED, queue.as_str());
        let story = CorrelationId(self.service.runtime.id());
        unit::run(&self.service, || async move {
            let meta = Meta::without_message(story, self.service.runtime.now());
            let scope = Scope::new(Arc::clone(&self.service), meta);
            let answer = async {
                let known = scope.load(key).await?.body.is_some();
                match (known, paused) {
                    (false, true) => scope.write(put(key.clone(), scope.now())),
                    (true, false) => scope.write(remove(key.clone())),
                    (true, true) | (false, false) => Ok(()),
                }
            };
            Attempt {
                answer: answer.await,
                scope,
                settles: None,
            }
        })
        .await
    }
}

fn put(key: Key, since: Timestamp) -> Write {
    Write {
        key,
        body: Some(encode(&Paused { since })),
        due_at: None,
        expires_at: None,
    }
}
