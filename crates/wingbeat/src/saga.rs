//! Sagas: processes over several services, as pure steps from an input to effects.

mod count;
mod effects;
mod testing;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use wingbeat_core::unit::Write;
use wingbeat_core::{
    CorrelationId, Envelope, Error, Key, Kind, MessageType, Name, Result, Timestamp, TraceParent,
};

use crate::{Either, Scope, decode, encode};

pub use count::counted;
pub use effects::SagaEffects;

/// Where timers wait.
pub(crate) const TIMERS: Name = Name::new("wb.timer");

/// A process that waits for messages of several services and decides what comes next. Pure: no I/O.
pub trait Saga: Serialize + DeserializeOwned + Default + Send + 'static {
    /// The saga's name: of its queue and its table.
    const NAME: &'static str;
    /// What it reacts to: derive `SagaInput` on an enum with one variant a message.
    type Input: SagaInput;

    /// The names of its states, for metrics and for the coverage of simulations.
    const STATES: &'static [&'static str] = &["running"];

    /// Which of [`Self::STATES`] it is in.
    fn state(&self) -> &'static str {
        "running"
    }

    /// Takes one input of a running saga.
    fn step(&mut self, input: Self::Input, effects: &mut SagaEffects<Self::Input>);

    /// Answers an input that comes before the start or after the end. Never silent by accident: required.
    ///
    /// Messages may overtake each other on their way from two replicas. What can only have been sent once the start was
    /// on its way is therefore not to be dropped before it: [`SagaEffects::defer`] has it come again.
    fn late(&mut self, when: Late, input: Self::Input, effects: &mut SagaEffects<Self::Input>);
}

/// The metric of what sagas take.
pub mod metric {
    /// A counter: inputs taken.
    pub const INPUTS: &str = "wingbeat_saga_inputs_total";
    /// Its label for the saga.
    pub const SAGA: &str = "saga";
    /// Its label for the state: one of the saga's, `not_started` or `ended`.
    pub const STATE: &str = "state";
    /// Its label for the wire type of the input.
    pub const INPUT: &str = "input";
}

/// Why an input is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The saga has not started.
    NotStarted,
    /// It has ended.
    Ended,
}

/// The inputs of a saga. Derive it.
pub trait SagaInput: Sized + Send + 'static {
    /// One row a variant.
    const ROWS: &'static [SagaRow<Self>];
}

/// A message that a saga takes.
pub struct SagaRow<I> {
    /// The wire type.
    pub message: &'static str,
    /// Event or command.
    pub kind: Kind,
    /// It starts the saga.
    pub starts: bool,
    /// It is one of the saga's own timers and comes from no queue.
    pub timer: bool,
    /// The message type, with its schema.
    pub message_type: MessageType,
    /// Decodes a body into the saga's key and the input.
    pub decode: fn(&[u8]) -> Result<(String, I)>,
}

/// The input has a variant for `M`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no variant for `{M}`",
    label = "`{M}` would come back to nobody",
    note = "add a variant `Variant({M})` to `{Self}`"
)]
pub trait Accepts<M> {}

/// The input has a variant for `M`, marked `#[saga(timer)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no timer variant for `{M}`",
    note = "add a variant `#[saga(timer)] Variant({M})` to `{Self}`"
)]
pub trait AcceptsTimer<M> {}

/// All messages of this outcome are taken by the input `I`.
pub trait Answers<I> {}

impl<I, L: Answers<I>, R: Answers<I>> Answers<I> for Either<L, R> {}

/// A saga as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(bound = "S: Serialize + DeserializeOwned")]
pub struct SagaRecord<S> {
    /// It takes no more steps.
    pub ended: bool,
    /// Names of the pending timers.
    pub timers: Vec<String>,
    /// Since when it has not changed.
    pub updated_at: Timestamp,
    /// The saga's own state.
    pub state: S,
}

/// A timer that waits in the store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TimerRecord {
    pub(crate) id: Uuid,
    pub(crate) queue: String,
    pub(crate) message: String,
    pub(crate) key: String,
    pub(crate) correlation: CorrelationId,
    /// The span that set it; what was stored by older releases has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<TraceParent>,
    pub(crate) body: Box<RawValue>,
}

/// The table in which sagas of this name are kept.
#[must_use]
pub fn table(name: &str) -> Name {
    Name::intern(&format!("saga.{name}"))
}

/// Handles one input: load, step, record. The same for every saga.
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
        updated_at: scope.now(),
        state: S::default(),
    });
    let mut effects = SagaEffects {
        now: scope.now(),
        ..SagaEffects::default()
    };
    record
        .timers
        .retain(|timer| !(row.timer && timer == row.message));
    let state = match (existed, record.ended) {
        (false, _) => "not_started",
        (_, true) => "ended",
        _ => record.state.state(),
    };
    metrics::counter!(metric::INPUTS, metric::SAGA => S::NAME, metric::STATE => state, metric::INPUT => row.message)
        .increment(1);
    match (existed, record.ended, row.starts) {
        (false, _, false) => record.state.late(Late::NotStarted, input, &mut effects),
        (_, true, _) => record.state.late(Late::Ended, input, &mut effects),
        _ => record.state.step(input, &mut effects),
    }
    if effects.deferred {
        let text = format!("{} {id}: {} came too early", S::NAME, row.message);
        return match row.timer {
            // It would come even after it was cancelled or set again.
            true => Err(Error::reject(
                "timer_deferred",
                format!("{text}: a timer is set again"),
            )),
            false => Err(Error::retry("saga_deferred", text)),
        };
    }
    let keep = existed || row.starts;
    let was = existed.then_some(state);
    carry_out(&scope, &id, queue, &mut record, effects).await?;
    if keep {
        let is = match record.ended {
            true => "ended",
            false => record.state.state(),
        };
        count::moved(&scope, S::NAME, was, is)?;
        record.updated_at = scope.now();
        scope.write(Write {
            key,
            body: Some(encode(&record)),
            due_at: None,
            expires_at: None,
        })?;
    }
    Ok(())
}

fn row_of<S: Saga>(kind: &str) -> Result<&'static SagaRow<S::Input>> {
    S::Input::ROWS
        .iter()
        .find(|row| row.message == kind)
        .ok_or_else(|| {
            Error::reject(
                "unknown_type",
                format!("the saga {} does not take {kind}", S::NAME),
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
        scope.write(Write {
            key: timer_key(queue, id, &name),
            body: None,
            due_at: None,
            expires_at: None,
        })?;
    }
    let timers = if record.ended {
        Vec::new()
    } else {
        effects.timers
    };
    for (name, delay, body) in timers {
        let timer = TimerRecord {
            id: Uuid::nil(),
            queue: queue.to_string(),
            message: name.into(),
            key: id.into(),
            correlation: CorrelationId(Uuid::nil()),
            traceparent: None,
            body,
        };
        scope.set_timer(timer_key(queue, id, name), delay, timer)?;
        if !record.timers.iter().any(|timer| timer == name) {
            record.timers.push(name.into());
        }
    }
    scope.record(effects.effects)
}

fn timer_key(queue: Name, id: &str, message: &str) -> Key {
    Key::new(TIMERS, format!("{queue}/{id}/{message}"))
}
