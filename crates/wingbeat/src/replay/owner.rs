//! The owner of a history: it sends the past, one chapter after another.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::store::DueRecord;
use wingbeat_core::text::printable;
use wingbeat_core::unit::Write;
use wingbeat_core::{Class, Envelope, Error, Key, Name, Result, Timestamp};

use super::wire::{Mark, Request, replayed};
use crate::effects::{Effects, Outgoing, Stamp};
use crate::handler::Run;
use crate::state::{Chapter, History, Position};
use crate::unit::{OwnTable, Scope, ServiceContext, run_unit, within_lease};
use crate::{decode, encode};
use wingbeat_core::Kind;

/// The table of replays; ids are the queues of the subscriptions.
pub(crate) const REPLAYS: Name = Name::new("wb.replay");
/// Records read at once. No system has that many subscriptions.
const RECORDS_MAX: usize = 1_000;
/// The pause between two chapters: live traffic is served first.
const PAUSE: Duration = Duration::from_millis(50);
/// The time after which a chapter is sent again that the subscriber has not confirmed. It doubles
/// each time.
const REPEAT: Duration = Duration::from_secs(10);
/// The longest such time, and the pause after a failure.
const REPEAT_MAX: Duration = Duration::from_secs(300);
/// The largest size of a stored failure, in bytes.
const FAILURE_MAX: usize = 1_024;
/// The times that a chapter is sent. Then the replay waits until the subscriber asks again: it may
/// be gone.
const TIMES_MAX: u32 = 6;

/// The histories of a service by the message that publishes them.
pub(crate) type Histories = Vec<(&'static str, Arc<dyn History>)>;

/// The stored state of a replay. It is due while it is in progress.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Replay {
    /// The id that the subscriber has chosen.
    replay: Uuid,
    message: String,
    began: Timestamp,
    /// The beginning of the current chapter.
    position: Position,
    chapter: u64,
    /// The current chapter, once it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<Sent>,
    /// Messages and aggregates of the chapters before.
    messages: u64,
    aggregates: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<Timestamp>,
    /// The error because of which the current chapter cannot be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// Replays, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<Replay>(REPLAYS);

/// A chapter that was sent and not confirmed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sent {
    next: Position,
    messages: u64,
    aggregates: u64,
    is_last: bool,
    times: u32,
}

/// The state of a replay: the events of the past, for one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayStatus {
    /// The service that owns the events.
    pub service: Name,
    /// The queue of the subscription.
    pub queue: String,
    /// The message type.
    pub message: String,
    /// The time of the request.
    pub began: Timestamp,
    /// The number of events that the subscriber has settled.
    pub messages: u64,
    /// The number of aggregates that are complete.
    pub aggregates: u64,
    /// The time at which the replay was complete.
    pub done: Option<Timestamp>,
    /// The subscriber has confirmed nothing for ten minutes. The replay goes on when it asks again,
    /// which it does when it starts and once an hour.
    pub waiting: bool,
    /// The error because of which the past cannot be sent, if it cannot. The owner tries again
    /// every five minutes.
    pub failure: Option<String>,
}

impl Replay {
    fn new(replay: Uuid, message: String, began: Timestamp) -> Self {
        Self {
            replay,
            message,
            began,
            position: Position::default(),
            chapter: 0,
            sent: None,
            messages: 0,
            aggregates: 0,
            done: None,
            failure: None,
        }
    }

    /// Returns whether the replay waits until the subscriber asks again.
    fn is_waiting(&self) -> bool {
        let times = self.sent.as_ref().map_or(0, |it| it.times);
        self.done.is_none() && times >= TIMES_MAX
    }

    /// Returns the state after a chapter was sent.
    fn with_sent(&self, chapter: &Chapter) -> Self {
        let times = self.sent.as_ref().map_or(0, |it| it.times) + 1;
        let sent = Sent {
            next: chapter.next.clone(),
            messages: chapter.messages.len() as u64,
            aggregates: chapter.aggregates,
            is_last: chapter.is_last,
            times,
        };
        Self {
            sent: Some(sent),
            failure: None,
            ..self.clone()
        }
    }

