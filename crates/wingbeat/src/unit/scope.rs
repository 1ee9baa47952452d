//! The handle through which one attempt reads and records effects, until it is sealed into a unit.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::store::{has_nul, storable};
use wingbeat_core::unit::{Append, Read, Row, RowWrite, Settled, Write};
use wingbeat_core::{
    Cache, CorrelationId, Envelope, Error, Key, Name, Result, RuntimeExt as _, Timestamp,
    TraceParent, Unit,
};

use super::draft::{Draft, Mark, Taped};
use super::records::TimerRecord;
use super::sealing::Sealing;
use super::{Meta, ServiceContext};
use crate::commit::Loaded;
use crate::effects::{CommandMessage, Effects, EventMessage};
use crate::recording::{Failed, Recorder, Tape};
use crate::telemetry;

/// A handle on the unit of work that a handler is building.
///
/// Most handlers need no `Scope`: their extractors use it for them. Take it as an argument to read
/// the message's metadata, to make ids, to emit effects beside a command's reply, or to record
/// [SQL](Self::sql). Clones share one unit. Once the handler has returned, every method that reads
/// or records fails with the code `sealed`.
///
/// A scope can neither commit nor reach the outside: only the runtime does that, after the handler.
///
/// ```
/// use wingbeat::{Command, Effects, JsonSchema, Result, Scope};
/// # use serde::{Deserialize, Serialize};
///
/// #[derive(Command, Serialize, Deserialize, JsonSchema)]
/// #[command(name = "library.renew", version = 1, key = book)]
/// struct Renew {
///     book: String,
/// }
///
/// async fn renew(command: Renew, scope: Scope) -> Result<()> {
///     tracing::info!(book = command.book, at = %scope.now(), "renewed");
///     scope.emit(Effects::new())
/// }
/// ```
#[derive(Clone)]
pub struct Scope(Arc<Inner>);

struct Inner {
    service: Arc<ServiceContext>,
    at: Timestamp,
    meta: Meta,
    /// The span of the attempt: the parent of the spans that its effects cause.
    trace: TraceParent,
    /// The HTTP request of a command, opaque to this module.
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "only HTTP commands read it")
    )]
    origin: Option<Arc<dyn Any + Send + Sync>>,
    draft: Mutex<Option<Box<Draft>>>,
}

fn sealed() -> Error {
    Error::reject(
        "sealed",
        "the unit of work is sealed: the handler has returned",
    )
}

impl Scope {
    pub(crate) fn new(service: Arc<ServiceContext>, meta: Meta) -> Self {
        Self::build(service, meta, None)
    }

