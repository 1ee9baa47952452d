//! The subscriber of a replay.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;
use wingbeat_core::unit::Write;
use wingbeat_core::{Envelope, Key, Kind, MessageType, Name, Result, Timestamp, sabotage};

use super::wire::{Mark, Request, replayed};
use crate::effects::{Effects, Outgoing};
use crate::handler::Run;
use crate::runtime::Control;
use crate::unit::{OwnTable, Scope, ServiceContext, run_unit};
use crate::{decode, encode};

/// The table of subscriptions from the beginning; ids are the names of their queues.
const BEGUN: Name = Name::new("wb.begun");
/// Records read at once. No service has that many subscriptions.
const RECORDS_MAX: usize = 1_000;
/// The pause before the store is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// The pause before the owner is asked again while a replay is in progress.
const REMIND: Duration = Duration::from_secs(3_600);
/// The end of the names of queues that receive the past.
const REPLAY: &str = ".replay";
/// The time for which a mark waits for the messages before it. After it, the owner sends the
/// chapter again.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// The pause between two looks at the inbox.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A subscription from the beginning.
#[derive(Clone, Copy)]
pub(crate) struct Begins {
    pub(crate) queue: Name,
    pub(crate) message: MessageType,
}

/// The stored state of a subscription from the beginning.
#[derive(Serialize, Deserialize)]
struct Begun {
    /// The id of the replay.
    replay: Uuid,
    /// The time at which all of the past was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<Timestamp>,
}

/// Subscriptions from the beginning, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<Begun>(BEGUN);

fn key(queue: Name) -> Key {
    Key::new(BEGUN, queue.as_str())
}

fn write(queue: Name, begun: &Begun) -> Write {
    Write {
        key: key(queue),
        body: Some(encode(begun)),
        due_at: None,
        expires_at: None,
    }
}

fn send(scope: &Scope, message: Outgoing) -> Result<()> {
    let mut effects = Effects::new();
    effects.messages.push(message);
    scope.record(effects)
}

/// Asks the owners for the past of subscriptions that have not received all of it, at the start
/// and then once an hour: an owner stops after a while without confirmations, or may have lost its
/// data. Ends when all is received or the service drains.
pub(crate) async fn ask(
    service: Arc<ServiceContext>,
    mut all: Vec<Begins>,
    mut control: watch::Receiver<Control>,
) {
    while !all.is_empty() {
        let mut pause = REMIND;
        let mut left = Vec::new();
        for begins in all {
            match begins.ask(&service).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(why) => {
                    tracing::warn!(service = %service.name, queue = %begins.queue, code = why.code(), "cannot ask for the past of a subscription, trying again: {why}");
                    pause = AGAIN;
                }
            }
            left.push(begins);
        }
        all = left;
        tokio::select! {
            biased;
            _ = control.changed() => return,
            () = service.runtime.sleep(pause) => {}
        }
    }
}

/// Returns the queue under which a delivery is settled: a replayed message that the broker has
/// dead-lettered counts as received by the subscription.
pub(crate) fn inbox(queue: Name, envelope: &Envelope) -> Name {
    let name = queue.as_str();
    match name.strip_suffix(REPLAY) {
        Some(subscription) if *envelope.kind == *replayed(subscription).as_str() => {
            Name::intern(subscription)
        }
        _ => queue,
    }
}

impl Begins {
    /// The queue that receives the past.
    pub(crate) fn replay_queue(self) -> Name {
        Name::intern(&format!("{}{REPLAY}", self.queue))
    }

    /// The type of the messages in it.
    pub(crate) fn replayed(self) -> Name {
        replayed(self.queue.as_str())
    }

    /// Asks the owner for the past. Returns whether all of it was received.
    async fn ask(&self, service: &Arc<ServiceContext>) -> Result<bool> {
        run_unit(service, |scope| async move {
            let stored = scope.load(&key(self.queue)).await?.body;
            let stored = stored.map(|it| decode::<Begun>(&it)).transpose()?;
            if stored.as_ref().is_some_and(|it| it.done.is_some()) {
                return Ok(true);
            }
            let replay = stored
                .as_ref()
                .map_or_else(|| scope.new_id(), |it| it.replay);
            if stored.is_none() {
                scope.write(write(self.queue, &Begun { replay, done: None }))?;
            }
            let begin = Request::Begin {
                queue: self.queue.to_string(),
                message: self.message.name.to_owned(),
                replay,
            };
            send(&scope, begin.to(self.message.owner()))?;
            Ok(false)
        })
        .await
    }