    /// Returns the state after the current chapter was confirmed.
    fn confirmed(self, sent: Sent, now: Timestamp) -> Self {
        Self {
            position: sent.next,
            chapter: self.chapter + 1,
            sent: None,
            messages: self.messages + sent.messages,
            aggregates: self.aggregates + sent.aggregates,
            done: sent.is_last.then_some(now),
            ..self
        }
    }

    /// Returns the time after which the current chapter is sent again.
    fn repeat_after(&self) -> Duration {
        let times = self.sent.as_ref().map_or(0, |it| it.times);
        let doubled = 2_u32.saturating_pow(times.saturating_sub(1).min(16));
        (REPEAT * doubled).min(REPEAT_MAX)
    }

    fn write(&self, key: Key, due: Timestamp) -> Write {
        Write {
            key,
            body: Some(encode(self)),
            due_at: (self.done.is_none() && !self.is_waiting()).then_some(due),
            expires_at: None,
        }
    }
}

/// Returns the handler of requests for the past.
pub(crate) fn answer() -> Run {
    Arc::new(|scope, envelope| {
        Box::pin(async move {
            match decode(&envelope.body)? {
                Request::Begin {
                    queue,
                    message,
                    replay,
                } => {
                    check(&scope, &envelope, &queue, &message)?;
                    begin(&scope, &queue, message, replay).await
                }
                Request::Reached {
                    queue,
                    replay,
                    chapter,
                } => reached(&scope, &queue, replay, chapter).await,
            }
        })
    })
}

/// Checks that a request is one that this service can answer.
fn check(scope: &Scope, envelope: &Envelope, queue: &str, message: &str) -> Result<()> {
    let service = scope.service().name;
    let subscriber = queue.split_once('.').map(|(subscriber, _)| subscriber);
    let known = message.split_once('.').map(|(owner, _)| owner) == Some(service.as_str());
    if known && subscriber == Some(&*envelope.source) {
        return Ok(());
    }
    let source = &envelope.source;
    let text = format!("{source} asks {service} for the past of {message} in {queue}");
    Err(Error::reject("unknown_history", text))
}

async fn begin(scope: &Scope, queue: &str, message: String, replay: Uuid) -> Result<()> {
    let key = Key::new(REPLAYS, queue);
    let stored = scope.load(&key).await?.body;
    let stored = stored.map(|it| decode::<Replay>(&it)).transpose()?;
    let next = match stored {
        Some(stored) if stored.replay == replay && stored.done.is_none() => {
            if !stored.is_waiting() {
                return Ok(());
            }
            Replay {
                sent: None,
                ..stored
            }
        }
        // An earlier request of a subscriber that has lost its data since arrives late.
        Some(stored) if stored.replay > replay && stored.done.is_none() => return Ok(()),
        // A subscriber that has lost its data asks with another id. One whose data is older than
        // the end of its replay asks with the same id.
        _ => Replay::new(replay, message, scope.now()),
    };
    scope.write(next.write(key, scope.now()))
}

async fn reached(scope: &Scope, queue: &str, replay: Uuid, chapter: u64) -> Result<()> {
    let key = Key::new(REPLAYS, queue);
    let Some(body) = scope.load(&key).await?.body else {
        return Ok(());
    };
    let stored: Replay = decode(&body)?;
    if stored.replay != replay || stored.chapter != chapter {
        return Ok(()); // It was confirmed before.
    }
    let Some(sent) = stored.sent.clone() else {
        return Ok(());
    };
    let next = stored.confirmed(sent, scope.now());
    if next.done.is_some() {
        let messages = next.messages;
        tracing::info!(service = %scope.service().name, queue, messages, "a replay is complete");
    }
    scope.write(next.write(key, scope.now() + PAUSE))
}

/// The replays of one service.
pub(crate) struct Replays {
    service: Arc<ServiceContext>,
    histories: BTreeMap<&'static str, Arc<dyn History>>,
}

impl Replays {
    pub(crate) fn new(service: Arc<ServiceContext>, histories: Histories) -> Self {
        Self {
            service,
            histories: histories.into_iter().collect(),
        }
    }

