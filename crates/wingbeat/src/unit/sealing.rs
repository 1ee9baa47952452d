//! Turns the draft of an attempt into a unit of work: assigns ids and times, and writes the
//! journal.

use std::time::Duration;

use uuid::Uuid;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::unit::{Journal, Read, Settled, Write};
use wingbeat_core::{
    CorrelationId, Envelope, Key, Kind, MessageId, Name, RuntimeExt as _, Timestamp, TraceParent,
    Unit, sabotage,
};

use super::Meta;
use super::draft::Draft;
use super::records::{CALLS, CallRecord, Entry, TimerRecord, counter, due, text};
use crate::effects::{Outgoing, PlannedCall};
use crate::encode;

/// The attempt whose draft is sealed.
pub(super) struct Sealing<'a> {
    pub(super) service: Name,
    pub(super) runtime: &'a SharedRuntime,
    pub(super) at: Timestamp,
    pub(super) meta: &'a Meta,
    /// The parent span of everything that the unit causes.
    pub(super) trace: TraceParent,
}

impl Sealing<'_> {
    pub(super) fn unit(self, draft: Draft, settles: Option<Settled>) -> Unit {
        let Draft {
            correlation,
            reads,
            seen,
            mut writes,
            appends,
            rows,
            effects,
            timers,
            mut counts,
            statements,
            transaction,
            states: _,
        } = draft;
        let correlation = correlation.unwrap_or(self.meta.correlation);
        let mut entries = Vec::new();
        let mut messages = Vec::with_capacity(effects.messages.len());
        for message in effects.messages {
            let message = self.message(message, correlation);
            let kind = match message.role {
                Kind::Event => "event",
                Kind::Command => "command",
            };
            entries.push(self.entry(kind, &message.kind, message.id.0));
            messages.push(message);
        }
        for message in &messages {
            counts.push((counter("published", &message.kind), 1));
        }
        for call in effects.calls {
            let record = self.call(call, correlation);
            entries.push(self.entry("call", &record.name, record.id));
            let key = Key::new(CALLS, record.operation.clone());
            writes.push(due(key, encode(&record), self.at));
        }
        for (key, delay, timer) in timers {
            let record = self.timer(timer, correlation);
            entries.push(self.entry("timer", &record.message, record.id));
            writes.retain(|earlier| earlier.key != key);
            writes.push(self.after(delay, key, &record));
        }
        if let Some(settled) = &settles {
            counts.push((counter("handled", settled.queue.as_str()), 1));
        }
        let journal = (!entries.is_empty()).then(|| Journal {
            correlation,
            body: encode(&entries),
        });
        Unit {
            id: self.runtime.id().into(),
            service: self.service,
            at: self.at,
            settles,
            reads: validated(reads),
            seen: seen.unwrap_or_default(),
            writes,
            appends,
            rows,
            messages,
            journal,
            counts,
            statements,
            transaction,
        }
    }

    fn causation(&self) -> Option<MessageId> {
        self.meta.message
    }

    fn entry(&self, kind: &str, name: &str, id: Uuid) -> Entry {
        Entry {
            at: self.at,
            kind: kind.into(),
            name: name.into(),
            id,
            causation_id: self.causation().map(|id| id.0),
        }
    }

    fn message(&self, message: Outgoing, correlation: CorrelationId) -> Envelope {
        let id = self.runtime.id();
        Envelope {
            id: id.into(),
            source: self.service.as_str().into(),
            kind: message.name.into(),
            role: message.kind,
            key: message.key,
            time: self.at,
            correlation,
            causation: self.causation(),
            sequence: message.sequence,
            operation: message.operation,
            traceparent: Some(self.trace.child_of_id(id)),
            propagation: self.meta.propagation.clone(),
            body: message.body,
        }
    }

    fn call(&self, call: PlannedCall, correlation: CorrelationId) -> CallRecord {
        CallRecord {
            id: self.runtime.id(),
            name: call.name.into(),
            operation: call.operation,
            correlation,
            first_at: self.at,
            attempts: 0,
            traceparent: Some(self.trace),
            propagation: self.meta.propagation.clone(),
            body: text(&call.body),
        }
    }

    fn timer(&self, timer: TimerRecord, correlation: CorrelationId) -> TimerRecord {
        TimerRecord {
            id: self.runtime.id(),
            correlation,
            traceparent: Some(self.trace),
            propagation: self.meta.propagation.clone(),
            ..timer
        }
    }

    fn after(&self, delay: Duration, key: Key, timer: &TimerRecord) -> Write {
        due(key, encode(timer), self.at + delay)
    }
}

/// Returns the reads that the store validates: all of them, unless a negative control removes them.
fn validated(reads: Vec<Read>) -> Vec<Read> {
    if sabotage::lacks(sabotage::READ_SET) {
        return Vec::new();
    }
    reads
}