    /// Returns the handler of the queue that receives the past: `run` handles its events.
    pub(crate) fn run(self, run: Run) -> Run {
        Arc::new(move |scope, envelope| match Mark::of(&envelope) {
            None => run(
                scope,
                Envelope {
                    kind: self.message.name.into(),
                    role: Kind::Event,
                    operation: None,
                    signature: None,
                    dialog: None,
                    ..envelope
                },
            ),
            Some(mark) => Box::pin(async move { self.mark(&scope, &envelope, mark?).await }),
        })
    }

    /// Confirms a mark if all messages before it are settled. Otherwise the owner sends the chapter
    /// again.
    async fn mark(self, scope: &Scope, envelope: &Envelope, mark: Mark) -> Result<()> {
        let Some(body) = scope.load(&key(self.queue)).await?.body else {
            return Ok(());
        };
        let begun: Begun = decode(&body)?;
        if begun.replay != mark.replay || !self.are_settled(scope, envelope, &mark.last).await? {
            return Ok(());
        }
        if mark.is_last && begun.done.is_none() {
            let done = Some(scope.now());
            scope.write(write(self.queue, &Begun { done, ..begun }))?;
            tracing::info!(queue = %self.queue, "the past is complete, the subscription handles new messages");
        }
        let reached = Request::Reached {
            queue: self.queue.to_string(),
            replay: mark.replay,
            chapter: mark.chapter,
        };
        send(scope, reached.to(self.message.owner()))
    }

    async fn are_settled(self, scope: &Scope, envelope: &Envelope, ids: &[Uuid]) -> Result<bool> {
        let service = scope.service();
        let until = service.runtime.elapsed() + SETTLED_WITHIN;
        let store = service.committer.store();
        for id in ids {
            let id = (*id).into();
            while !store.settled(self.queue, &envelope.source, id).await? {
                if service.runtime.elapsed() >= until {
                    return Ok(false);
                }
                service.runtime.sleep(LOOK_AGAIN).await;
            }
        }
        Ok(true)
    }
}

/// Returns whether a replayed message has overtaken the one before it in its history: the broker
/// may deliver in another order after a lost confirm. It is acknowledged without being settled, and
/// its owner sends it again.
///
/// # Errors
///
/// A store error.
pub(crate) async fn is_out_of_order(
    service: &ServiceContext,
    queue: Name,
    envelope: &Envelope,
) -> Result<bool> {
    let previous = envelope.operation.as_deref();
    let Some(previous) = previous.and_then(|id| id.parse::<Uuid>().ok()) else {
        return Ok(false);
    };
    let store = service.committer.store();
    let settled = store.settled(queue, &envelope.source, previous.into());
    Ok(!settled.await?)
}

/// Keeps subscriptions from consuming until their past is complete.
pub(crate) struct Gate {
    waiting: Mutex<BTreeSet<Name>>,
}

impl Gate {
    pub(crate) fn new(all: &[Begins]) -> Self {
        let waiting = if sabotage::lacks(sabotage::REPLAY_FIRST) {
            BTreeSet::new()
        } else {
            all.iter().map(|it| it.queue).collect()
        };
        Self {
            waiting: Mutex::new(waiting),
        }
    }

    /// Returns whether a subscription waits for its past, as of the last [`read`](Self::read).
    pub(crate) fn holds(&self, queue: Name) -> bool {
        self.waiting().contains(&queue)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeSet<Name>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads which subscriptions have received their past.
    pub(crate) async fn read(&self, service: &ServiceContext) -> Result<()> {
        if self.waiting().is_empty() {
            return Ok(());
        }
        for (queue, record) in service.store.scan(BEGUN, None, RECORDS_MAX).await? {
            let begun: Begun = decode(&record.body)?;
            if begun.done.is_some() {
                self.waiting().retain(|it| it.as_str() != queue);
            }
        }
        Ok(())
    }
}
