//! One attempt at handling something: what it reads and asks for, until it is sealed into a unit.

mod sealing;
mod sql;

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::statement::{Companion, Statement};
use wingbeat_core::unit::{Append, Read, Row, RowWrite, Settled, Write};
use wingbeat_core::{
    Cache, CorrelationId, Envelope, Error, HttpClient, Key, Name, Result, RuntimeExt as _,
    ServiceStore, Timestamp, TraceParent, Unit,
};

use crate::committer::Committer;
use crate::due::DueWake;
use crate::effects::Effects;
use crate::http::{IdempotencyKey, RequestInfo};
use crate::saga::TimerRecord;
use crate::staging::Loaded;
use crate::{Meta, telemetry};
use sealing::Sealing;

pub use sql::Sql;

/// What a service's handlers work with: its own data, and the ports.
pub struct ServiceContext {
    /// The service.
    pub name: Name,
    /// Its own data.
    pub store: ServiceStore,
    /// The committer shared by the process.
    pub committer: Arc<Committer>,
    /// Clock, chance, tasks.
    pub runtime: SharedRuntime,
    /// The cache shared by all services.
    pub cache: Arc<dyn Cache>,
    /// HTTP to the outside, for calls.
    pub http: Arc<dyn HttpClient>,
    pub(crate) due: Arc<DueWake>,
}

/// A handle on the unit being built. Cloned freely; dead once the handler has returned.
#[derive(Clone)]
pub struct Scope(Arc<Inner>);

struct Inner {
    service: Arc<ServiceContext>,
    at: Timestamp,
    meta: Meta,
    /// The span in which it is handled: the parent of what it asks for.
    trace: TraceParent,
    request: Option<Arc<RequestInfo>>,
    reply_key: Mutex<Option<IdempotencyKey>>,
    draft: Mutex<Option<Box<Draft>>>,
}

/// What has been collected so far.
#[derive(Default)]
struct Draft {
    correlation: Option<CorrelationId>,
    reads: Vec<Read>,
    /// See [`Unit::seen`].
    seen: Option<u64>,
    /// Decoded and changed state by key, so that two extractors see each other.
    states: Vec<(Key, Box<dyn Any + Send>)>,
    writes: Vec<Write>,
    appends: Vec<Append>,
    rows: Vec<RowWrite>,
    effects: Effects,
    timers: Vec<(Key, Duration, TimerRecord)>,
    counts: Vec<(Name, i64)>,
    statements: Vec<Statement>,
    companion: Option<Companion>,
}

/// An entry of a timeline.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// `event`, `command`, `timer` or `call`.
    pub kind: String,
    /// The wire type, or the timer's or call's name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// What caused it.
    pub causation_id: Option<Uuid>,
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

    /// A scope for an HTTP request.
    pub(crate) fn with_request(
        service: Arc<ServiceContext>,
        meta: Meta,
        request: Arc<RequestInfo>,
    ) -> Self {
        Self::build(service, meta, Some(request))
    }

    fn build(service: Arc<ServiceContext>, meta: Meta, request: Option<Arc<RequestInfo>>) -> Self {
        let at = service.runtime.now();
        let trace = telemetry::current().map(|context| context.trace);
        let trace = trace.unwrap_or_else(|| TraceParent::of(meta.correlation.0));
        let draft = Mutex::new(Some(Box::default()));
        Self(Arc::new(Inner {
            service,
            at,
            meta,
            trace,
            request,
            reply_key: Mutex::default(),
            draft,
        }))
    }

    /// The HTTP request, if this is a command.
    pub(crate) fn request(&self) -> Option<&RequestInfo> {
        self.0.request.as_deref()
    }

    /// The answer is to be kept under this key.
    pub(crate) fn keep_reply_under(&self, key: IdempotencyKey) {
        *self
            .0
            .reply_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    pub(crate) fn reply_key(&self) -> Option<IdempotencyKey> {
        self.0
            .reply_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A scope for handling `envelope`.
    pub(crate) fn of(service: Arc<ServiceContext>, envelope: &Envelope) -> Self {
        let meta = Meta {
            correlation: envelope.correlation,
            message: Some(envelope.id),
            operation: envelope.operation.clone(),
            sequence: envelope.sequence,
            time: envelope.time,
        };
        Self::new(service, meta)
    }

    /// The service's ports.
    #[must_use]
    pub fn service(&self) -> &Arc<ServiceContext> {
        &self.0.service
    }

    /// The time of this attempt.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.at
    }

    /// A new time-ordered id.
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        self.0.service.runtime.id()
    }

    /// Where the message being handled comes from.
    #[must_use]
    pub fn meta(&self) -> Meta {
        self.0.meta.clone()
    }

    /// Tells this unit's part in the story of `id` (an order, say) instead of the caller's.
    ///
    /// # Errors
    ///
    /// After the handler has returned.
    pub fn correlate(&self, id: Uuid) -> Result<()> {
        telemetry::context::correlate(CorrelationId(id));
        self.with(|draft| draft.correlation = Some(CorrelationId(id)))
    }

    fn draft(&self) -> MutexGuard<'_, Option<Box<Draft>>> {
        self.0.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Draft) -> T) -> Result<T> {
        Ok(work(self.draft().as_mut().ok_or_else(sealed)?))
    }

    /// Reads a record and notes its version.
    pub(crate) async fn load(&self, key: &Key) -> Result<Loaded> {
        self.with(|_| ())?;
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
        })?;
        Ok(loaded)
    }

    /// The state as changed by this unit so far.
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
    pub(crate) fn write(&self, write: Write) -> Result<()> {
        self.with(|draft| {
            draft.writes.retain(|earlier| earlier.key != write.key);
            draft.writes.push(write);
        })
    }

    pub(crate) fn append(&self, append: Append) -> Result<()> {
        self.with(|draft| draft.appends.push(append))
    }

    pub(crate) fn put_row(&self, view: Name, key: String, row: Option<Row>) -> Result<()> {
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

    /// Asks for messages and calls, where the handler returns something else (a command's reply).
    ///
    /// # Errors
    /// After the handler has returned, and `message_too_large`.
    pub fn emit(&self, effects: Effects) -> Result<()> {
        self.record(effects)
    }

    /// Adds what a handler returned.
    pub(crate) fn record(&self, effects: Effects) -> Result<()> {
        let effects = effects.checked()?;
        self.with(|draft| draft.effects.append(effects))
    }

    /// Ends the attempt. Handles that were kept get an error from now on.
    pub(crate) fn seal(&self, settles: Option<Settled>) -> Result<Unit> {
        let draft = *self.draft().take().ok_or_else(sealed)?;
        Ok(Sealing {
            scope: self,
            correlation: draft.correlation.unwrap_or(self.0.meta.correlation),
            entries: Vec::new(),
        }
        .unit(draft, settles))
    }
}

/// A record that will be handed out when it is due.
pub(crate) fn due(key: Key, body: Bytes, at: Timestamp) -> Write {
    Write {
        key,
        body: Some(body),
        due_at: Some(at),
        expires_at: None,
    }
}

/// JSON that is kept as it is inside other JSON.
pub(crate) fn text(body: &Bytes) -> Box<serde_json::value::RawValue> {
    let text = String::from_utf8(body.to_vec()).expect("what we encoded is UTF-8");
    serde_json::value::RawValue::from_string(text).expect("what we encoded is JSON")
}

/// The name of a counter such as `handled:orders.checkout`.
pub(crate) fn counter(what: &str, of: &str) -> Name {
    Name::intern(&format!("{what}:{of}"))
}