    /// A scope for an HTTP command. `request` comes back from [`Self::origin`].
    #[cfg(feature = "http")]
    pub(crate) fn with_origin<T: Send + Sync + 'static>(
        service: Arc<ServiceContext>,
        meta: Meta,
        request: Arc<T>,
    ) -> Self {
        Self::build(service, meta, Some(request))
    }

    /// A scope for handling `envelope`.
    pub(crate) fn of(service: Arc<ServiceContext>, envelope: &Envelope) -> Self {
        Self::new(service, Meta::from(envelope))
    }

    fn build(
        service: Arc<ServiceContext>,
        meta: Meta,
        origin: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Self {
        let at = service.runtime.now();
        let trace = telemetry::current().map(|context| context.trace);
        let trace = trace.unwrap_or_else(|| TraceParent::of(meta.correlation.0));
        let draft = Mutex::new(Some(Box::default()));
        Self(Arc::new(Inner {
            service,
            at,
            meta,
            trace,
            origin,
            draft,
        }))
    }

    /// The request that this scope was made for, if it is a `T`.
    #[cfg(feature = "http")]
    pub(crate) fn origin<T: 'static>(&self) -> Option<&T> {
        self.0.origin.as_deref()?.downcast_ref()
    }

    pub(crate) fn service(&self) -> &Arc<ServiceContext> {
        &self.0.service
    }

    /// Returns the port for time, chance and tasks.
    #[must_use]
    pub fn runtime(&self) -> &SharedRuntime {
        &self.0.service.runtime
    }

    /// Returns the cache that all services share. Its changes take effect at once: they are not
    /// part of the unit.
    #[must_use]
    pub fn cache(&self) -> &Arc<dyn Cache> {
        &self.0.service.cache
    }

    /// Returns the time of this attempt. All extractors of one attempt see the same time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.at
    }

    /// Makes a new time-ordered id (UUID version 7).
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        self.0.service.runtime.id()
    }

    /// Returns the metadata of the message that is being handled.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.0.meta.clone()
    }

    /// Puts this unit into the timeline of `id`, for example an order's, instead of its caller's.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn correlate(&self, id: Uuid) -> Result<()> {
        telemetry::context::correlate(CorrelationId(id));
        self.with(|draft| draft.correlation = Some(CorrelationId(id)))
    }

    fn draft(&self) -> MutexGuard<'_, Option<Box<Draft>>> {
        self.0.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Draft) -> T) -> Result<T> {
        Ok(work(self.draft().as_mut().ok_or_else(sealed)?))
    }

    /// Reads a record and notes its version.
    pub(crate) async fn load(&self, key: &Key) -> Result<Loaded> {
        self.with(|_| ())?;
        if has_nul(&key.id) {
            return Ok(Loaded::default()); // No store has such a record: there is nothing to read.
        }
        let loaded = self
            .0
            .service
            .committer
            .load(self.0.service.name, key)
            .await?;
        self.with(|draft| {
            draft.seen.get_or_insert(loaded.seen);
            if !draft.reads.iter().any(|read| read.key == *key) {
                draft.reads.push(Read {
                    key: key.clone(),
                    version: loaded.version,
                });
            }
            if let Some(taped) = &mut draft.taped {
                taped.tape.read(key, loaded.version, loaded.body.as_ref());
            }
        })?;
        Ok(loaded)
    }

    /// Returns the state as changed by this unit so far.
    pub(crate) fn state<T: Clone + Send + 'static>(&self, key: &Key) -> Result<Option<T>> {
        self.with(|draft| {
            let (_, state) = draft.states.iter().find(|(of, _)| of == key)?;
            state.downcast_ref::<T>().cloned()
        })
    }

    /// Remembers a decoded or changed state for the rest of this unit.
    pub(crate) fn remember<T: Send + 'static>(&self, key: &Key, state: T) -> Result<()> {
        self.with(|draft| {
            draft.states.retain(|(of, _)| of != key);
            draft.states.push((key.clone(), Box::new(state)));
        })
    }

    /// Puts or removes a record; the last write of a key counts.
    ///
    /// # Errors
    ///
    /// `unstorable` if no store could keep the key; `sealed`.
    pub(crate) fn write(&self, write: Write) -> Result<()> {
        storable("record", &write.key.id)?;
        self.with(|draft| {
            draft.writes.retain(|earlier| earlier.key != write.key);
            draft.writes.push(write);
        })
    }

    /// Notes the state to which a saga moves, whose record this unit writes.
    pub(crate) fn moves(&self, saga: Key, state: &'static str) -> Result<()> {
        self.with(|draft| draft.moves.push((saga, state)))
    }

    pub(crate) fn append(&self, append: Append) -> Result<()> {
        storable("aggregate", &append.key.id)?;
        self.with(|draft| draft.appends.push(append))
    }

    pub(crate) fn put_row(&self, view: Name, key: String, row: Option<Row>) -> Result<()> {
        storable("row", &key)?;
        for (column, value) in row.iter().flat_map(|row| &row.columns) {
            storable(column.as_str(), value)?;
        }
        self.with(|draft| {
            draft
                .rows
                .retain(|earlier| earlier.view != view || earlier.key != key);
            draft.rows.push(RowWrite { view, key, row });
        })
    }

    pub(crate) fn set_timer(&self, key: Key, delay: Duration, timer: TimerRecord) -> Result<()> {
        self.with(|draft| {
            draft.timers.retain(|(earlier, ..)| *earlier != key);
            draft.timers.push((key, delay, timer));
        })
    }

    pub(crate) fn count(&self, counter: Name, by: i64) -> Result<()> {
        self.with(|draft| draft.counts.push((counter, by)))
    }

    /// Publishes an event with this unit, for a handler that returns something else, such as a
    /// command's reply.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned; `message_too_large` or `message_invalid` if the
    /// event exceeds the limits of [`envelope`](wingbeat_core::envelope).
    pub fn publish<E: EventMessage>(&self, event: &E) -> Result<()> {
        let mut effects = Effects::new();
        effects.publish(event);
        self.emit(effects)
    }

    /// Sends a command with this unit.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn send<C: CommandMessage>(&self, command: &C) -> Result<()> {
        let mut effects = Effects::new();
        effects.send(command);
        self.emit(effects)
    }

    /// Records messages and calls, for a handler that returns something else, such as a command's
    /// reply.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned; `message_too_large` or `message_invalid` if a
    /// message exceeds the limits of [`envelope`](wingbeat_core::envelope).
    pub fn emit(&self, effects: Effects) -> Result<()> {
        self.record(effects)
    }

    /// Adds the effects that a handler returned.
    pub(crate) fn record(&self, effects: Effects) -> Result<()> {
        let effects = effects.within_limits(self.0.service.bodies.as_ref())?;
        for delayed in &effects.delayed {
            storable("delayed message", delayed.id())?;
        }
        self.with(|draft| draft.effects.append(effects))
    }

    /// Notes what the unit contains before a handler runs, for [`rewind`](Self::rewind).
    pub(crate) fn mark(&self) -> Result<Mark> {
        self.with(|draft| draft.mark())
    }

    /// Removes what a handler has recorded, except its reads: the decision to do nothing is
    /// validated like any other.
    pub(crate) fn rewind(&self, mark: Mark) -> Result<()> {
        self.with(|draft| draft.rewind(mark))
    }

    /// Begins to record the attempt, if its service records. What the unit contains so far is not
    /// part of the recording.
    pub(crate) fn record_attempt(&self, tape: impl FnOnce(&Recorder) -> Tape) -> Result<()> {
        match &self.0.service.recorder {
            Some(recorder) => self.record_on(tape(recorder), None),
            None => Ok(()),
        }
    }

    /// Continues a recording in this unit. `failed` is the error of an attempt that has failed.
    pub(crate) fn record_on(&self, mut tape: Tape, failed: Option<Failed>) -> Result<()> {
        self.with(|draft| {
            tape.begin(self.0.at, &draft.writes);
            draft.taped = Some(Box::new(Taped { tape, failed }));
        })
    }

    /// Notes something on the recording, if there is one.
    pub(crate) fn note(&self, note: impl FnOnce(&mut Tape)) {
        if let Some(taped) = self.draft().as_mut().and_then(|it| it.taped.as_mut()) {
            note(&mut taped.tape);
        }
    }

    /// Takes the recording away, for another unit.
    pub(crate) fn take_recording(&self) -> Option<Tape> {
        Some(self.draft().as_mut()?.taped.take()?.tape)
    }

    /// Ends the attempt. Every later use of this scope fails with the code `sealed`.
    pub(crate) fn seal(&self, settles: impl IntoIterator<Item = Settled>) -> Result<Unit> {
        let draft = *self.draft().take().ok_or_else(sealed)?;
        let sealing = Sealing {
            service: self.0.service.name,
            runtime: &self.0.service.runtime,
            trust: self.0.service.trust.as_deref(),
            recorder: self.0.service.recorder.as_ref(),
            at: self.0.at,
            meta: &self.0.meta,
            trace: self.0.trace,
        };
        Ok(sealing.unit(draft, settles.into_iter().collect()))
    }
}
