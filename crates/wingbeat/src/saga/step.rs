//! The handling of one saga input: load, step, record.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::unit::Write;
use wingbeat_core::{CorrelationId, Envelope, Error, Key, MessageId, Name, Result, Timestamp};

use super::count;
use super::definition::{Saga, SagaInput as _, SagaRow, Unexpected};
use super::effects::SagaEffects;
use super::metric;
use crate::unit::{Scope, TIMERS, TimerRecord, remove};
use crate::{decode, encode, failed};

/// The stored form of a saga.
#[derive(Serialize, Deserialize)]
#[serde(bound = "S: Serialize + DeserializeOwned")]
pub struct SagaRecord<S> {
    /// Set once the saga has ended.
    pub ended: bool,
    /// The wire types of the pending timers.
    pub timers: Vec<String>,
    /// The ids of those timers, without the ones that an older release has set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) timer_ids: BTreeMap<String, Uuid>,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// The correlation id of the input that started it. Sagas that an older release has started
    /// have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) story: Option<CorrelationId>,
    /// The state of the saga.
    pub state: S,
}

/// The name of the state of a saga that has ended, in counters, metrics and journals.
const ENDED: &str = "ended";

impl<S: Saga> SagaRecord<S> {
    /// Returns the name of the state.
    pub(super) fn name(&self) -> &'static str {
        if self.ended {
            ENDED
        } else {
            self.state.state()
        }
    }
}

/// Returns the table of the sagas with this name.
#[must_use]
pub fn table(name: &str) -> Name {
    Name::intern(&format!("saga.{name}"))
}

/// Handles one input: loads the saga, runs the step, and records the result.
pub(crate) async fn handle<S: Saga>(scope: Scope, envelope: Envelope, queue: Name) -> Result<()> {
    let row = row_of::<S>(&envelope.kind)?;
    let (id, input) = (row.decode)(&envelope.body)?;
    let key = Key::new(table(S::NAME), id.clone());
    let stored: Option<SagaRecord<S>> = scope
        .load(&key)
        .await?
        .body
        .map(|body| decode(&body))
        .transpose()?;
    let existed = stored.is_some();
    let mut record = stored.unwrap_or_else(|| SagaRecord {
        ended: false,
        timers: Vec::new(),
        timer_ids: BTreeMap::new(),
        updated_at: scope.now(),
        story: Some(scope.meta().correlation),
        state: S::default(),
    });
    let mut effects = SagaEffects {
        now: scope.now(),
        ..SagaEffects::default()
    };
    if row.timer && existed && !fired(&mut record, row.message, envelope.id) {
        return Ok(());
    }
    let state = if existed {
        record.name()
    } else {
        "not_started"
    };
    let labels = [
        (metric::SAGA, S::NAME),
        (metric::STATE, state),
        (metric::INPUT, row.message),
    ];
    metrics::counter!(metric::INPUTS, &labels).increment(1);
    match (existed, record.ended, row.starts) {
        (false, _, false) => record
            .state
            .unexpected(Unexpected::NotStarted, input, &mut effects),
        (_, true, _) => record
            .state
            .unexpected(Unexpected::Ended, input, &mut effects),
        _ => record.state.step(input, &mut effects),
    }
    if effects.deferred {
        return Err(deferred::<S>(&id, row));
    }
    // An unexpected input of a saga that has not started may have effects, but starts no instance.
    let keep = existed || row.starts;
    let was = existed.then_some(state);
    carry_out(&scope, &id, queue, &mut record, effects).await?;
    if keep {
        let is = record.name();
        count::record_transition(&scope, S::NAME, was, is)?;
        record.updated_at = scope.now();
        scope.moves(key.clone(), is)?;
        scope.write(Write {
            key,
            body: Some(encode(&record)),
            due_at: None,
            expires_at: None,
        })?;
    }
    Ok(())
}