    /// Returns the state of each replay.
    pub(crate) async fn statuses(&self) -> Result<Vec<ReplayStatus>> {
        let records = self.service.store.scan(REPLAYS, None, RECORDS_MAX).await?;
        let status = |(queue, record): (String, wingbeat_core::Record)| {
            let stored: Replay = decode(&record.body)?;
            let waiting = stored.is_waiting();
            Ok(ReplayStatus {
                service: self.service.name,
                queue,
                message: stored.message,
                began: stored.began,
                messages: stored.messages,
                aggregates: stored.aggregates,
                done: stored.done,
                waiting,
                failure: stored.failure,
            })
        };
        records.into_iter().map(status).collect()
    }

    /// Sends the current chapter of a claimed record.
    pub(crate) async fn next(self: Arc<Self>, record: DueRecord) {
        let sending = within_lease(&self.service, || self.send(&record));
        let sent = AssertUnwindSafe(sending).catch_unwind().await;
        let sent = sent.unwrap_or_else(|_| {
            let text = "the function that makes messages of the past panicked";
            Err(Error::reject("panicked", text))
        });
        let Err(why) = sent else { return };
        tracing::warn!(service = %self.service.name, queue = record.key.id, code = why.code(), "the past cannot be sent, trying again: {why}");
        if why.class() == Class::Reject
            && let Err(why) = self.note(&record, &why).await
        {
            // The lease expires, and a replica claims the record again.
            tracing::warn!(service = %self.service.name, queue = record.key.id, code = why.code(), "cannot store that the past cannot be sent: {why}");
        }
    }

    /// Stores the error because of which a chapter cannot be sent, and tries again later.
    async fn note(&self, record: &DueRecord, why: &Error) -> Result<()> {
        let failure = Some(printable(&format!("{}: {why}", why.code()), FAILURE_MAX));
        run_unit(&self.service, |scope| {
            let failure = failure.clone();
            async move {
                let loaded = scope.load(&record.key).await?;
                if loaded.body.as_ref() != Some(&record.record.body) {
                    return Ok(());
                }
                let stored: Replay = decode(&record.record.body)?;
                let failed = Replay { failure, ..stored };
                scope.write(failed.write(record.key.clone(), scope.now() + REPEAT_MAX))
            }
        })
        .await
    }

    async fn send(&self, record: &DueRecord) -> Result<()> {
        let stored: Replay = decode(&record.record.body)?;
        let history = self.histories.get(&*stored.message).ok_or_else(|| {
            let (service, message) = (self.service.name, &stored.message);
            let text = format!("{service} stores no history of {message}");
            Error::reject("unknown_history", text)
        })?;
        let chapter = history.chapter(&self.service, &stored.position).await?;
        let next = &stored.with_sent(&chapter);
        let messages = &messages(&stored, chapter, &record.key.id);
        run_unit(&self.service, |scope| async move {
            let loaded = scope.load(&record.key).await?;
            if loaded.body.as_ref() != Some(&record.record.body) {
                return Ok(()); // Another replica has sent it, or the subscriber has confirmed it.
            }
            let mut effects = Effects::new();
            effects.messages.clone_from(messages);
            scope.record(effects)?;
            let due = scope.now() + next.repeat_after();
            scope.write(next.write(record.key.clone(), due))
        })
        .await
    }
}

/// Returns the messages of a chapter to a subscription, and the mark after them.
fn messages(replay: &Replay, chapter: Chapter, queue: &str) -> Vec<Outgoing> {
    let name = replayed(queue);
    let mark = Mark {
        replay: replay.replay,
        chapter: replay.chapter,
        last: chapter.last,
        is_last: chapter.is_last,
    };
    let past = chapter.messages.into_iter().map(|message| Outgoing {
        name: name.as_str(),
        kind: Kind::Command,
        stamp: message.stamp.map(|stamp| Stamp {
            replayed: true,
            ..stamp
        }),
        ..message
    });
    past.chain([mark.to(name)]).collect()
}