/// Records that a timer has fired. Returns `false` if the saga has cancelled it or set it again
/// since: then an operator retries its dead letter.
fn fired<S>(record: &mut SagaRecord<S>, name: &str, id: MessageId) -> bool {
    let is_pending = match record.timer_ids.get(name) {
        Some(pending) => *pending == id.0,
        // An older release has set it, or it is not pending.
        None => record.timers.iter().any(|timer| timer == name),
    };
    if !is_pending {
        tracing::info!(timer = name, %id, "ignored a timer that was cancelled or replaced");
        return false;
    }
    // Its record is gone, so the saga must not list it as pending.
    record.timers.retain(|timer| timer != name);
    record.timer_ids.remove(name);
    true
}

/// Returns the error that delays an input until the saga accepts it.
fn deferred<S: Saga>(id: &str, row: &SagaRow<S::Input>) -> Error {
    let text = format!("{} {id} defers {}", S::NAME, row.message);
    if row.timer {
        // The saga can choose a time itself, which the pauses of a policy would ignore.
        let text = format!("{text}, a timer: set it again instead");
        return Error::reject("timer_deferred", text);
    }
    Error::retry("saga_deferred", text)
}

pub(super) fn row_of<S: Saga>(kind: &str) -> Result<&'static SagaRow<S::Input>> {
    S::Input::ROWS
        .iter()
        .find(|row| row.message == kind)
        .ok_or_else(|| {
            Error::reject(
                "unknown_type",
                format!("the saga {} has no input {kind}", S::NAME),
            )
        })
}

async fn carry_out<S: Saga>(
    scope: &Scope,
    id: &str,
    queue: Name,
    record: &mut SagaRecord<S>,
    effects: SagaEffects<S::Input>,
) -> Result<()> {
    for change in effects.changes {
        change(scope.clone()).await?;
    }
    record.ended |= effects.ended;
    let mut cancelled: Vec<String> = effects.cancelled.into_iter().map(str::to_owned).collect();
    if record.ended {
        cancelled.append(&mut record.timers);
    }
    for name in cancelled {
        record.timers.retain(|timer| *timer != name);
        withdraw(scope, queue, id, &name, record.timer_ids.remove(&name)).await?;
        scope.write(remove(timer_key(queue, id, &name)))?;
    }
    let timers = if record.ended {
        Vec::new()
    } else {
        effects.timers
    };
    for (name, delay, body) in timers {
        let timer_id = scope.new_id();
        let earlier = record.timer_ids.insert(name.into(), timer_id);
        withdraw(scope, queue, id, name, earlier).await?;
        // The scope replaces the nil id by that of its unit.
        let timer = TimerRecord {
            id: timer_id,
            queue: queue.to_string(),
            message: name.into(),
            key: id.into(),
            correlation: CorrelationId(Uuid::nil()),
            traceparent: None,
            propagation: Default::default(),
            body,
        };
        scope.set_timer(timer_key(queue, id, name), delay, timer)?;
        if !record.timers.iter().any(|timer| timer == name) {
            record.timers.push(name.into());
        }
    }
    scope.record(effects.effects)
}

/// Removes a pending timer that has fired already: it failed and is parked, or waits for a release
/// that knows it.
async fn withdraw(
    scope: &Scope,
    queue: Name,
    id: &str,
    name: &str,
    timer: Option<Uuid>,
) -> Result<()> {
    let Some(timer) = timer else {
        return Ok(());
    };
    // Most timers have not fired: then their records exist.
    let pending = scope.load(&timer_key(queue, id, name)).await?;
    if pending.body.is_some() {
        return Ok(());
    }
    failed::withdraw(scope, queue, name, MessageId(timer)).await
}

pub(crate) fn timer_key(queue: Name, id: &str, message: &str) -> Key {
    Key::new(TIMERS, format!("{queue}/{id}/{message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sagas_of_earlier_releases_have_no_ids_of_timers() {
        let stored = br#"{"ended":false,"timers":["a.due.v1"],
            "updated_at":"2026-01-02T03:04:05.000006Z","state":7}"#;
        let record: SagaRecord<u32> = decode(&bytes::Bytes::from_static(stored)).unwrap();
        assert_eq!((record.timers.len(), record.timer_ids.len()), (1, 0));
    }
}
